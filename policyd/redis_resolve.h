/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/sockets.h"

#include <netdb.h>

/*
 * The addresses of a server, found without making the loop wait: an address as it is
 * written at once, a name by getaddrinfo() in a thread of its own, so that the hosts file
 * and whatever nsswitch.conf names count as for every other program.
 */

struct event_base;
struct redis_resolve;

/* @addresses: to be given back by freeaddrinfo(); NULL: none, and why in @error. */
typedef void redis_resolved(void *context, struct addrinfo *addresses, const char *error);

/*
 * Calls back once, from the loop, never before this returns. Returns 0 or negative errno:
 * -EAGAIN when RESOLVES_MAX look-ups hang already.
 */
#define REDIS_RESOLVES_MAX 32
int redis_resolve_new(
    struct event_base *base, const struct endpoint *endpoint, redis_resolved *resolved,
    void *context, struct redis_resolve **ret);

/* Before or after the answer; a look-up that hangs goes on by itself and is forgotten.
 * NULL is fine. */
struct redis_resolve *redis_resolve_free(struct redis_resolve *resolve);

/* The same for an address as it is written; NULL: it is a name. */
struct addrinfo *redis_resolve_literal(const struct endpoint *endpoint);
