/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/connection.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/capture.h"

#define TYPE "request=smtpd_access_policy\n"

/* One loop with its pool, a handler that answers "action=SENDER", and one client. */
struct rig {
	struct event_base *base;
	struct complaints *complaints;
	struct connection_pool *pool;
	int client;
	/* The handler's part. */
	bool later; /* keep the connection, answer when the test says */
	struct connection *kept;
	struct request request;
	int asked;
};

static void answer(struct connection *connection, const struct request *request)
{
	char text[512];
	int len = snprintf(
	    text, sizeof(text), "action=%.*s\n\n", (int)request->sender.len,
	    request->sender.data);
	connection_answer(connection, text, (size_t)len);
}

static bool is_late(const struct request *request)
{
	return request->sender.len == 4 && memcmp(request->sender.data, "late", 4) == 0;
}

static void handle(
    void *context, struct connection *connection, const struct request *request)
{
	struct rig *rig = context;
	rig->asked++;
	if (rig->later || is_late(request)) {
		assert_null(rig->kept);
		rig->kept = connection;
		rig->request = *request;
	} else {
		answer(connection, request);
	}
}

static void answer_kept(struct rig *rig)
{
	assert_non_null(rig->kept);
	struct connection *connection = rig->kept;
	rig->kept = NULL;
	answer(connection, &rig->request);
}

static bool no_realloc;
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_realloc(void *old, size_t size)
{
	return no_realloc ? NULL : __real_realloc(old, size);
}

static int open_client(struct rig *rig)
{
	int pair[2], least = 1;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	/* As little as the kernel allows: what nobody reads fills it soon. */
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
	assert_int_equal(connection_open(rig->pool, pair[0], "unix:/test"), 0);
	return pair[1];
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	rig->base = event_base_new();
	assert_non_null(rig->base);
	assert_int_equal(complaints_new(&rig->complaints), 0);
	struct connection_settings settings = {.request_ms = 10000, .idle_ms = 10000};
	assert_int_equal(
	    connection_pool_new(
		rig->base, &settings, rig->complaints, handle, rig, &rig->pool),
	    0);
	rig->client = open_client(rig);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	connection_pool_free(rig->pool);
	complaints_free(rig->complaints);
	event_base_free(rig->base);
	if (rig->client >= 0)
		close(rig->client);
	free(rig);
	return 0;
}

static void set_bounds(struct rig *rig, int64_t request_ms, int64_t idle_ms)
{
	struct connection_settings settings = {request_ms, idle_ms};
	connection_pool_set(rig->pool, &settings);
}

/* All that can be done now. */
static void turn(struct rig *rig)
{
	for (int i = 0; i < 3; i++)
		event_base_loop(rig->base, EVLOOP_NONBLOCK);
}

static void must_send(int fd, const char *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* What has come, as text; "EOF" behind it when the other side closed. */
static const char *receive(int fd)
{
	static char buf[65536];
	size_t len = 0;
	ssize_t n;
	while ((n = recv(fd, buf + len, sizeof(buf) - 8 - len, 0)) > 0)
		len += (size_t)n;
	/* A reset: it closed with bytes of ours unread. */
	strcpy(buf + len, n == 0 || errno == ECONNRESET ? "EOF" : "");
	return buf;
}

static void test_one(void **state)
{
	struct rig *rig = *state;
	static const char text[] = TYPE "sender=a\n\n";
	must_send(rig->client, text, sizeof(text) - 1);
	turn(rig);
	assert_string_equal(receive(rig->client), "action=a\n\n");
	must_send(rig->client, text, sizeof(text) - 1);
	turn(rig);
	assert_string_equal(receive(rig->client), "action=a\n\n");
	assert_int_equal(connection_pool_count(rig->pool), 1);
}

static void test_split_at_every_byte(void **state)
{
	struct rig *rig = *state;
	static const char text[] =
	    TYPE "protocol_state=RCPT\nsender=a\nx=y=z\n\n" TYPE "sender=b\n\n";
	size_t len = sizeof(text) - 1;
	for (size_t i = 1; i < len; i++) {
		must_send(rig->client, text, i);
		turn(rig);
		must_send(rig->client, text + i, len - i);
		turn(rig);
		const char *got = receive(rig->client);
		if (strcmp(got, "action=a\n\naction=b\n\n") != 0)
			fail_msg("split at %zu: %s", i, got);
	}
	for (size_t i = 0; i < len; i++) {
		must_send(rig->client, text + i, 1);
		turn(rig);
	}
	assert_string_equal(receive(rig->client), "action=a\n\naction=b\n\n");
}

static void test_pipelined(void **state)
{
	struct rig *rig = *state;
	enum { REQUESTS = 20000 };
	int sent = 0, read = 0;
	char out[256] = "", in[65536];
	size_t out_len = 0, out_pos = 0, in_len = 0;
	/* The client writes as long as it can and reads now and then. */
	while (read < REQUESTS) {
		for (;;) {
			if (out_pos == out_len && sent < REQUESTS) {
				out_len = (size_t)snprintf(
				    out, sizeof(out), TYPE "sender=%d\n\n", sent++);
				out_pos = 0;
			}
			ssize_t n = send(
			    rig->client, out + out_pos, out_len - out_pos, MSG_NOSIGNAL);
			if (n <= 0)
				break;
			out_pos += (size_t)n;
		}
		turn(rig);
		ssize_t n = recv(rig->client, in + in_len, sizeof(in) - 1 - in_len, 0);
		assert_true(n > 0);
		in_len += (size_t)n;
		in[in_len] = '\0';
		char *at = in, *end;
		for (; (end = strstr(at, "\n\n")); at = end + 2) {
			int number;
			assert_int_equal(sscanf(at, "action=%d", &number), 1);
			assert_int_equal(number, read++);
		}
		in_len -= (size_t)(at - in);
		memmove(in, at, in_len);
	}
	assert_int_equal(rig->asked, REQUESTS);
}

static void test_unread_answers(void **state)
{
	struct rig *rig = *state;
	static const char text[] = TYPE "sender=a\n\n";
	char many[100 * sizeof(text)], buf[1024];
	size_t len = 0;
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(many + len, sizeof(many) - len, "%s", text);
	/* Until the kernel takes no more from us because nobody reads on the other side.
	 */
	int before = -1, full = 0;
	while (full < 3) {
		if (send(rig->client, many, len, MSG_NOSIGNAL) < 0)
			full++;
		turn(rig);
		before = rig->asked;
	}
	turn(rig);
	assert_int_equal(rig->asked, before);

	/* Another client is served meanwhile. */
	int other = open_client(rig);
	must_send(other, text, sizeof(text) - 1);
	turn(rig);
	assert_string_equal(receive(other), "action=a\n\n");
	close(other);
	turn(rig);

	struct capture capture;
	assert_int_equal(capture_begin(&capture), 0);
	set_bounds(rig, 40, 10000);
	while (connection_pool_count(rig->pool) > 0)
		event_base_loop(rig->base, EVLOOP_ONCE);
	capture_end(&capture, buf, sizeof(buf));
	if (!strstr(buf, "did not read its answers for 40 ms"))
		fail_msg("got: %s", buf);
}

static const struct {
	const char *text;
	size_t len;
	const char *reason;
	const char *why;
} bad_rows[] = {
#define TEXT(string) string, sizeof(string) - 1
    {TEXT("GET / HTTP/1.0\r\n\r\n"), "a line without", "HTTP"},
    {TEXT("\n"), "sent ", "an empty request"},
    {TEXT(TYPE "sender=a\0b\n\n"), "NUL", "a NUL in a value"},
    {TEXT("request=other\n\n"), "other than smtpd_access_policy", "another request"},
    {TEXT("sender=a\n\n"), "sent ", "no request attribute"},
    {TEXT("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "NUL", "a TLS hello"},
};

static void test_protocol_errors(void **state)
{
	struct rig *rig = *state;
	for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
		struct capture capture;
		char buf[1024];
		int client = open_client(rig);
		assert_int_equal(capture_begin(&capture), 0);
		/* What came before is answered, what comes after is not. */
		must_send(client, TEXT(TYPE "sender=before\n\n"));
		must_send(client, bad_rows[i].text, bad_rows[i].len);
		must_send(client, TEXT(TYPE "sender=after\n\n"));
		turn(rig);
		capture_end(&capture, buf, sizeof(buf));
		const char *got = receive(client);
		if (strcmp(got, "action=before\n\nEOF") != 0)
			fail_msg("%s: got %s", bad_rows[i].why, got);
		if (!strstr(buf, bad_rows[i].reason) ||
		    !strstr(buf, "unix:/test (pid ") ||
		    !strstr(buf, "closed without a reply; Postfix will defer\n") ||
		    strchr(buf, '\n') != buf + strlen(buf) - 1)
			fail_msg("%s: logged %s", bad_rows[i].why, buf);
		close(client);
	}
	assert_int_equal(connection_pool_count(rig->pool), 1);
}

static void test_too_long(void **state)
{
	struct rig *rig = *state;
	struct capture capture;
	char buf[1024], chunk[4096];
	memset(chunk, 'a', sizeof(chunk));
	assert_int_equal(capture_begin(&capture), 0);
	must_send(rig->client, TEXT(TYPE "sender="));
	size_t sent = 0;
	while (sent < 1024 * 1024) {
		ssize_t n = send(rig->client, chunk, sizeof(chunk), MSG_NOSIGNAL);
		if (n < 0)
			break;
		sent += (size_t)n;
		turn(rig);
	}
	assert_int_equal(errno, EPIPE);
	assert_true(sent < 2 * PROTOCOL_REQUEST_MAX);
	capture_end(&capture, buf, sizeof(buf));
	assert_non_null(strstr(buf, "64 KiB"));
	assert_int_equal(connection_pool_count(rig->pool), 0);
}

static void dribble(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct rig *rig = context;
	(void)!send(rig->client, "a", 1, MSG_NOSIGNAL);
}

static void test_slow(void **state)
{
	struct rig *rig = *state;
	struct capture capture;
	char buf[1024];
	set_bounds(rig, 60, 10000);
	assert_int_equal(capture_begin(&capture), 0);
	must_send(rig->client, TEXT(TYPE));
	struct event *timer = event_new(rig->base, -1, EV_PERSIST, dribble, rig);
	event_add(timer, &(struct timeval){.tv_usec = 5000});
	while (connection_pool_count(rig->pool) > 0)
		event_base_loop(rig->base, EVLOOP_ONCE);
	event_free(timer);
	capture_end(&capture, buf, sizeof(buf));
	assert_string_equal(receive(rig->client), "EOF");
	assert_non_null(strstr(buf, "did not end it within 60 ms"));
}

static void test_idle(void **state)
{
	struct rig *rig = *state;
	struct capture capture;
	char buf[1024];
	assert_int_equal(capture_begin(&capture), 0);
	must_send(rig->client, TEXT(TYPE "sender=a\n\n"));
	turn(rig);
	set_bounds(rig, 10000, 40);
	while (connection_pool_count(rig->pool) > 0)
		event_base_loop(rig->base, EVLOOP_ONCE);
	capture_end(&capture, buf, sizeof(buf));
	assert_string_equal(receive(rig->client), "action=a\n\nEOF");
	assert_string_equal(buf, ""); /* nothing is wrong with being idle */
}

static void test_later(void **state)
{
	struct rig *rig = *state;
	rig->later = true;
	must_send(
	    rig->client, TEXT(TYPE "sender=first\n\n" TYPE "sender=second\n\n" TYPE));
	turn(rig);
	assert_int_equal(rig->asked, 1);

	/* More bytes, and another connection over the shared buffer: what the request
	 * points to stays. */
	must_send(rig->client, TEXT("sender=third\n\n"));
	struct connection *kept = rig->kept;
	struct request request = rig->request;
	rig->kept = NULL;
	int other = open_client(rig);
	must_send(other, TEXT(TYPE "sender=other\n\n"));
	turn(rig);
	assert_int_equal(rig->asked, 2);
	answer_kept(rig);
	assert_string_equal(receive(other), "action=other\n\n");

	answer(kept, &request);
	assert_string_equal(receive(rig->client), "action=first\n\n");
	turn(rig);
	assert_int_equal(rig->asked, 3);
	answer_kept(rig);
	assert_string_equal(receive(rig->client), "action=second\n\n");
	turn(rig);
	answer_kept(rig);
	assert_string_equal(receive(rig->client), "action=third\n\n");
	close(other);
	rig->later = false;
	must_send(rig->client, TEXT(TYPE "sender=fourth\n\n"));
	turn(rig);
	assert_string_equal(receive(rig->client), "action=fourth\n\n");
}

/* Its answer would stand where those are expected that were lost. */
static void test_no_memory_beside_an_awaited_answer(void **state)
{
	struct rig *rig = *state;
	static const char text[] = TYPE "sender=a\n\n";
	char many[60000], buf[1024];
	size_t len = 0;
	while (len < sizeof(many) - 100)
		len += (size_t)snprintf(many + len, sizeof(many) - len, "%s", text);
	len += (size_t)snprintf(many + len, sizeof(many) - len, TYPE "sender=late\n\n");
	must_send(rig->client, many, len);

	struct capture capture;
	assert_int_equal(capture_begin(&capture), 0);
	no_realloc = true;
	turn(rig);
	no_realloc = false;
	capture_end(&capture, buf, sizeof(buf));
	if (!strstr(buf, "no memory for a connection's output"))
		fail_msg("got: %s", buf);
	assert_non_null(rig->kept);
	const char *got = receive(rig->client);
	assert_true(strncmp(got, "action=a\n\n", 10) == 0);
	answer_kept(rig);
	got = receive(rig->client);
	if (strstr(got, "late"))
		fail_msg("got: %s", got);
	turn(rig);
	assert_int_equal(connection_pool_count(rig->pool), 0);
}

static void test_half_closed(void **state)
{
	struct rig *rig = *state;
	must_send(rig->client, TEXT(TYPE "sender=a\n\n" TYPE "sender=b\n\n"));
	shutdown(rig->client, SHUT_WR);
	turn(rig);
	assert_string_equal(receive(rig->client), "action=a\n\naction=b\n\nEOF");
	assert_int_equal(connection_pool_count(rig->pool), 0);
}

static void test_gone_before_the_answer(void **state)
{
	struct rig *rig = *state;
	must_send(rig->client, TEXT(TYPE "sender=a\n\n"));
	close(rig->client);
	rig->client = -1;
	turn(rig); /* no SIGPIPE */
	assert_int_equal(connection_pool_count(rig->pool), 0);
}

static void test_drain(void **state)
{
	struct rig *rig = *state;
	int started = open_client(rig), arrived = open_client(rig),
	    idle = open_client(rig);
	must_send(started, TEXT(TYPE "sender=sta"));
	turn(rig);
	must_send(arrived, TEXT(TYPE "sender=arrived\n\n"));
	connection_pool_drain(rig->pool);
	assert_int_equal(connection_pool_count(rig->pool), 1);
	assert_string_equal(receive(idle), "EOF");
	assert_string_equal(receive(rig->client), "EOF");
	assert_string_equal(receive(arrived), "action=arrived\n\nEOF");
	must_send(started, TEXT("rted\n\n"));
	turn(rig);
	assert_string_equal(receive(started), "action=started\n\nEOF");
	assert_int_equal(connection_pool_count(rig->pool), 0);
	close(started);
	close(arrived);
	close(idle);
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RIGGED(test_one),
	    RIGGED(test_split_at_every_byte),
	    RIGGED(test_pipelined),
	    RIGGED(test_unread_answers),
	    RIGGED(test_protocol_errors),
	    RIGGED(test_too_long),
	    RIGGED(test_slow),
	    RIGGED(test_idle),
	    RIGGED(test_later),
	    RIGGED(test_no_memory_beside_an_awaited_answer),
	    RIGGED(test_half_closed),
	    RIGGED(test_gone_before_the_answer),
	    RIGGED(test_drain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
