/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/limits.h"

#include <assert.h>

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/*
 * The share of the previous bucket that the window still covers, rounded up:
 * previous * (window - elapsed) / window, by parts so that it cannot overflow.
 */
static uint64_t share(uint64_t previous, int64_t left_ms, int64_t window_ms)
{
	uint64_t window = (uint64_t)window_ms, left = (uint64_t)left_ms;
	uint64_t whole = previous / window * left;
	uint64_t rest = previous % window * left;

	return whole + rest / window + (rest % window != 0);
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
	window->previous = start_ms - window->start_ms == window_ms ? window->current : 0;
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
 * When @free units will be left of @max, in ms from @now_ms; -1: not within two windows.
 * Use falls as time goes on with nothing added, so the first such moment is found by
 * halving.
 */
static int64_t fits_after(
    const struct window *window, int64_t window_ms, int64_t now_ms, uint64_t amount,
    uint64_t max)
{
	int64_t low = 0, high = 2 * window_ms;

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

void window_add(struct window *window, uint64_t amount)
{
	window->current = add_saturating(window->current, amount);
}
