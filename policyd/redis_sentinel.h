/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/redis_conn.h"

/*
 * Where the master is, asked of the sentinels in turn, and heard of the one that answered
 * (+switch-master) as long as it is there. What a sentinel says may be stale: whoever
 * connects checks the role, and asks again when it is another.
 */

struct event_base;
struct redis_sentinel;

struct redis_sentinel_events {
	/* Named by a sentinel, perhaps the same as before. */
	void (*master)(void *context, const struct endpoint *master);
	/* None of them could name one. It goes on asking, after a pause. */
	void (*trouble)(void *context, const struct redis_fault *fault);
};

/* @servers, @name, @options and what they point to are the caller's and stay. */
struct redis_sentinel_settings {
	const struct endpoint *servers;
	size_t count;
	const char *name;
	const struct redis_conn_options *options;
};

/* Begins to ask. */
int redis_sentinel_new(
    struct event_base *base, const struct redis_sentinel_settings *settings,
    const struct redis_sentinel_events *events, void *context,
    struct redis_sentinel **ret);

/* The master cannot be used: asks anew, the next sentinel. Nothing while it asks already.
 */
void redis_sentinel_ask(struct redis_sentinel *sentinel);

/* Not inside its events. NULL is fine. */
struct redis_sentinel *redis_sentinel_free(struct redis_sentinel *sentinel);

/* "mymaster 10.0.0.1 6379 10.0.0.2 6379": the new place of master @name. False: it is
 * about another one, or no such text. */
bool redis_switch_parse(
    const char *text, size_t len, const char *name, struct endpoint *ret);
