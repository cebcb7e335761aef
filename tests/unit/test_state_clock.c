/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/state_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define SAVED  (INT64_C(1767571200000))

static void stops(void **state)
{
	static const struct {
		const char *why;
		int64_t wall_ms, steady_ms; /* since; of another boot: since it began */
		const char *boot;
		int64_t passed_ms, set_ms;
		bool went_back;
	} rows[] = {
	    {"a moment", 900, 900, "a", 900, 0, false},
	    {"a clock that NTP slows down", 2 * DAY - 80000, 2 * DAY, "a",
	     2 * DAY - 80000, 0, false},
	    {"set back a little", -400, 500, "a", -400, 0, false},
	    {"set forward", HOUR, MINUTE, "a", MINUTE, 59 * MINUTE, false},
	    {"set back", -HOUR, MINUTE, "a", MINUTE, -61 * MINUTE, false},
	    {"a steady clock that did not go on is another's", HOUR, -1000, "a", HOUR, 0,
	     false},
	    {"a boot", 5 * MINUTE, MINUTE, "b", 5 * MINUTE, 0, false},
	    {"off for longer than is believed", DAY, MINUTE, "b", 11 * MINUTE, 0, false},
	    {"back over a boot", -DAY, MINUTE, "b", 0, 0, true},
	    {"not known", 5 * MINUTE, MINUTE, "", 5 * MINUTE, 0, false},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool same = strcmp(rows[i].boot, "a") == 0;
		struct state_clock saved = {
		    .wall_ms = SAVED, .steady_ms = DAY, .boot = "a"};
		struct state_clock now = {
		    .wall_ms = SAVED + rows[i].wall_ms,
		    .steady_ms = rows[i].steady_ms + (same ? DAY : 0)};
		struct state_stop stop;
		snprintf(now.boot, sizeof(now.boot), "%s", rows[i].boot);
		state_stop_set(&saved, &now, &stop);
		if (stop.then_ms != SAVED + rows[i].passed_ms ||
		    stop.now_ms != now.wall_ms || stop.set_ms != rows[i].set_ms ||
		    stop.went_back != rows[i].went_back)
			fail_msg(
			    "%s: passed %lld, set %lld", rows[i].why,
			    (long long)(stop.then_ms - SAVED), (long long)stop.set_ms);
	}
	/* Two that are not known are not the same. */
	struct state_clock nowhere = {.wall_ms = SAVED, .steady_ms = DAY};
	struct state_clock later = {.wall_ms = SAVED + HOUR, .steady_ms = DAY + MINUTE};
	struct state_stop stop;
	state_stop_set(&nowhere, &later, &stop);
	assert_int_equal(stop.set_ms, 0);
}

static void the_clock_itself(void **state)
{
	(void)state;
	struct state_clock one, two;
	struct state_stop stop;

	state_clock_read(&one);
	state_clock_read(&two);
	assert_string_equal(one.boot, two.boot);
	assert_int_equal(strspn(one.boot, "0123456789abcdef"), 32);
	assert_true(one.wall_ms > SAVED && one.steady_ms > 0);
	state_stop_set(&one, &two, &stop);
	assert_int_equal(stop.set_ms, 0);
}

static void boots_that_are_told(void **state)
{
	static const struct {
		const char *why, *told, *boot;
	} rows[] = {
	    {"as systemd writes it", "00112233445566778899aabbccddeeff",
	     "00112233445566778899aabbccddeeff"},
	    {"as the kernel does", "00112233-4455-6677-8899-aabbccddeeff\n",
	     "00112233445566778899aabbccddeeff"},
	    {"nothing", "", ""},
	    {"too short", "00112233445566778899aabbccddeef", ""},
	    {"something else", "first boot of the day, says the administrator", ""},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct state_clock clock;
		setenv("POSTERN_BOOT_ID", rows[i].told, 1);
		state_clock_read(&clock);
		if (strcmp(clock.boot, rows[i].boot) != 0)
			fail_msg("%s: \"%s\"", rows[i].why, clock.boot);
	}
	unsetenv("POSTERN_BOOT_ID");
}

static int64_t below(unsigned *seed, int64_t limit)
{
	return (int64_t)((uint64_t)rand_r(seed) * 2147483648U + (uint64_t)rand_r(seed)) %
	       limit;
}

static uint64_t use_of(struct window window, bool distinct, uint32_t window_s, int64_t at)
{
	return distinct ? distinct_use(&window, window_s, at)
			: window_use(&window, window_s, at);
}

/* Never less than without the move, and nothing is left one window after that. */
static void no_move_frees(void **state)
{
	(void)state;
	unsigned seed = 7, moved = 0;

	for (int round = 0; round < 20000; round++) {
		uint32_t window_s = (uint32_t)(1 + below(&seed, 7200));
		int64_t window_ms = (int64_t)window_s * 1000;
		struct state_stop stop = {
		    .then_ms = SAVED + below(&seed, DAY),
		    .now_ms = SAVED + below(&seed, 3 * DAY) - DAY,
		};
		bool distinct = round % 2;
		struct window was = {
		    .start_ms = (stop.then_ms / window_ms - below(&seed, 3)) * window_ms,
		    .current = (uint64_t)below(&seed, 100),
		    .previous = (uint64_t)below(&seed, 100),
		};
		struct window is = was;
		if (use_of(was, distinct, window_s, stop.then_ms) == 0)
			continue; /* such are dropped */
		state_stop_move(&stop, window_s, &is);
		for (int step = 0; step <= 40; step++) {
			int64_t at = window_ms * step / 10;
			uint64_t want =
			    use_of(was, distinct, window_s, stop.then_ms + at);
			uint64_t got = use_of(is, distinct, window_s, stop.now_ms + at);
			uint64_t end = at < window_ms
					   ? UINT64_MAX
					   : use_of(
						 was, distinct, window_s,
						 stop.then_ms + at - window_ms);
			if (got < want || (end == 0 && got > 0))
				fail_msg(
				    "round %d, after %d tenths: %d instead of %d", round,
				    step, (int)got, (int)want);
		}
		moved++;
	}
	assert_true(moved > 10000);
}

static void what_was_not_set_stays(void **state)
{
	(void)state;
	struct state_stop stop = {.then_ms = SAVED, .now_ms = SAVED};
	struct window window = {.start_ms = SAVED + HOUR, .current = 3, .previous = 4};

	state_stop_move(&stop, 3600, &window);
	assert_int_equal(window.start_ms, SAVED + HOUR);
	/* One that lay ahead is ahead still, by one bucket at most. */
	stop.now_ms = SAVED - DAY;
	state_stop_move(&stop, 3600, &window);
	assert_int_equal(window.start_ms, SAVED - DAY + HOUR);
	/* Before 1970 there is nothing. */
	stop.now_ms = 1000;
	window.start_ms = SAVED - HOUR;
	state_stop_move(&stop, 3600, &window);
	assert_int_equal(window.start_ms, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(stops),
	    cmocka_unit_test(the_clock_itself),
	    cmocka_unit_test(boots_that_are_told),
	    cmocka_unit_test(no_move_frees),
	    cmocka_unit_test(what_was_not_set_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
