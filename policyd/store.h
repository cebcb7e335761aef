/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where counters live. One question per request, whatever the number of limits: all hard
 * charges fit and everything is charged, or nothing is. A token seen before returns the
 * outcome it got then.
 *
 * A distinct count (charge.member_len) holds a set: a member that is in it is counted no
 * second time, only seen again, and fits unless there are more than max; a new one fits
 * while there are fewer than max. A soft one that is over is added up to max + 1 members,
 * which bounds the set; from then on all are over.
 *
 * tests/limit_cases.json says it in examples: every store is run against them.
 *
 * The answer comes through a callback, on the thread that asked, perhaps before
 * store_ask() returns (the memory store always does). It comes exactly once, and never
 * later than the store's own deadline.
 */

struct store;

struct store_request {
	const char *token; /* names this charge for ever; token_len 0: none. Of no use
			      when all charges look */
	size_t token_len;
	const struct charge *charges; /* the caller's, unchanged until the answer */
	size_t count;
	int64_t
	    now_ms; /* wall clock; the memory store's time, so that tests can set it */
};

typedef void store_answer(void *context, const struct outcome *outcome);

void store_ask(
    struct store *store, const struct store_request *request, store_answer *answer,
    void *context);

/* One counter as it stands, for `postern usage` and the state file. */
struct store_row {
	const char *key; /* charge.key, not terminated */
	size_t key_len;
	/* As it was last written: the reader rolls it on to @now_ms with the limit's
	 * window (window_use(), distinct_use()). */
	struct window window;
	int64_t now_ms; /* the store's clock */
};

typedef void store_row_seen(void *context, const struct store_row *row);

/* @r: 0 all; -ETIMEDOUT some, it took too long; other negative errno: none, the store is
 * away. Called once, after the last row. */
typedef void store_done(void *context, int r);

/* The counters of these keys (strings); keys that do not exist are left out. */
void store_read(
    struct store *store, const char *const *keys, size_t count, store_row_seen *seen,
    store_done *done, void *context);

/* All counters, in any order; for an operator, not for the hot path. */
void store_scan(
    struct store *store, store_row_seen *seen, store_done *done, void *context);

/* Sets the counters of these keys back: they are gone. */
void store_forget(
    struct store *store, const char *const *keys, size_t count, store_done *done,
    void *context);

/*
 * What a store is made of: the functions above find their way by it. Each is called on
 * the thread that owns the store (the memory store has no owner: any thread).
 */
struct store_ops {
	void (*ask)(
	    struct store *, const struct store_request *, store_answer *, void *context);
	void (*read)(
	    struct store *, const char *const *keys, size_t count, store_row_seen *,
	    store_done *, void *context);
	void (*scan)(struct store *, store_row_seen *, store_done *, void *context);
	void (*forget)(
	    struct store *, const char *const *keys, size_t count, store_done *,
	    void *context);
	struct store *(*free)(struct store *);
};

struct store {
	const struct store_ops *ops; /* first member of every store's own struct */
};

struct store *store_free(struct store *store);

/*
 * Memory store: any thread may ask. Bounded to @max_keys counters and as many tokens.
 *
 * Counters: when there is no room for a new one, the least recently used goes that is not
 * up to its max; when all are, the charge is OUTCOME_UNAVAILABLE. Looks need no room.
 * Tokens are remembered for STORE_TOKEN_S; when more than @max_keys come in that time the
 * oldest go first, and a repetition of one of those is charged again. A remembered
 * outcome may have another count than the charges of a later request that repeats its
 * token (after a reload).
 *
 * The keys of one request's charges differ.
 */
#define STORE_TOKEN_S (15 * 60)

int store_memory_new(size_t max_keys, struct store **ret);

struct event_base;
struct config;

/*
 * Redis store of one event loop: all calls on its thread. Asks @memory (the daemon's,
 * shared, outlives this) while the configuration has no "redis", and when Redis is slow
 * or away and on_failure is local. Starts without Redis; store_redis_set() says which.
 */
int store_redis_new(struct event_base *base, struct store *memory, struct store **ret);

/* The configuration in force, at the start and after each reload. Calls under way end as
 * they began. */
void store_redis_set(struct store *store, struct config *config);

/* Redis is configured and does not answer: what is read or looked at is this daemon's
 * own, if anything. */
bool store_redis_is_away(const struct store *store);

/* What this daemon counts up to now, of @max: all of it, but its share while it counts
 * alone. */
uint64_t store_redis_max(const struct store *store, uint64_t max);
