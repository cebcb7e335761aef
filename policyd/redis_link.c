/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_link.h"

#include "common/cleanup.h"
#include "policyd/redis_call.h"
#include "policyd/redis_conn.h"
#include "policyd/redis_error.h"
#include "policyd/redis_news.h"
#include "policyd/redis_node.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What is the same for every mode: calls come in, go to a node, come back; an error reply
 * means what redis_error.c says. Where the master is and who has a key is asked of
 * redis_sentinel.c and redis_cluster.c.
 */

#define HOPS_MAX 3
/* No login takes less patience than this, however short the calls' time is. */
#define LOGIN_MS 1000

struct redis_link {
	struct event_base *base;
	char *purpose;
	struct config *config; /* NULL: none, or without "redis" */
	char *username, *password;
	struct redis_conn_options options;
	struct redis_calls *calls;
	bool closing;

	struct redis_node *node; /* the server, or the master */

	/* The connection for messages. */
	struct redis_node *ear;
	struct redis_conn_options ear_options;
	redis_message *message;
	redis_lost *lost;
	void *listener;

	/* What the server says of itself in error replies, until the command that it
	 * refused is answered again. */
	bool troubled;
	struct redis_fault trouble;
	char refused[32];
	struct redis_reporter reporter;
};

/* ---- how it is ---- */

static void server_text(const struct redis_link *link, char buf[static 300])
{
	const struct endpoint *endpoint = redis_node_endpoint(link->node);
	if (endpoint)
		redis_endpoint_text(endpoint, buf);
	else
		buf[0] = '\0';
}

/* NULL: nothing is wrong. */
static const struct redis_fault *current_fault(const struct redis_link *link)
{
	const struct redis_fault *fault = redis_node_fault(link->node);
	if (fault)
		return fault;
	return link->troubled ? &link->trouble : NULL;
}

static void tell(struct redis_link *link)
{
	const struct redis_fault *fault = current_fault(link);
	char server[300];

	server_text(link, server);
	if (fault && redis_node_is_away(link->node))
		redis_news_trouble(&link->reporter, server, fault, link->config);
	else if (fault && link->troubled)
		redis_news_trouble(&link->reporter, server, fault, link->config);
	else if (!fault)
		redis_news_good(&link->reporter, server);
}

void redis_link_state(const struct redis_link *link, struct redis_link_state *ret)
{
	const struct redis_fault *fault = current_fault(link);

	*ret = (struct redis_link_state){.connected = redis_node_is_up(link->node)};
	server_text(link, ret->server);
	if (fault)
		snprintf(ret->trouble, sizeof(ret->trouble), "%s", fault->text);
}

/* ---- replies ---- */

static bool same_command(const char *command, const struct redis_pending *call)
{
	return strlen(command) == call->argv_len[0] &&
	       memcmp(command, call->argv[0], call->argv_len[0]) == 0;
}

static void note_success(struct redis_link *link, const struct redis_pending *call)
{
	if (!link->troubled || !same_command(link->refused, call))
		return;
	link->troubled = false;
	tell(link);
}

static void note_trouble(
    struct redis_link *link, const struct redis_pending *call, const char *text,
    size_t len)
{
	size_t n = call->argv_len[0];
	if (n >= sizeof(link->refused))
		n = sizeof(link->refused) - 1;
	memcpy(link->refused, call->argv[0], n);
	link->refused[n] = '\0';
	redis_fault_of_reply(link->refused, text, len, &link->trouble);
	link->troubled = true;
	tell(link);
}

/* @result where no node takes it. */
static void send_call(struct redis_link *link, struct redis_pending *call)
{
	if (link->config && redis_node_send(link->node, call))
		return;
	const struct redis_fault *fault =
	    link->config ? redis_node_fault(link->node) : NULL;
	redis_call_fail_later(
	    call, fault ? fault->result : REDIS_UNAVAILABLE,
	    fault ? fault->text : "no Redis is configured");
}

static void lost_on_the_way(struct redis_link *link, struct redis_pending *call)
{
	if (link->closing || (call->sent && !call->repeatable)) {
		redis_call_answer(
		    call, REDIS_UNAVAILABLE, NULL,
		    "the connection was cut before the answer");
		return;
	}
	send_call(link, call);
}

static void resolve_anew(
    struct redis_link *link, struct redis_node *node, struct redis_pending *call,
    const char *text, size_t len)
{
	struct redis_fault fault;

	redis_fault_of_reply("it", text, len, &fault);
	redis_node_drop(node, &fault);
	if (++call->hops <= HOPS_MAX) {
		send_call(link, call);
		return;
	}
	redis_call_answer(call, REDIS_UNAVAILABLE, NULL, fault.text);
}

static void refused(
    struct redis_link *link, struct redis_node *node, struct redis_pending *call,
    const char *text, size_t len)
{
	const struct redis_error *error = redis_error_find(text, len);
	struct redis_fault fault;

	switch (error->action) {
	case REDIS_ACTION_RESOLVE:
		resolve_anew(link, node, call, text, len);
		return;
	case REDIS_ACTION_MOVED:
	case REDIS_ACTION_ASK:
	case REDIS_ACTION_AGAIN:
	case REDIS_ACTION_REFRESH:
	case REDIS_ACTION_ANSWER:
		break;
	}
	if (error->lasting)
		note_trouble(link, call, text, len);
	redis_fault_of_reply("Redis", text, len, &fault);
	redis_call_answer(call, error->result, NULL, fault.text);
}

static void on_replied(
    void *context, struct redis_node *node, struct redis_pending *call,
    const struct redis_reply *reply)
{
	struct redis_link *link = context;
	size_t len;

	if (!reply) {
		lost_on_the_way(link, call);
		return;
	}
	const char *error = redis_reply_error(reply, &len);
	if (error) {
		refused(link, node, call, error, len);
		return;
	}
	note_success(link, call);
	redis_call_answer(call, REDIS_ANSWERED, reply, "");
}

static void on_due(void *context, struct redis_pending *call)
{
	send_call(context, call);
}

/* ---- the server ---- */

static void on_up(void *context, struct redis_node *node)
{
	(void)node;
	tell(context);
}

static void on_down(
    void *context, struct redis_node *node, const struct redis_fault *fault)
{
	(void)node, (void)fault;
	tell(context);
}

static const struct redis_node_events node_events = {on_up, on_down, on_replied, NULL};

/* ---- messages ---- */

static void ear_up(void *context, struct redis_node *node)
{
	struct redis_link *link = context;
	(void)node;
	link->lost(link->listener);
}

static void ear_down(
    void *context, struct redis_node *node, const struct redis_fault *fault)
{
	/* Where the calls go is looked at by those; what is missed meanwhile is told when
	 * it is up again. */
	(void)context, (void)node, (void)fault;
}

static void ear_message(void *context, const char *data, size_t len)
{
	struct redis_link *link = context;
	link->message(link->listener, data, len);
}

static const struct redis_node_events ear_events = {ear_up, ear_down, NULL, ear_message};

int redis_link_subscribe(
    struct redis_link *link, const char *channel, redis_message *message,
    redis_lost *lost, void *context)
{
	assert(!link->ear);
	int r = redis_node_new(
	    link->base, &link->ear_options, channel, &ear_events, link, &link->ear);
	if (r < 0)
		return r;
	link->message = message;
	link->lost = lost;
	link->listener = context;
	if (link->config)
		redis_node_set(link->ear, &link->config->redis.servers[0]);
	return 0;
}

/* ---- calls ---- */

bool redis_link_is_cluster(const struct redis_link *link)
{
	return link->config && link->config->redis.mode == REDIS_CLUSTER;
}

unsigned redis_link_slot(const struct redis_link *link, const char *key, size_t len)
{
	(void)link, (void)key, (void)len;
	return 0;
}

void redis_link_call(struct redis_link *link, const struct redis_call *call)
{
	uint32_t timeout_ms = link->config ? link->config->redis.timeout_ms : LOGIN_MS;
	struct redis_pending *pending =
	    link->closing ? NULL : redis_calls_add(link->calls, call, timeout_ms);
	if (!pending) {
		call->answered(
		    call->context, REDIS_UNAVAILABLE, NULL,
		    link->closing ? "shutting down" : "no memory for the call");
		return;
	}
	send_call(link, pending);
}

bool redis_link_call_node(
    struct redis_link *link, unsigned i, const struct redis_call *call)
{
	if (i > 0 || !link->config)
		return false;
	redis_link_call(link, call);
	return true;
}

/* ---- configuration ---- */

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool same_section(const struct config *a, const struct config *b)
{
	if (a->redis.mode != b->redis.mode || a->redis.db != b->redis.db ||
	    a->redis.servers_count != b->redis.servers_count)
		return false;
	for (size_t i = 0; i < a->redis.servers_count; i++) {
		const struct endpoint *x = &a->redis.servers[i];
		const struct endpoint *y = &b->redis.servers[i];
		if (x->kind != y->kind || strcmp(x->path, y->path) != 0 ||
		    strcmp(x->host, y->host) != 0 || strcmp(x->port, y->port) != 0)
			return false;
	}
	return same_text(a->redis.master, b->redis.master) &&
	       same_text(a->redis.username, b->redis.username) &&
	       same_text(a->redis.password, b->redis.password);
}

static void forget_secrets(struct redis_link *link)
{
	free(link->username);
	if (link->password)
		explicit_bzero(link->password, strlen(link->password));
	free(link->password);
	link->username = link->password = NULL;
}

static void leave(struct redis_link *link)
{
	redis_news_forget(&link->reporter);
	link->troubled = false;
	redis_node_set(link->node, NULL);
	if (link->ear)
		redis_node_set(link->ear, NULL);
	forget_secrets(link);
}

static void set_options(struct redis_link *link)
{
	const struct config *config = link->config;
	uint32_t timeout_ms = config->redis.timeout_ms;

	link->username = strdup(config->redis.username);
	link->password = config->redis.password ? strdup(config->redis.password) : NULL;
	link->options = (struct redis_conn_options){
	    .username = link->username,
	    .password = link->password,
	    .db = config->redis.db,
	    .role = REDIS_ROLE_MASTER,
	    .timeout_ms = timeout_ms > LOGIN_MS ? timeout_ms : LOGIN_MS,
	};
	link->ear_options = link->options;
}

void redis_link_set(struct redis_link *link, struct config *config)
{
	struct config *next = config && config->has_redis ? config : NULL;
	bool same = next && link->config && same_section(link->config, next);

	if (next)
		config_ref(next);
	if (!same && link->config)
		leave(link);
	config_unref(link->config);
	link->config = next;
	if (same || !next)
		return;
	set_options(link);
	redis_node_set(link->node, &next->redis.servers[0]);
	if (link->ear)
		redis_node_set(link->ear, &next->redis.servers[0]);
}

/* ---- the object ---- */

struct redis_link *redis_link_free(struct redis_link *link)
{
	if (!link)
		return NULL;
	link->closing = true;
	link->calls = redis_calls_free(link->calls);
	redis_news_forget(&link->reporter);
	redis_node_free(link->node);
	redis_node_free(link->ear);
	forget_secrets(link);
	config_unref(link->config);
	free(link->purpose);
	free(link);
	return NULL;
}

DEFINE_CLEANUP(struct redis_link, redis_link_free)

int redis_link_new(struct event_base *base, const char *purpose, struct redis_link **ret)
{
	CLEANUP(redis_link_freep) struct redis_link *link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->base = base;
	link->purpose = strdup(purpose);
	if (!link->purpose)
		return -ENOMEM;
	int r = redis_calls_new(base, on_due, link, &link->calls);
	if (r < 0)
		return r;
	r = redis_node_new(base, &link->options, NULL, &node_events, link, &link->node);
	if (r < 0)
		return r;
	*ret = TAKE(link);
	return 0;
}
