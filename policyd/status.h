/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

/*
 * The daemon's status page at policyd.status, and what it says of the daemon: /healthz is
 * 200 while requests are served, also on an old configuration because the last reload
 * failed (which it says), and 503 once the daemon is leaving.
 *
 * Mail never depends on it: an address that cannot be opened is logged, and the daemon
 * serves without a page.
 */

struct status;

/* Opens the address; before privileges are dropped. NULL in *ret: none is configured, or
 * it cannot be opened. 0 or -ENOMEM. */
int status_open(const struct config *config, struct status **ret);

/* Starts to serve it. All of these accept NULL. */
void status_start(struct status *status);

/* From now on /healthz is 503. Any thread. */
void status_leaving(struct status *status);

struct status *status_free(struct status *status);
