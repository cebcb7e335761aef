/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor under a policy server: one epoll loop that reads requests, finds their end
 * and their attributes, and answers DUNNO. Whatever Postern does more, it does on top of
 * this.
 *
 *	policy_echo PATH	(a unix socket; runs until it is killed)
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFER_BYTES (64 * 1024)

struct peer {
	int fd;
	size_t len;
	char *pending; /* of an incomplete request */
};

/* Splits every line, as a server must that looks at them. Keeps the compiler honest. */
static size_t sink;

static void split(const char *at, const char *end)
{
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *equals = memchr(at, '=', (size_t)(newline - at));
		sink += equals ? (size_t)(equals - at) : 1;
		at = newline + 1;
	}
}

/* Answers every complete request in @buffer; returns the bytes left over, or -1. */
static ssize_t answer_all(struct peer *peer, const char *buffer, size_t len)
{
	static const char reply[] = "action=DUNNO\n\n";
	char out[4096];
	size_t out_len = 0, at = 0;

	for (;;) {
		const char *end = memmem(buffer + at, len - at, "\n\n", 2);
		if (!end)
			break;
		split(buffer + at, end + 1);
		at = (size_t)(end - buffer) + 2;
		if (out_len + sizeof(reply) > sizeof(out))
			return -1;
		memcpy(out + out_len, reply, sizeof(reply) - 1);
		out_len += sizeof(reply) - 1;
	}
	if (out_len > 0 && write(peer->fd, out, out_len) != (ssize_t)out_len)
		return -1;
	return (ssize_t)(len - at);
}

static int serve(struct peer *peer)
{
	static char buffer[2 * BUFFER_BYTES];

	if (peer->len > 0)
		memcpy(buffer, peer->pending, peer->len);
	ssize_t got = read(peer->fd, buffer + peer->len, BUFFER_BYTES);
	if (got <= 0)
		return got < 0 && errno == EAGAIN ? 0 : -1;
	size_t len = peer->len + (size_t)got;
	ssize_t left = answer_all(peer, buffer, len);
	if (left < 0 || left > BUFFER_BYTES)
		return -1;
	if (left > 0 && !peer->pending && !(peer->pending = malloc(BUFFER_BYTES)))
		return -1;
	if (left > 0)
		memcpy(peer->pending, buffer + len - left, (size_t)left);
	peer->len = (size_t)left;
	return 0;
}

static void drop(struct peer *peer)
{
	close(peer->fd);
	free(peer->pending);
	free(peer);
}

static void take(int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	struct peer *peer = fd < 0 ? NULL : calloc(1, sizeof(*peer));
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

	if (!peer)
		return;
	peer->fd = fd;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		drop(peer);
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct epoll_event events[128];

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path)) {
		fprintf(stderr, "usage: policy_echo PATH\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN); /* an asker may leave before its answer */
	strcpy(address.sun_path, argv[1]);
	unlink(argv[1]);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int epoll = epoll_create1(0);
	struct epoll_event own = {.events = EPOLLIN, .data.ptr = NULL};
	if (listener < 0 || epoll < 0 ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1024) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &own) < 0) {
		perror("policy_echo");
		return 1;
	}
	for (;;) {
		int n = epoll_wait(epoll, events, 128, -1);
		for (int i = 0; i < n; i++) {
			struct peer *peer = events[i].data.ptr;
			if (!peer)
				take(epoll, listener);
			else if (serve(peer) < 0)
				drop(peer);
		}
	}
}
