/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/connection.h"

#include "common/cleanup.h"
#include "common/metrics.h"
#include "policyd/core/verdict.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* One read; also the largest request, so that any request fits once it is whole. */
#define IN_BYTES PROTOCOL_REQUEST_MAX

/* Answers to one read, written at once; and what one connection may leave unread. */
#define OUT_BYTES (16 * 1024)

/* The first own buffer of an incomplete request: Postfix's have about 700 bytes. */
#define IN_FIRST_BYTES 1024

#define PEER_BYTES 256

enum connection_state {
	CONNECTION_IDLE,     /* nothing under way */
	CONNECTION_STARTED,  /* a request has begun and not ended */
	CONNECTION_AWAITING, /* the handler owes an answer */
	CONNECTION_BLOCKED,  /* the client owes us reading its answers */
};

struct connection {
	TAILQ_ENTRY(connection) order;
	struct connection_pool *pool;
	const char *listener;
	int fd;
	enum connection_state state;
	bool reading;     /* readable is added */
	bool closing;     /* once the output is gone */
	int64_t since_ms; /* in this state */
	struct event readable;
	struct event *writable; /* made for the first unread answer */
	/* Bytes read and not taken; pos: of them those that are (a request whose answer
	 * is awaited stays where it is). */
	char *in;
	size_t in_len, in_pos, in_size;
	struct protocol_scan scan;
	char *out;
	size_t out_len, out_pos;
};

TAILQ_HEAD(connection_list, connection);

struct connection_pool {
	struct event_base *base;
	struct connection_settings settings;
	struct complaints *complaints;
	request_handler *handler;
	void *context;
	size_t count;
	uint32_t connections; /* the metric */
	bool draining;
	/* Ordered by since_ms. Started and blocked ones share a bound and a list. */
	struct connection_list idle, busy, awaiting;
	struct event *timer;
	int64_t timer_ms; /* when it fires; INT64_MAX: not set */

	/* The connection being served, and whether its request was answered at once. */
	struct connection *serving;
	bool answered;
	char *in; /* IN_BYTES; NULL after it was given away and memory was short */
	size_t out_len;
	char out[OUT_BYTES];
};

/* A coarse clock (4 ms) is exact enough for seconds, and costs no system call. */
static int64_t clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* "unix:/path (pid 7, uid 0)" or "[::1]:4711 on [::1]:10040". */
static const char *peer_name(
    const struct connection *connection, char buf[static PEER_BYTES])
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);
	struct ucred peer;
	char host[64], port[8];
	if (getpeername(connection->fd, (struct sockaddr *)&address, &len) < 0) {
		snprintf(buf, PEER_BYTES, "a client on %s", connection->listener);
		return buf;
	}
	if (address.ss_family == AF_UNIX) {
		len = sizeof(peer);
		if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
			peer = (struct ucred){0};
		snprintf(
		    buf, PEER_BYTES, "%s (pid %ld, uid %lu)", connection->listener,
		    (long)peer.pid, (unsigned long)peer.uid);
		return buf;
	}
	if (getnameinfo(
		(struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port),
		NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		host[0] = port[0] = '\0';
	bool v6 = strchr(host, ':') != NULL;
	snprintf(
	    buf, PEER_BYTES, "%s%s%s:%s on %s", v6 ? "[" : "", host, v6 ? "]" : "", port,
	    connection->listener);
	return buf;
}

static struct connection_list *list_of(
    struct connection_pool *pool, enum connection_state state)
{
	switch (state) {
	case CONNECTION_IDLE:
		return &pool->idle;
	case CONNECTION_STARTED:
	case CONNECTION_BLOCKED:
		return &pool->busy;
	case CONNECTION_AWAITING:
		return &pool->awaiting;
	}
	assert(0);
	return NULL;
}

static void timer_need(struct connection_pool *pool, int64_t at_ms, int64_t now_ms)
{
	if (at_ms >= pool->timer_ms)
		return;
	/* One millisecond late rather than a clock's tick early. */
	int64_t wait_ms = at_ms > now_ms ? at_ms - now_ms + 1 : 1;
	struct timeval wait = {
	    .tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
	pool->timer_ms = at_ms;
	event_add(pool->timer, &wait);
}

static void connection_enter(
    struct connection *connection, enum connection_state state, int64_t now_ms)
{
	struct connection_pool *pool = connection->pool;
	TAILQ_REMOVE(list_of(pool, connection->state), connection, order);
	connection->state = state;
	connection->since_ms = now_ms;
	TAILQ_INSERT_TAIL(list_of(pool, state), connection, order);
	if (state == CONNECTION_IDLE)
		timer_need(pool, now_ms + pool->settings.idle_ms, now_ms);
	else if (state != CONNECTION_AWAITING)
		timer_need(pool, now_ms + pool->settings.request_ms, now_ms);
}

static void connection_close(struct connection *connection)
{
	struct connection_pool *pool = connection->pool;
	assert(connection->state != CONNECTION_AWAITING);
	TAILQ_REMOVE(list_of(pool, connection->state), connection, order);
	event_del(&connection->readable);
	if (connection->writable)
		event_free(connection->writable);
	close(connection->fd);
	free(connection->in);
	free(connection->out);
	free(connection);
	pool->count--;
	metrics_add(pool->connections, (uint64_t)-1);
}

/* Behind what is unread already: an answer that was awaited may find some. */
static bool keep_output(struct connection *connection, const char *data, size_t len)
{
	char *out = realloc(connection->out, connection->out_len + len);
	if (!out)
		return false;
	memcpy(out + connection->out_len, data, len);
	connection->out = out;
	connection->out_len += len;
	return true;
}

static void connection_forget_output(struct connection *connection)
{
	free(connection->out);
	connection->out = NULL;
	connection->out_len = connection->out_pos = 0;
}

/* False: the client is gone. What it did not take is in connection->out. */
static bool pool_flush(struct connection_pool *pool, struct connection *connection)
{
	size_t sent = 0;
	while (!connection->out && sent < pool->out_len) {
		ssize_t n = send(
		    connection->fd, pool->out + sent, pool->out_len - sent,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			break;
		return false;
	}
	bool kept = sent == pool->out_len ||
		    keep_output(connection, pool->out + sent, pool->out_len - sent);
	pool->out_len = 0;
	if (!kept) {
		complain(
		    pool->complaints, COMPLAINT_MEMORY,
		    "no memory for a connection's output; closed; Postfix will defer");
		/* An answer that is still awaited must not pass for a lost one. */
		shutdown(connection->fd, SHUT_RDWR);
	}
	return kept;
}

static void complain_protocol(struct connection *connection, const char *why)
{
	char peer[PEER_BYTES];
	complain(
	    connection->pool->complaints, COMPLAINT_PROTOCOL,
	    "%s sent %s; closed without a reply; Postfix will defer",
	    peer_name(connection, peer), why);
}

/*
 * Takes requests from @data on from @pos until they end, the output blocks, or an answer
 * is awaited. Returns the new position; a request whose answer is awaited is before it.
 */
static size_t connection_take(
    struct connection *connection, const char *data, size_t len, size_t pos,
    bool *ret_alive)
{
	struct connection_pool *pool = connection->pool;
	*ret_alive = true;
	while (pos < len && !connection->out) {
		struct request request;
		size_t used;
		const char *why;
		enum protocol_result result = protocol_parse(
		    data + pos, len - pos, &connection->scan, &request, &used, &why);
		if (result == PROTOCOL_MORE)
			break;
		connection->scan = (struct protocol_scan){0};
		if (result == PROTOCOL_ERROR) {
			complain_protocol(connection, why);
			connection->closing = true;
			return len;
		}
		pos += used;
		pool->answered = false;
		pool->handler(pool->context, connection, &request);
		if (!pool->answered)
			break;
		if (pool->out_len + VERDICT_WIRE_MAX > OUT_BYTES)
			*ret_alive = pool_flush(pool, connection);
		if (!*ret_alive)
			break;
	}
	return pos;
}

/* Keeps @len bytes for later: in a buffer of its own, or where they are. False: no
 * memory. */
static bool connection_keep(struct connection *connection, const char *data, size_t len)
{
	if (connection->in) {
		memmove(connection->in, data, len);
	} else {
		size_t size = len < IN_FIRST_BYTES ? IN_FIRST_BYTES : len;
		connection->in = malloc(size);
		if (!connection->in)
			return false;
		connection->in_size = size;
		memcpy(connection->in, data, len);
	}
	connection->in_len = len;
	connection->in_pos = 0;
	return true;
}

static void connection_forget_input(struct connection *connection)
{
	free(connection->in);
	connection->in = NULL;
	connection->in_len = connection->in_pos = connection->in_size = 0;
}

/* The request's bytes must stay: a shared buffer becomes the connection's own. */
static void connection_await(
    struct connection *connection, size_t len, size_t pos, int64_t now_ms)
{
	struct connection_pool *pool = connection->pool;
	if (!connection->in) {
		connection->in = TAKE(pool->in);
		connection->in_size = IN_BYTES;
		pool->in = malloc(IN_BYTES);
	}
	connection->in_len = len;
	connection->in_pos = pos;
	connection_enter(connection, CONNECTION_AWAITING, now_ms);
}

static void connection_set_reading(struct connection *connection, bool reading)
{
	if (connection->reading == reading)
		return;
	connection->reading = reading;
	if (reading)
		event_add(&connection->readable, NULL);
	else
		event_del(&connection->readable);
}

static void on_writable(evutil_socket_t fd, short what, void *context);

/* False: no memory. */
static bool connection_block(struct connection *connection, int64_t now_ms)
{
	if (!connection->writable)
		connection->writable = event_new(
		    connection->pool->base, connection->fd, EV_WRITE | EV_PERSIST,
		    on_writable, connection);
	if (!connection->writable || event_add(connection->writable, NULL) < 0)
		return false;
	connection_set_reading(connection, false);
	connection_enter(connection, CONNECTION_BLOCKED, now_ms);
	return true;
}

/*
 * Serves what has arrived, from @begin on: @data is the pool's buffer or connection->in.
 * Afterwards the connection is in the state that its bytes leave it in, or closed.
 */
static void connection_serve(
    struct connection *connection, const char *data, size_t len, size_t begin)
{
	struct connection_pool *pool = connection->pool;
	bool alive;
	pool->serving = connection;
	pool->answered = true;
	size_t pos = connection_take(connection, data, len, begin, &alive);
	pool->serving = NULL;
	alive = alive && pool_flush(pool, connection);
	pool->out_len = 0;
	int64_t now_ms = clock_ms();

	if (!pool->answered) {
		connection_await(connection, len, pos, now_ms);
		return;
	}
	if (!alive || (connection->closing && !connection->out)) {
		connection_close(connection);
		return;
	}
	if (pos == len) {
		connection_forget_input(connection);
	} else if (!connection_keep(connection, data + pos, len - pos)) {
		complain(
		    pool->complaints, COMPLAINT_MEMORY,
		    "no memory for a request; closed, Postfix will defer");
		connection_close(connection);
		return;
	}
	if (connection->out) {
		if (!connection_block(connection, now_ms))
			connection_close(connection);
		return;
	}
	connection_set_reading(connection, true);
	if (connection->in) {
		/* The time runs from a request's first byte. */
		if (connection->state != CONNECTION_STARTED || pos > begin)
			connection_enter(connection, CONNECTION_STARTED, now_ms);
	} else if (pool->draining) {
		connection_close(connection);
	} else {
		connection_enter(connection, CONNECTION_IDLE, now_ms);
	}
}

/* The client took output: writes on, and serves what waited behind it. */
static void on_writable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct connection *connection = context;
	ssize_t n = send(
	    fd, connection->out + connection->out_pos,
	    connection->out_len - connection->out_pos, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		connection_close(connection);
		return;
	}
	connection->out_pos += (size_t)n;
	if (connection->out_pos < connection->out_len)
		return;
	connection_forget_output(connection);
	event_del(connection->writable);
	connection_serve(connection, connection->in, connection->in_len, 0);
}

/* Room for more of an incomplete request. False: no memory. */
static bool connection_grow(struct connection *connection)
{
	if (connection->in_len < connection->in_size)
		return true;
	/* protocol_parse() refuses a request of IN_BYTES that has not ended. */
	assert(connection->in_size < IN_BYTES);
	size_t size = connection->in_size * 4;
	size = size < IN_BYTES ? size : IN_BYTES;
	char *in = realloc(connection->in, size);
	if (!in)
		return false;
	connection->in = in;
	connection->in_size = size;
	return true;
}

/* Where the next read goes; NULL: no memory. */
static char *connection_room(struct connection *connection, size_t *ret_size)
{
	struct connection_pool *pool = connection->pool;
	if (connection->in) {
		if (!connection_grow(connection))
			return NULL;
		*ret_size = connection->in_size - connection->in_len;
		return connection->in + connection->in_len;
	}
	if (!pool->in)
		pool->in = malloc(IN_BYTES);
	*ret_size = IN_BYTES;
	return pool->in;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct connection *connection = context;
	struct connection_pool *pool = connection->pool;
	if (connection->state == CONNECTION_AWAITING) {
		/* One request at a time; the rest waits in the kernel. */
		connection_set_reading(connection, false);
		return;
	}
	size_t size;
	char *room = connection_room(connection, &size);
	if (!room) {
		complain(
		    pool->complaints, COMPLAINT_MEMORY,
		    "no memory for a request; closed, Postfix will defer");
		connection_close(connection);
		return;
	}
	ssize_t n = recv(fd, room, size, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_close(connection);
		return;
	}
	if (connection->in) {
		connection->in_len += (size_t)n;
		connection_serve(connection, connection->in, connection->in_len, 0);
	} else {
		connection_serve(connection, room, (size_t)n, 0);
	}
}

void connection_answer(struct connection *connection, const char *bytes, size_t len)
{
	struct connection_pool *pool = connection->pool;
	assert(len > 0 && len <= VERDICT_WIRE_MAX);
	assert(pool->out_len + len <= OUT_BYTES);
	if (pool->serving == connection) {
		assert(!pool->answered);
		memcpy(pool->out + pool->out_len, bytes, len);
		pool->out_len += len;
		pool->answered = true;
		return;
	}
	/* It comes later: nothing is being served, and the output begins with it. */
	assert(!pool->serving && connection->state == CONNECTION_AWAITING);
	memcpy(pool->out, bytes, len);
	pool->out_len = len;
	connection_enter(connection, CONNECTION_STARTED, clock_ms());
	connection_serve(
	    connection, connection->in, connection->in_len, connection->in_pos);
}

/* Closes those of @list that are over @bound_ms; returns when the next one will be. */
static int64_t sweep(
    struct connection_list *list, int64_t bound_ms, int64_t now_ms, bool complain_too)
{
	struct connection *oldest;
	while ((oldest = TAILQ_FIRST(list)) && oldest->since_ms + bound_ms <= now_ms) {
		char peer[PEER_BYTES];
		struct complaints *complaints = oldest->pool->complaints;
		if (complain_too && oldest->state == CONNECTION_STARTED)
			complain(
			    complaints, COMPLAINT_SLOW,
			    "%s began a request and did not end it within %lld ms; "
			    "closed without a reply; Postfix will defer",
			    peer_name(oldest, peer), (long long)bound_ms);
		else if (complain_too)
			complain(
			    complaints, COMPLAINT_UNREAD,
			    "%s did not read its answers for %lld ms; closed; Postfix "
			    "will defer",
			    peer_name(oldest, peer), (long long)bound_ms);
		connection_close(oldest);
	}
	return oldest ? oldest->since_ms + bound_ms : INT64_MAX;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct connection_pool *pool = context;
	int64_t now_ms = clock_ms();
	pool->timer_ms = INT64_MAX;
	int64_t idle_ms = sweep(&pool->idle, pool->settings.idle_ms, now_ms, false);
	int64_t busy_ms = sweep(&pool->busy, pool->settings.request_ms, now_ms, true);
	timer_need(pool, idle_ms, now_ms);
	timer_need(pool, busy_ms, now_ms);
}

static void close_all(struct connection_list *list)
{
	while (!TAILQ_EMPTY(list))
		connection_close(TAILQ_FIRST(list));
}

struct connection_pool *connection_pool_free(struct connection_pool *pool)
{
	if (!pool)
		return NULL;
	assert(TAILQ_EMPTY(&pool->awaiting));
	close_all(&pool->idle);
	close_all(&pool->busy);
	if (pool->timer)
		event_free(pool->timer);
	free(pool->in);
	free(pool);
	return NULL;
}

DEFINE_CLEANUP(struct connection_pool, connection_pool_free)

int connection_pool_new(
    struct event_base *base, const struct connection_settings *settings,
    struct complaints *complaints, request_handler *handler, void *context,
    struct connection_pool **ret)
{
	CLEANUP(connection_pool_freep)
	struct connection_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	TAILQ_INIT(&pool->idle);
	TAILQ_INIT(&pool->busy);
	TAILQ_INIT(&pool->awaiting);
	pool->base = base;
	pool->settings = *settings;
	pool->complaints = complaints;
	pool->handler = handler;
	pool->context = context;
	pool->timer_ms = INT64_MAX;
	pool->connections = metrics_series(METRIC_POLICY_CONNECTIONS, NULL, NULL);
	pool->timer = event_new(base, -1, 0, on_timer, pool);
	pool->in = malloc(IN_BYTES);
	if (!pool->timer || !pool->in)
		return -ENOMEM;
	*ret = TAKE(pool);
	return 0;
}

void connection_pool_set(
    struct connection_pool *pool, const struct connection_settings *settings)
{
	pool->settings = *settings;
	/* A shorter bound may be due before the timer. Not here and now: a connection may
	 * be in the middle of being served. */
	pool->timer_ms = INT64_MAX;
	timer_need(pool, 0, clock_ms());
}

int connection_open(struct connection_pool *pool, int fd, const char *listener)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	if (!connection) {
		close(fd);
		return -ENOMEM;
	}
	connection->pool = pool;
	connection->listener = listener;
	connection->fd = fd;
	if (event_assign(
		&connection->readable, pool->base, fd, EV_READ | EV_PERSIST, on_readable,
		connection) < 0 ||
	    event_add(&connection->readable, NULL) < 0) {
		free(connection);
		close(fd);
		return -ENOMEM;
	}
	connection->reading = true;
	pool->count++;
	metrics_add(pool->connections, 1);
	TAILQ_INSERT_TAIL(&pool->idle, connection, order);
	connection_enter(connection, CONNECTION_IDLE, clock_ms());
	return 0;
}

void connection_pool_drain(struct connection_pool *pool)
{
	pool->draining = true;
	struct connection *connection = TAILQ_FIRST(&pool->idle);
	while (connection) {
		struct connection *next = TAILQ_NEXT(connection, order);
		char byte;
		/* A request that is there already counts as under way. */
		if (recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
			on_readable(connection->fd, EV_READ, connection);
		else
			connection_close(connection);
		connection = next;
	}
}

size_t connection_pool_count(const struct connection_pool *pool)
{
	return pool->count;
}
