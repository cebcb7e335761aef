/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/author.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *why;
	const char *value;
	enum author_result want;
	const char *address;
} rows[] = {
    {"bare", " ada@example.org", AUTHOR_ONE, "ada@example.org"},
    {"no leading space", "ada@example.org", AUTHOR_ONE, "ada@example.org"},
    {"angle brackets", " <ada@example.org>", AUTHOR_ONE, "ada@example.org"},
    {"a name", " Ada Lovelace <ada@example.org>", AUTHOR_ONE, "ada@example.org"},
    {"canonical: case, final dot, extension", " Ada <ADA+x@Example.ORG.>", AUTHOR_ONE,
     "ada@example.org"},
    {"a quoted name with the other's address", " \"eve@b.example\" <ada@example.org>",
     AUTHOR_ONE, "ada@example.org"},
    {"an unquoted one", " eve@b.example <ada@example.org>", AUTHOR_ONE,
     "ada@example.org"},
    {"brackets and dots in a name", " [JIRA] J. Doe <ada@example.org>", AUTHOR_ONE,
     "ada@example.org"},
    {"a comma in a quoted name", " \"Lovelace, Ada\" <ada@example.org>", AUTHOR_ONE,
     "ada@example.org"},
    {"an escaped quote", " \"a\\\" <eve@b.example>\" <ada@example.org>", AUTHOR_ONE,
     "ada@example.org"},
    {"a comment with the other's address", " (<eve@b.example>) ada@example.org",
     AUTHOR_ONE, "ada@example.org"},
    {"comments nested, after the address", " ada@example.org (a (b) \\) c)", AUTHOR_ONE,
     "ada@example.org"},
    {"comments inside", " <(x)ada(y)@(z)example.org(w)>", AUTHOR_ONE, "ada@example.org"},
    {"encoded words", " =?utf-8?q?Ada=2C?= <ada@example.org>", AUTHOR_ONE,
     "ada@example.org"},
    {"raw UTF-8 name", " Ad\xc3\xa1 <ada@example.org>", AUTHOR_ONE, "ada@example.org"},
    {"folded right after the colon", "\n ada@example.org", AUTHOR_ONE, "ada@example.org"},
    {"folded with CRLF", " Ada\r\n\t<ada@example.org>", AUTHOR_ONE, "ada@example.org"},
    {"a quoted local part", " <\"ada\"@example.org>", AUTHOR_ONE, "ada@example.org"},
    {"U-label domain",
     " ada@b\xc3\xbc"
     "cher.example",
     AUTHOR_ONE, "ada@xn--bcher-kva.example"},
    {"empty", "", AUTHOR_EMPTY, NULL},
    {"blank", " \t", AUTHOR_EMPTY, NULL},
    {"a comment alone", " (nobody)", AUTHOR_EMPTY, NULL},
    {"two bare", " ada@example.org, eve@b.example", AUTHOR_SEVERAL, NULL},
    {"two in brackets", " <ada@example.org>, <eve@b.example>", AUTHOR_SEVERAL, NULL},
    {"two, named", " Ada <ada@example.org>,Eve <eve@b.example>", AUTHOR_SEVERAL, NULL},
    {"a group", " Friends: ada@example.org;", AUTHOR_GROUP, NULL},
    {"an empty group", " undisclosed-recipients:;", AUTHOR_GROUP, NULL},
    {"two brackets without a comma", " <ada@example.org> <eve@b.example>", AUTHOR_BROKEN,
     NULL},
    {"text after the brackets", " <ada@example.org> eve@b.example", AUTHOR_BROKEN, NULL},
    {"two addresses without a comma", " ada@example.org eve@b.example", AUTHOR_BROKEN,
     NULL},
    {"a source route", " <@b.example:ada@example.org>", AUTHOR_BROKEN, NULL},
    {"no domain", " ada", AUTHOR_BROKEN, NULL},
    {"empty brackets", " Ada <>", AUTHOR_BROKEN, NULL},
    {"no local part", " <@example.org>", AUTHOR_BROKEN, NULL},
    {"an open bracket", " Ada <ada@example.org", AUTHOR_BROKEN, NULL},
    {"an open quote", " \"Ada <ada@example.org>", AUTHOR_BROKEN, NULL},
    {"an open comment", " ada@example.org (x", AUTHOR_BROKEN, NULL},
    {"a bracket too many", " ada@example.org>", AUTHOR_BROKEN, NULL},
    {"two at signs", " ada@b.example@example.org", AUTHOR_BROKEN, NULL},
    {"a blank in the domain", " ada@example. org", AUTHOR_BROKEN, NULL},
    {"a bare CR", " ada@example.org\r x@b.example", AUTHOR_BROKEN, NULL},
    {"a line end that is no fold", " ada@example.org\nX: y", AUTHOR_BROKEN, NULL},
    {"a control character", " a\001da@example.org", AUTHOR_BROKEN, NULL},
    {"an empty label", " ada@example..org", AUTHOR_BROKEN, NULL},
};

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address address = {.kind = ADDRESS_ABSENT};
		/* Exactly as long as it is, so that ASan sees a byte too far. */
		size_t len = strlen(rows[i].value);
		char *value = malloc(len + 1);
		memcpy(value, rows[i].value, len);
		enum author_result got = author_parse(value, len, "+", &address);
		free(value);
		if (got != rows[i].want)
			fail_msg(
			    "%s: \"%s\" %s", rows[i].why, rows[i].value,
			    author_result_text(got));
		if (got == AUTHOR_ONE && strcmp(address.text, rows[i].address) != 0)
			fail_msg("%s: got %s", rows[i].why, address.text);
		if (got != AUTHOR_ONE && address.kind != ADDRESS_ABSENT)
			fail_msg("%s: wrote an address", rows[i].why);
	}
}

/* Every prefix of every row parses to something, and reads no byte too far. */
static void test_prefixes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t len = 0; len < strlen(rows[i].value); len++) {
			struct address address = {.kind = ADDRESS_ABSENT};
			char *value = malloc(len + 1);
			memcpy(value, rows[i].value, len);
			enum author_result got = author_parse(value, len, "+", &address);
			free(value);
			assert_true((got == AUTHOR_ONE) == (address.kind == ADDRESS_OK));
		}
	}
}

/* A sender can write 60,000 brackets; nothing recurses. */
static void test_depth(void **state)
{
	(void)state;
	struct address address;
	size_t len = 60000;
	char *value = malloc(len + 16);
	memset(value, '(', len);
	assert_int_equal(author_parse(value, len, "+", &address), AUTHOR_BROKEN);
	memset(value + len / 2, ')', len / 2);
	memcpy(value + len, "a@example.org", 13);
	assert_int_equal(author_parse(value, len + 13, "+", &address), AUTHOR_ONE);
	free(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_depth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
