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

/* Memory store: sharded, bounded to @max_keys counters and as many tokens. */
int store_memory_new(size_t max_keys, struct store **ret);
struct store *store_free(struct store *store);

void store_ask(
    struct store *store, const struct store_request *request, store_answer *answer,
    void *context);
