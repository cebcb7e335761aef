/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_dial.h"

#include "common/cleanup.h"
#include "policyd/redis_resolve.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct redis_dial {
	struct event_base *base;
	struct endpoint endpoint;
	uint32_t timeout_ms;
	redis_dial_done *done;
	void *context;
	struct redis_resolve *resolve;
	struct addrinfo *addresses, *next; /* those to try, and the next one */
	struct event *writable, *timer;
	bool connecting;
	int fd;
};

/* The last thing done with it. */
static void finish(
    struct redis_dial *dial, bool silent, const char *error, const char *remedy)
{
	event_del(dial->timer);
	event_del(dial->writable);
	const struct redis_dialled dialled = {
	    .fd = error ? -1 : dial->fd,
	    .silent = silent,
	    .error = error,
	    .remedy = remedy,
	};
	if (!error)
		dial->fd = -1;
	dial->done(dial->context, &dialled);
}

static void arm(struct redis_dial *dial, uint32_t ms)
{
	const struct timeval time = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
	event_add(dial->timer, &time);
}

static void set_option(int fd, int level, int option, int value)
{
	/* What cannot be set costs speed, or time to notice that a host is gone. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* Before the connection asks by itself whether the peer is there: a sign that also
 * passes the firewalls' tables. */
static void set_tcp_options(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 5);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 2);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

static int connect_to(struct redis_dial *dial, const struct sockaddr *to, socklen_t len)
{
	dial->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (dial->fd < 0)
		return errno;
	if (to->sa_family != AF_UNIX)
		set_tcp_options(dial->fd);
	int r;
	do
		r = connect(dial->fd, to, len);
	while (r < 0 && errno == EINTR);
	return r < 0 ? errno : 0;
}

/* The event keeps what it calls; the descriptor comes later. */
static void watch(struct redis_dial *dial)
{
	event_callback_fn call = event_get_callback(dial->writable);
	event_del(dial->writable);
	event_assign(dial->writable, dial->base, dial->fd, EV_WRITE, call, dial);
	event_add(dial->writable, NULL);
}

/* Goes on with what connect(2) said of the address that was tried last. */
static void connect_next(struct redis_dial *dial, int error)
{
	for (;;) {
		if (error == 0) {
			finish(dial, false, NULL, NULL);
			return;
		}
		if (error == EINPROGRESS) {
			watch(dial);
			return;
		}
		event_del(dial->writable);
		if (dial->fd >= 0)
			close(dial->fd);
		dial->fd = -1;
		if (!dial->next) {
			char text[96];
			finish(dial, false, strerror_r(error, text, sizeof(text)), NULL);
			return;
		}
		const struct addrinfo *address = dial->next;
		dial->next = address->ai_next;
		error = connect_to(dial, address->ai_addr, address->ai_addrlen);
	}
}

static void connect_begin(struct redis_dial *dial)
{
	dial->connecting = true;
	arm(dial, dial->timeout_ms);
	if (dial->endpoint.kind == ENDPOINT_UNIX) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		memcpy(address.sun_path, dial->endpoint.path, sizeof(address.sun_path));
		const struct sockaddr *to = (const struct sockaddr *)&address;
		/* EAGAIN of a unix socket is a full backlog: the next attempt. */
		connect_next(dial, connect_to(dial, to, sizeof(address)));
		return;
	}
	dial->next = dial->addresses;
	connect_next(dial, EHOSTUNREACH);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	int error = 0;
	socklen_t len = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	connect_next(context, error);
}

static void on_resolved(void *context, struct addrinfo *addresses, const char *error)
{
	struct redis_dial *dial = context;
	char text[160];

	dial->resolve = redis_resolve_free(dial->resolve);
	dial->addresses = addresses;
	if (addresses) {
		connect_begin(dial);
		return;
	}
	snprintf(text, sizeof(text), "its name has no address: %s", error);
	finish(dial, false, text, "mend DNS or the hosts file, or name an address");
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct redis_dial *dial = context;
	char text[96];

	(void)fd, (void)what;
	if (!dial->connecting && !dial->resolve) { /* an address, or a unix socket */
		connect_begin(dial);
		return;
	}
	if (dial->connecting && dial->next) {
		arm(dial, dial->timeout_ms);
		connect_next(dial, ETIMEDOUT);
		return;
	}
	if (dial->connecting)
		snprintf(
		    text, sizeof(text), "has not answered for %u ms", dial->timeout_ms);
	else
		snprintf(
		    text, sizeof(text), "its name is not resolved within %d s",
		    REDIS_DIAL_RESOLVE_S);
	finish(dial, true, text, NULL);
}

struct redis_dial *redis_dial_free(struct redis_dial *dial)
{
	if (!dial)
		return NULL;
	if (dial->writable)
		event_free(dial->writable);
	if (dial->timer)
		event_free(dial->timer);
	redis_resolve_free(dial->resolve);
	if (dial->addresses)
		freeaddrinfo(dial->addresses);
	if (dial->fd >= 0)
		close(dial->fd);
	free(dial);
	return NULL;
}

DEFINE_CLEANUP(struct redis_dial, redis_dial_free)

static int resolve_begin(struct redis_dial *dial)
{
	if (dial->endpoint.kind == ENDPOINT_INET) {
		dial->addresses = redis_resolve_literal(&dial->endpoint);
		if (!dial->addresses) {
			arm(dial, REDIS_DIAL_RESOLVE_S * 1000);
			return redis_resolve_new(
			    dial->base, &dial->endpoint, on_resolved, dial,
			    &dial->resolve);
		}
	}
	arm(dial, 0);
	return 0;
}

int redis_dial_new(
    struct event_base *base, const struct endpoint *endpoint, uint32_t timeout_ms,
    redis_dial_done *done, void *context, struct redis_dial **ret)
{
	CLEANUP(redis_dial_freep) struct redis_dial *dial = calloc(1, sizeof(*dial));
	if (!dial)
		return -ENOMEM;
	dial->base = base;
	dial->endpoint = *endpoint;
	dial->timeout_ms = timeout_ms;
	dial->done = done;
	dial->context = context;
	dial->fd = -1;
	dial->writable = event_new(base, -1, EV_WRITE, on_writable, dial);
	dial->timer = event_new(base, -1, 0, on_timer, dial);
	if (!dial->writable || !dial->timer)
		return -ENOMEM;
	int r = resolve_begin(dial);
	if (r < 0)
		return r;
	*ret = TAKE(dial);
	return 0;
}
