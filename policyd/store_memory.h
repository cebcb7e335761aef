/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The memory store's counters and tokens whole, for the state file: out of it while it
 * serves, and back into a new one. Only for what store_memory_new() made.
 */

struct memory_member {
	const char *text; /* not terminated */
	uint8_t len;
	bool previous; /* seen in the previous bucket alone */
};

struct memory_counter {
	const char *key; /* not terminated */
	size_t key_len;
	uint32_t window_s;
	uint64_t max;         /* of its limit, when it was last used */
	struct window window; /* as it was last written */
	bool distinct;
	const struct memory_member *members; /* distinct: as many as @window says */
	size_t members_count;
};

/* False: no more of them. */
typedef bool memory_counter_seen(void *context, const struct memory_counter *counter);

/*
 * Shows every counter once that exists all the while, in no order. Copies some at a time
 * under a shard's lock, which is held for microseconds, and calls @seen without one. 0;
 * -ENOMEM; -ECANCELED: @seen said so.
 */
int store_memory_each(struct store *store, memory_counter_seen *seen, void *context);

/*
 * Adds one as if it had been counted here. 0; -EEXIST: there is one, which stays;
 * -ENOSPC: no room, unless counters went that are up to their max; -ENOMEM.
 */
int store_memory_put(
    struct store *store, const struct memory_counter *counter, int64_t now_ms);

/*
 * A charge that was answered lately: its token's digest by a key that is the store's
 * secret, like the texts that it stands for.
 */
struct memory_token {
	uint64_t digest[2];
	int64_t time_ms;
	struct outcome outcome;
};

/* False: no more of them. */
typedef bool memory_token_seen(void *context, const struct memory_token *token);

/* Shows the newest tokens, about @most, and none of before @since_ms, the older ones
 * first. As store_memory_each(). */
int store_memory_each_token(
    struct store *store, size_t most, int64_t since_ms, memory_token_seen *seen,
    void *context);

/* The key, and to take one over: before the store is asked for the first time. */
void store_memory_token_key(const struct store *store, uint64_t ret_key[static 2]);
void store_memory_take_token_key(struct store *store, const uint64_t key[static 2]);

/* Adds one whose digest is by this store's key, the older ones first. 0 or -EEXIST. */
int store_memory_put_token(struct store *store, const struct memory_token *token);

/* Grows whenever a counter changes or a token is added. */
uint64_t store_memory_changes(struct store *store);
