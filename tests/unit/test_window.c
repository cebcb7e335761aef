/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_S  3600U
#define HOUR_MS 3600000LL
#define T0      (500000LL * HOUR_MS)

static void uses(void **state)
{
	static const struct {
		const char *why;
		uint64_t previous, current;
		long long at_ms; /* from T0, where the current bucket began */
		uint64_t use;
	} rows[] = {
	    {"an empty window", 0, 0, 0, 0},
	    {"this bucket counts whole", 0, 7, HOUR_MS - 1, 7},
	    {"the previous one whole at the start", 10, 0, 0, 10},
	    {"half of it in the middle", 10, 0, HOUR_MS / 2, 5},
	    {"rounded up", 10, 0, HOUR_MS / 2 + 1, 5},
	    {"rounded up to one until the very end", 10, 0, HOUR_MS - 1, 1},
	    {"rolled by one bucket", 10, 6, HOUR_MS, 6},
	    {"rolled by one and a half", 10, 6, HOUR_MS * 3 / 2, 3},
	    {"rolled by two: all forgotten", 10, 6, 2 * HOUR_MS, 0},
	    {"a clock set back a little: nothing is forgiven", 10, 6, -HOUR_MS / 2, 16},
	    {"huge counts do not overflow", WINDOW_USE_MAX, WINDOW_USE_MAX, HOUR_MS / 2,
	     WINDOW_USE_MAX},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct window window = {T0, rows[i].current, rows[i].previous};
		uint64_t use = window_use(&window, HOUR_S, T0 + rows[i].at_ms);
		if (use != rows[i].use)
			fail_msg(
			    "%s: %llu, not %llu", rows[i].why, (unsigned long long)use,
			    (unsigned long long)rows[i].use);
	}
}

/* A bucket that a wrong clock left a day ahead does not lock out for a day. */
static void clock_far_back(void **state)
{
	(void)state;
	struct window window = {T0 + 24 * HOUR_MS, 5, 5};

	assert_int_equal(window_use(&window, HOUR_S, T0), 10);
	assert_int_equal(window_use(&window, HOUR_S, T0 + 2 * HOUR_MS), 0);
}

static void retry_is_enough_and_not_too_much(void **state)
{
	(void)state;
	srand(7);
	for (int i = 0; i < 20000; i++) {
		uint64_t max = 1 + (uint64_t)rand() % 50,
			 amount = 1 + (uint64_t)rand() % 10;
		int64_t now = T0 + rand() % HOUR_MS;
		struct window window = {
		    T0, (uint64_t)rand() % (max + 1), (uint64_t)rand() % (max + 1)};
		struct window before = window;
		struct charge_result result =
		    window_look(&window, HOUR_S, now, amount, max);
		if (!result.over) {
			assert_true(result.used + amount <= max);
			continue;
		}
		if (amount > max) {
			assert_int_equal(result.retry_after_s, UINT32_MAX);
			continue;
		}
		assert_int_not_equal(result.retry_after_s, 0);
		struct window later = before;
		assert_false(
		    window_look(
			&later, HOUR_S, now + 1000LL * result.retry_after_s, amount, max)
			.over);
		later = before;
		assert_true(window_look(
				&later, HOUR_S, now + 1000LL * (result.retry_after_s - 1),
				amount, max)
				.over);
	}
}

/*
 * The guarantee: against an exact log of what was let through, no window of the
 * configured length ever holds 2 * max or more, and no bucket of the grid holds more than
 * max.
 */
static void never_twice_the_max(void **state)
{
	enum { EVENTS = 4000, WINDOW_S = 60 };
	static int64_t passed_ms[EVENTS];
	(void)state;

	for (unsigned seed = 1; seed <= 40; seed++) {
		const uint64_t max = 5 + seed % 7;
		struct window window = {0};
		int64_t now = T0;
		size_t passed = 0, from = 0;

		srand(seed);
		for (int i = 0; i < EVENTS; i++) {
			/* Bursts at the edges of buckets, and quiet times. */
			now += rand() % 10 ? rand() % (seed % 3 ? 3000 : 50)
					   : rand() % 90000;
			if (window_look(&window, WINDOW_S, now, 1, max).over)
				continue;
			window_add(&window, 1);
			passed_ms[passed++] = now;
			while (passed_ms[from] <= now - 1000 * WINDOW_S)
				from++;
			if (passed - from >= 2 * max)
				fail_msg(
				    "seed %u: %zu in one window, max %llu", seed,
				    passed - from, (unsigned long long)max);
		}
		assert_true(passed > max);
	}
}

static void add_saturates(void **state)
{
	(void)state;
	struct window window = {T0, WINDOW_USE_MAX - 1, 0};

	window_add(&window, 5);
	assert_true(window.current == WINDOW_USE_MAX);
	assert_true(window_look(&window, HOUR_S, T0, 1, WINDOW_USE_MAX).over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(uses),
	    cmocka_unit_test(clock_far_back),
	    cmocka_unit_test(retry_is_enough_and_not_too_much),
	    cmocka_unit_test(never_twice_the_max),
	    cmocka_unit_test(add_saturates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
