/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/redis_link.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * What an error reply of Redis means: a table, found by how the reply begins. Pure.
 */

enum redis_action {
	REDIS_ACTION_ANSWER,  /* the caller gets the result */
	REDIS_ACTION_RESOLVE, /* this server is the wrong one: drop it, ask who is master
			       */
	REDIS_ACTION_MOVED,   /* of a Cluster: ask another node, for ever */
	REDIS_ACTION_ASK,     /* ... for this once, after ASKING */
	REDIS_ACTION_AGAIN,   /* ... the same one, a moment later */
	REDIS_ACTION_REFRESH, /* ... and look at the slot map anew */
};

struct redis_error {
	const char *begins;
	enum redis_result result;
	enum redis_action action;
	/* It is the server's state, not this call's: shown and logged until a command of
	 * the same name is answered. */
	bool lasting;
	const char *remedy; /* for the log; NULL: none that we know */
};

/* Never NULL: what is not in the table is REDIS_UNAVAILABLE. An error that a script
 * passes on ("ERR Error running script ...: -READONLY ...") is what the inner one is. */
const struct redis_error *redis_error_find(const char *text, size_t len);

/* Which row it is, under REDIS_ERRORS_MAX. */
#define REDIS_ERRORS_MAX 48
unsigned redis_error_index(const struct redis_error *error);

/* "MOVED 3999 10.0.0.1:6381": false when it is not such a text. An empty host stays
 * empty: the server that was asked. */
struct redis_redirect {
	unsigned slot;
	char host[256];
	char port[6];
};
bool redis_redirect_parse(const char *text, size_t len, struct redis_redirect *ret);
