/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void events_one_after_the_other(void **state)
{
	static const struct {
		const char *why;
		const char *events; /* s answer, f failure, g grave one */
		bool open;
		unsigned changes;
	} rows[] = {
	    {"closed at first", "", false, 0},
	    {"two failures may be chance", "ff", false, 0},
	    {"three open it", "fff", true, 1},
	    {"three in a row, not three in all", "ffsffsff", false, 0},
	    {"it opens once", "ffffffg", true, 1},
	    {"one that must be mended opens at once", "g", true, 1},
	    {"one answer closes it", "fffs", false, 2},
	    {"and counts anew", "fffsff", false, 2},
	    {"and opens again", "fffsfff", true, 3},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct breaker breaker = {0};
		unsigned changes = 0;
		for (const char *event = rows[i].events; *event; event++)
			changes += *event == 's'
				       ? breaker_succeeded(&breaker)
				       : breaker_failed(&breaker, *event == 'g');
		if (breaker.open != rows[i].open || changes != rows[i].changes)
			fail_msg(
			    "%s: open %d, %u changes", rows[i].why, breaker.open,
			    changes);
	}
}

static void probes_come_slower_up_to_a_bound(void **state)
{
	struct breaker breaker = {0};
	uint32_t last_ms = 0, sum_ms = 0;
	(void)state;

	assert_int_equal(breaker_wait_ms(&breaker), BREAKER_CLOSED_MS);
	breaker_failed(&breaker, false);
	assert_int_equal(breaker_wait_ms(&breaker), BREAKER_PROBE_FIRST_MS);
	breaker_failed(&breaker, true);
	for (int i = 0; i < 20; i++) {
		uint32_t wait_ms = breaker_wait_ms(&breaker);
		assert_true(wait_ms >= last_ms && wait_ms <= BREAKER_PROBE_MS);
		last_ms = wait_ms;
		sum_ms += wait_ms;
	}
	assert_int_equal(last_ms, BREAKER_PROBE_MS);
	assert_true(sum_ms < 20 * BREAKER_PROBE_MS);
	breaker_succeeded(&breaker);
	assert_int_equal(breaker_wait_ms(&breaker), BREAKER_CLOSED_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(events_one_after_the_other),
	    cmocka_unit_test(probes_come_slower_up_to_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
