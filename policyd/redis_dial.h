/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/sockets.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A connected socket to a server, without making the loop wait: name, addresses one after
 * the other, connect. TCP_NODELAY and keepalive are set, it is close-on-exec.
 */

struct event_base;
struct redis_dial;

/* @fd: the receiver's; -1: @error says why, @silent that nobody refused. The object may
 * be freed here. */
struct redis_dialled {
	int fd;
	bool silent;
	const char *error, *remedy; /* @remedy NULL: none */
};
typedef void redis_dial_done(void *context, const struct redis_dialled *dialled);

/* A resolver has its own idea of patience; then the attempt counts as failed. */
#define REDIS_DIAL_RESOLVE_S 10

/* @timeout_ms for connecting, to each address. Calls back once, from the loop. */
int redis_dial_new(
    struct event_base *base, const struct endpoint *endpoint, uint32_t timeout_ms,
    redis_dial_done *done, void *context, struct redis_dial **ret);

/* NULL is fine. */
struct redis_dial *redis_dial_free(struct redis_dial *dial);
