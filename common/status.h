/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/sockets.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A daemon's status page, and what it says of the daemon: /healthz is 200 while it
 * serves, also on an old configuration because the last reload failed (which it says),
 * and 503 once it is leaving, or what status_watch() names does not work.
 *
 * Mail never depends on it: an address that cannot be opened is a line in the log, and
 * the daemon serves without a page.
 */

struct status;

/*
 * Opens the address of `policyd.status` or `milter.status` (not ""). A unix socket is
 * open to everybody, as a TCP address is. Returns the descriptor, or -1 with one sentence
 * in @errbuf.
 */
int status_listen(
    const char *address, struct endpoint *ret, char *errbuf, size_t errsize);

/* Serves the page on @fd, which stays the caller's. 0 or negative errno. */
int status_new(int fd, const char *program, struct status **ret);

/*
 * What else decides whether the daemon serves: asked on the status thread for each
 * request of / and /healthz; NULL: all is well, else one line. Any thread, once.
 */
typedef const char *status_trouble_ask(void *context);
void status_watch(struct status *status, status_trouble_ask *ask, void *context);

/* From now on /healthz is 503. Any thread. NULL is fine. */
void status_leaving(struct status *status);

struct status *status_free(struct status *status);

/* Counts a load of the configuration: the one in force is new, or the old one stays. */
void status_count_load(bool taken);
