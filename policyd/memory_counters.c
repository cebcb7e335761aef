/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/memory_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Counters whose window has run out, dropped at most at each new one: the table follows
 * what is in use without a sweep. */
#define EXPIRE_AT_ONCE 2

/* A power of two. */
#define FIRST_CHAINS 16

/* Full counters looked at for one that is not full any more, before giving up. */
#define FULL_LOOKS 16

int counters_init(struct counters *counters, size_t max)
{
	size_t homes = FIRST_CHAINS;

	while (homes < max)
		homes *= 2;
	*counters = (struct counters){
	    .max = max, .chains_count = FIRST_CHAINS, .home_mask = homes - 1};
	TAILQ_INIT(&counters->idle);
	TAILQ_INIT(&counters->full);
	/* Untouched pages cost nothing: calloc() maps them. */
	counters->chains = calloc(homes, sizeof(struct counter *));
	return counters->chains ? 0 : -ENOMEM;
}

void counters_done(struct counters *counters)
{
	if (!counters->chains)
		return;
	while (!TAILQ_EMPTY(&counters->idle))
		counters_drop(counters, TAILQ_FIRST(&counters->idle));
	while (!TAILQ_EMPTY(&counters->full))
		counters_drop(counters, TAILQ_FIRST(&counters->full));
	free(counters->chains);
	*counters = (struct counters){0};
}

struct counter *counters_find(
    const struct counters *counters, uint64_t hash, const char *key, size_t key_len)
{
	struct counter *counter = *counters_chain(counters, hash);

	while (counter && (counter->hash != hash || counter->key_len != key_len ||
			   memcmp(counter->key, key, key_len) != 0))
		counter = counter->chain;
	return counter;
}

void counters_drop(struct counters *counters, struct counter *counter)
{
	struct counter **link = counters_chain(counters, counter->hash);

	while (*link != counter)
		link = &(*link)->chain;
	*link = counter->chain;
	if (counter->full)
		TAILQ_REMOVE(&counters->full, counter, order);
	else
		TAILQ_REMOVE(&counters->idle, counter, order);
	counters->count -= 1 + (counter->members ? counter->members->count : 0);
	members_free(counter->members);
	free(counter);
}

uint64_t counters_use(struct counters *counters, struct counter *counter, int64_t now_ms)
{
	const struct window before = counter->window;

	if (!counter->members)
		return window_use(&counter->window, counter->window_s, now_ms);
	uint64_t use = distinct_use(&counter->window, counter->window_s, now_ms);
	if (before.current != counter->window.current ||
	    before.previous != counter->window.previous)
		counters->count -=
		    members_age(counter->members, counter->window.previous == 0);
	return use;
}

static void drop_expired(struct counters *counters, int64_t now_ms)
{
	for (int i = 0; i < EXPIRE_AT_ONCE; i++) {
		struct counter *oldest = TAILQ_FIRST(&counters->idle);
		if (!oldest || oldest->pinned ||
		    counters_use(counters, oldest, now_ms) > 0)
			return;
		counters_drop(counters, oldest);
	}
}

/* What a request uses is touched before it is pinned: those stand at the lists' ends. */
static struct counter *dispensable(struct counters *counters, int64_t now_ms)
{
	struct counter *oldest = TAILQ_FIRST(&counters->idle);

	if (oldest && !oldest->pinned)
		return oldest;
	oldest = TAILQ_FIRST(&counters->full);
	for (int i = 0; i < FULL_LOOKS && oldest && !oldest->pinned; i++) {
		uint64_t use = counters_use(counters, oldest, now_ms);
		/* Under a max of 0 is none, but one that has run out tells nothing. */
		if (use < oldest->max || use == 0)
			return oldest;
		oldest = TAILQ_NEXT(oldest, order);
	}
	return NULL;
}

/* Room for @more. False: every counter is up to its max, or part of this request. */
static bool make_room(struct counters *counters, size_t more, int64_t now_ms)
{
	drop_expired(counters, now_ms);
	while (counters->count + more > counters->max) {
		struct counter *counter = dispensable(counters, now_ms);
		if (!counter)
			return false;
		counters_drop(counters, counter);
	}
	return true;
}

/* One chain more while there are more counters than chains: those of the chain that is
 * split which now belong to it move there. */
static void grow(struct counters *counters)
{
	size_t added = counters->chains_count;

	if (added > counters->home_mask || counters->count < added)
		return;
	size_t mask = SIZE_MAX >> __builtin_clzl(added);
	struct counter **link = &counters->chains[added & mask >> 1];
	counters->chains_count++;
	while (*link) {
		struct counter *counter = *link;
		if ((counter->hash & mask) != added) {
			link = &counter->chain;
			continue;
		}
		*link = counter->chain;
		counter->chain = counters->chains[added];
		counters->chains[added] = counter;
	}
}

struct counter *counters_add(
    struct counters *counters, uint64_t hash, const struct charge *charge, int64_t now_ms)
{
	if (!make_room(counters, 1, now_ms))
		return NULL;
	struct counter *counter = malloc(sizeof(*counter) + charge->key_len);
	if (!counter)
		return NULL;
	*counter = (struct counter){
	    .hash = hash,
	    .window_s = charge->window_s,
	    .max = charge->max,
	    .key_len = charge->key_len,
	};
	if (charge->member_len > 0) {
		counter->members = members_new();
		if (!counter->members) {
			free(counter);
			return NULL;
		}
	}
	memcpy(counter->key, charge->key, charge->key_len);
	window_use(&counter->window, counter->window_s, now_ms);
	grow(counters);
	struct counter **chain = counters_chain(counters, hash);
	counter->chain = *chain;
	*chain = counter;
	TAILQ_INSERT_TAIL(&counters->idle, counter, order);
	counters->count++;
	return counter;
}

struct member *counters_add_member(
    struct counters *counters, struct counter *counter, uint32_t hash, const char *text,
    size_t len, int64_t now_ms)
{
	if (!make_room(counters, 1, now_ms))
		return NULL;
	struct member *member = members_add(counter->members, hash, text, len);
	if (member)
		counters->count++;
	return member;
}

void counters_remove_member(
    struct counters *counters, struct counter *counter, struct member *member)
{
	members_remove(counter->members, member);
	counters->count--;
}
