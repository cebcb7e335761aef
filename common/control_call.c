/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/control.h"

#include "common/cleanup.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* One question on its way. */
struct call {
	const char *address;
	int fd;
	int64_t deadline_ms;
	uint32_t timeout_ms;
	char *in;
	size_t in_len, in_size;
	char *errbuf;
	size_t errsize;
};

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Says why and returns @error, negative. */
static int give_up(const struct call *call, int error)
{
	if (error == -ENOENT || error == -ECONNREFUSED)
		snprintf(
		    call->errbuf, call->errsize,
		    "nobody listens on %s: %s; is the daemon running, and does it "
		    "read the same configuration?",
		    call->address, strerror(-error));
	else if (error == -EACCES || error == -EPERM)
		snprintf(
		    call->errbuf, call->errsize,
		    "no permission to connect to %s: ask as root, or as the daemon's "
		    "user",
		    call->address);
	else if (error == -ETIMEDOUT)
		snprintf(
		    call->errbuf, call->errsize, "no answer from %s within %g s",
		    call->address, (double)call->timeout_ms / 1000);
	else if (error == -EPROTO)
		snprintf(
		    call->errbuf, call->errsize,
		    "%s closed the connection without an answer", call->address);
	else
		snprintf(
		    call->errbuf, call->errsize, "cannot ask %s: %s", call->address,
		    strerror(-error));
	return error;
}

/* 0: @events, or the end; else what to give up with. */
static int wait_for(const struct call *call, short events)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = call->fd, .events = events};
		int64_t left_ms = call->deadline_ms - clock_ms();
		if (left_ms <= 0)
			return -ETIMEDOUT;
		int r = poll(&poll_fd, 1, (int)left_ms);
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

static int dial(struct call *call, const struct endpoint *endpoint)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval timeout = {
	    .tv_sec = call->timeout_ms / 1000,
	    .tv_usec = (suseconds_t)(call->timeout_ms % 1000) * 1000,
	};

	call->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (call->fd < 0)
		return -errno;
	/* Bounds connect(), too, which waits while the daemon's queue is full. */
	(void)setsockopt(call->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	memcpy(address.sun_path, endpoint->path, sizeof(endpoint->path));
	if (connect(call->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	return errno == EAGAIN || errno == EINPROGRESS ? -ETIMEDOUT : -errno;
}

static int send_all(struct call *call, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(call->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			data += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			int r = wait_for(call, POLLOUT);
			if (r < 0)
				return r;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return 0; /* perhaps it has said why */
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int make_room(struct call *call)
{
	if (call->in_len < call->in_size)
		return 0;
	if (call->in_size > CONTROL_REPLY_MAX)
		return -EMSGSIZE;
	size_t size = call->in_size ? call->in_size * 2 : 4096;
	char *grown = realloc(call->in, size);
	if (!grown)
		return -ENOMEM;
	call->in = grown;
	call->in_size = size;
	return 0;
}

/* The line that answers; *ret_len without its newline. */
static int receive_line(struct call *call, size_t *ret_len)
{
	for (;;) {
		int r = make_room(call);
		if (r == 0)
			r = wait_for(call, POLLIN);
		if (r < 0)
			return r;
		char *to = call->in + call->in_len;
		ssize_t n =
		    recv(call->fd, to, call->in_size - call->in_len, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return -EPROTO;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		call->in_len += (size_t)n;
		char *end = memchr(to, '\n', (size_t)n);
		if (end) {
			*ret_len = (size_t)(end - call->in);
			return 0;
		}
	}
}

static int converse(struct call *call, const char *line, json_t **ret)
{
	char error[CONTROL_ERROR_MAX];
	size_t len;

	int r = send_all(call, line, strlen(line));
	if (r == 0)
		r = send_all(call, "\n", 1);
	if (r == 0)
		r = receive_line(call, &len);
	if (r < 0)
		return give_up(call, r);
	json_t *reply = control_parse(call->in, len, error, sizeof(error));
	if (reply && json_is_boolean(json_object_get(reply, "ok"))) {
		*ret = reply;
		return 0;
	}
	snprintf(
	    call->errbuf, call->errsize, "%s gave no answer of Postern's: %s",
	    call->address, reply ? "\"ok\" is missing" : error);
	json_decref(reply);
	return -EPROTO;
}

int control_call(
    const char *address, const json_t *message, uint32_t timeout_ms, json_t **ret,
    char *errbuf, size_t errsize)
{
	struct endpoint endpoint;
	struct call call = {
	    .address = address,
	    .fd = -1,
	    .deadline_ms = clock_ms() + timeout_ms,
	    .timeout_ms = timeout_ms,
	    .errbuf = errbuf,
	    .errsize = errsize,
	};

	const char *wrong = endpoint_parse(address, &endpoint);
	if (wrong || endpoint.kind != ENDPOINT_UNIX) {
		snprintf(
		    errbuf, errsize, "%s is no control socket: %s", address,
		    wrong ? wrong : "expected unix:PATH");
		return -EINVAL;
	}
	char *line = json_dumps(message, JSON_COMPACT | JSON_ENSURE_ASCII);
	int r = line ? dial(&call, &endpoint) : -ENOMEM;
	r = r < 0 ? give_up(&call, r) : converse(&call, line, ret);
	if (call.fd >= 0)
		close(call.fd);
	free(call.in);
	free(line);
	return r;
}
