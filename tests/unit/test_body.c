/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Random bodies are compared with a slow canonicaliser in test_sign.c; here stand the
 * examples of RFC 6376 and what ends a body's life. */

struct sink {
	char bytes[256 * 1024];
	size_t len, calls;
	size_t fail_at; /* the call that fails; 0: none */
};

static int take(void *context, const unsigned char *bytes, size_t len)
{
	struct sink *sink = context;
	assert_true(len > 0 && sink->len + len < sizeof(sink->bytes));
	if (++sink->calls == sink->fail_at)
		return -42;
	memcpy(sink->bytes + sink->len, bytes, len);
	sink->len += len;
	sink->bytes[sink->len] = '\0';
	return 0;
}

/* @chunk 0: in one piece. */
static int run(
    enum canonicalization canon, const char *text, size_t len, size_t chunk,
    struct sink *sink, size_t *ret_long_lines)
{
	struct body body;
	int r = 0;
	sink->len = sink->calls = 0;
	sink->bytes[0] = '\0';
	body_init(&body, canon, take, sink);
	for (size_t at = 0; r == 0 && at < len; at += chunk ? chunk : len) {
		size_t n = chunk && chunk < len - at ? chunk : len - at;
		/* Exactly this piece, so that ASan sees a byte too far. */
		unsigned char *piece = malloc(n);
		memcpy(piece, text + at, n);
		r = body_add(&body, piece, n);
		free(piece);
	}
	if (r == 0)
		r = body_end(&body);
	*ret_long_lines = body.long_lines;
	return r;
}

static const struct {
	const char *why, *text, *relaxed, *simple;
} rows[] = {
    {"RFC 6376, 3.4.5", " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n",
     " C \r\nD \t E\r\n"},
    {"empty", "", "", "\r\n"},
    {"empty lines", "\r\n\r\n", "", "\r\n"},
    {"blank lines", " \r\n\t \r\n", "", " \r\n\t \r\n"},
    {"empty lines before and between", "\r\n\r\na\r\n\r\nb\r\n\r\n",
     "\r\n\r\na\r\n\r\nb\r\n", "\r\n\r\na\r\n\r\nb\r\n"},
    {"a blank line between", "a\r\n \r\nb\r\n", "a\r\n\r\nb\r\n", "a\r\n \r\nb\r\n"},
    {"no final line end", "a", "a\r\n", "a\r\n"},
    {"blanks without a line end", "a\r\n  ", "a\r\n", "a\r\n  \r\n"},
    {"bare LF", "a\nb\n\nc", "a\r\nb\r\n\r\nc\r\n", "a\r\nb\r\n\r\nc\r\n"},
    {"single blanks stay", " a b c ", " a b c\r\n", " a b c \r\n"},
    {"a tab is a blank", "a\tb\r\n", "a b\r\n", "a\tb\r\n"},
    {"many blanks", "a  \t  b  c\t\t\r\n", "a b c\r\n", "a  \t  b  c\t\t\r\n"},
    {"other controls are text", "a\v \fb\001\r\n", "a\v \fb\001\r\n", "a\v \fb\001\r\n"},
    {"8-bit", "\xff \xfe\r\n", "\xff \xfe\r\n", "\xff \xfe\r\n"},
};

static void test_rows(void **state)
{
	(void)state;
	static struct sink sink;
	size_t long_lines;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t chunk = 0; chunk < 5; chunk++) {
			assert_int_equal(
			    run(CANON_RELAXED, rows[i].text, strlen(rows[i].text), chunk,
				&sink, &long_lines),
			    BODY_GOOD);
			if (strcmp(sink.bytes, rows[i].relaxed) != 0)
				fail_msg(
				    "%s: relaxed \"%s\" (pieces of %zu)", rows[i].why,
				    sink.bytes, chunk);
			assert_int_equal(
			    run(CANON_SIMPLE, rows[i].text, strlen(rows[i].text), chunk,
				&sink, &long_lines),
			    BODY_GOOD);
			if (strcmp(sink.bytes, rows[i].simple) != 0)
				fail_msg(
				    "%s: simple \"%s\" (pieces of %zu)", rows[i].why,
				    sink.bytes, chunk);
		}
	}
}

/* Relaxed, one byte after the other. */
static size_t relax_line(const unsigned char *text, size_t len, char *ret)
{
	size_t to = 0;
	bool blank = false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == ' ' || text[i] == '\t') {
			blank = true;
			continue;
		}
		if (blank)
			ret[to++] = ' ';
		blank = false;
		ret[to++] = (char)text[i];
	}
	ret[to++] = '\r';
	ret[to++] = '\n';
	return to;
}

/* Any two bytes beside each other at any place of lines that are longer than a word of
 * the processor, with blanks between words before and behind them. */
static void test_places(void **state)
{
	(void)state;
	static struct sink sink;
	char want[64];
	size_t long_lines;
	for (unsigned pair = 0; pair < 256 * 256; pair++) {
		unsigned char text[32] = "bb ccc dddd \xa0\x89 eeee fff gg h";
		size_t len = 25 + pair % 7, at = pair * 7 % (len - 1);
		text[at] = (unsigned char)(pair / 256);
		text[at + 1] = (unsigned char)pair;
		if (memchr(text, '\r', len) || memchr(text, '\n', len))
			continue;
		assert_int_equal(
		    run(CANON_RELAXED, (char *)text, len, 0, &sink, &long_lines),
		    BODY_GOOD);
		size_t want_len = relax_line(text, len, want);
		if (sink.len != want_len || memcmp(sink.bytes, want, want_len) != 0)
			fail_msg("bytes %#x at %zu of %zu", pair, at, len);
	}
}

static const struct {
	const char *why, *text;
	int want;
} bad[] = {
    {"a bare CR", "a\rb\r\n", BODY_BARE_CR},
    {"a bare CR at the end", "a\r", BODY_BARE_CR},
    {"two CRs", "a\r\r\n", BODY_BARE_CR},
    {"a CR alone", "\r", BODY_BARE_CR},
};

static void test_refused(void **state)
{
	(void)state;
	static struct sink sink;
	size_t long_lines;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (size_t chunk = 0; chunk < 4; chunk++) {
			int r =
			    run(CANON_RELAXED, bad[i].text, strlen(bad[i].text), chunk,
				&sink, &long_lines);
			if (r != bad[i].want)
				fail_msg("%s: %d", bad[i].why, r);
		}
	}
}

static void test_lines(void **state)
{
	(void)state;
	static struct sink sink;
	size_t long_lines, len = BODY_LINE_MAX + 1;
	char *text = malloc(len);
	memset(text, ' ', len);
	/* Blanks alone, so that nothing comes out. */
	assert_int_equal(
	    run(CANON_RELAXED, text, len, 65535, &sink, &long_lines), BODY_LINE_TOO_LONG);
	assert_int_equal(
	    run(CANON_RELAXED, text, len - 1, 65535, &sink, &long_lines), BODY_GOOD);
	assert_int_equal(sink.len, 0);
	assert_int_equal(long_lines, 1);
	text[998] = text[1998] = '\n';
	assert_int_equal(
	    run(CANON_RELAXED, text, 3000, 7, &sink, &long_lines), BODY_GOOD);
	/* 998 is allowed, 999 is not, the third has 1001 and ends with the body. */
	assert_int_equal(long_lines, 2);
	free(text);
}

/* Line ends are never cut in two, and what the sink says ends it. */
static void test_sink(void **state)
{
	(void)state;
	static struct sink sink;
	static char text[100000];
	size_t long_lines, calls;
	for (size_t at = 0; at < sizeof(text); at++)
		text[at] = at % 61 == 59 ? '\r' : at % 61 == 60 ? '\n' : 'x';
	assert_int_equal(
	    run(CANON_SIMPLE, text, 61 * 1600, 999, &sink, &long_lines), BODY_GOOD);
	assert_int_equal(sink.len, 61 * 1600);
	assert_memory_equal(sink.bytes, text, sink.len);
	calls = sink.calls;
	assert_true(calls > 10);
	for (sink.fail_at = 1; sink.fail_at <= calls; sink.fail_at++)
		assert_int_equal(
		    run(CANON_SIMPLE, text, 61 * 1600, 999, &sink, &long_lines), -42);
	sink.fail_at = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),    cmocka_unit_test(test_places),
	    cmocka_unit_test(test_refused), cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_sink),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
