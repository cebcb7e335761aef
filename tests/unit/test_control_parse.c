/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct row {
	const char *why;
	const char *line;
	size_t len;        /* 0: strlen(line) */
	const char *error; /* part of the sentence; NULL: it is an object */
};

static const struct row rows[] = {
    {"an object", "{\"command\":\"status\"}", 0, NULL},
    {"white space around it", "  {\"a\": 1}\r", 0, NULL},
    {"brackets in a text do not nest", "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[\"}", 0, NULL},
    {"an escaped quote does not end the text", "{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[\"}",
     0, NULL},
    {"an escaped backslash before the end", "{\"a\":\"\\\\\",\"b\":[]}", 0, NULL},
    {"16 levels", "{\"a\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}", 0, NULL},
    {"17 levels", "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", 0, "deeper than 16"},
    {"levels that are never closed", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
     0, "deeper than 16"},
    {"closing brackets alone", "]]]]]]]]]]}}}}}", 0, "no JSON object"},
    {"nothing", "", 0, "no JSON object"},
    {"a list", "[{}]", 0, "JSON, but no object"},
    {"a text alone", "\"status\"", 0, "no JSON object"},
    {"two objects", "{} {}", 0, "no JSON object"},
    {"a member twice", "{\"a\":1,\"a\":2}", 0, "no JSON object: duplicate"},
    {"a NUL byte", "{\"a\":\"b\0\"}", 10, "no JSON object"},
    {"an escaped NUL", "{\"a\":\"b\\u0000\"}", 0, "no JSON object"},
    {"bytes that are no UTF-8", "{\"a\":\"\xff\"}", 0, "no JSON object"},
    {"half an object", "{\"a\":", 0, "no JSON object"},
    {"a text that ends in a backslash", "{\"a\":\"\\", 0, "no JSON object"},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		size_t len = row->len ? row->len : strlen(row->line);
		char error[CONTROL_ERROR_MAX] = "";
		/* Exactly as long as it is: reading on is seen. */
		char *line = malloc(len + !len);
		memcpy(line, row->line, len);
		json_t *message = control_parse(line, len, error, sizeof(error));
		if (!message != !!row->error)
			fail_msg("%s: \"%s\"", row->why, error);
		if (row->error && !strstr(error, row->error))
			fail_msg("%s: said \"%s\"", row->why, error);
		json_decref(message);
		free(line);
	}
}

/* As deep as a line can be: nothing recurses. */
static void test_deep(void **state)
{
	(void)state;
	char error[CONTROL_ERROR_MAX];
	char *line = malloc(CONTROL_REQUEST_MAX);

	memset(line, '[', CONTROL_REQUEST_MAX);
	assert_null(control_parse(line, CONTROL_REQUEST_MAX, error, sizeof(error)));
	assert_non_null(strstr(error, "deeper"));
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_deep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
