/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_node.h"

#include "common/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

STAILQ_HEAD(queue, redis_pending);

struct redis_node {
	struct event_base *base;
	const struct redis_conn_options *options;
	const struct redis_node_events *events;
	void *context;
	char *channel;

	bool placed; /* @endpoint says where */
	struct endpoint endpoint;
	struct redis_conn *conn; /* NULL: in a pause */
	struct event *timer;
	bool up;
	bool away; /* an attempt failed since it was last up, or placed */
	unsigned failures;
	struct redis_fault fault;
	struct queue waiting;
};

static const struct redis_fault no_fault;

/* ---- calls ---- */

static void on_replied(void *context, const struct redis_reply *reply)
{
	struct redis_pending *call = context;
	struct redis_node *node = call->node;

	if (!call->answered)
		node->events->replied(node->context, node, call, reply);
	redis_call_release(call);
}

static void on_asking(void *context, const struct redis_reply *reply)
{
	(void)context, (void)reply; /* the call behind it says what became of it */
}

/* False: no memory, or no connection. */
static bool put_through(struct redis_node *node, struct redis_pending *call)
{
	static const char *const asking[] = {"ASKING"};

	if (call->asking &&
	    redis_conn_send(node->conn, 1, asking, NULL, on_asking, NULL) < 0)
		return false;
	if (redis_conn_send(
		node->conn, call->argc, call->argv, call->argv_len, on_replied, call) < 0)
		return false;
	call->sent = true;
	call->node = node;
	redis_call_hold(call);
	return true;
}

bool redis_node_send(struct redis_node *node, struct redis_pending *call)
{
	if (node->up && redis_conn_usable(node->conn))
		return put_through(node, call);
	if (!node->placed || node->away)
		return false;
	call->node = node;
	STAILQ_INSERT_TAIL(&node->waiting, call, queue);
	redis_call_hold(call);
	return true;
}

static struct redis_pending *take_waiting(struct redis_node *node)
{
	struct redis_pending *call = STAILQ_FIRST(&node->waiting);
	if (call)
		STAILQ_REMOVE_HEAD(&node->waiting, queue);
	return call;
}

static void send_waiting(struct redis_node *node)
{
	struct redis_pending *call;
	while (node->up && (call = take_waiting(node))) {
		if (!call->answered && !put_through(node, call))
			node->events->replied(node->context, node, call, NULL);
		redis_call_release(call);
	}
}

static void give_waiting_back(struct redis_node *node)
{
	struct queue waiting;
	struct redis_pending *call;

	/* Those that come back meanwhile belong to the next attempt. */
	STAILQ_INIT(&waiting);
	STAILQ_CONCAT(&waiting, &node->waiting);
	while ((call = STAILQ_FIRST(&waiting))) {
		STAILQ_REMOVE_HEAD(&waiting, queue);
		if (!call->answered)
			node->events->replied(node->context, node, call, NULL);
		redis_call_release(call);
	}
}

/* ---- connecting ---- */

static void arm(struct redis_node *node, uint32_t ms)
{
	const struct timeval time = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
	event_add(node->timer, &time);
}

static uint32_t pause_ms(const struct redis_node *node)
{
	uint32_t ms = REDIS_RETRY_FIRST_MS;
	if (node->fault.result == REDIS_CONFIGURATION)
		ms = REDIS_RETRY_LONGEST_MS;
	for (unsigned i = 1; i < node->failures && ms < REDIS_RETRY_LONGEST_MS; i++)
		ms *= 2;
	return redis_jitter_ms(ms < REDIS_RETRY_LONGEST_MS ? ms : REDIS_RETRY_LONGEST_MS);
}

/* What was there is gone; nothing is called back but the owners of calls. */
static void disconnect(struct redis_node *node)
{
	node->up = false;
	struct redis_conn *conn = TAKE(node->conn);
	redis_conn_free(conn);
}

/* An attempt failed, or what stood was lost. */
static void failed(struct redis_node *node, const struct redis_fault *fault)
{
	bool was_up = node->up;

	node->up = false;
	node->fault = *fault;
	/* After a loss the first attempt is worth waiting for. */
	if (was_up && fault->result != REDIS_CONFIGURATION &&
	    fault->kind != REDIS_FAULT_SILENT) {
		node->failures = 0;
		arm(node, redis_jitter_ms(REDIS_RETRY_FIRST_MS / 5));
	} else {
		node->failures++;
		node->away = true;
		arm(node, pause_ms(node));
	}
	/* Those that wait do so within their own time; new ones are told at once. */
	if (fault->result == REDIS_CONFIGURATION)
		give_waiting_back(node);
	node->events->down(node->context, node, fault);
}

static void on_lost(
    void *context, struct redis_conn *conn, const struct redis_fault *fault)
{
	struct redis_node *node = context;
	if (conn != node->conn)
		return;
	node->conn = NULL;
	redis_conn_free(conn);
	failed(node, fault);
}

static void became_up(struct redis_node *node)
{
	node->up = true;
	node->away = false;
	node->failures = 0;
	node->fault = no_fault;
	event_del(node->timer);
	node->events->up(node->context, node);
	send_waiting(node);
}

static void on_subscribed(void *context, const struct redis_reply *reply)
{
	struct redis_node *node = context;
	size_t len = 0;

	if (!reply)
		return; /* lost, which is told elsewhere */
	const char *error = redis_reply_error(reply, &len);
	if (!error) {
		became_up(node);
		return;
	}
	struct redis_fault fault;
	redis_fault_of_reply("SUBSCRIBE", error, len, &fault);
	redis_node_drop(node, &fault);
}

static void on_ready(void *context, struct redis_conn *conn)
{
	struct redis_node *node = context;

	if (conn != node->conn)
		return;
	if (!node->channel) {
		became_up(node);
		return;
	}
	if (redis_conn_subscribe(conn, node->channel, on_subscribed, node) < 0) {
		const struct redis_fault fault = {
		    REDIS_UNAVAILABLE, REDIS_FAULT_AWAY, NULL, "no memory to subscribe"};
		redis_node_drop(node, &fault);
	}
}

static void on_message(
    void *context, const char *channel, size_t channel_len, const char *data, size_t len)
{
	struct redis_node *node = context;
	(void)channel, (void)channel_len; /* there is one */
	if (node->events->message)
		node->events->message(node->context, data, len);
}

static const struct redis_conn_events conn_events = {on_ready, on_lost, on_message};

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct redis_node *node = context;

	(void)fd, (void)what;
	if (node->conn || !node->placed)
		return;
	if (redis_conn_new(
		node->base, &node->endpoint, node->options, &conn_events, node,
		&node->conn) < 0) {
		struct redis_fault fault = {
		    REDIS_UNAVAILABLE, REDIS_FAULT_AWAY, NULL,
		    "no descriptor, thread or memory for a connection"};
		failed(node, &fault);
	}
}

void redis_node_hurry(struct redis_node *node)
{
	if (node->placed && !node->conn)
		arm(node, 0);
}

void redis_node_drop(struct redis_node *node, const struct redis_fault *fault)
{
	disconnect(node);
	failed(node, fault);
}

void redis_node_set(struct redis_node *node, const struct endpoint *endpoint)
{
	disconnect(node);
	event_del(node->timer);
	node->away = false;
	node->failures = 0;
	node->fault = no_fault;
	node->placed = endpoint;
	if (endpoint) {
		node->endpoint = *endpoint;
		arm(node, 0);
	} else {
		give_waiting_back(node);
	}
}

void redis_node_point(struct redis_node *node, const struct endpoint *endpoint)
{
	if (node->placed)
		node->endpoint = *endpoint;
}

bool redis_node_is_away(const struct redis_node *node)
{
	return node->away;
}

bool redis_node_is_up(const struct redis_node *node)
{
	return node->up;
}

const struct redis_fault *redis_node_fault(const struct redis_node *node)
{
	return node->fault.text[0] ? &node->fault : NULL;
}

const struct endpoint *redis_node_endpoint(const struct redis_node *node)
{
	return node->placed ? &node->endpoint : NULL;
}

/* ---- the object ---- */

struct redis_node *redis_node_free(struct redis_node *node)
{
	if (!node)
		return NULL;
	node->placed = false;
	node->away = true; /* nothing comes back into the queue */
	disconnect(node);
	give_waiting_back(node);
	if (node->timer)
		event_free(node->timer);
	free(node->channel);
	free(node);
	return NULL;
}

int redis_node_new(
    struct event_base *base, const struct redis_conn_options *options,
    const char *channel, const struct redis_node_events *events, void *context,
    struct redis_node **ret)
{
	struct redis_node *node = calloc(1, sizeof(*node));
	if (!node)
		return -ENOMEM;
	STAILQ_INIT(&node->waiting);
	node->base = base;
	node->options = options;
	node->events = events;
	node->context = context;
	node->channel = channel ? strdup(channel) : NULL;
	node->timer = event_new(base, -1, 0, on_timer, node);
	if (!node->timer || (channel && !node->channel)) {
		redis_node_free(node);
		return -ENOMEM;
	}
	*ret = node;
	return 0;
}
