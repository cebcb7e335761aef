/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * What the daemon says of its counters in Redis, once for all loops: each has its own
 * connection and notices for itself, an operator wants one line. What is wrong with a
 * connection the link says; here stands what only the store sees. Any thread. The state
 * is the process's, as its log and metrics are.
 */

/* A loop finds that Redis does not answer. */
void redis_health_away(void);

/* It has been asked again in vain, and nothing is wrong with the connection. Says so,
 * once, when that goes on: it is slow. */
void redis_health_slow(
    enum store_failure on_failure, unsigned nodes, const char *server, const char *error);

/* A loop that had found it away has it back, or uses no Redis any more. */
void redis_health_back(void);

/* A call about limits has failed. @remedy NULL: the usual one. */
void redis_health_why(const char *error, const char *remedy);

/* A request has no answer, for that reason or because the last ones had none: on_failure
 * decides. */
void redis_health_missed(void);

/* A loop is answered. When all are, and neither the link nor redis_health_slow() has told
 * why answers were missing, one line says how many; at most one a minute. */
void redis_health_tell_missed(
    enum store_failure on_failure, unsigned nodes, const char *server);

/* It answered: postern_store_up, until somebody finds it away. */
void redis_health_answers(void);

/* A key that is not Postern's stands where a counter should: at most one line a minute.
 */
void redis_health_bad_key(const char *key, size_t len, const char *error);

/* The counters have gone: somebody flushed, or a replica without them took over. */
void redis_health_lost(const char *server);

/* What Redis does when its memory is full, as "INFO memory" names it; warns, once for
 * each policy, when it may drop counters. */
void redis_health_eviction(const char *policy, size_t len);
