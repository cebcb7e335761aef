/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/failure.h"
#include "policyd/core/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char trouble[] =
    "action=451 4.7.1 Policy service trouble, try again later [EVENT]\n\n";

static void wire(void **state)
{
	static const struct {
		const char *why;
		struct verdict verdict;
		const char *bytes;
	} rows[] = {
	    {"no opinion", {.action = ACTION_DUNNO}, "action=DUNNO\n\n"},
	    {"a grant", {.action = ACTION_OK}, "action=OK\n\n"},
	    {"Postfix decides",
	     {.action = ACTION_REJECT_UNAUTH},
	     "action=reject_unauth_destination\n\n"},
	    {"a reply",
	     {.action = ACTION_REPLY, .code = 554, .dsn = "5.7.1", .text = "No"},
	     "action=554 5.7.1 No [EVENT]\n\n"},
	    {"a withheld grant",
	     {.action = ACTION_DEFER_IF_REJECT, .text = "Later"},
	     "action=DEFER_IF_REJECT Later [EVENT]\n\n"},
	    {"hold",
	     {.action = ACTION_HOLD, .text = "Held"},
	     "action=HOLD Held [EVENT]\n\n"},
	    {"filter has no text",
	     {.action = ACTION_FILTER, .text = "slow:[::1]:25"},
	     "action=FILTER slow:[::1]:25\n\n"},
	    {"a newline cannot end the action",
	     {.action = ACTION_REPLY,
	      .code = 554,
	      .dsn = "5.7.1",
	      .text = "a\n\naction=OK\n\n"},
	     "action=554 5.7.1 a\\x0a\\x0aaction=OK\\x0a\\x0a [EVENT]\n\n"},
	    {"no text would be an empty action",
	     {.action = ACTION_REPLY, .code = 554, .dsn = "5.7.1"},
	     trouble},
	    {"a code that permits",
	     {.action = ACTION_REPLY, .code = 250, .dsn = "2.0.0", .text = "Fine"},
	     trouble},
	    {"a DSN of another class",
	     {.action = ACTION_REPLY, .code = 451, .dsn = "5.7.1", .text = "x"},
	     trouble},
	    {"a filter without a nexthop",
	     {.action = ACTION_FILTER, .text = "slow"},
	     trouble},
	    {"a filter with a blank",
	     {.action = ACTION_FILTER, .text = "a:b OK"},
	     trouble},
	    {"an action that does not exist", {.action = (enum action)99}, trouble},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char buf[VERDICT_WIRE_MAX];
		size_t len = verdict_print(&rows[i].verdict, "EVENT", buf);
		if (strcmp(buf, rows[i].bytes) != 0 || len != strlen(rows[i].bytes))
			fail_msg("%s: %s", rows[i].why, buf);
	}
}

/* Whatever the text, an answer is one printable ASCII line, never empty, under 400 bytes.
 */
static void any_text(void **state)
{
	(void)state;
	srand(3);
	for (int i = 0; i < 20000; i++) {
		struct verdict verdict = {
		    .action = i % 2 ? ACTION_REPLY : ACTION_DEFER_IF_REJECT,
		    .code = 451,
		    .dsn = "4.7.1",
		};
		size_t text_len = (size_t)rand() % (sizeof(verdict.text) - 1);
		for (size_t c = 0; c < text_len; c++)
			verdict.text[c] = (char)(1 + rand() % 255);
		char buf[VERDICT_WIRE_MAX];
		size_t len = verdict_print(&verdict, i % 3 ? "0123456789ABC" : "", buf);
		assert_true(len < 400 && len > strlen("action=451 4.7.1 "));
		assert_string_equal(buf + len - 2, "\n\n");
		for (size_t c = 0; c < len - 2; c++)
			assert_in_range(buf[c], ' ', '~');
		if (i % 3)
			assert_string_equal(buf + len - 18, " [0123456789ABC]\n\n");
	}
}

static void failures_never_grant(void **state)
{
	(void)state;
	for (int f = FAILURE_CLIENT_NAME; f <= FAILURE_MEMORY; f++)
		for (int withholds = 0; withholds < 2; withholds++) {
			struct verdict verdict;
			char buf[VERDICT_WIRE_MAX];
			failure_verdict(
			    (enum failure)f, CHECK_RELAY, withholds != 0, &verdict);
			verdict_print(&verdict, "", buf);
			assert_true(
			    strncmp(buf, "action=45", 9) == 0 ||
			    strncmp(buf, "action=DEFER_IF_REJECT ", 23) == 0);
			assert_null(
			    strstr(buf, "Policy service trouble") && f != FAILURE_MEMORY
				? buf
				: NULL);
			assert_true(verdict.reason[0] != '\0');
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wire),
	    cmocka_unit_test(any_text),
	    cmocka_unit_test(failures_never_grant),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
