/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_link.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "policyd/redis_call.h"
#include "policyd/redis_cluster.h"
#include "policyd/redis_conn.h"
#include "policyd/redis_error.h"
#include "policyd/redis_news.h"
#include "policyd/redis_node.h"
#include "policyd/redis_sentinel.h"

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
/* A sentinel, or a node that is asked for the map, has neighbours. */
#define ASK_MS 500
/* While a slot moves, or the map is being asked for. */
#define AGAIN_MS 10
/* A server that refuses some calls and answers others is in trouble all the time: it is
 * well when it has refused none for so long. */
#define WELL_MS 1000

struct redis_link {
	struct event_base *base;
	char *purpose;
	struct config *config; /* in force; NULL: none, or without "redis" */
	struct config *basis;  /* the redis section that the connections were made from */
	struct redis_conn_options options, ask_options, ear_options;
	struct redis_calls *calls;
	bool closing;

	struct redis_node *node; /* the server, or the master; nowhere in a Cluster */
	struct redis_sentinel *sentinel;
	struct redis_fault lost_sentinels; /* none could name a master; text "" */
	bool alone;                        /* that was said of a master in use */
	struct redis_cluster *cluster;

	struct redis_node *ear; /* the connection for messages */
	size_t ear_turn;
	redis_message *message;
	redis_lost *lost;
	void *listener;

	/* What a server says of itself in error replies, until the command that it
	 * refused is answered again. */
	bool troubled;
	struct redis_fault trouble;
	char refused[32];
	int64_t refused_ms;
	struct redis_reporter reporter;
};

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
	return a->kind == b->kind && strcmp(a->path, b->path) == 0 &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

/* ---- how it is ---- */

/* The first of a Cluster's masters that is not there. NULL: all are, or it is none. */
static struct redis_node *absent_master(const struct redis_link *link)
{
	struct redis_node *node;
	for (unsigned i = 0;
	     link->cluster && (node = redis_cluster_master(link->cluster, i)); i++)
		if (!redis_node_is_up(node))
			return node;
	return NULL;
}

/* Whose fault it would be. */
static const struct redis_node *node_to_blame(const struct redis_link *link)
{
	if (!link->cluster)
		return link->node;
	return absent_master(link);
}

static void server_text(const struct redis_link *link, char buf[static 300])
{
	const struct redis_node *node = node_to_blame(link);
	const struct endpoint *endpoint = node ? redis_node_endpoint(node) : NULL;
	if (endpoint)
		redis_endpoint_text(endpoint, buf);
	else if (link->basis)
		strcpy(buf, link->cluster ? "cluster" : link->basis->redis.master);
	else
		buf[0] = '\0';
}

static bool is_connected(const struct redis_link *link)
{
	if (!link->cluster)
		return redis_node_is_up(link->node);
	return redis_cluster_known(link->cluster) && !absent_master(link);
}

/* NULL: nothing is wrong, or nobody knows yet. */
static const struct redis_fault *current_fault(const struct redis_link *link)
{
	const struct redis_node *node = node_to_blame(link);
	const struct redis_fault *fault = NULL;

	if (link->cluster)
		fault = redis_cluster_fault(link->cluster);
	else if (link->lost_sentinels.text[0] && !redis_node_is_up(link->node))
		fault = &link->lost_sentinels;
	/* A loss is no news while the first attempt to connect again is under way. */
	if (!fault && node && redis_node_is_away(node))
		fault = redis_node_fault(node);
	if (!fault && link->troubled)
		fault = &link->trouble;
	return fault;
}

/* The calls go through, and the messages do not come. */
static const struct redis_fault *ear_fault(const struct redis_link *link)
{
	return link->ear && redis_node_is_away(link->ear) ? redis_node_fault(link->ear)
							  : NULL;
}

static void tell_missed(
    struct redis_link *link, const char *server, const struct redis_fault *fault)
{
	struct redis_fault missed = *fault;
	missed.kind = REDIS_FAULT_MISSED;
	redis_news_trouble(&link->reporter, server, &missed, NULL);
}

static void tell(struct redis_link *link)
{
	const struct redis_fault *fault = current_fault(link), *ear = ear_fault(link);
	char server[300];

	if (!link->basis)
		return;
	server_text(link, server);
	if (fault)
		redis_news_trouble(&link->reporter, server, fault, link->config);
	else if (ear && is_connected(link))
		tell_missed(link, server, ear);
	else if (is_connected(link))
		redis_news_good(&link->reporter, server);
}

void redis_link_state(const struct redis_link *link, struct redis_link_state *ret)
{
	const struct redis_fault *fault = current_fault(link);
	unsigned masters = 0;

	if (!fault)
		fault = ear_fault(link);

	*ret = (struct redis_link_state){.connected = is_connected(link)};
	while (link->cluster && redis_cluster_master(link->cluster, masters))
		masters++;
	if (masters > 0)
		snprintf(ret->server, sizeof(ret->server), "cluster of %u", masters);
	else
		server_text(link, ret->server);
	if (fault)
		snprintf(ret->trouble, sizeof(ret->trouble), "%s", fault->text);
}

/* ---- to whom a call goes ---- */

static struct redis_node *any_master(const struct redis_link *link)
{
	struct redis_node *node;
	for (unsigned i = 0; (node = redis_cluster_master(link->cluster, i)); i++)
		if (redis_node_is_up(node))
			return node;
	return redis_cluster_master(link->cluster, 0);
}

static struct redis_node *node_for(
    const struct redis_link *link, const struct redis_pending *call)
{
	if (!link->cluster)
		return link->basis ? link->node : NULL;
	return call->has_key ? redis_cluster_find(link->cluster, call->slot)
			     : any_master(link);
}

static void refuse_call(
    const struct redis_link *link, struct redis_pending *call,
    const struct redis_node *node)
{
	const struct redis_fault *fault = node ? redis_node_fault(node) : NULL;
	if (!fault)
		fault = link->basis ? current_fault(link) : NULL;
	const char *text = "its master is not known";
	if (fault)
		text = fault->text;
	else if (!link->basis)
		text = "no Redis is configured";
	else if (link->cluster)
		text = "no node of the cluster has its slot";
	redis_call_fail_later(call, fault ? fault->result : REDIS_UNAVAILABLE, text);
}

static bool waits_for_place(const struct redis_link *link)
{
	if (link->cluster)
		return !redis_cluster_known(link->cluster) &&
		       !redis_cluster_fault(link->cluster);
	return link->sentinel && !redis_node_endpoint(link->node) &&
	       !link->lost_sentinels.text[0];
}

static void send_call(struct redis_link *link, struct redis_pending *call)
{
	struct redis_node *node = node_for(link, call);

	if (waits_for_place(link)) {
		redis_call_delay(call, AGAIN_MS);
		return;
	}
	if (node && redis_node_send(node, call))
		return;
	if (link->cluster && !node)
		redis_cluster_refresh(link->cluster);
	refuse_call(link, call, node);
}

/* ---- replies ---- */

static bool same_command(const char *command, const struct redis_pending *call)
{
	return strlen(command) == call->argv_len[0] &&
	       memcmp(command, call->argv[0], call->argv_len[0]) == 0;
}

static void note_success(struct redis_link *link, const struct redis_pending *call)
{
	if (!link->troubled || !same_command(link->refused, call) ||
	    redis_now_ms() - link->refused_ms < WELL_MS)
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
	link->refused_ms = redis_now_ms();
	tell(link);
}

static void lost_on_the_way(struct redis_link *link, struct redis_pending *call)
{
	if (link->closing || call->fixed || (call->sent && !call->repeatable)) {
		redis_call_answer(
		    call, REDIS_UNAVAILABLE, NULL,
		    "the connection was cut before the answer");
		return;
	}
	call->asking = false;
	send_call(link, call);
}

/* True: it may be sent once more. Else it was answered. */
static bool hop(
    const struct redis_link *link, struct redis_pending *call, const char *text,
    size_t len)
{
	struct redis_fault fault;
	if (++call->hops <= HOPS_MAX && !call->fixed)
		return true;
	redis_fault_of_reply("too many hops", text, len, &fault);
	redis_call_answer(
	    call, link->cluster ? REDIS_MOVING : REDIS_UNAVAILABLE, NULL, fault.text);
	return false;
}

/* Not the master any more: whoever is, is found by the ways of the mode. */
static void resolve_anew(
    struct redis_link *link, struct redis_node *node, struct redis_pending *call,
    const char *text, size_t len)
{
	struct redis_fault fault;

	redis_fault_of_reply("it", text, len, &fault);
	redis_node_drop(node, &fault);
	if (!hop(link, call, text, len))
		return;
	if (link->cluster)
		redis_call_delay(call, AGAIN_MS);
	else
		send_call(link, call);
}

static void redirect(
    struct redis_link *link, struct redis_node *from, struct redis_pending *call,
    bool for_ever, const char *text, size_t len)
{
	struct endpoint to = *redis_node_endpoint(from);
	struct redis_redirect where;

	if (!redis_redirect_parse(text, len, &where)) {
		redis_call_answer(
		    call, REDIS_UNAVAILABLE, NULL, "a redirection to nowhere");
		return;
	}
	/* An empty host is the host that was asked. */
	if (where.host[0])
		memcpy(to.host, where.host, sizeof(to.host));
	memcpy(to.port, where.port, sizeof(to.port));
	struct redis_node *node = redis_cluster_at(link->cluster, &to);
	if (for_ever) {
		if (node)
			redis_cluster_assign(link->cluster, where.slot, node);
		redis_cluster_refresh(link->cluster);
	}
	if (!hop(link, call, text, len))
		return;
	call->asking = !for_ever;
	if (!node || !redis_node_send(node, call))
		refuse_call(link, call, node);
}

static void again(
    struct redis_link *link, struct redis_pending *call, const char *text, size_t len)
{
	if (hop(link, call, text, len))
		redis_call_delay(call, AGAIN_MS);
}

static void answer_error(
    struct redis_link *link, struct redis_pending *call, const struct redis_error *error,
    const char *text, size_t len)
{
	enum redis_result result = error->result;
	struct redis_fault fault;
	/* A node of a Cluster, asked by who was not told that it is one. */
	bool foreign = !link->cluster && (error->action == REDIS_ACTION_MOVED ||
					  error->action == REDIS_ACTION_ASK);
	if (foreign)
		result = REDIS_CONFIGURATION;
	if (error->lasting || foreign)
		note_trouble(link, call, text, len);
	redis_fault_of_reply("Redis", text, len, &fault);
	redis_call_answer(call, result, NULL, fault.text);
}

static void refused(
    struct redis_link *link, struct redis_node *node, struct redis_pending *call,
    const char *text, size_t len)
{
	const struct redis_error *error = redis_error_find(text, len);

	switch (error->action) {
	case REDIS_ACTION_RESOLVE:
		resolve_anew(link, node, call, text, len);
		return;
	case REDIS_ACTION_MOVED:
	case REDIS_ACTION_ASK:
		if (!link->cluster)
			break;
		redirect(
		    link, node, call, error->action == REDIS_ACTION_MOVED, text, len);
		return;
	case REDIS_ACTION_AGAIN:
		again(link, call, text, len);
		return;
	case REDIS_ACTION_REFRESH:
		if (link->cluster)
			redis_cluster_refresh(link->cluster);
		break;
	case REDIS_ACTION_ANSWER:
		break;
	}
	answer_error(link, call, error, text, len);
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
	call->asking = false;
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

/* ---- nodes ---- */

static void on_up(void *context, struct redis_node *node)
{
	struct redis_link *link = context;
	char server[300];

	log_debug(
	    "redis %s: connected for %s",
	    redis_endpoint_text(redis_node_endpoint(node), server), link->purpose);
	tell(link);
}

static void on_down(
    void *context, struct redis_node *node, const struct redis_fault *fault)
{
	struct redis_link *link = context;

	(void)node, (void)fault;
	if (link->sentinel)
		redis_sentinel_ask(link->sentinel);
	if (link->cluster)
		redis_cluster_refresh(link->cluster);
	tell(link);
}

static const struct redis_node_events node_events = {on_up, on_down, on_replied, NULL};

static void on_cluster_changed(void *context)
{
	tell(context);
}

static void on_master(void *context, const struct endpoint *master)
{
	struct redis_link *link = context;
	const struct endpoint *old = redis_node_endpoint(link->node);
	char line[700], server[300], before[300];

	link->lost_sentinels.text[0] = '\0';
	if (link->alone) {
		link->alone = false;
		redis_news_said(LOG_LEVEL_INFO, "redis: a sentinel answers again");
	}
	if (old && same_endpoint(old, master))
		return; /* it goes on trying by itself */
	if (old) {
		snprintf(
		    line, sizeof(line), "redis: the master %.128s is %s now, it was %s",
		    link->basis->redis.master, redis_endpoint_text(master, server),
		    redis_endpoint_text(old, before));
		redis_news_said(LOG_LEVEL_INFO, line);
	}
	redis_node_set(link->node, master);
	if (link->ear)
		redis_node_set(link->ear, master);
}

static void on_sentinel_trouble(void *context, const struct redis_fault *fault)
{
	struct redis_link *link = context;
	char line[700], server[300];

	link->lost_sentinels = *fault;
	if (!redis_node_is_up(link->node)) {
		tell(link);
		return;
	}
	server_text(link, server);
	snprintf(
	    line, sizeof(line),
	    "redis: no sentinel can be asked (%s); the master %s stays in use, but a "
	    "failover would not be noticed; see redis.servers",
	    fault->text, server);
	redis_news_said(LOG_LEVEL_WARNING, line);
	link->alone = true;
}

static const struct redis_sentinel_events sentinel_events = {
    on_master, on_sentinel_trouble};

/* ---- messages ---- */

/* Of a Cluster any node hands on what is published; the servers' list is enough. */
static const struct endpoint *ear_place(struct redis_link *link)
{
	const struct config *basis = link->basis;
	if (link->cluster)
		return &basis->redis
			    .servers[link->ear_turn++ % basis->redis.servers_count];
	return redis_node_endpoint(link->node);
}

static void ear_up(void *context, struct redis_node *node)
{
	struct redis_link *link = context;
	(void)node;
	tell(link);
	link->lost(link->listener);
}

static void ear_down(
    void *context, struct redis_node *node, const struct redis_fault *fault)
{
	struct redis_link *link = context;
	(void)fault;
	if (link->cluster)
		redis_node_point(node, ear_place(link));
	tell(link);
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
	if (link->basis)
		redis_node_set(link->ear, ear_place(link));
	return 0;
}

/* ---- calls ---- */

bool redis_link_is_cluster(const struct redis_link *link)
{
	return link->config && link->config->redis.mode == REDIS_CLUSTER;
}

unsigned redis_link_slot(const struct redis_link *link, const char *key, size_t len)
{
	return redis_link_is_cluster(link) ? redis_key_slot(key, len) : 0;
}

static struct redis_pending *take_call(
    struct redis_link *link, const struct redis_call *call)
{
	uint32_t timeout_ms = link->config ? link->config->redis.timeout_ms : LOGIN_MS;
	struct redis_pending *pending =
	    link->closing ? NULL : redis_calls_add(link->calls, call, timeout_ms);
	if (!pending) {
		call->answered(
		    call->context, REDIS_UNAVAILABLE, NULL,
		    link->closing ? "shutting down" : "no memory for the call");
		return NULL;
	}
	if (link->cluster && call->key) {
		pending->has_key = true;
		pending->slot = redis_key_slot(call->key, call->key_len);
	}
	return pending;
}

void redis_link_call(struct redis_link *link, const struct redis_call *call)
{
	struct redis_pending *pending = take_call(link, call);
	if (pending)
		send_call(link, pending);
}

bool redis_link_call_node(
    struct redis_link *link, unsigned i, const struct redis_call *call)
{
	struct redis_node *node =
	    link->cluster ? redis_cluster_master(link->cluster, i) : link->node;
	/* Without a map nobody knows the second one, but that there is a first. */
	if (!link->basis || (i > 0 && (!node || !link->cluster)))
		return false;
	struct redis_pending *pending = take_call(link, call);
	if (!pending)
		return true;
	pending->fixed = link->cluster && node;
	if (!pending->fixed)
		send_call(link, pending);
	else if (!redis_node_send(node, pending))
		refuse_call(link, pending, node);
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
	for (size_t i = 0; i < a->redis.servers_count; i++)
		if (!same_endpoint(&a->redis.servers[i], &b->redis.servers[i]))
			return false;
	return same_text(a->redis.master, b->redis.master) &&
	       same_text(a->redis.username, b->redis.username) &&
	       same_text(a->redis.password, b->redis.password);
}

static void leave(struct redis_link *link)
{
	struct redis_cluster *cluster = TAKE(link->cluster);

	redis_news_forget(&link->reporter);
	link->troubled = false;
	link->lost_sentinels.text[0] = '\0';
	link->sentinel = redis_sentinel_free(link->sentinel);
	redis_cluster_free(cluster);
	redis_node_set(link->node, NULL);
	if (link->ear)
		redis_node_set(link->ear, NULL);
	link->basis = config_unref(link->basis);
}

static void set_options(struct redis_link *link)
{
	const struct config *basis = link->basis;
	uint32_t timeout_ms = basis->redis.timeout_ms;

	link->options = (struct redis_conn_options){
	    .username = basis->redis.username,
	    .password = basis->redis.password,
	    .db = basis->redis.db,
	    .role = REDIS_ROLE_MASTER,
	    .timeout_ms = timeout_ms > LOGIN_MS ? timeout_ms : LOGIN_MS,
	};
	link->ask_options = link->ear_options = link->options;
	link->ask_options.timeout_ms = ASK_MS;
	if (basis->redis.mode == REDIS_SENTINEL) {
		link->ask_options.role = REDIS_ROLE_SENTINEL;
		link->ask_options.db = 0;
		link->ask_options.password_when_asked = true;
	} else if (basis->redis.mode == REDIS_CLUSTER) {
		link->ask_options.role = REDIS_ROLE_ANY;
		link->ear_options.role = REDIS_ROLE_ANY;
	}
}

static int begin_sentinel(struct redis_link *link)
{
	const struct redis_sentinel_settings settings = {
	    .servers = link->basis->redis.servers,
	    .count = link->basis->redis.servers_count,
	    .name = link->basis->redis.master,
	    .options = &link->ask_options,
	};
	return redis_sentinel_new(
	    link->base, &settings, &sentinel_events, link, &link->sentinel);
}

static int begin_cluster(struct redis_link *link)
{
	const struct redis_cluster_settings settings = {
	    .servers = link->basis->redis.servers,
	    .count = link->basis->redis.servers_count,
	    .options = &link->options,
	    .ask_options = &link->ask_options,
	    .events = &node_events,
	    .changed = on_cluster_changed,
	    .context = link,
	};
	return redis_cluster_new(link->base, &settings, &link->cluster);
}

static int begin(struct redis_link *link)
{
	int r = 0;

	set_options(link);
	switch (link->basis->redis.mode) {
	case REDIS_STANDALONE:
		redis_node_set(link->node, &link->basis->redis.servers[0]);
		break;
	case REDIS_SENTINEL:
		r = begin_sentinel(link);
		break;
	case REDIS_CLUSTER:
		r = begin_cluster(link);
		break;
	}
	if (r == 0 && link->ear)
		redis_node_set(link->ear, ear_place(link));
	return r;
}

void redis_link_set(struct redis_link *link, struct config *config)
{
	struct config *next = config && config->has_redis ? config : NULL;
	bool same = next && link->basis && same_section(link->basis, next);

	if (next)
		config_ref(next);
	if (!same && link->basis)
		leave(link);
	config_unref(link->config);
	link->config = next;
	if (same || !next)
		return;
	if (config_copy_redis(next, &link->basis) < 0 || begin(link) < 0) {
		const struct redis_fault fault = {
		    REDIS_UNAVAILABLE, REDIS_FAULT_AWAY, "reload", "no memory for it"};
		redis_news_trouble(&link->reporter, "link", &fault, next);
		leave(link);
	}
}

/* ---- the object ---- */

struct redis_link *redis_link_free(struct redis_link *link)
{
	if (!link)
		return NULL;
	link->closing = true;
	link->calls = redis_calls_free(link->calls);
	if (link->basis)
		leave(link);
	redis_node_free(link->node);
	redis_node_free(link->ear);
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
