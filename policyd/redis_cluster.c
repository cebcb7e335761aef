/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_cluster.h"

#include "common/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_LONGEST_MS 1000

struct member {
	struct redis_node *node;
	unsigned slots; /* 0: only redirected to */
	bool named;     /* by the map that is being read */
};

struct redis_cluster {
	struct event_base *base;
	struct redis_cluster_settings settings;
	struct member members[REDIS_CLUSTER_NODES];
	size_t count;
	struct redis_node *slots[REDIS_SLOTS];
	bool known;

	struct redis_conn *asking;
	struct endpoint asked; /* whom: an empty host in its reply is this one */
	struct event *timer;   /* to the next question */
	int64_t asked_ms;
	size_t next; /* members, then settings.servers */
	size_t tried;
	unsigned rounds;          /* without an answer */
	bool again;               /* asked for while the answer was due */
	struct redis_fault fault; /* of the last round; text "" */
};

/* ---- keys ---- */

/* CRC16-XMODEM: polynomial 0x1021, zero at the start, nothing reflected. */
static unsigned crc16(const char *data, size_t len)
{
	unsigned crc = 0;
	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned)(unsigned char)data[i] << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xFFFF : crc << 1;
	}
	return crc;
}

unsigned redis_key_slot(const char *key, size_t len)
{
	const char *open = memchr(key, '{', len);
	if (open) {
		const char *tag = open + 1;
		const char *close = memchr(tag, '}', len - (size_t)(tag - key));
		if (close && close > tag)
			return crc16(tag, (size_t)(close - tag)) % REDIS_SLOTS;
	}
	return crc16(key, len) % REDIS_SLOTS;
}

/* ---- nodes ---- */

static bool same_place(const struct endpoint *a, const struct endpoint *b)
{
	return a && strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

static struct member *find_member(
    struct redis_cluster *cluster, const struct endpoint *endpoint)
{
	for (size_t i = 0; i < cluster->count; i++)
		if (same_place(redis_node_endpoint(cluster->members[i].node), endpoint))
			return &cluster->members[i];
	return NULL;
}

static struct member *member_at(
    struct redis_cluster *cluster, const struct endpoint *endpoint)
{
	struct member *member = find_member(cluster, endpoint);
	struct redis_node *node;

	if (member || cluster->count == REDIS_CLUSTER_NODES)
		return member;
	if (redis_node_new(
		cluster->base, cluster->settings.options, NULL, cluster->settings.events,
		cluster->settings.context, &node) < 0)
		return NULL;
	redis_node_set(node, endpoint);
	member = &cluster->members[cluster->count++];
	*member = (struct member){.node = node};
	return member;
}

struct redis_node *redis_cluster_at(
    struct redis_cluster *cluster, const struct endpoint *endpoint)
{
	struct member *member = member_at(cluster, endpoint);
	return member ? member->node : NULL;
}

struct redis_node *redis_cluster_find(struct redis_cluster *cluster, unsigned slot)
{
	assert(slot < REDIS_SLOTS);
	return cluster->slots[slot];
}

static struct member *member_of(struct redis_cluster *cluster, struct redis_node *node)
{
	for (size_t i = 0; i < cluster->count; i++)
		if (cluster->members[i].node == node)
			return &cluster->members[i];
	return NULL;
}

void redis_cluster_assign(
    struct redis_cluster *cluster, unsigned slot, struct redis_node *node)
{
	struct member *old =
	    cluster->slots[slot] ? member_of(cluster, cluster->slots[slot]) : NULL;
	struct member *new = member_of(cluster, node);

	assert(new);
	if (old)
		old->slots--;
	new->slots++;
	cluster->slots[slot] = node;
}

struct redis_node *redis_cluster_master(struct redis_cluster *cluster, unsigned i)
{
	for (size_t at = 0; at < cluster->count; at++)
		if (cluster->members[at].slots > 0 && i-- == 0)
			return cluster->members[at].node;
	return NULL;
}

/* ---- the map ---- */

/* [first, last, [host, port, id], replicas...] */
struct range {
	unsigned first, last;
	struct endpoint master;
};

static bool read_range(
    const struct redis_cluster *cluster, const struct redis_reply *item,
    struct range *ret)
{
	if (redis_reply_count(item) < 3)
		return false;
	const struct redis_reply *master = redis_reply_item(item, 2);
	int64_t first = redis_reply_integer(redis_reply_item(item, 0));
	int64_t last = redis_reply_integer(redis_reply_item(item, 1));
	if (first < 0 || last < first || last >= REDIS_SLOTS ||
	    redis_reply_count(master) < 2)
		return false;

	size_t len;
	const char *host = redis_reply_text(redis_reply_item(master, 0), &len);
	int64_t port = redis_reply_integer(redis_reply_item(master, 1));
	*ret = (struct range){(unsigned)first, (unsigned)last, cluster->asked};
	if (port <= 0 || port > 65535 || len >= sizeof(ret->master.host) ||
	    memchr(host, '\0', len))
		return false;
	/* "": it does not know its own address, which we do; "?": it knows none. */
	if (len == 1 && host[0] == '?')
		return false;
	if (len > 0) {
		memcpy(ret->master.host, host, len);
		ret->master.host[len] = '\0';
	}
	snprintf(
	    ret->master.port, sizeof(ret->master.port), "%u", (unsigned)port & 0xFFFF);
	return true;
}

/* Those that the map does not name and that do not answer are gone: a node without slots
 * may be taking some over just now. What was sent to them comes back, and finds the new
 * map. */
static void drop_others(struct redis_cluster *cluster)
{
	struct redis_node *gone[REDIS_CLUSTER_NODES];
	size_t gone_count = 0, kept = 0;

	for (size_t i = 0; i < cluster->count; i++) {
		const struct member *member = &cluster->members[i];
		if (member->named || !redis_node_is_away(member->node))
			cluster->members[kept++] = *member;
		else
			gone[gone_count++] = member->node;
	}
	cluster->count = kept;
	for (size_t i = 0; i < gone_count; i++)
		redis_node_free(gone[i]);
}

/* False: there is nothing in it that can be used. */
static bool read_map(struct redis_cluster *cluster, const struct redis_reply *reply)
{
	struct redis_node *slots[REDIS_SLOTS] = {0};
	struct range range;
	bool some = false;

	for (size_t i = 0; i < cluster->count; i++)
		cluster->members[i].named = false;
	for (size_t i = 0; i < redis_reply_count(reply); i++) {
		if (!read_range(cluster, redis_reply_item(reply, i), &range))
			continue;
		struct member *member = member_at(cluster, &range.master);
		if (!member)
			continue;
		member->named = some = true;
		for (unsigned slot = range.first; slot <= range.last; slot++)
			slots[slot] = member->node;
	}
	if (!some)
		return false;
	memcpy(cluster->slots, slots, sizeof(slots));
	for (size_t i = 0; i < cluster->count; i++)
		cluster->members[i].slots = 0;
	for (unsigned slot = 0; slot < REDIS_SLOTS; slot++)
		if (slots[slot])
			member_of(cluster, slots[slot])->slots++;
	drop_others(cluster);
	return true;
}

/* ---- asking for it ---- */

static void arm(struct redis_cluster *cluster, int64_t ms)
{
	const struct timeval time = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
	event_add(cluster->timer, &time);
}

/* Whom to ask: those that were named last, then those that are configured. */
static const struct endpoint *candidate(const struct redis_cluster *cluster, size_t i)
{
	return i < cluster->count ? redis_node_endpoint(cluster->members[i].node)
				  : &cluster->settings.servers[i - cluster->count];
}

static size_t candidates(const struct redis_cluster *cluster)
{
	return cluster->count + cluster->settings.count;
}

static const struct endpoint *next_candidate(struct redis_cluster *cluster)
{
	size_t i = cluster->next++ % candidates(cluster);
	/* Who is known to be away costs time. */
	while (i < cluster->count && redis_node_is_away(cluster->members[i].node))
		i = cluster->next++ % candidates(cluster);
	return candidate(cluster, i);
}

static uint32_t pause_ms(const struct redis_cluster *cluster)
{
	uint32_t ms = REDIS_CLUSTER_PAUSE_MS;
	if (cluster->fault.result == REDIS_CONFIGURATION)
		ms = PAUSE_LONGEST_MS;
	else
		for (unsigned i = 1; i < cluster->rounds && ms < PAUSE_LONGEST_MS; i++)
			ms *= 2;
	return redis_jitter_ms(ms);
}

static void ask_failed(struct redis_cluster *cluster, const struct redis_fault *fault)
{
	char server[300], text[600];

	cluster->fault = *fault;
	snprintf(
	    text, sizeof(text), "node %s: %s",
	    redis_endpoint_text(&cluster->asked, server), fault->text);
	snprintf(
	    cluster->fault.text, sizeof(cluster->fault.text), "%.*s",
	    (int)sizeof(cluster->fault.text) - 1, text);
	struct redis_conn *conn = TAKE(cluster->asking);
	redis_conn_free(conn);
	if (++cluster->tried < candidates(cluster)) {
		arm(cluster, 0);
		return;
	}
	cluster->tried = 0;
	cluster->rounds++;
	arm(cluster, pause_ms(cluster));
	cluster->settings.changed(cluster->settings.context);
}

static void on_slots(void *context, const struct redis_reply *reply)
{
	struct redis_cluster *cluster = context;
	struct redis_fault fault;
	size_t len;

	if (!reply || !cluster->asking)
		return; /* it was lost, which is told elsewhere */
	const char *error = redis_reply_error(reply, &len);
	if (error) {
		redis_fault_of_reply("CLUSTER SLOTS", error, len, &fault);
		ask_failed(cluster, &fault);
		return;
	}
	if (!read_map(cluster, reply)) {
		fault = (struct redis_fault){
		    REDIS_UNAVAILABLE, REDIS_FAULT_ROLE,
		    "bring its nodes back: redis-cli --cluster check",
		    "knows of no node that has slots"};
		ask_failed(cluster, &fault);
		return;
	}
	struct redis_conn *conn = TAKE(cluster->asking);
	redis_conn_free(conn);
	cluster->known = true;
	cluster->rounds = 0;
	cluster->tried = 0;
	cluster->fault = (struct redis_fault){0};
	if (cluster->again)
		arm(cluster, REDIS_CLUSTER_PAUSE_MS);
	cluster->again = false;
	cluster->settings.changed(cluster->settings.context);
}

static void on_ready(void *context, struct redis_conn *conn)
{
	static const char *const argv[] = {"CLUSTER", "SLOTS"};
	struct redis_cluster *cluster = context;

	if (conn == cluster->asking &&
	    redis_conn_send(conn, 2, argv, NULL, on_slots, cluster) < 0) {
		const struct redis_fault fault = {
		    REDIS_UNAVAILABLE, REDIS_FAULT_AWAY, NULL, "no memory to ask it"};
		ask_failed(cluster, &fault);
	}
}

static void on_lost(
    void *context, struct redis_conn *conn, const struct redis_fault *fault)
{
	struct redis_cluster *cluster = context;
	if (conn == cluster->asking)
		ask_failed(cluster, fault);
}

static const struct redis_conn_events conn_events = {on_ready, on_lost, NULL};

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct redis_cluster *cluster = context;

	(void)fd, (void)what;
	cluster->asked = *next_candidate(cluster);
	cluster->asked_ms = redis_now_ms();
	if (redis_conn_new(
		cluster->base, &cluster->asked, cluster->settings.ask_options,
		&conn_events, cluster, &cluster->asking) < 0) {
		const struct redis_fault fault = {
		    REDIS_UNAVAILABLE, REDIS_FAULT_AWAY, NULL,
		    "no descriptor, thread or memory for a connection"};
		ask_failed(cluster, &fault);
	}
}

void redis_cluster_refresh(struct redis_cluster *cluster)
{
	if (cluster->asking) {
		cluster->again = true;
		return;
	}
	if (event_pending(cluster->timer, EV_TIMEOUT, NULL))
		return;
	int64_t wait_ms = cluster->asked_ms + REDIS_CLUSTER_PAUSE_MS - redis_now_ms();
	arm(cluster, wait_ms > 0 ? wait_ms : 0);
}

bool redis_cluster_known(const struct redis_cluster *cluster)
{
	return cluster->known;
}

const struct redis_fault *redis_cluster_fault(const struct redis_cluster *cluster)
{
	return !cluster->known && cluster->rounds > 0 ? &cluster->fault : NULL;
}

/* ---- the object ---- */

struct redis_cluster *redis_cluster_free(struct redis_cluster *cluster)
{
	if (!cluster)
		return NULL;
	struct redis_conn *conn = TAKE(cluster->asking);
	redis_conn_free(conn);
	for (size_t i = 0; i < cluster->count; i++)
		redis_node_set(cluster->members[i].node, NULL);
	memset(cluster->slots, 0, sizeof(cluster->slots));
	for (size_t i = 0; i < cluster->count; i++)
		redis_node_free(cluster->members[i].node);
	if (cluster->timer)
		event_free(cluster->timer);
	free(cluster);
	return NULL;
}

int redis_cluster_new(
    struct event_base *base, const struct redis_cluster_settings *settings,
    struct redis_cluster **ret)
{
	struct redis_cluster *cluster = calloc(1, sizeof(*cluster));
	if (!cluster)
		return -ENOMEM;
	cluster->base = base;
	cluster->settings = *settings;
	cluster->timer = event_new(base, -1, 0, on_timer, cluster);
	if (!cluster->timer) {
		free(cluster);
		return -ENOMEM;
	}
	arm(cluster, 0);
	*ret = cluster;
	return 0;
}
