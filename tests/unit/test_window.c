/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/limits.h"

#include <math.h>
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
 * The guarantee of docs/limits.md, against an exact log of what was let through. Patterns
 * of arrivals are made by a small generator of their own, so that they are the same
 * everywhere; times are in ms from T0.
 */

struct arrival {
	int64_t at_ms;
	uint64_t amount;
};

enum { EVENTS = 6000, LIMITED_S = 60, LIMITED_MS = 60000 };

struct trial {
	uint64_t max;
	uint64_t seed; /* of the generator */
	struct window window;
	bool fixed; /* a window that does not slide, to see that the check sees it */
	struct arrival passed[EVENTS];
	size_t count;
	uint64_t worst; /* the most in an interval as long as the window */
};

static uint64_t draw(struct trial *trial, uint64_t below)
{
	/* xorshift64: good enough to be unkind. */
	trial->seed ^= trial->seed << 13;
	trial->seed ^= trial->seed >> 7;
	trial->seed ^= trial->seed << 17;
	return trial->seed % below;
}

/* Asks for @amount at @at_ms; true: it was let through, and charged. */
static bool arrive(struct trial *trial, int64_t at_ms, uint64_t amount)
{
	int64_t now = T0 + at_ms;

	if (trial->fixed && now - now % LIMITED_MS > trial->window.start_ms)
		trial->window = (struct window){.start_ms = now - now % LIMITED_MS};
	if (trial->count == EVENTS ||
	    window_look(&trial->window, LIMITED_S, now, amount, trial->max).over)
		return false;
	window_add(&trial->window, amount);
	trial->passed[trial->count++] = (struct arrival){now, amount};
	return true;
}

static uint64_t sum_between(const struct trial *trial, size_t last, int64_t after_ms)
{
	uint64_t sum = 0;

	for (size_t i = last + 1; i-- > 0 && trial->passed[i].at_ms > after_ms;)
		sum += trial->passed[i].amount;
	return sum;
}

/* What is promised of the interval that ends with arrival number @last. NULL: it holds.
 */
static const char *broken_at(struct trial *trial, size_t last)
{
	int64_t now = trial->passed[last].at_ms, begin = now - now % LIMITED_MS;
	uint64_t current = sum_between(trial, last, begin - 1);
	uint64_t two = sum_between(trial, last, begin - LIMITED_MS - 1);
	uint64_t in_window = sum_between(trial, last, now - LIMITED_MS);
	uint64_t elapsed = (uint64_t)(now - begin);

	if (in_window > trial->worst)
		trial->worst = in_window;
	if (current > trial->max)
		return "a bucket holds more than max";
	if (in_window * LIMITED_MS > trial->max * LIMITED_MS + (two - current) * elapsed)
		return "an interval holds more than max + previous * e / W";
	if (in_window >= 2 * trial->max)
		return "an interval holds twice max";
	return NULL;
}

/* The patterns: each fills a trial by arrive(). */

static void at_random(struct trial *trial)
{
	int64_t at = 0;

	while (trial->count < EVENTS / 4 && at < 4000 * LIMITED_MS) {
		at += (int64_t)draw(trial, 2 * LIMITED_MS / (1 + trial->max / 2));
		arrive(trial, at, 1);
	}
}

static void large_and_small(struct trial *trial)
{
	int64_t at = 0;

	while (trial->count < EVENTS / 4 && at < 4000 * LIMITED_MS) {
		at += (int64_t)draw(trial, 3000);
		arrive(trial, at, 1 + draw(trial, draw(trial, 3) ? 3 : trial->max));
	}
}

/* Everything that fits, at moments around the ends of buckets. */
static void at_the_edges(struct trial *trial)
{
	for (int bucket = 1; bucket < 300; bucket++)
		for (int n = 0; n < 6; n++) {
			int64_t at = (int64_t)bucket * LIMITED_MS - 3 + n;
			while (arrive(trial, at, 1))
				;
		}
}

/* The worst there is: a burst that ends a bucket, then whatever fits, at once. */
static void burst_then_steady(struct trial *trial)
{
	for (int64_t round = 0; round < 8; round++) {
		int64_t from = round * 5 * LIMITED_MS;
		while (arrive(trial, from + LIMITED_MS - 1, 1))
			;
		for (int64_t at = LIMITED_MS; at < 2 * LIMITED_MS; at += 25)
			while (arrive(trial, from + at, 1))
				;
	}
}

/* Greedy all the time: each unit as soon as it fits. */
static void greedy(struct trial *trial)
{
	for (int64_t at = 0; at < 60 * LIMITED_MS; at += 50 + (int64_t)draw(trial, 100))
		while (arrive(trial, at, 1))
			;
}

/* Bursts at a period a little off the window's, so that every phase is met. */
static void beating(struct trial *trial)
{
	int64_t period = LIMITED_MS / (1 + (int64_t)draw(trial, 4)) +
			 (int64_t)draw(trial, 4001) - 2000;

	for (int64_t at = 0, n = 0; n < 400; n++, at += period)
		for (uint64_t i = draw(trial, 2 * trial->max + 1); i > 0; i--)
			arrive(trial, at, 1);
}

static const struct pattern {
	const char *why;
	void (*fill)(struct trial *);
	bool shows_fixed; /* a window that does not slide breaks the promise under it */
} patterns[] = {
    {"at random", at_random, false},
    {"large and small", large_and_small, false},
    {"at the edges of buckets", at_the_edges, true},
    {"a burst, then steady", burst_then_steady, true},
    {"greedy all the time", greedy, true},
    {"bursts that beat with the window", beating, false},
};

#define PATTERNS (sizeof(patterns) / sizeof(patterns[0]))

/* NULL: the promise holds for all that was let through. */
static const char *run_trial(struct trial *trial, const struct pattern *pattern)
{
	const char *broken = NULL;

	trial->window = (struct window){0};
	trial->count = 0;
	trial->worst = 0;
	pattern->fill(trial);
	for (size_t i = 0; i < trial->count && !broken; i++)
		broken = broken_at(trial, i);
	return broken;
}

static void the_guarantee(void **state)
{
	static struct trial trial;
	(void)state;

	for (uint64_t seed = 1; seed <= 60; seed++)
		for (size_t i = 0; i < PATTERNS; i++) {
			trial.seed = seed * UINT64_C(0x9E3779B97F4A7C15);
			trial.max = seed <= 20 ? seed : 1 + seed * 7 % 100;
			trial.fixed = false;
			const char *broken = run_trial(&trial, &patterns[i]);
			if (broken)
				fail_msg(
				    "%s, seed %llu, max %llu: %s", patterns[i].why,
				    (unsigned long long)seed,
				    (unsigned long long)trial.max, broken);
			/* It must let something through to have been tried at all. */
			assert_true(trial.count > 5);
		}
}

/* What the test above is worth: a fixed window does not pass it. */
static void a_fixed_window_would_be_seen(void **state)
{
	static struct trial trial;
	(void)state;

	for (size_t i = 0; i < PATTERNS; i++) {
		trial.seed = 77;
		trial.max = 20;
		trial.fixed = true;
		if (patterns[i].shows_fixed && !run_trial(&trial, &patterns[i]))
			fail_msg("%s: a fixed window passed", patterns[i].why);
	}
}

/* The bound is not a loose one: the worst pattern comes close to it. */
static void the_bound_is_tight(void **state)
{
	static struct trial trial;
	(void)state;

	trial.seed = 1;
	trial.max = 100;
	trial.fixed = false;
	assert_null(run_trial(&trial, &patterns[3]));
	assert_in_range(trial.worst, 195, 199);
}

/* Nobody is held below the max for long: steady demand gets max - 1 or max a window. */
static void steady_demand_gets_its_share(void **state)
{
	static struct trial trial;
	(void)state;

	for (uint64_t max = 1; max <= 60; max += 7) {
		trial.seed = max;
		trial.max = max;
		trial.fixed = false;
		assert_null(run_trial(&trial, &patterns[4]));
		uint64_t passed = sum_between(&trial, trial.count - 1, 0);
		assert_in_range(passed, 60 * (max - 1) + 1, 60 * max);
	}
}

/*
 * What the script in Redis computes in doubles is what window.c computes: the same
 * formula in doubles, over the whole range.
 */
static void doubles_agree(void **state)
{
	static struct trial trial = {.seed = 4711};
	(void)state;

	for (int i = 0; i < 300000; i++) {
		uint32_t window_s = 1 + (uint32_t)draw(&trial, 366 * 86400);
		int64_t window_ms = (int64_t)window_s * 1000;
		int64_t start = T0 / window_ms * window_ms;
		int64_t elapsed = (int64_t)draw(&trial, (uint64_t)window_ms);
		uint64_t previous = draw(&trial, WINDOW_USE_MAX) >> draw(&trial, 53);
		uint64_t current = draw(&trial, WINDOW_USE_MAX) >> draw(&trial, 53);
		struct window window = {start, current, previous};
		double left = (double)(window_ms - elapsed), w = (double)window_ms;
		double steps = floor((left * 65536 + w - 1) / w);
		double whole = floor((double)previous / 65536);
		double use =
		    (double)current + whole * steps +
		    floor((((double)previous - whole * 65536) * steps + 65535) / 65536);
		if (use > (double)WINDOW_USE_MAX)
			use = (double)WINDOW_USE_MAX;
		assert_true(
		    window_use(&window, window_s, start + elapsed) == (uint64_t)use);
	}
}

/* A reload that makes the window longer keeps what was counted: see roll(). */
static void longer_window(void **state)
{
	(void)state;
	struct window window = {T0 + 10 * HOUR_MS, 7, 0};
	int64_t day = T0 - T0 % (24 * HOUR_MS) + 24 * HOUR_MS;

	while (day <= T0 + 10 * HOUR_MS)
		day += 24 * HOUR_MS;
	assert_int_equal(window_use(&window, 24 * HOUR_S, day - 1), 7);
	assert_int_equal(window_use(&window, 24 * HOUR_S, day), 7);
	assert_int_equal(window_use(&window, 24 * HOUR_S, day + 12 * HOUR_MS), 4);
	assert_int_equal(window_use(&window, 24 * HOUR_S, day + 24 * HOUR_MS), 0);
}

static void distinct(void **state)
{
	static const struct {
		const char *why;
		uint64_t current, previous;
		long long at_ms;
		bool is_member;
		uint64_t max;
		bool over;
		uint32_t retry_s;
	} rows[] = {
	    {"room", 1, 1, 0, false, 3, false, 0},
	    {"full", 2, 1, 0, false, 3, true, HOUR_S},
	    {"full, a member", 2, 1, 0, true, 3, false, 0},
	    {"one too many, a member", 3, 1, 0, true, 3, true, 2 * HOUR_S},
	    {"full of this bucket's: two windows", 3, 0, 0, false, 3, true, 2 * HOUR_S},
	    {"waiting is rounded up", 0, 3, 1, false, 3, true, HOUR_S},
	    {"the last second", 0, 3, HOUR_MS - 999, false, 3, true, 1},
	    {"the next bucket", 3, 3, HOUR_MS, false, 3, true, HOUR_S},
	    {"the bucket after it", 3, 3, 2 * HOUR_MS, false, 3, false, 0},
	    {"max 0: never", 0, 0, 0, false, 0, true, UINT32_MAX},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct window window = {T0, rows[i].current, rows[i].previous};
		struct charge_result got = distinct_look(
		    &window, HOUR_S, T0 + rows[i].at_ms, rows[i].is_member, rows[i].max);
		if (got.over != rows[i].over || got.retry_after_s != rows[i].retry_s)
			fail_msg(
			    "%s: over %d, again in %us", rows[i].why, got.over,
			    got.retry_after_s);
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
	    cmocka_unit_test(the_guarantee),
	    cmocka_unit_test(a_fixed_window_would_be_seen),
	    cmocka_unit_test(the_bound_is_tight),
	    cmocka_unit_test(steady_demand_gets_its_share),
	    cmocka_unit_test(doubles_agree),
	    cmocka_unit_test(longer_window),
	    cmocka_unit_test(distinct),
	    cmocka_unit_test(add_saturates),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
