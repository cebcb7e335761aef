/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_sentinel.h"

#include "common/cleanup.h"
#include "common/printable.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Between two rounds in which nobody could say. */
#define PAUSE_FIRST_MS   100
#define PAUSE_LONGEST_MS 1000

struct redis_sentinel {
	struct event_base *base;
	struct redis_sentinel_settings settings;
	const struct redis_sentinel_events *events;
	void *context;

	struct redis_conn *asking;   /* the one that is asked */
	struct redis_conn *watching; /* the one that answered last, and is listened to */
	struct event *timer;         /* to the next question */
	bool pausing;                /* that comes after a round without an answer */
	size_t next;                 /* whom to ask */
	size_t asked;                /* of this round */
	unsigned rounds;             /* without an answer */
	/* Of the round: somebody answered and knows no such master, or the last failure.
	 */
	struct redis_fault fault;
};

static const char channel[] = "+switch-master";

static bool set_endpoint(
    struct endpoint *to, const char *host, size_t host_len, const char *port,
    size_t port_len)
{
	*to = (struct endpoint){.kind = ENDPOINT_INET};
	if (host_len == 0 || host_len >= sizeof(to->host) || port_len == 0 ||
	    port_len >= sizeof(to->port) || memchr(host, '\0', host_len) ||
	    strspn(port, "0123456789") < port_len)
		return false;
	memcpy(to->host, host, host_len);
	memcpy(to->port, port, port_len);
	return true;
}

bool redis_switch_parse(
    const char *text, size_t len, const char *name, struct endpoint *ret)
{
	char line[1024], *part[5], *rest = line;
	size_t count = 0;

	if (len >= sizeof(line))
		return false;
	memcpy(line, text, len);
	line[len] = '\0';
	for (char *word; count < 5 && (word = strsep(&rest, " "));)
		part[count++] = word;
	return count == 5 && !rest && strcmp(part[0], name) == 0 &&
	       set_endpoint(ret, part[3], strlen(part[3]), part[4], strlen(part[4]));
}

static void arm(struct redis_sentinel *sentinel, uint32_t ms)
{
	const struct timeval time = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
	event_add(sentinel->timer, &time);
}

static uint32_t pause_ms(const struct redis_sentinel *sentinel)
{
	uint32_t ms = PAUSE_FIRST_MS;
	if (sentinel->fault.result == REDIS_CONFIGURATION)
		ms = PAUSE_LONGEST_MS;
	else
		for (unsigned i = 1; i < sentinel->rounds && ms < PAUSE_LONGEST_MS; i++)
			ms *= 2;
	return redis_jitter_ms(ms);
}

/* This one could not say: the next, at once; after all of them a pause. */
static void ask_next(struct redis_sentinel *sentinel, const struct redis_fault *fault)
{
	/* Who answers and knows no such master says more than who is away. */
	if (sentinel->fault.result != REDIS_CONFIGURATION)
		sentinel->fault = *fault;
	if (++sentinel->asked < sentinel->settings.count) {
		arm(sentinel, 0);
		return;
	}
	sentinel->rounds++;
	sentinel->pausing = true;
	arm(sentinel, pause_ms(sentinel));
	sentinel->events->trouble(sentinel->context, &sentinel->fault);
}

/* Names the sentinel in what it did. */
static void ask_failed(struct redis_sentinel *sentinel, const struct redis_fault *fault)
{
	struct redis_fault named = *fault;
	char server[300], text[sizeof(named.text) + 300];
	size_t last =
	    (sentinel->next + sentinel->settings.count - 1) % sentinel->settings.count;

	redis_endpoint_text(&sentinel->settings.servers[last], server);
	int n = snprintf(text, sizeof(text), "sentinel %s %s", server, fault->text);
	printable(named.text, sizeof(named.text), text, (size_t)n);
	struct redis_conn *conn = TAKE(sentinel->asking);
	redis_conn_free(conn);
	ask_next(sentinel, &named);
}

static void on_watching(void *context, const struct redis_reply *reply)
{
	(void)context, (void)reply; /* without it the next question finds the master */
}

/* The one that answered is the one that is listened to. */
static void watch(struct redis_sentinel *sentinel)
{
	struct redis_conn *old = sentinel->watching;
	sentinel->watching = TAKE(sentinel->asking);
	redis_conn_free(old);
	redis_conn_subscribe(sentinel->watching, channel, on_watching, NULL);
}

static void on_address(void *context, const struct redis_reply *reply)
{
	struct redis_sentinel *sentinel = context;
	struct redis_fault fault = {0};
	struct endpoint master;
	size_t len, port_len;

	if (!reply || !sentinel->asking)
		return; /* it was lost, which is told elsewhere */
	const char *error = redis_reply_error(reply, &len);
	if (error) {
		redis_fault_of_reply("SENTINEL", error, len, &fault);
		ask_failed(sentinel, &fault);
		return;
	}
	if (redis_reply_count(reply) != 2) {
		fault = (struct redis_fault){
		    .result = REDIS_CONFIGURATION,
		    .kind = REDIS_FAULT_ROLE,
		    .remedy = "mend redis.master, or make the sentinels monitor it",
		};
		snprintf(
		    fault.text, sizeof(fault.text), "knows no master \"%.100s\"",
		    sentinel->settings.name);
		ask_failed(sentinel, &fault);
		return;
	}
	const char *host = redis_reply_text(redis_reply_item(reply, 0), &len);
	const char *port = redis_reply_text(redis_reply_item(reply, 1), &port_len);
	if (!set_endpoint(&master, host, len, port, port_len)) {
		fault = (struct redis_fault){
		    REDIS_UNAVAILABLE, REDIS_FAULT_FOREIGN, NULL,
		    "names a master without an address"};
		ask_failed(sentinel, &fault);
		return;
	}
	sentinel->rounds = 0;
	watch(sentinel);
	sentinel->events->master(sentinel->context, &master);
}

static void on_ready(void *context, struct redis_conn *conn)
{
	struct redis_sentinel *sentinel = context;
	const char *const argv[] = {
	    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinel->settings.name};

	if (conn == sentinel->asking &&
	    redis_conn_send(conn, 3, argv, NULL, on_address, sentinel) < 0) {
		const struct redis_fault fault = {
		    REDIS_UNAVAILABLE, REDIS_FAULT_AWAY, NULL, "no memory to ask it"};
		ask_failed(sentinel, &fault);
	}
}

static void on_lost(
    void *context, struct redis_conn *conn, const struct redis_fault *fault)
{
	struct redis_sentinel *sentinel = context;

	if (conn == sentinel->asking) {
		ask_failed(sentinel, fault);
	} else if (conn == sentinel->watching) {
		sentinel->watching = NULL;
		redis_conn_free(conn);
		redis_sentinel_ask(sentinel);
	}
}

static void on_message(
    void *context, const char *from, size_t from_len, const char *data, size_t len)
{
	struct redis_sentinel *sentinel = context;
	struct endpoint master;

	(void)from, (void)from_len; /* there is one channel */
	if (redis_switch_parse(data, len, sentinel->settings.name, &master))
		sentinel->events->master(sentinel->context, &master);
}

static const struct redis_conn_events conn_events = {on_ready, on_lost, on_message};

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct redis_sentinel *sentinel = context;

	(void)fd, (void)what;
	if (sentinel->pausing) {
		sentinel->pausing = false;
		sentinel->asked = 0;
		sentinel->fault = (struct redis_fault){0};
	}
	size_t i = sentinel->next;
	sentinel->next = (i + 1) % sentinel->settings.count;
	if (redis_conn_new(
		sentinel->base, &sentinel->settings.servers[i],
		sentinel->settings.options, &conn_events, sentinel,
		&sentinel->asking) < 0) {
		const struct redis_fault fault = {
		    REDIS_UNAVAILABLE, REDIS_FAULT_AWAY, NULL,
		    "cannot be asked: no descriptor, thread or memory"};
		ask_failed(sentinel, &fault);
	}
}

void redis_sentinel_ask(struct redis_sentinel *sentinel)
{
	if (sentinel->asking || event_pending(sentinel->timer, EV_TIMEOUT, NULL))
		return;
	sentinel->asked = 0;
	sentinel->fault = (struct redis_fault){0};
	arm(sentinel, 0);
}

struct redis_sentinel *redis_sentinel_free(struct redis_sentinel *sentinel)
{
	if (!sentinel)
		return NULL;
	struct redis_conn *asking = TAKE(sentinel->asking);
	struct redis_conn *watching = TAKE(sentinel->watching);
	redis_conn_free(asking);
	redis_conn_free(watching);
	if (sentinel->timer)
		event_free(sentinel->timer);
	free(sentinel);
	return NULL;
}

int redis_sentinel_new(
    struct event_base *base, const struct redis_sentinel_settings *settings,
    const struct redis_sentinel_events *events, void *context,
    struct redis_sentinel **ret)
{
	struct redis_sentinel *sentinel = calloc(1, sizeof(*sentinel));
	if (!sentinel)
		return -ENOMEM;
	sentinel->base = base;
	sentinel->settings = *settings;
	sentinel->events = events;
	sentinel->context = context;
	sentinel->timer = event_new(base, -1, 0, on_timer, sentinel);
	if (!sentinel->timer) {
		free(sentinel);
		return -ENOMEM;
	}
	arm(sentinel, 0);
	*ret = sentinel;
	return 0;
}
