/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/near_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const known[] = {"hosts",       "unknown_domains", "users",
				    "anyone_from", "anyone_to",       "login_grace"};

static void finds_the_nearest(void **state)
{
	(void)state;
	static const struct {
		const char *wanted, *near, *why;
	} rows[] = {
	    {"host", "hosts", "a letter forgotten"},
	    {"hostss", "hosts", "a letter too many"},
	    {"hosst", "hosts", "two letters swapped are one step"},
	    {"uesrs", "users", "swapped at the front"},
	    {"anyone_form", "anyone_from", "the nearer of two similar words"},
	    {"anyone_t", "anyone_to", "a letter forgotten at the end"},
	    {"unknown-domain", "unknown_domains", "two slips in a long word"},
	    {"colour", NULL, "nothing like it"},
	    {"x", NULL, "one letter is like nothing"},
	    {"", NULL, "empty"},
	    {"hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
	     NULL, "longer than the table"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct near_key near;
		near_key_init(&near, rows[i].wanted, strlen(rows[i].wanted));
		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			near_key_try(&near, known[k]);
		const char *best = near.best ? near.best : "none";
		const char *want = rows[i].near ? rows[i].near : "none";
		if (strcmp(best, want) != 0)
			fail_msg("%s: got %s, want %s", rows[i].why, best, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(finds_the_nearest)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
