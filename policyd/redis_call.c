/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_call.h"

#include "policyd/redis_conn.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct redis_calls {
	struct event *timer;
	redis_call_due *due;
	void *context;
	struct redis_open open;
	size_t count;
	int64_t armed_ms; /* when the timer goes off; INT64_MAX: not */
};

/* ---- one call ---- */

void redis_call_hold(struct redis_pending *call)
{
	call->holders++;
}

void redis_call_release(struct redis_pending *call)
{
	assert(call->holders > 0);
	if (--call->holders == 0)
		free(call);
}

void redis_call_answer(
    struct redis_pending *call, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	if (call->answered)
		return;
	call->answered = true;
	TAILQ_REMOVE(&call->calls->open, call, open);
	call->calls->count--;
	call->answer(call->context, result, reply, error);
	redis_call_release(call); /* its place among the open ones */
}

/* ---- the clock ---- */

/*
 * One timer for all: it goes off at the earliest time it was told of and looks at every
 * open call, which costs a walk per time-out and nothing per call that is answered.
 */
static void arm(struct redis_calls *calls, int64_t at_ms)
{
	if (at_ms >= calls->armed_ms)
		return;
	int64_t wait_ms = at_ms - redis_now_ms();
	if (wait_ms < 0)
		wait_ms = 0;
	const struct timeval time = {
	    wait_ms / 1000, (suseconds_t)(wait_ms % 1000) * 1000};
	calls->armed_ms = at_ms;
	event_add(calls->timer, &time);
}

static int64_t next_ms(const struct redis_pending *call)
{
	return call->not_before_ms && call->not_before_ms < call->deadline_ms
		   ? call->not_before_ms
		   : call->deadline_ms;
}

static void look_at(struct redis_calls *calls, struct redis_pending *call, int64_t now_ms)
{
	if (now_ms >= call->deadline_ms) {
		redis_call_answer(
		    call, call->result, NULL,
		    call->error[0] ? call->error : "no answer in time");
	} else if (call->not_before_ms && now_ms >= call->not_before_ms) {
		call->not_before_ms = 0;
		calls->due(calls->context, call);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct redis_calls *calls = context;
	struct redis_pending *call, *next;
	int64_t now_ms = redis_now_ms();

	(void)fd, (void)what;
	calls->armed_ms = INT64_MAX;
	for (call = TAILQ_FIRST(&calls->open); call; call = next) {
		/* A callback may answer any other call: those two stay to be looked at.
		 */
		next = TAILQ_NEXT(call, open);
		redis_call_hold(call);
		if (next)
			redis_call_hold(next);
		look_at(calls, call, now_ms);
		if (!call->answered)
			arm(calls, next_ms(call));
		redis_call_release(call);
		bool gone = next && next->answered;
		if (next)
			redis_call_release(next);
		if (gone)
			next = TAILQ_FIRST(&calls->open);
	}
}

void redis_call_fail_later(
    struct redis_pending *call, enum redis_result result, const char *error)
{
	call->result = result;
	snprintf(call->error, sizeof(call->error), "%s", error);
	call->deadline_ms = 0;
	arm(call->calls, 0);
}

void redis_call_delay(struct redis_pending *call, uint32_t ms)
{
	call->not_before_ms = redis_now_ms() + ms;
	arm(call->calls, next_ms(call));
}

/* ---- all ---- */

/* One block: the struct, the vectors, the bytes. */
static struct redis_pending *copy(const struct redis_call *call)
{
	size_t argc = (size_t)call->argc, bytes = 0;
	for (size_t i = 0; i < argc; i++)
		bytes += call->argv_len ? call->argv_len[i] : strlen(call->argv[i]);

	struct redis_pending *pending =
	    malloc(sizeof(*pending) + argc * (sizeof(char *) + sizeof(size_t)) + bytes);
	if (!pending)
		return NULL;
	*pending = (struct redis_pending){
	    .argc = call->argc,
	    .argv = (const char **)(pending + 1),
	    .repeatable = call->repeatable,
	    .answer = call->answered,
	    .context = call->context,
	    .result = REDIS_UNAVAILABLE,
	};
	pending->argv_len = (size_t *)(pending->argv + argc);
	char *to = (char *)(pending->argv_len + argc);
	for (size_t i = 0; i < argc; i++) {
		size_t len = call->argv_len ? call->argv_len[i] : strlen(call->argv[i]);
		memcpy(to, call->argv[i], len);
		pending->argv[i] = to;
		pending->argv_len[i] = len;
		to += len;
	}
	return pending;
}

struct redis_pending *redis_calls_add(
    struct redis_calls *calls, const struct redis_call *call, uint32_t timeout_ms)
{
	struct redis_pending *pending = copy(call);
	if (!pending)
		return NULL;
	pending->calls = calls;
	pending->holders = 1;
	pending->deadline_ms =
	    redis_now_ms() + (call->timeout_ms ? call->timeout_ms : timeout_ms);
	TAILQ_INSERT_TAIL(&calls->open, pending, open);
	calls->count++;
	arm(calls, pending->deadline_ms);
	return pending;
}

size_t redis_calls_open(const struct redis_calls *calls)
{
	return calls->count;
}

struct redis_calls *redis_calls_free(struct redis_calls *calls)
{
	struct redis_pending *call;
	if (!calls)
		return NULL;
	while ((call = TAILQ_FIRST(&calls->open)))
		redis_call_answer(call, REDIS_UNAVAILABLE, NULL, "shutting down");
	event_free(calls->timer);
	free(calls);
	return NULL;
}

int redis_calls_new(
    struct event_base *base, redis_call_due *due, void *context, struct redis_calls **ret)
{
	struct redis_calls *calls = calloc(1, sizeof(*calls));
	if (!calls)
		return -ENOMEM;
	TAILQ_INIT(&calls->open);
	calls->due = due;
	calls->context = context;
	calls->armed_ms = INT64_MAX;
	calls->timer = event_new(base, -1, 0, on_timer, calls);
	if (!calls->timer) {
		free(calls);
		return -ENOMEM;
	}
	*ret = calls;
	return 0;
}
