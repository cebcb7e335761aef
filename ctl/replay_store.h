/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/limits.h"

#include <stdbool.h>

/*
 * The counters of a replay: empty at first, in memory, with the time of the records. The
 * arithmetic is the core's, the rule the daemon's store's: all hard charges fit and
 * everything is charged, or nothing is; a message is charged once.
 */

struct replay_store;

int replay_store_new(struct replay_store **ret);
struct replay_store *replay_store_free(struct replay_store *store);

/*
 * @message (may be empty) names what is charged: asked again, it has the outcome that it
 * had. OUTCOME_UNAVAILABLE: no memory.
 */
void replay_store_ask(
    struct replay_store *store, bool commit, const char *message,
    const struct charge *charges, size_t count, int64_t now_ms, struct outcome *ret);
