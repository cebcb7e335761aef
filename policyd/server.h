/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/status.h"
#include "policyd/complaints.h"
#include "policyd/listeners.h"
#include "policyd/reload.h"
#include "policyd/workers.h"

#include <stdatomic.h>

/*
 * The main thread: accepts connections and gives them to the workers, takes the signals
 * (SIGHUP reloads, SIGTERM and SIGINT finish what is under way and leave, a second one
 * leaves at once).
 */

struct server_parts {
	struct listeners *listeners;
	struct reload *reload;
	struct workers *workers;
	struct complaints *complaints;
	struct status *status;                /* may be NULL */
	const atomic_size_t *connections_max; /* in force; a reload may change it */
};

/* Blocks the signals that server_run() takes, for this and all later threads; ignores
 * SIGPIPE and SIGXFSZ. Called before the first thread starts. */
void server_block_signals(void);

/* Serves until a signal ends it. Returns 0, or a negative errno when it could not begin.
 */
int server_run(const struct server_parts *parts);
