/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_resolve.h"

#include "common/cleanup.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What the thread and the loop share; the last of the two frees it. */
struct look_up {
	atomic_uint holders;
	struct endpoint endpoint;
	int fd; /* written when @code and @addresses are there */
	int code;
	struct addrinfo *addresses;
};

struct redis_resolve {
	struct look_up *look_up;
	struct event *event;
	redis_resolved *resolved;
	void *context;
};

static atomic_uint running;

static const struct addrinfo hints = {
    .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};

static void look_up_unref(struct look_up *look_up)
{
	if (atomic_fetch_sub(&look_up->holders, 1) != 1)
		return;
	if (look_up->addresses)
		freeaddrinfo(look_up->addresses);
	close(look_up->fd);
	free(look_up);
}

static void *look(void *context)
{
	struct look_up *look_up = context;
	const uint64_t one = 1;

	look_up->code = getaddrinfo(
	    look_up->endpoint.host, look_up->endpoint.port, &hints, &look_up->addresses);
	if (look_up->code != 0)
		look_up->addresses = NULL;
	ssize_t written;
	do
		written = write(look_up->fd, &one, sizeof(one));
	while (written < 0 && errno == EINTR);
	look_up_unref(look_up);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static void on_done(evutil_socket_t fd, short what, void *context)
{
	struct redis_resolve *resolve = context;
	struct look_up *look_up = resolve->look_up;
	uint64_t count;

	(void)what;
	/* Orders this thread behind the other one. */
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return;
	resolve->resolved(
	    resolve->context, TAKE(look_up->addresses),
	    look_up->code ? gai_strerror(look_up->code) : NULL);
}

static int start_thread(struct look_up *look_up)
{
	pthread_attr_t attributes;
	pthread_t thread;

	int r = pthread_attr_init(&attributes);
	if (r != 0)
		return -r;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	atomic_fetch_add(&look_up->holders, 1);
	r = pthread_create(&thread, &attributes, look, look_up);
	if (r != 0)
		atomic_fetch_sub(&look_up->holders, 1);
	pthread_attr_destroy(&attributes);
	return -r;
}

struct redis_resolve *redis_resolve_free(struct redis_resolve *resolve)
{
	if (!resolve)
		return NULL;
	if (resolve->event)
		event_free(resolve->event);
	if (resolve->look_up)
		look_up_unref(resolve->look_up);
	free(resolve);
	return NULL;
}

DEFINE_CLEANUP(struct redis_resolve, redis_resolve_free)

int redis_resolve_new(
    struct event_base *base, const struct endpoint *endpoint, redis_resolved *resolved,
    void *context, struct redis_resolve **ret)
{
	CLEANUP(redis_resolve_freep)
	struct redis_resolve *resolve = calloc(1, sizeof(*resolve));
	struct look_up *look_up = calloc(1, sizeof(*look_up));
	if (!resolve || !look_up) {
		free(look_up);
		return -ENOMEM;
	}
	look_up->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (look_up->fd < 0) {
		int r = -errno;
		free(look_up);
		return r;
	}
	look_up->endpoint = *endpoint;
	atomic_init(&look_up->holders, 1);
	resolve->look_up = look_up;
	resolve->resolved = resolved;
	resolve->context = context;
	resolve->event = event_new(base, look_up->fd, EV_READ, on_done, resolve);
	if (!resolve->event || event_add(resolve->event, NULL) < 0)
		return -ENOMEM;

	if (atomic_fetch_add(&running, 1) >= REDIS_RESOLVES_MAX) {
		atomic_fetch_sub(&running, 1);
		return -EAGAIN;
	}
	int r = start_thread(look_up);
	if (r < 0) {
		atomic_fetch_sub(&running, 1);
		return r;
	}
	*ret = TAKE(resolve);
	return 0;
}

struct addrinfo *redis_resolve_literal(const struct endpoint *endpoint)
{
	struct addrinfo literal = hints, *addresses = NULL;
	literal.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (getaddrinfo(endpoint->host, endpoint->port, &literal, &addresses) != 0)
		return NULL;
	return addresses;
}
