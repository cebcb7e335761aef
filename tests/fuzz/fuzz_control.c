/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What arrives at a control socket: the input goes over a connection of its own to a real
 * server, whose handler reads members as a command does. Every reply is a line that the
 * client takes for one, and there is one a line, whatever was sent.
 *
 * Built twice: with clang by libFuzzer, which is led by what it reaches, and everywhere
 * by driver.c, which is not. At its end it says how often it got where, and fails when it
 * never got somewhere.
 */

#include "tests/fuzz/fuzz.h"

#include "common/control.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct {
	size_t inputs, answered, wrong_json, wrong_members, wrong_command, too_long;
} reached;

static struct event_base *base;
static struct control_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len = sizeof(address);

static void handle(
    void *context, struct control_request *request, const char *command,
    const json_t *message)
{
	(void)context;
	const char *value = NULL;
	uint64_t seconds = 0;
	const struct control_member members[] = {
	    {"value", CONTROL_TEXT, true, 64, &value, NULL, NULL},
	    {"for", CONTROL_COUNT, false, 3600, NULL, &seconds, NULL},
	};

	if (strcmp(command, "block") != 0) {
		reached.wrong_command++;
		control_refuse(request, CONTROL_NO_SUCH, "no \"%s\"", command);
	} else if (control_members(request, message, members, 2)) {
		assert(strlen(value) > 0 && strlen(value) <= 64 && seconds <= 3600);
		reached.answered++;
		control_reply(request, json_pack("{s:s}", "value", value));
	} else {
		reached.wrong_members++;
	}
}

static void finish(void)
{
	control_server_free(server);
	event_base_free(base);
	printf(
	    "fuzz_control: %zu inputs; reached: answered %zu, wrong JSON %zu, wrong "
	    "members %zu, wrong command %zu, too long %zu\n",
	    reached.inputs, reached.answered, reached.wrong_json, reached.wrong_members,
	    reached.wrong_command, reached.too_long);
	fflush(stdout);
	if (!reached.answered || !reached.wrong_json || !reached.wrong_members ||
	    !reached.wrong_command || !reached.too_long)
		_exit(1);
}

static void begin(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	/* A name of the kernel's choice, in no file system. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
	    listen(fd, 8) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &address_len) < 0)
		abort();
	base = event_base_new();
	if (!base || control_server_new(base, fd, handle, NULL, &server) < 0)
		abort();
	atexit(finish);
}

/* One reply of the server's, as the client judges it. */
static void check_reply(const char *line, size_t len)
{
	char error[CONTROL_ERROR_MAX];
	json_t *reply = control_parse(line, len, error, sizeof(error));

	if (!reply || !json_is_boolean(json_object_get(reply, "ok")))
		abort();
	const char *said = json_string_value(json_object_get(reply, "error"));
	if (said && strstr(said, "at most 65536"))
		reached.too_long++;
	else if (said && (strstr(said, "JSON") || strstr(said, "\"command\" is missing")))
		reached.wrong_json++;
	json_decref(reply);
}

/* Returns the complete lines in @buf. */
static size_t check_replies(const char *buf, size_t len)
{
	size_t lines = 0;
	const char *end;

	for (; (end = memchr(buf, '\n', len)); lines++) {
		check_reply(buf, (size_t)(end - buf));
		len -= (size_t)(end - buf) + 1;
		buf = end + 1;
	}
	assert(len == 0);
	return lines;
}

static char *replies;
static size_t replies_len, replies_size;

/* True: the server has closed. */
static bool collect(int fd)
{
	for (;;) {
		if (replies_size - replies_len < 65536) {
			replies_size = replies_size ? replies_size * 2 : 1 << 20;
			replies = realloc(replies, replies_size);
			assert(replies);
		}
		ssize_t n = recv(
		    fd, replies + replies_len, replies_size - replies_len, MSG_DONTWAIT);
		if (n > 0)
			replies_len += (size_t)n;
		else
			return n == 0 || errno == ECONNRESET;
	}
}

static size_t count_lines(const uint8_t *data, size_t len)
{
	size_t lines = 0;

	for (size_t i = 0; i < len; i++)
		lines += data[i] == '\n';
	return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!base)
		begin();
	reached.inputs++;
	replies_len = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, address_len) < 0)
		abort();
	size_t sent = 0;
	bool ended = false, closed = false;
	while (!closed) {
		ssize_t n =
		    sent < len ? send(fd, data + sent, len - sent, MSG_NOSIGNAL) : 0;
		if (n > 0)
			sent += (size_t)n;
		else if (n < 0 && errno != EAGAIN)
			sent = len; /* it closed: a line was too long */
		if (sent == len && !ended) {
			shutdown(fd, SHUT_WR);
			ended = true;
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
		closed = collect(fd);
	}
	close(fd);
	/* A line that is too long is answered without its end. */
	assert(check_replies(replies, replies_len) <= count_lines(data, len) + 1);
	return 0;
}
