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
 * The answer comes through a callback, on the thread that asked, perhaps before
 * store_ask() returns (the memory store always does). It comes exactly once.
 */

struct store;

struct store_request {
	bool commit;       /* charge; else look, and the token is not used */
	const char *token; /* names this charge for ever; token_len 0: none */
	size_t token_len;
	const struct charge *charges; /* the caller's, unchanged until the answer */
	size_t count;
	int64_t
	    now_ms; /* wall clock; the memory store's time, so that tests can set it */
};

typedef void store_answer(void *context, const struct outcome *outcome);

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
struct store *store_free(struct store *store);

void store_ask(
    struct store *store, const struct store_request *request, store_answer *answer,
    void *context);
