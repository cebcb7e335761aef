/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/limits.h"

#include <stddef.h>

/*
 * The counters of a replay: empty at first, in memory, with the time of the records. The
 * arithmetic is the core's, the rule the daemon's store's (policyd/store.h): all hard
 * charges fit and everything is charged, or nothing is; what a token names is charged
 * once.
 */

struct replay_store;

int replay_store_new(struct replay_store **ret);
struct replay_store *replay_store_free(struct replay_store *store);

/* @token_len 0: none. OUTCOME_UNAVAILABLE: no memory. */
void replay_store_ask(
    struct replay_store *store, const char *token, size_t token_len,
    const struct charge *charges, size_t count, int64_t now_ms, struct outcome *ret);
