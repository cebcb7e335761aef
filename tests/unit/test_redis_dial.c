/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A name with two addresses, the first of which nobody answers at: the test plays the
 * resolver. A full backlog is a host that drops what comes.
 */

#include "policyd/redis_dial.h"

#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct sockaddr_in places[2];
static struct addrinfo answers[2];

int getaddrinfo(
    const char *host, const char *service, const struct addrinfo *hints,
    struct addrinfo **ret)
{
	(void)host, (void)service;
	if (hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	for (size_t i = 0; i < 2; i++)
		answers[i] = (struct addrinfo){
		    .ai_family = AF_INET,
		    .ai_socktype = SOCK_STREAM,
		    .ai_addr = (struct sockaddr *)&places[i],
		    .ai_addrlen = sizeof(places[i]),
		    .ai_next = i == 0 ? &answers[1] : NULL,
		};
	*ret = answers;
	return 0;
}

void freeaddrinfo(struct addrinfo *addresses)
{
	assert_ptr_equal(addresses, answers);
}

static int listen_at(struct sockaddr_in *ret, int backlog)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

static int connect_to(const struct sockaddr_in *place)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)place, sizeof(*place)), 0);
	return fd;
}

struct dialled {
	struct event_base *base;
	int calls, fd;
	bool silent;
	char error[160];
};

static void on_done(void *context, const struct redis_dialled *dialled)
{
	struct dialled *ret = context;

	ret->calls++;
	ret->fd = dialled->fd;
	ret->silent = dialled->silent;
	snprintf(
	    ret->error, sizeof(ret->error), "%s", dialled->error ? dialled->error : "");
	event_base_loopbreak(ret->base);
}

static struct dialled dial(void)
{
	const struct endpoint endpoint = {
	    .kind = ENDPOINT_INET, .host = "redis.example.org", .port = "6379"};
	struct dialled ret = {.base = event_base_new(), .fd = -1};
	struct redis_dial *dial;

	assert_int_equal(
	    redis_dial_new(ret.base, &endpoint, 100, on_done, &ret, &dial), 0);
	event_base_dispatch(ret.base);
	redis_dial_free(dial);
	event_base_free(ret.base);
	assert_int_equal(ret.calls, 1);
	return ret;
}

static void a_silent_address_does_not_hide_the_next(void **state)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	(void)state;

	int silent = listen_at(&places[0], 0), open = listen_at(&places[1], 8);
	int filler = connect_to(&places[0]);
	struct dialled dialled = dial();
	assert_true(dialled.fd >= 0);
	assert_int_equal(getpeername(dialled.fd, (struct sockaddr *)&peer, &len), 0);
	assert_int_equal(peer.sin_port, places[1].sin_port);
	close(dialled.fd);
	close(filler);
	close(silent);
	close(open);
}

static void the_last_address_says_why(void **state)
{
	(void)state;

	/* The first refuses, the second is silent. */
	close(listen_at(&places[0], 0));
	int silent = listen_at(&places[1], 0), filler = connect_to(&places[1]);
	struct dialled dialled = dial();
	assert_int_equal(dialled.fd, -1);
	assert_true(dialled.silent);
	assert_string_equal(dialled.error, "has not answered for 100 ms");
	close(filler);
	close(silent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_silent_address_does_not_hide_the_next),
	    cmocka_unit_test(the_last_address_says_why),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
