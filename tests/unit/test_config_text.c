/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static int parse(
    const char *text, size_t len, struct config_text *ret, struct config_fault *fault)
{
	char *copy = malloc(len + 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	copy[len] = '\0';
	return config_text_parse(copy, len, ret, fault);
}

#define ROW(text, line, column, message)                                                 \
	{                                                                                \
		text, sizeof(text) - 1, line, column, message                            \
	}

static void faults(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t len;
		unsigned line, column;
		const char *message;
	} rows[] = {
	    ROW("", 1, 1, "nothing in this file, expected an object { ... }"),
	    ROW("// only\n/* this */ ", 2, 12,
		"nothing in this file, expected an object { ... }"),
	    ROW("\xEF\xBB\xBF{}", 1, 1,
		"the file begins with a byte order mark, expected plain UTF-8"),
	    ROW("\xFF\xFE{\0}\0", 1, 1, "the file is UTF-16, expected UTF-8"),
	    ROW("{\n\"a\": \"x\0y\"}", 2, 8, "a NUL byte, expected text"),
	    ROW("{\n  \"a\": \"B\xFCro\"}", 2, 10,
		"byte 0xFC is not UTF-8 (saved as Latin-1?), expected UTF-8"),
	    ROW("{ // B\xFCro\n}", 1, 7,
		"byte 0xFC is not UTF-8 (saved as Latin-1?), expected UTF-8"),
	    ROW("{\"a\": \"\xED\xA0\x80\"}", 1, 8,
		"byte 0xED is not UTF-8 (saved as Latin-1?), expected UTF-8"),
	    ROW("{\"a\": \"\xC0\x80\"}", 1, 8,
		"byte 0xC0 is not UTF-8 (saved as Latin-1?), expected UTF-8"),
	    ROW("{\"a\": 1,}", 1, 8,
		"a comma with nothing behind it, expected none before \"}\""),
	    ROW("{\"a\": [1, 2, ]}", 1, 12,
		"a comma with nothing behind it, expected none before \"]\""),
	    ROW("{\"a\": 1 \"b\": 2}", 1, 9, "expected \",\" or \"}\""),
	    ROW("{\n\"\xC3\xA9\" \"b\"}", 2, 5, "expected \":\" between key and value"),
	    ROW("{a: 1}", 1, 2, "expected a key in double quotes or }"),
	    ROW("{'a': 1}", 1, 2, "expected a key in double quotes or }"),
	    ROW("{\"a\": yes}", 1, 7,
		"\"yes\" without quotes, expected a value (strings stand in \"...\")"),
	    ROW("{\"a\": True}", 1, 7,
		"\"True\" without quotes, expected a value (strings stand in \"...\")"),
	    ROW("{\"a\": trueish}", 1, 7,
		"\"trueish\" without quotes, expected a value (strings stand in "
		"\"...\")"),
	    ROW("{\"a\": 'x'}", 1, 7, "\"'\", expected a value"),
	    ROW("{\"a\": }", 1, 7, "\"}\", expected a value"),
	    ROW("{\"a\":", 1, 6, "the file ends here, expected a value"),
	    ROW("{\"a\": 1", 1, 8,
		"the file ends here, expected \"}\" for the \"{\" of line 1"),
	    ROW("{\n\"a\": [1,\n2", 3, 2,
		"the file ends here, expected \"]\" for the \"[\" of line 2"),
	    ROW("{\"a\": 1, ", 1, 10, "the file ends here, expected a key or }"),
	    ROW("{\"a\": \"x\n\"}", 1, 7,
		"a string that does not end on its line, expected \""),
	    ROW("{\"a\": \"x", 1, 7,
		"a string that does not end on its line, expected \""),
	    ROW("{\"a\": \"x\ty\"}", 1, 9,
		"a control character in a string, expected an escape such as \\t"),
	    ROW("{\"a\": \"\\x41\"}", 1, 8,
		"an unknown escape, expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t "
		"\\uXXXX"),
	    ROW("{\"a\": \"\\", 1, 8,
		"an unknown escape, expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t "
		"\\uXXXX"),
	    ROW("{\"a\": \"\\u12\"}", 1, 8, "\\u without four hexadecimal digits"),
	    ROW("{\"a\": \"\\u0000\"}", 1, 8, "\\u0000 has no place in a configuration"),
	    ROW("{\"a\": \"\\ud800\"}", 1, 8, "half a surrogate pair"),
	    ROW("{\"a\": \"\\udc00\"}", 1, 8, "half a surrogate pair"),
	    ROW("{\"a\": \"\\ud800\\u0041\"}", 1, 8, "half a surrogate pair"),
	    ROW("{\"a\": 0660}", 1, 7,
		"a number with a leading 0, expected one without (a socket mode stands "
		"in "
		"quotes: \"0660\")"),
	    ROW("{\"a\": -}", 1, 7, "a \"-\" without digits, expected a number"),
	    ROW("{\"a\": 1.}", 1, 7, "a number without digits behind its point"),
	    ROW("{\"a\": 1e}", 1, 7, "a number without digits in its exponent"),
	    ROW("{\"a\": 1x}", 1, 8, "expected \",\" or \"}\""),
	    ROW("{} {}", 1, 4, "more text behind the end, expected nothing"),
	    ROW("{} /", 1, 4, "a lone \"/\", expected a comment // or /* ... */"),
	    ROW("{} /* x", 1, 4, "a comment without its end, expected */"),
	    ROW("{} /*/", 1, 4, "a comment without its end, expected */"),
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config_text text;
		struct config_fault fault = {0};
		int r = parse(rows[i].text, rows[i].len, &text, &fault);
		if (r == 0)
			config_text_done(&text);
		if (r != 1 || fault.line != rows[i].line ||
		    fault.column != rows[i].column ||
		    strcmp(fault.message, rows[i].message) != 0)
			fail_msg(
			    "row %zu %s: %d, %u:%u: %s", i, rows[i].text, r, fault.line,
			    fault.column, fault.message);
	}
}

/* Every kind of value with a comment in each gap, and where everything stands. */
static void places(void **state)
{
	(void)state;
	static const char source[] =
	    "/* \xC3\xA9 */ {\n"
	    "  // one\n"
	    "  \"url\": \"http://x/*y*/\", /* two */ \"n\": -1,\n"
	    "\t\"\xC3\xBC\": [true, /* \xC3\xA9 */ 1.5 , {\"a\":null}]\n"
	    "}//end";
	struct config_text text;
	struct config_fault fault;

	assert_int_equal(parse(source, sizeof(source) - 1, &text, &fault), 0);
	static const struct {
		unsigned key_line, key_column, line, column, next;
	} want[] = {
	    {0, 0, 1, 9, 8}, {3, 3, 3, 10, 2}, {3, 37, 3, 42, 3}, {4, 2, 4, 7, 8},
	    {0, 0, 4, 8, 5}, {0, 0, 4, 22, 6}, {0, 0, 4, 28, 8},  {4, 29, 4, 33, 8},
	};
	assert_int_equal(text.node_count, COUNT(want));
	for (size_t i = 0; i < COUNT(want); i++) {
		const struct config_node *node = &text.nodes[i];
		if (node->line != want[i].line || node->column != want[i].column ||
		    node->key_line != want[i].key_line ||
		    node->key_column != want[i].key_column || node->next != want[i].next)
			fail_msg(
			    "node %zu: key %u:%u value %u:%u next %u", i, node->key_line,
			    node->key_column, node->line, node->column, node->next);
	}
	assert_string_equal(
	    json_string_value(json_object_get(text.root, "url")), "http://x/*y*/");
	assert_int_equal(json_integer_value(json_object_get(text.root, "n")), -1);
	config_text_done(&text);
}

static void numbers_too_big_are_values(void **state)
{
	(void)state;
	static const char *const rows[] = {
	    "99999999999999999999", "-99999999999999999999", "1e400", "-1e400",
	    "9223372036854775808"};
	for (size_t i = 0; i < COUNT(rows); i++) {
		char source[64];
		struct config_text text;
		struct config_fault fault;
		snprintf(source, sizeof(source), "[%s, 7]", rows[i]);
		assert_int_equal(parse(source, strlen(source), &text, &fault), 0);
		if (!text.nodes[1].too_big || text.nodes[2].too_big)
			fail_msg("%s is not marked", rows[i]);
		assert_int_equal(json_integer_value(json_array_get(text.root, 0)), 0);
		assert_int_equal(json_integer_value(json_array_get(text.root, 1)), 7);
		config_text_done(&text);
	}
}

static void repeated_keys_are_found(void **state)
{
	(void)state;
	static const char source[] = "{\"a\":1, \"b\":2, \"\\u0061\":3, "
				     "\"c\":{\"a\":4,\"a\":5}, \"b\\n\":6, \"a\":7}";
	static const unsigned first[] = {0, 0, 0, 1, 0, 0, 5, 0, 1};
	struct config_text text;
	struct config_fault fault;

	assert_int_equal(parse(source, sizeof(source) - 1, &text, &fault), 0);
	assert_int_equal(text.node_count, COUNT(first));
	for (size_t i = 0; i < COUNT(first); i++)
		if (text.nodes[i].first != first[i])
			fail_msg("node %zu repeats %u", i, text.nodes[i].first);
	config_text_done(&text);
}

static void keys_are_decoded(void **state)
{
	(void)state;
	static const char source[] = "{\"\\u00fc\\ud83d\\ude00\\n\\\"\\/x\\u20ac\":1}";
	static const char want[] = "\xC3\xBC\xF0\x9F\x98\x80\n\"/x\xE2\x82\xAC";
	struct config_text text;
	struct config_fault fault;

	assert_int_equal(parse(source, sizeof(source) - 1, &text, &fault), 0);
	assert_int_equal(text.nodes[1].key_len, sizeof(want) - 1);
	assert_memory_equal(
	    text.bytes + text.nodes[1].key_offset, want, sizeof(want) - 1);
	assert_non_null(json_object_get(text.root, want));
	config_text_done(&text);
}

static void depth_is_bounded(void **state)
{
	(void)state;
	enum { DEEP = 3000 };
	char source[2 * DEEP + 1];
	struct config_text text;
	struct config_fault fault;

	memset(source, '[', DEEP);
	memset(source + DEEP, ']', DEEP);
	assert_int_equal(parse(source, 2 * DEEP, &text, &fault), 1);
	assert_int_equal(fault.column, CONFIG_DEPTH_MAX + 1);
	assert_int_equal(
	    parse(source + DEEP - CONFIG_DEPTH_MAX, 2 * CONFIG_DEPTH_MAX, &text, &fault),
	    0);
	config_text_done(&text);
}

/* Every prefix of a good file is refused or parsed, and nothing is read behind its end.
 */
static void every_cut(void **state)
{
	(void)state;
	static const char source[] = "{\"a\": [\"\\ud83d\\ude00\", -1.5e+3, /* c */ "
				     "null], // d\n \"b\": \"\xC3\xA9\"}";
	for (size_t len = 0; len < sizeof(source) - 1; len++) {
		struct config_text text;
		struct config_fault fault;
		assert_int_equal(parse(source, len, &text, &fault), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(faults),
	    cmocka_unit_test(places),
	    cmocka_unit_test(numbers_too_big_are_values),
	    cmocka_unit_test(repeated_keys_are_found),
	    cmocka_unit_test(keys_are_decoded),
	    cmocka_unit_test(depth_is_bounded),
	    cmocka_unit_test(every_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
