/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Server and client of the control sockets, against each other and against clients that
 * do not keep to the protocol.
 */

#include "common/control.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	char folder[64], address[128];
	struct endpoint endpoint;
	int fd, pipe[2];
	struct event_base *base;
	struct event *control;
	struct control_server *server;
	pthread_t thread;
	/* Requests that wait until somebody sends "release". */
	struct control_request *held[CONTROL_CONNECTIONS];
	size_t held_count;
};

static void hold(struct fixture *fixture, struct control_request *request)
{
	assert_true(fixture->held_count < CONTROL_CONNECTIONS);
	fixture->held[fixture->held_count++] = request;
}

static void release(struct fixture *fixture)
{
	size_t count = fixture->held_count;

	fixture->held_count = 0;
	for (size_t i = 0; i < count; i++)
		control_reply(fixture->held[i], json_pack("{s:b}", "held", 1));
}

static void members(struct control_request *request, const json_t *message)
{
	const char *text = "(none)";
	uint64_t number = 42;
	bool given = false;
	struct control_member rows[] = {
	    {"text", CONTROL_TEXT, true, 8, .text = &text},
	    {"number", CONTROL_COUNT, false, 100, .count = &number, .given = &given},
	};

	if (control_members(request, message, rows, 2))
		control_reply(
		    request, json_pack(
				 "{s:s, s:I, s:b}", "text", text, "number",
				 (json_int_t)number, "given", given));
}

static void handle(
    void *context, struct control_request *request, const char *command,
    const json_t *message)
{
	struct fixture *fixture = context;

	if (strcmp(command, "echo") == 0) {
		control_reply(request, json_pack("{s:O}", "got", message));
	} else if (strcmp(command, "peer") == 0) {
		control_reply(
		    request, json_pack("{s:s}", "peer", control_request_peer(request)));
	} else if (strcmp(command, "members") == 0) {
		members(request, message);
	} else if (strcmp(command, "no memory") == 0) {
		control_reply(request, NULL);
	} else if (strcmp(command, "hold") == 0) {
		hold(fixture, request);
	} else if (strcmp(command, "release") == 0) {
		release(fixture);
		control_reply(request, json_object());
	} else if (strcmp(command, "long") == 0) {
		/* Far more than a socket buffers. */
		char *text = malloc(3000001);
		memset(text, 'x', 3000000);
		text[3000000] = '\0';
		control_reply(request, json_pack("{s:s}", "text", text));
		free(text);
	} else {
		const json_t *text = json_object_get(message, "text");
		control_refuse(
		    request, CONTROL_NO_SUCH, "no \"%.600s\"",
		    text ? json_string_value(text) : command);
	}
}

/* "r" releases those that are held, "s" stops. */
static void on_pipe(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct fixture *fixture = context;
	char byte = 's';

	assert_int_equal(read(fd, &byte, 1), 1);
	if (byte == 'r')
		release(fixture);
	else
		event_base_loopbreak(fixture->base);
}

static void *serve(void *context)
{
	struct fixture *fixture = context;

	event_base_dispatch(fixture->base);
	return NULL;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char error[256];

	strcpy(fixture->folder, "/tmp/postern-control-XXXXXX");
	assert_non_null(mkdtemp(fixture->folder));
	/* In a folder that does not exist yet. */
	snprintf(
	    fixture->address, sizeof(fixture->address), "unix:%s/run/control",
	    fixture->folder);
	fixture->fd = control_listen(
	    fixture->address, 0600, "", "", &fixture->endpoint, error, sizeof(error));
	if (fixture->fd < 0)
		fail_msg("%s", error);
	assert_int_equal(pipe(fixture->pipe), 0);
	fixture->base = event_base_new();
	fixture->control = event_new(
	    fixture->base, fixture->pipe[0], EV_READ | EV_PERSIST, on_pipe, fixture);
	event_add(fixture->control, NULL);
	assert_int_equal(
	    control_server_new(
		fixture->base, fixture->fd, handle, fixture, &fixture->server),
	    0);
	assert_int_equal(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char folder[128];

	assert_int_equal(write(fixture->pipe[1], "s", 1), 1);
	pthread_join(fixture->thread, NULL);
	control_server_free(fixture->server);
	release(fixture); /* to nobody */
	event_free(fixture->control);
	event_base_free(fixture->base);
	close(fixture->pipe[0]);
	close(fixture->pipe[1]);
	endpoint_unlink(&fixture->endpoint);
	close(fixture->fd);
	snprintf(folder, sizeof(folder), "%s/run", fixture->folder);
	assert_int_equal(rmdir(folder), 0);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

/* ---- a client by hand ---- */

static int dial(const struct fixture *fixture)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 2 * CONTROL_SECONDS};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
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

/* One line without its newline; "" when the other side closed. */
static const char *get(int fd)
{
	static char line[8192];
	size_t len = 0;

	while (len < sizeof(line) - 1 && recv(fd, line + len, 1, 0) == 1)
		if (line[len++] == '\n') {
			line[len - 1] = '\0';
			return line;
		}
	assert_int_equal(len, 0);
	return "";
}

static const char *ask(int fd, const char *line)
{
	assert_true(put(fd, line, strlen(line)));
	return get(fd);
}

static void expect(const char *why, const char *reply, const char *wanted)
{
	if (strcmp(reply, wanted) != 0)
		fail_msg("%s: got %s instead of %s", why, reply, wanted);
}

static void test_lines(void **state)
{
	static const struct {
		const char *why, *sent, *reply;
	} rows[] = {
	    {"an answer", "{\"command\":\"echo\",\"a\":[1,{}]}\n",
	     "{\"got\":{\"command\":\"echo\",\"a\":[1,{}]},\"ok\":true}"},
	    {"no JSON", "status\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"no JSON object: '[' or '{' "
	     "expected near 'status' at byte 6\"}"},
	    {"no command", "{}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"command\\\" is missing, "
	     "or no text\"}"},
	    {"a command that is no text", "{\"command\":7}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"command\\\" is missing, "
	     "or no text\"}"},
	    {"a refusal", "{\"command\":\"x\"}\n",
	     "{\"ok\":false,\"kind\":\"missing\",\"error\":\"no \\\"x\\\"\"}"},
	    {"hostile text goes as JSON, in ASCII",
	     "{\"command\":\"\\u001b[31m\\u202e\\\\\"}\n",
	     "{\"ok\":false,\"kind\":\"missing\",\"error\":\"no "
	     "\\\"\\u001B[31m\\u202E\\\\\\\"\"}"},
	    {"no memory", "{\"command\":\"no memory\"}\n",
	     "{\"ok\":false,\"kind\":\"failed\",\"error\":\"out of memory, or a reply of "
	     "more than 64 MiB\"}"},
	    {"members", "{\"command\":\"members\",\"text\":\"abc\",\"number\":100}\n",
	     "{\"text\":\"abc\",\"number\":100,\"given\":true,\"ok\":true}"},
	    {"a member left out", "{\"text\":\"abc\",\"command\":\"members\"}\n",
	     "{\"text\":\"abc\",\"number\":42,\"given\":false,\"ok\":true}"},
	    {"a member missing", "{\"command\":\"members\"}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"text\\\" is missing\"}"},
	    {"a member unknown", "{\"command\":\"members\",\"text\":\"a\",\"tex\":1}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"unknown member "
	     "\\\"tex\\\"\"}"},
	    {"a text that is a number", "{\"command\":\"members\",\"text\":1}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"text\\\" wants a text\"}"},
	    {"an empty text", "{\"command\":\"members\",\"text\":\"\"}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"text\\\" is empty\"}"},
	    {"a text too long", "{\"command\":\"members\",\"text\":\"123456789\"}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"text\\\" is longer than 8 "
	     "bytes\"}"},
	    {"a number too large",
	     "{\"command\":\"members\",\"text\":\"a\",\"number\":101}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"number\\\" wants a whole "
	     "number from 0 to 100\"}"},
	    {"a number below 0",
	     "{\"command\":\"members\",\"text\":\"a\",\"number\":-1}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"number\\\" wants a whole "
	     "number from 0 to 100\"}"},
	    {"a real number", "{\"command\":\"members\",\"text\":\"a\",\"number\":1.0}\n",
	     "{\"ok\":false,\"kind\":\"usage\",\"error\":\"\\\"number\\\" wants a whole "
	     "number from 0 to 100\"}"},
	};
	struct fixture *fixture = *state;
	int fd = dial(fixture); /* all over one connection */

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(rows[i].why, ask(fd, rows[i].sent), rows[i].reply);
	close(fd);
}

static void test_halves_and_several(void **state)
{
	struct fixture *fixture = *state;
	static const char line[] = "{\"command\":\"echo\"}\n";
	int fd = dial(fixture);

	for (size_t i = 0; i < sizeof(line) - 2; i++)
		assert_true(put(fd, line + i, 1));
	expect(
	    "the last byte", ask(fd, "\n"),
	    "{\"got\":{\"command\":\"echo\"},\"ok\":true}");

	/* One that is answered late holds up those behind it: answers keep their order.
	 */
	static const char several[] =
	    "{\"command\":\"hold\"}\n{\"command\":\"a\"}\n{\"command\":\"b\"}\n";
	put(fd, several, sizeof(several) - 1);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int other = dial(fixture);
	/* The other's answer proves that the first's lines have been looked at only if
	 * they were read before; so ask until one was held. */
	while (poll(&poll_fd, 1, 0) == 0)
		expect(
		    "a second client", ask(other, "{\"command\":\"release\"}\n"),
		    "{\"ok\":true}");
	expect("the first", get(fd), "{\"held\":true,\"ok\":true}");
	expect(
	    "the second", get(fd),
	    "{\"ok\":false,\"kind\":\"missing\",\"error\":\"no \\\"a\\\"\"}");
	expect(
	    "the third", get(fd),
	    "{\"ok\":false,\"kind\":\"missing\",\"error\":\"no \\\"b\\\"\"}");
	close(other);
	close(fd);
}

static void test_length(void **state)
{
	struct fixture *fixture = *state;
	char *line = malloc(CONTROL_REQUEST_MAX + 1);
	const char *head = "{\"command\":\"echo\",\"a\":[";
	int fd = dial(fixture);

	/* As long as may be: answered. */
	memset(line, ' ', CONTROL_REQUEST_MAX);
	memcpy(line, head, strlen(head));
	memcpy(line + CONTROL_REQUEST_MAX - 2, "]}", 2);
	line[CONTROL_REQUEST_MAX] = '\n';
	assert_true(put(fd, line, CONTROL_REQUEST_MAX + 1));
	expect(
	    "the longest", get(fd),
	    "{\"got\":{\"command\":\"echo\",\"a\":[]},\"ok\":true}");

	line[CONTROL_REQUEST_MAX] = ' ';
	assert_true(put(fd, line, CONTROL_REQUEST_MAX + 1));
	expect(
	    "one more", get(fd),
	    "{\"ok\":false,\"kind\":\"usage\",\"error\":\"a request is at most 65536 "
	    "bytes long\"}");
	expect("and closed", get(fd), "");
	close(fd);
	free(line);
}

static void test_long_reply(void **state)
{
	struct fixture *fixture = *state;
	char error[256];
	json_t *reply, *message = json_pack("{s:s}", "command", "long");

	assert_int_equal(
	    control_call(fixture->address, message, 10000, &reply, error, sizeof(error)),
	    0);
	assert_int_equal(json_string_length(json_object_get(reply, "text")), 3000000);
	json_decref(reply);
	json_decref(message);

	/* A client that reads nothing of it holds up nobody. */
	int deaf = dial(fixture), fd = dial(fixture);
	put(deaf, "{\"command\":\"long\"}\n", 19);
	expect("beside it", ask(fd, "{\"command\":\"release\"}\n"), "{\"ok\":true}");
	close(deaf);
	expect("after it", ask(fd, "{\"command\":\"release\"}\n"), "{\"ok\":true}");
	close(fd);
}

/* Silent ones give way to those who ask; those who are being served do not. */
static void test_many(void **state)
{
	struct fixture *fixture = *state;
	int silent[CONTROL_CONNECTIONS], fds[CONTROL_CONNECTIONS];

	for (size_t i = 0; i < CONTROL_CONNECTIONS; i++)
		silent[i] = dial(fixture);
	for (size_t i = 0; i < CONTROL_CONNECTIONS; i++) {
		fds[i] = dial(fixture);
		put(fds[i], "{\"command\":\"hold\"}\n", 19);
	}
	for (size_t i = 0; i < CONTROL_CONNECTIONS; i++) {
		expect("a silent one goes", get(silent[i]), "");
		close(silent[i]);
	}
	/* All places are taken by those who wait for their answer: one more waits in the
	 * queue, and costs none of them its answer. */
	int fd = dial(fixture);
	put(fd, "{\"command\":\"a\"}\n", 16);
	assert_int_equal(write(fixture->pipe[1], "r", 1), 1);
	for (size_t i = 0; i < CONTROL_CONNECTIONS; i++) {
		expect("served to the end", get(fds[i]), "{\"held\":true,\"ok\":true}");
		close(fds[i]);
	}
	expect(
	    "and the one more", get(fd),
	    "{\"ok\":false,\"kind\":\"missing\",\"error\":\"no \\\"a\\\"\"}");
	close(fd);
}

/* A client that leaves while it is served costs nothing. */
static void test_leaving(void **state)
{
	struct fixture *fixture = *state;
	int fd = dial(fixture), other = dial(fixture);

	put(fd, "{\"command\":\"hold\"}\n", 19);
	close(fd);
	for (int i = 0; i < 3; i++)
		expect(
		    "the other one", ask(other, "{\"command\":\"release\"}\n"),
		    "{\"ok\":true}");
	close(other);
}

static void test_garbage(void **state)
{
	struct fixture *fixture = *state;
	unsigned seed = 20261121;
	char bytes[4096];

	for (int round = 0; round < 300; round++) {
		int fd = dial(fixture);
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes);
		for (size_t i = 0; i < len; i++) {
			static const char some[] = "{}[]\",:\\\n u0019truefalsnul\xff\0";
			bytes[i] = some[(size_t)rand_r(&seed) % (sizeof(some) - 1)];
		}
		put(fd, bytes, len);
		close(fd);
	}
	int fd = dial(fixture);
	expect("still there", ask(fd, "{\"command\":\"release\"}\n"), "{\"ok\":true}");
	close(fd);
}

static void test_peer(void **state)
{
	struct fixture *fixture = *state;
	char wanted[128], uid[32];
	int fd = dial(fixture);

	snprintf(uid, sizeof(uid), "uid %u", getuid());
	snprintf(
	    wanted, sizeof(wanted), "{\"peer\":\"%s\",\"ok\":true}",
	    getuid() == 0 ? "root" : uid);
	expect("by the kernel", ask(fd, "{\"command\":\"peer\"}\n"), wanted);
	close(fd);
}

/* A refusal that is cut within a character is still JSON. */
static void test_cut(void **state)
{
	struct fixture *fixture = *state;
	char line[2048] = "{\"command\":\"x\",\"text\":\"", wide[1201] = "";
	int fd = dial(fixture);

	for (size_t i = 0; i < 400; i++)
		strcat(wide, "\xe2\x82\xac");
	strcat(strcat(line, wide), "\"}\n");
	json_error_t error;
	json_t *reply = json_loads(ask(fd, line), 0, &error);
	assert_non_null(reply);
	assert_string_equal(json_string_value(json_object_get(reply, "kind")), "missing");
	json_decref(reply);
	close(fd);
}

static void test_socket(void **state)
{
	struct fixture *fixture = *state;
	struct stat st;

	assert_int_equal(lstat(fixture->endpoint.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	char error[256];
	struct endpoint endpoint;
	assert_int_equal(
	    control_listen("127.0.0.1:1", 0600, "", "", &endpoint, error, sizeof(error)),
	    -1);
	assert_non_null(strstr(error, "unix:PATH"));
	assert_int_equal(
	    control_listen(
		fixture->address, 0600, "", "", &endpoint, error, sizeof(error)),
	    -1);
	assert_non_null(strstr(error, "another process listens there"));
}

/* ---- the client ---- */

/* A daemon that does @answer to whoever connects. */
static int false_daemon(const struct fixture *fixture, char address[static 128])
{
	struct endpoint endpoint;
	char error[256];

	snprintf(address, 128, "unix:%s/false", fixture->folder);
	assert_null(endpoint_parse(address, &endpoint));
	int fd = endpoint_listen(&endpoint, 0600, NULL, error, sizeof(error));
	assert_true(fd >= 0);
	return fd;
}

struct answerer {
	int listener;
	const char *answer;
	bool wait; /* for the client to leave, before anything is said */
};

static void *answer_once(void *context)
{
	struct answerer *answerer = context;
	struct pollfd poll_fd = {.fd = answerer->listener, .events = POLLIN};
	char byte;

	poll(&poll_fd, 1, -1);
	int fd = accept(answerer->listener, NULL, NULL);
	if (answerer->wait)
		while (recv(fd, &byte, 1, 0) > 0)
			;
	put(fd, answerer->answer, strlen(answerer->answer));
	close(fd);
	return NULL;
}

static void test_call_faults(void **state)
{
	static const struct {
		const char *why, *answer;
		bool wait;
		int r;
		const char *says;
	} rows[] = {
	    {"closed at once", "", false, -EPROTO, "without an answer"},
	    {"half a line", "{\"ok\":tr", false, -EPROTO, "without an answer"},
	    {"no JSON", "220 mx ESMTP\n", false, -EPROTO, "no JSON object"},
	    {"no ok", "{}\n", false, -EPROTO, "\"ok\" is missing"},
	    {"deep", "[[[[[[[[[[[[[[[[[[[[[[[[[[\n", false, -EPROTO, "deeper"},
	    {"silence", "", true, -ETIMEDOUT, "no answer from"},
	    {"an answer", "{\"ok\":true}\n", false, 0, ""},
	};
	struct fixture *fixture = *state;
	char address[128], error[512];
	int listener = false_daemon(fixture, address);
	json_t *message = json_pack("{s:s}", "command", "status");

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answerer answerer = {listener, rows[i].answer, rows[i].wait};
		pthread_t thread;
		json_t *reply = NULL;
		error[0] = '\0';
		pthread_create(&thread, NULL, answer_once, &answerer);
		int r = control_call(
		    address, message, rows[i].wait ? 50 : 10000, &reply, error,
		    sizeof(error));
		pthread_join(thread, NULL);
		if (r != rows[i].r || !strstr(error, rows[i].says))
			fail_msg("%s: %d, \"%s\"", rows[i].why, r, error);
		json_decref(reply);
	}
	unlink(address + 5);
	close(listener);
	json_decref(message);
}

static void test_call_nobody(void **state)
{
	struct fixture *fixture = *state;
	char address[128], error[512];
	json_t *reply, *message = json_pack("{s:s}", "command", "status");

	snprintf(address, sizeof(address), "unix:%s/none", fixture->folder);
	assert_int_equal(
	    control_call(address, message, 1000, &reply, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "is the daemon running"));
	int listener = false_daemon(fixture, address);
	close(listener);
	assert_int_equal(
	    control_call(address, message, 1000, &reply, error, sizeof(error)),
	    -ECONNREFUSED);
	unlink(address + 5);
	assert_int_equal(
	    control_call("127.0.0.1:1", message, 1000, &reply, error, sizeof(error)),
	    -EINVAL);
	json_decref(message);
}

/* connect() waits while the daemon's queue is full, and no longer than the deadline. */
static void test_call_queue(void **state)
{
	struct fixture *fixture = *state;
	char address[128], error[512];
	json_t *reply, *message = json_pack("{s:s}", "command", "status");
	int listener = false_daemon(fixture, address), fds[2];
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	assert_int_equal(listen(listener, 0), 0); /* room for one */
	strcpy(to.sun_path, address + 5);
	for (int i = 0; i < 2; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fds[i], (struct sockaddr *)&to, sizeof(to));
	}
	assert_int_equal(
	    control_call(address, message, 50, &reply, error, sizeof(error)), -ETIMEDOUT);
	close(fds[0]);
	close(fds[1]);
	unlink(address + 5);
	close(listener);
	json_decref(message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_halves_and_several, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_length, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_long_reply, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_leaving, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_peer, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_socket, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_call_faults, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_call_nobody, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_call_queue, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
