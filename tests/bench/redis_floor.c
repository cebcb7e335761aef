/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor under a policy server that counts in Redis: one epoll loop, one connection to
 * Redis, one EVALSHA a request, all that a turn of the loop has read written at once, the
 * answers matched in order. The script is the leanest rate limit there is (GCRA: one
 * number a key, no token). Whatever Postern does more, it does on top of this.
 *
 *	redis_floor REDIS PATH	(two unix sockets; runs until it is killed)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PEER_BYTES  8192
#define PEERS_MAX   4096 /* a power of two: also the ring of who awaits an answer */
#define BATCH_BYTES (1024 * 1024)
#define SHA_LEN     40

/* One request an interval of 36 ms on average, an hour's worth at once. */
static const char script[] =
    "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2] "
    "local at = tonumber(redis.call('GET', KEYS[1]) or now) if at < now then at = now "
    "end "
    "at = at + ARGV[1] if at - now > tonumber(ARGV[2]) then return 0 end "
    "redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', "
    "math.ceil((at - now) / 1000) + 1) return 1";

struct peer {
	int fd;
	size_t len;
	char in[PEER_BYTES];
};

static struct peer *waiting[PEERS_MAX];
static unsigned first, next;
static char out[BATCH_BYTES], replies[BATCH_BYTES];
static size_t out_len, replies_len;
static char sha[SHA_LEN + 1];
static int redis;

static int connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void fail(const char *what)
{
	fprintf(stderr, "redis_floor: %s\n", what);
	exit(1);
}

static void load_script(void)
{
	char reply[128];
	int len = snprintf(
	    out, sizeof(out), "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%zu\r\n%s\r\n",
	    strlen(script), script);
	ssize_t got = 0;

	if (write(redis, out, (size_t)len) != len)
		fail("cannot write to Redis");
	while (got < 5 + SHA_LEN + 2) {
		ssize_t n = read(redis, reply + got, sizeof(reply) - (size_t)got);
		if (n <= 0)
			fail("SCRIPT LOAD: no answer");
		got += n;
	}
	if (memcmp(reply, "$40\r\n", 5) != 0)
		fail("SCRIPT LOAD failed");
	memcpy(sha, reply + 5, SHA_LEN);
}

static void add_call(struct peer *peer)
{
	static const char name[] = "\nsender=";
	const char *sender = memmem(peer->in, peer->len, name, strlen(name));
	size_t len = 0;

	if (sender) {
		sender += strlen(name);
		len = (size_t)((char *)memchr(sender, '\n', PEER_BYTES) - sender);
	}
	if (out_len + len + 200 > sizeof(out))
		fail("too much at once");
	out_len += (size_t)snprintf(
	    out + out_len, sizeof(out) - out_len,
	    "*6\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n$1\r\n1\r\n$%zu\r\nfloor:%.*s\r\n"
	    "$5\r\n36000\r\n$10\r\n3600000000\r\n",
	    sha, len + 6, (int)len, sender ? sender : "");
	waiting[next++ % PEERS_MAX] = peer;
	peer->len = 0;
}

static void flush(void)
{
	for (size_t sent = 0; sent < out_len;) {
		ssize_t n = write(redis, out + sent, out_len - sent);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			fail("Redis went away");
		sent += n > 0 ? (size_t)n : 0;
	}
	out_len = 0;
}

/* Replies are ":0\r\n" and ":1\r\n". */
static void take_replies(void)
{
	static const char pass[] = "action=DUNNO\n\n",
			  over[] = "action=451 4.7.1 over\n\n";
	ssize_t n = read(redis, replies + replies_len, sizeof(replies) - replies_len);
	size_t at = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		fail("Redis went away");
	replies_len += (size_t)n;
	for (; replies_len - at >= 4; at += 4) {
		struct peer *peer = waiting[first++ % PEERS_MAX];
		bool fits = replies[at + 1] == '1';
		if (replies[at] != ':')
			fail("Redis refused a call");
		/* A client that has gone needs none; reading tells of it. */
		(void)!send(
		    peer->fd, fits ? pass : over,
		    fits ? sizeof(pass) - 1 : sizeof(over) - 1, MSG_NOSIGNAL);
	}
	memmove(replies, replies + at, replies_len - at);
	replies_len -= at;
}

static void serve(struct peer *peer)
{
	ssize_t n = read(peer->fd, peer->in + peer->len, PEER_BYTES - peer->len);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(peer->fd); /* the struct stays: it may still await an answer */
		return;
	}
	peer->len += (size_t)n;
	if (peer->len >= 2 && memcmp(peer->in + peer->len - 2, "\n\n", 2) == 0)
		add_call(peer);
	else if (peer->len == PEER_BYTES)
		fail("a request is too long");
}

static void watch(int epoll, int fd, void *what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll");
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1024) < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event events[128];

	if (argc != 3) {
		fprintf(stderr, "usage: redis_floor REDIS PATH\n");
		return 64;
	}
	redis = connect_unix(argv[1]);
	load_script();
	int listener = listen_unix(argv[2]), epoll = epoll_create1(0);
	watch(epoll, listener, NULL);
	watch(epoll, redis, &redis);
	for (;;) {
		int n = epoll_wait(epoll, events, 128, -1);
		for (int i = 0; i < n; i++) {
			void *what = events[i].data.ptr;
			if (what == &redis) {
				take_replies();
			} else if (what) {
				serve(what);
			} else {
				struct peer *peer = calloc(1, sizeof(*peer));
				int fd = accept(listener, NULL, NULL);
				if (!peer || fd < 0)
					fail("accept");
				peer->fd = fd;
				watch(epoll, fd, peer);
			}
		}
		flush();
	}
}
