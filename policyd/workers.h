/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/complaints.h"
#include "policyd/decision_log.h"
#include "policyd/gather.h"
#include "policyd/reload.h"
#include "policyd/store.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The serving threads, each with its event loop and connections. The main thread gives
 * them accepted descriptors; they share what struct workers_shared names and nothing
 * else.
 */

struct workers;

/* All outlive the workers. */
struct workers_shared {
	struct reload *reload;
	struct store *store; /* in memory; each thread puts Redis before it */
	struct remembered remembered;
	struct complaints *complaints;
	struct decision_log *decisions;
};

/* Returns with @count threads running, at least one. */
int workers_new(
    unsigned count, const struct workers_shared *shared, struct workers **ret);

/* Ends what is left at once, joins the threads. */
struct workers *workers_free(struct workers *workers);

/*
 * Hands @fd over to the thread with the fewest connections. @listener: see
 * connection_open(). The main thread alone gives.
 */
void workers_give(struct workers *workers, int fd, const char *listener);

/* Connections open or on their way. The main thread alone asks. */
size_t workers_connections(const struct workers *workers);

/* Has every thread take the published configuration now, not at its next request. Any
 * thread. */
void workers_refresh(struct workers *workers);

/*
 * True: a loop has not turned for WORKERS_STUCK_S, although it was asked to. Asks those
 * that have answered anew, so it is called each few seconds to mean anything. Any thread.
 */
#define WORKERS_STUCK_S 5
bool workers_stuck(struct workers *workers);

/* Finish what is under way, take nothing new, then leave. */
void workers_drain(struct workers *workers);

/* Readable once all threads have left after workers_drain(). */
int workers_done_fd(const struct workers *workers);
