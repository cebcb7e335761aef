/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/limits.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * How long the daemon was down, told so that a wall clock that was set meanwhile, or that
 * is wrong after a boot, frees nobody: it would look like a stop in which every limit's
 * window has passed.
 *
 * On the same boot the clock that only goes forward says it. After another boot there is
 * the wall clock alone: it is believed up to what the machine has been up, and
 * STATE_OFF_MS that it may have been off.
 *
 * Pure but for state_clock_read().
 */

#define STATE_BOOT_MAX 40
#define STATE_OFF_MS   (INT64_C(10) * 60 * 1000)

struct state_clock {
	int64_t wall_ms;
	int64_t steady_ms;         /* since the boot; it only goes forward */
	char boot[STATE_BOOT_MAX]; /* which boot, 32 digits; "": not known */
};

/* The boot from POSTERN_BOOT_ID, which a service manager sets whose sandbox hides it, or
 * from /proc. */
void state_clock_read(struct state_clock *ret);

struct state_stop {
	int64_t then_ms; /* what the clock of the file would show now */
	int64_t now_ms;  /* what the clock shows */
	int64_t set_ms; /* the clock is known to have been set by so much; 0: it is not */
	/* It stands before the file's, and by how much it was set is not known. */
	bool went_back;
};

void state_stop_set(
    const struct state_clock *saved, const struct state_clock *now,
    struct state_stop *ret);

/*
 * Moves a window that was written by the file's clock to where the clock stands now: from
 * here on its use is never less than it would have been without that, and no longer than
 * one window more of it is left.
 */
void state_stop_move(
    const struct state_stop *stop, uint32_t window_s, struct window *window);
