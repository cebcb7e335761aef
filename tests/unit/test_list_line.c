/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/lists.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *line;
	const char *entry, *reason; /* entry NULL: nothing on the line */
	const char *why;
} line_rows[] = {
    {"192.0.2.1", "192.0.2.1", "", "entry alone"},
    {"192.0.2.1 web shop", "192.0.2.1", "web shop", "entry and reason"},
    {"  192.0.2.1\t web  shop \r\n", "192.0.2.1", "web  shop", "outer blanks"},
    {"192.0.2.1 # new", "192.0.2.1", "", "entry and comment"},
    {"192.0.2.1 web shop # new", "192.0.2.1", "web shop", "all three"},
    {"192.0.2.1 shop #1 # new", "192.0.2.1", "shop", "the first comment counts"},
    {"192.0.2.1 shop#1", "192.0.2.1", "shop#1", "no blank, no comment"},
    {"a#b@example.org why", "a#b@example.org", "why", "no blank, no comment, entry"},
    {"#a@example.org", NULL, NULL, "comment"},
    {"  # comment", NULL, NULL, "indented comment"},
    {"", NULL, NULL, "empty"},
    {" \t\r\n", NULL, NULL, "blank"},
    {"\"a b\"@example.org why", "\"a b\"@example.org", "why", "quoted blank"},
    {"\"a #b\"@example.org", "\"a #b\"@example.org", "", "quoted comment sign"},
    {"\"a\\\" b\"@example.org why", "\"a\\\" b\"@example.org", "why", "quoted quote"},
    {"\"ab@example.org it's why", "\"ab@example.org", "it's why", "open quote"},
    {"a\"b@example.org \"why\"", "a\"b@example.org", "\"why\"", "three quotes"},
    {"\"ab", "\"ab", "", "open quote, nothing else"},
    {"\xef\xbb\xbf"
     "192.0.2.1 why",
     "192.0.2.1", "why", "byte order mark"},
    {"\xef\xbb\xbf# comment", NULL, NULL, "byte order mark and comment"},
    {"\xef\xbb\xbf", NULL, NULL, "byte order mark alone"},
    {"!10. # not", "!10.", "", "exception"},
    {"<> bounces", "<>", "bounces", "null sender"},
};

static void splits_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(line_rows) / sizeof(line_rows[0]); i++) {
		const char *entry = NULL, *reason = NULL;
		size_t entry_len = 0, reason_len = 0, len = strlen(line_rows[i].line);
		/* Exactly its size, and without a NUL. */
		char *line = malloc(len + !len);
		memcpy(line, line_rows[i].line, len);
		bool found =
		    list_line_split(line, len, &entry, &entry_len, &reason, &reason_len);
		if (found != !!line_rows[i].entry)
			fail_msg("%s: %d", line_rows[i].why, found);
		if (found && (entry_len != strlen(line_rows[i].entry) ||
			      memcmp(entry, line_rows[i].entry, entry_len) != 0 ||
			      reason_len != strlen(line_rows[i].reason) ||
			      memcmp(reason, line_rows[i].reason, reason_len) != 0))
			fail_msg(
			    "%s: \"%.*s\" \"%.*s\"", line_rows[i].why, (int)entry_len,
			    entry, (int)reason_len, reason);
		free(line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(splits_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
