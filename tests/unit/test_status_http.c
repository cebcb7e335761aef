/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/status_http.h"

#include "common/metrics.h"
#include "common/sockets.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	char folder[64];
	struct endpoint endpoint;
	int fd;
	struct status_http *http;
	/* What the daemon says of itself; set between requests. */
	struct status_health health;
};

static void say_health(void *context, struct status_health *ret)
{
	const struct fixture *fixture = context;
	*ret = fixture->health;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char error[256], text[128];

	strcpy(fixture->folder, "/tmp/postern-status-XXXXXX");
	assert_non_null(mkdtemp(fixture->folder));
	snprintf(text, sizeof(text), "unix:%s/status", fixture->folder);
	assert_null(endpoint_parse(text, &fixture->endpoint));
	fixture->fd =
	    endpoint_listen(&fixture->endpoint, 0600, NULL, error, sizeof(error));
	if (fixture->fd < 0)
		fail_msg("%s", error);
	fixture->health.serving = true;
	assert_int_equal(
	    status_http_new(
		fixture->fd, "postern-test", say_health, fixture, &fixture->http),
	    0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char lock[128];

	status_http_free(fixture->http);
	endpoint_unlink(&fixture->endpoint);
	snprintf(lock, sizeof(lock), "%s.lock", fixture->endpoint.path);
	unlink(lock);
	close(fixture->fd);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static int dial(const struct fixture *fixture)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, fixture->endpoint.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* False: the other side closed. */
static bool put(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* Reads to the end. -1: the connection was reset. */
static ssize_t get_all(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, buf + len, size - 1 - len, 0)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	close(fd);
	return n < 0 && len == 0 ? -1 : (ssize_t)len;
}

static const char *ask(const struct fixture *fixture, const char *request)
{
	static char answer[65536];
	int fd = dial(fixture);

	put(fd, request, strlen(request));
	get_all(fd, answer, sizeof(answer));
	return answer;
}

static void answers(void **state)
{
	static const struct {
		const char *why, *request, *begins, *has;
	} rows[] = {
	    {"the counters", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
	     "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; "
	     "charset=utf-8\r\n",
	     "postern_build_info{version=\"test\"} 1\n"},
	    {"a query is not looked at", "GET /metrics?x=1 HTTP/1.1\r\n\r\n",
	     "HTTP/1.1 200 OK\r\n", "postern_build_info"},
	    {"health", "GET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n",
	     "\r\n\r\nok\n"},
	    {"the page", "GET / HTTP/1.1\r\n\r\n",
	     "HTTP/1.1 200 OK\r\nContent-Type: text/html", "<h1>postern-test</h1>"},
	    {"newlines alone will do", "GET /healthz HTTP/1.0\n\n", "HTTP/1.1 200 OK\r\n",
	     "ok\n"},
	    {"no body for HEAD", "HEAD /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n",
	     "Content-Length: 3\r\n"},
	    {"nothing else is here", "GET /etc/passwd HTTP/1.1\r\n\r\n",
	     "HTTP/1.1 404 Not Found\r\n", "/healthz"},
	    {"no longer path", "GET /metricsx HTTP/1.1\r\n\r\n",
	     "HTTP/1.1 404 Not Found\r\n", ""},
	    {"POST", "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
	     "HTTP/1.1 405 Method Not Allowed\r\n", "Allow: GET, HEAD\r\n"},
	    {"a proxy request", "GET http://example.org/ HTTP/1.1\r\n\r\n",
	     "HTTP/1.1 405 Method Not Allowed\r\n", ""},
	    {"a policy request", "request=smtpd_access_policy\nprotocol_state=RCPT\n\n",
	     "HTTP/1.1 400 Bad Request\r\n", ""},
	    {"nothing at all", "\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n", ""},
	};
	struct fixture *fixture = *state;

	metrics_set(metrics_series(METRIC_BUILD_INFO, "test", NULL), 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *answer = ask(fixture, rows[i].request);
		if (strncmp(answer, rows[i].begins, strlen(rows[i].begins)) != 0 ||
		    !strstr(answer, rows[i].has))
			fail_msg("%s: %s", rows[i].why, answer);
		if (!strstr(answer, "\r\nConnection: close\r\n"))
			fail_msg("%s: stays open", rows[i].why);
		if (strncmp(rows[i].request, "HEAD", 4) == 0 &&
		    strcmp(strstr(answer, "\r\n\r\n"), "\r\n\r\n") != 0)
			fail_msg("%s: %s", rows[i].why, answer);
	}
}

static void health_is_shown(void **state)
{
	static const struct {
		const char *why;
		bool serving;
		const char *trouble, *healthz, *page;
	} rows[] = {
	    {"well", true, "", "HTTP/1.1 200 OK", "<strong>ok</strong>"},
	    {"degraded serves", true, "last reload failed", "HTTP/1.1 200 OK",
	     "<strong>degraded</strong>"},
	    {"stopping does not", false, "stopping", "HTTP/1.1 503 Service Unavailable",
	     "<strong>not serving</strong>"},
	    {"markup in a reason", true, "<b>&\"", "HTTP/1.1 200 OK",
	     "<p>&#60;b&#62;&#38;&#34;</p>"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fixture->health.serving = rows[i].serving;
		strcpy(fixture->health.trouble, rows[i].trouble);
		const char *answer = ask(fixture, "GET /healthz HTTP/1.1\r\n\r\n");
		if (strncmp(answer, rows[i].healthz, strlen(rows[i].healthz)) != 0 ||
		    !strstr(answer, rows[i].trouble))
			fail_msg("%s: %s", rows[i].why, answer);
		answer = ask(fixture, "GET / HTTP/1.1\r\n\r\n");
		if (!strstr(answer, rows[i].page))
			fail_msg("%s: %s", rows[i].why, answer);
	}
}

static void large_requests_are_refused(void **state)
{
	static const struct {
		const char *why, *before;
		char fill;
	} rows[] = {
	    {"a huge path", "GET /", 'a'},
	    {"huge header fields", "GET / HTTP/1.1\r\nX: ", 'b'},
	    {"NULs hide the end", "GET / HTTP/1.1\r\n", '\0'},
	    {"noise", "\xff", '\xff'},
	};
	static char buf[1 << 20], answer[4096];
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].before);
		memset(buf, rows[i].fill, sizeof(buf));
		memcpy(buf, rows[i].before, len);
		int fd = dial(fixture);
		/* All of a megabyte is taken or cut off, none of it kept. */
		put(fd, buf, sizeof(buf));
		shutdown(fd, SHUT_WR);
		ssize_t n = get_all(fd, answer, sizeof(answer));
		if (n < 0 || strncmp(answer, "HTTP/1.1 431 ", 13) != 0)
			fail_msg("%s: %s", rows[i].why, answer);
	}
}

static int64_t clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A request that does not end is ended, measured from its accept, not its last byte. */
static void slow_clients_are_cut(void **state)
{
	struct fixture *fixture = *state;
	int fd = dial(fixture);
	int64_t began_ms = clock_ms();
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

	while (poll(&poll_fd, 1, 200) == 0) {
		assert_true(put(fd, "X", 1) || errno == EPIPE);
		assert_true(clock_ms() - began_ms < (STATUS_HTTP_SECONDS + 3) * 1000);
	}
	char byte;
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	assert_true(clock_ms() - began_ms >= STATUS_HTTP_SECONDS * 1000 - 100);
	close(fd);
}

/* Clients that hold connections open cost their own oldest ones, not the next scrape. */
static void the_oldest_goes_for_a_new_one(void **state)
{
	enum { HOLDERS = STATUS_HTTP_CONNECTIONS * 3 };
	struct fixture *fixture = *state;
	int fds[HOLDERS];

	for (int i = 0; i < HOLDERS; i++) {
		fds[i] = dial(fixture);
		put(fds[i], "GET / HT", 8);
		const char *answer = ask(fixture, "GET /healthz HTTP/1.1\r\n\r\n");
		if (!strstr(answer, "200 OK"))
			fail_msg("with %d holders: %s", i, answer);
	}
	int open = 0;
	for (int i = 0; i < HOLDERS; i++) {
		struct pollfd poll_fd = {.fd = fds[i], .events = POLLIN};
		open += poll(&poll_fd, 1, 0) == 0;
		close(fds[i]);
	}
	assert_in_range(open, 1, STATUS_HTTP_CONNECTIONS);
}

static void a_thousand_scrapes(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 1000; i++)
		if (!strstr(ask(fixture, "GET /metrics HTTP/1.1\r\n\r\n"), " 200 OK"))
			fail_msg("scrape %d", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(answers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(health_is_shown, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		large_requests_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(slow_clients_are_cut, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		the_oldest_goes_for_a_new_one, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_thousand_scrapes, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
