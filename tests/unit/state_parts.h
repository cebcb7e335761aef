/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/state_file.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What the tests of the state file save and load: the parts of a daemon, filled with
 * something of each kind, and a clock.
 */

#define HOUR_MS (INT64_C(3600) * 1000)
/* 30 minutes into an hour. */
#define NOW_MS (INT64_C(1767571200000) + HOUR_MS / 2)
#define NOW_S  (NOW_MS / 1000)

/* With the limits user-hour and roaming. */
extern const struct config state_config;

/* By a clock that nobody sets, on a machine that has been up for ten days: boot "first".
 * Until the next call. */
const struct state_clock *clock_at(int64_t wall_ms);

struct state_parts parts_new(size_t max);
void parts_free(struct state_parts *parts);

/* Charges one (@look: only looks) to a limit of @max in an hour; @member "": of amounts.
 */
struct outcome parts_ask(
    struct store *store, const char *key, const char *member, uint64_t max, bool look,
    int64_t now_ms);
uint64_t parts_used(struct store *store, const char *key, int64_t now_ms);
/* A store_answer: copies it to the struct outcome @context. */
void keep_outcome(void *context, const struct outcome *outcome);

/* 3 counters that are kept, 2 blocks, 1 login: of the last two those alone. */
void parts_fill(struct state_parts *parts);
void parts_fill_blocks(struct state_parts *parts);

/* As of NOW_MS. */
void parts_save(const struct state_parts *parts, const char *path);

/* Into new parts; state.json by such a clock. */
void parts_load(
    const char *path, struct state_parts *parts, int64_t now_ms,
    struct state_loaded *ret);
void parts_load_by(
    struct state_parts *parts, int64_t wall_ms, int64_t steady_ms, const char *boot,
    struct state_loaded *ret);
