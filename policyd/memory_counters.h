/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/limits.h"
#include "policyd/memory_members.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * One shard of the memory store's counters: a table of chains, and two lists in order of
 * last use, of the counters that are up to their max and of the others. Bounded: a
 * counter counts as one and so does each member of its set.
 *
 * The table grows by one chain for each new counter (linear hashing: the next chain in
 * turn is split in two). So there is no pause for moving a million entries, and what a
 * few counters touch is a few cache lines and pages.
 *
 * The caller hashes and locks.
 */

struct counter {
	struct counter *chain;
	TAILQ_ENTRY(counter) order;
	uint64_t hash;
	struct window window;
	uint64_t max;
	struct members *members; /* NULL: a window of amounts */
	uint32_t window_s;
	uint16_t key_len;
	bool full;   /* in the list of those up to their max */
	bool pinned; /* part of the request being answered: must not go */
	char key[];
};

TAILQ_HEAD(counter_list, counter);

struct counters {
	struct counter **chains;
	atomic_size_t chains_count; /* in use; atomic for counters_prefetch() alone */
	size_t home_mask;           /* chains that there can be, a power of two, - 1 */
	size_t count, max;
	struct counter_list idle, full; /* least recently used first */
};

int counters_init(struct counters *counters, size_t max);
void counters_done(struct counters *counters); /* all zero is fine */

/* The chain of this hash. */
static inline struct counter **counters_chain(
    const struct counters *counters, uint64_t hash)
{
	size_t count =
	    atomic_load_explicit(&counters->chains_count, memory_order_relaxed);
	size_t mask = SIZE_MAX >> __builtin_clzl(count - 1);
	size_t at = hash & mask;

	return &counters->chains[at < count ? at : at & mask >> 1];
}

/* It will be asked for in a moment: begins to fetch where it would stand. Needs no lock.
 */
static inline void counters_prefetch(const struct counters *counters, uint64_t hash)
{
	__builtin_prefetch(counters_chain(counters, hash));
}

/* NULL: there is none. */
struct counter *counters_find(
    const struct counters *counters, uint64_t hash, const char *key, size_t key_len);

/*
 * Adds an empty one for this charge, whose key there is not, with its set where it has a
 * member. Idle ones go for it, never one that is up to its max or pinned. NULL: no room
 * or no memory.
 */
struct counter *counters_add(
    struct counters *counters, uint64_t hash, const struct charge *charge,
    int64_t now_ms);

/* Adds a member that is not in the set; as above. The window is the caller's. */
struct member *counters_add_member(
    struct counters *counters, struct counter *counter, uint32_t hash, const char *text,
    size_t len, int64_t now_ms);
void counters_remove_member(
    struct counters *counters, struct counter *counter, struct member *member);

void counters_drop(struct counters *counters, struct counter *counter);

/* Rolls it on to @now_ms, its set too; returns its use. */
uint64_t counters_use(struct counters *counters, struct counter *counter, int64_t now_ms);

/* It was used just now, and its use is up to its max or not. */
static inline void counters_touch(
    struct counters *counters, struct counter *counter, bool full)
{
	struct counter_list *from = counter->full ? &counters->full : &counters->idle;
	struct counter_list *to = full ? &counters->full : &counters->idle;

	if (from == to && !TAILQ_NEXT(counter, order))
		return;
	TAILQ_REMOVE(from, counter, order);
	counter->full = full;
	TAILQ_INSERT_TAIL(to, counter, order);
}
