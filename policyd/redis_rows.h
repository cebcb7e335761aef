/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/redis_link.h"
#include "policyd/store.h"

/*
 * Counters in Redis one by one, for an operator: store_read(), store_scan() and
 * store_forget() of the Redis store. Each job ends within ROWS_MS with what it has. All
 * calls on the link's thread; the link answers every call, so that a job ends before the
 * link is freed.
 */

#define ROWS_MS 2000

void redis_rows_read(
    struct redis_link *link, const char *prefix, const char *const *keys, size_t count,
    store_row_seen *seen, store_done *done, void *context);

void redis_rows_scan(
    struct redis_link *link, const char *prefix, store_row_seen *seen, store_done *done,
    void *context);

void redis_rows_forget(
    struct redis_link *link, const char *prefix, const char *const *keys, size_t count,
    store_done *done, void *context);
