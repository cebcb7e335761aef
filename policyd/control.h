/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/sockets.h"
#include "policyd/gather.h"
#include "policyd/reload.h"
#include "policyd/store.h"

/*
 * The control sockets of the policy daemon: a thread with an event loop of its own that
 * answers `postern`, and shares blocks and logins with the other nodes (roster.h). The
 * commands are in control_*.c, listed in one table (control.c).
 *
 * Mail never depends on it: a socket that cannot be opened is a line in the log, and the
 * daemon serves without.
 */

struct control_sockets {
	struct endpoint control, login;
	int control_fd, login_fd; /* -1: none */
};

/* Opens what the configuration names, before privileges are dropped; logs what cannot be
 * had. */
void control_sockets_open(const struct config *config, struct control_sockets *ret);
void control_sockets_close(struct control_sockets *sockets);

/* All outlive the thread. */
struct control_parts {
	struct reload *reload;
	struct store *memory; /* the daemon's */
	struct remembered remembered;
};

struct control;

/* Returns with the thread running. 0 or negative errno. */
int control_new(
    const struct control_sockets *sockets, const struct control_parts *parts,
    struct control **ret);

/* Has it take the published configuration now. Any thread. NULL is fine. */
void control_refresh(struct control *control);

/* Ends what is left at once, joins the thread. */
struct control *control_free(struct control *control);
