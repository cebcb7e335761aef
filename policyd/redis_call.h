/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/redis_link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * Calls on their way: copies of what was asked, their deadlines, and that each is
 * answered once, from the loop, whatever comes first: the reply, its time, the end.
 *
 * A call whose time is over is answered but lives on while its reply is due on some
 * connection (@holders), where it keeps its place in the row.
 */

struct event_base;
struct redis_node;

struct redis_pending {
	struct redis_calls *calls;
	TAILQ_ENTRY(redis_pending) open;   /* not answered yet: of redis_calls */
	STAILQ_ENTRY(redis_pending) queue; /* waits to be sent: of redis_node */
	bool queued;
	bool answered;
	unsigned holders;        /* replies due, and a place in a queue */
	struct redis_node *node; /* the one that has it */

	bool repeatable;
	bool fixed;  /* this node and no other: redis_link_call_node() */
	bool asking; /* ASKING goes before it */
	bool sent;
	bool has_key;
	unsigned slot;
	unsigned hops;
	int64_t deadline_ms, not_before_ms;
	redis_answered *answer;
	void *context;
	/* When it is to be answered by no reply. */
	enum redis_result result;
	char error[120];

	int argc;
	const char **argv;
	size_t *argv_len;
};

TAILQ_HEAD(redis_open, redis_pending);

struct redis_calls;

/* @due: a call whose not_before_ms has come, to be sent. */
typedef void redis_call_due(void *context, struct redis_pending *call);

int redis_calls_new(
    struct event_base *base, redis_call_due *due, void *context,
    struct redis_calls **ret);

/* Answers all that are open REDIS_UNAVAILABLE. Nobody holds any after that. */
struct redis_calls *redis_calls_free(struct redis_calls *calls);

/* A copy of @call; open from now on. NULL: no memory. */
struct redis_pending *redis_calls_add(
    struct redis_calls *calls, const struct redis_call *call, uint32_t timeout_ms);

/* Answers now, with @reply. */
void redis_call_answer(
    struct redis_pending *call, enum redis_result result, const struct redis_reply *reply,
    const char *error);

/* Answers at the next loop turn: for callers that are inside redis_link_call(). */
void redis_call_fail_later(
    struct redis_pending *call, enum redis_result result, const char *error);

/* Hands it to @due after @ms. */
void redis_call_delay(struct redis_pending *call, uint32_t ms);

void redis_call_hold(struct redis_pending *call);
void redis_call_release(struct redis_pending *call);

/* How many are open. */
size_t redis_calls_open(const struct redis_calls *calls);
