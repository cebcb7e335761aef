/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/limits.h"

#include <assert.h>

/* Steps in which the previous bucket fades: a year of milliseconds times this is exact in
 * a double. */
#define WINDOW_STEPS UINT64_C(65536)

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	return a > WINDOW_USE_MAX || b > WINDOW_USE_MAX - a ? WINDOW_USE_MAX : a + b;
}

/*
 * The share of the previous bucket that the window still covers, rounded up, in steps of
 * 1/65536 of the window: the store's script does the same in doubles, where every product
 * here stays under 2^53 and so is exact.
 */
static uint64_t share(uint64_t previous, int64_t left_ms, int64_t window_ms)
{
	uint64_t window = (uint64_t)window_ms, left = (uint64_t)left_ms;
	uint64_t steps = (left * WINDOW_STEPS + window - 1) / window;
	uint64_t whole = previous / WINDOW_STEPS * steps;
	uint64_t rest = previous % WINDOW_STEPS * steps;

	return whole + (rest + WINDOW_STEPS - 1) / WINDOW_STEPS;
}

/* A bucket that lies in the future belongs to a clock that was set back since. */
static void pull_back(struct window *window, int64_t start_ms, int64_t window_ms)
{
	if (window->start_ms > start_ms + window_ms)
		window->start_ms = start_ms;
}

static void roll(struct window *window, int64_t window_ms, int64_t now_ms)
{
	int64_t start_ms = now_ms - now_ms % window_ms;

	pull_back(window, start_ms, window_ms);
	if (start_ms <= window->start_ms)
		return;
	/* Less than a window apart: a reload made the window longer. */
	window->previous = start_ms - window->start_ms <= window_ms ? window->current : 0;
	window->current = 0;
	window->start_ms = start_ms;
}

static uint64_t use_at(const struct window *window, int64_t window_ms, int64_t now_ms)
{
	int64_t elapsed_ms = now_ms - window->start_ms;

	if (elapsed_ms < 0) /* the clock stepped back: the whole previous bucket counts */
		elapsed_ms = 0;
	return add_saturating(
	    window->current, share(window->previous, window_ms - elapsed_ms, window_ms));
}

uint64_t window_use(struct window *window, uint32_t window_s, int64_t now_ms)
{
	int64_t window_ms = (int64_t)window_s * 1000;

	assert(window_s > 0 && now_ms >= 0);
	roll(window, window_ms, now_ms);
	return use_at(window, window_ms, now_ms);
}

/*
 * When @amount will fit under @max, in ms from @now_ms; -1: never. Use falls as time goes
 * on with nothing added, and is gone after two windows, or after three where the clock
 * stepped back: the first such moment is found by halving.
 */
static int64_t fits_after(
    const struct window *window, int64_t window_ms, int64_t now_ms, uint64_t amount,
    uint64_t max)
{
	int64_t low = 0, high = 3 * window_ms;

	if (amount > max)
		return -1;
	while (low < high) {
		int64_t middle = low + (high - low) / 2;
		struct window later = *window;
		roll(&later, window_ms, now_ms + middle);
		if (use_at(&later, window_ms, now_ms + middle) <= max - amount)
			high = middle;
		else
			low = middle + 1;
	}
	return high;
}

struct charge_result window_look(
    struct window *window, uint32_t window_s, int64_t now_ms, uint64_t amount,
    uint64_t max)
{
	int64_t window_ms = (int64_t)window_s * 1000;
	struct charge_result result = {.used = window_use(window, window_s, now_ms)};

	result.over = amount > max || result.used > max - amount;
	if (!result.over)
		return result;
	int64_t after_ms = fits_after(window, window_ms, now_ms, amount, max);
	result.retry_after_s =
	    after_ms < 0 ? UINT32_MAX : (uint32_t)((after_ms + 999) / 1000);
	return result;
}

uint64_t distinct_use(struct window *window, uint32_t window_s, int64_t now_ms)
{
	assert(window_s > 0 && now_ms >= 0);
	roll(window, (int64_t)window_s * 1000, now_ms);
	return add_saturating(window->current, window->previous);
}

struct charge_result distinct_look(
    struct window *window, uint32_t window_s, int64_t now_ms, bool is_member,
    uint64_t max)
{
	int64_t window_ms = (int64_t)window_s * 1000;
	struct charge_result result = {.used = distinct_use(window, window_s, now_ms)};

	result.over = is_member ? result.used > max : result.used >= max;
	if (!result.over)
		return result;
	/* The previous bucket's members go when the next one begins, this one's a window
	 * later. */
	int64_t after_ms = window->start_ms + window_ms - now_ms;
	if (window->current >= max)
		after_ms += window_ms;
	result.retry_after_s =
	    max == 0 ? UINT32_MAX : (uint32_t)((after_ms + 999) / 1000);
	return result;
}

void window_add(struct window *window, uint64_t amount)
{
	window->current = add_saturating(window->current, amount);
}
