/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Memory of one message that goes in one step. What a library forgets to give back goes
 * too, and its hundred small allocations are one or two.
 *
 * Not for two threads at once. Grows with what is asked of it: the caller bounds that.
 */

struct arena_block;

/* Zero at first. */
struct arena {
	struct arena_block *blocks; /* the newest first */
	size_t left;                /* in the newest */
};

/* Aligned for any type; NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t size);
/* @wipe: secrets may lie in it. */
void arena_done(struct arena *arena, bool wipe);
