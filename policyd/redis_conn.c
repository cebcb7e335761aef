/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_conn.h"

#include "common/cleanup.h"
#include "common/printable.h"
#include "policyd/redis_dial.h"
#include "policyd/redis_error.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

/* The reader's stack and its hooks have other types in 0.14 and in 1.x. */
#if HIREDIS_MAJOR < 1
typedef int array_count;
#define READ_TASK(reader) (&(reader)->rstack[(reader)->ridx])
#else
typedef size_t array_count;
#define READ_TASK(reader) ((reader)->task[(reader)->ridx])
#endif

/* How often an open connection looks at its clocks. */
#define TICK_MS 250

enum stage { STAGE_DIAL, STAGE_LOGIN, STAGE_READY, STAGE_OVER };

/* A command whose reply is due. */
struct due {
	redis_replied *replied;
	void *context;
};

_Static_assert(
    (int)REDIS_FAULT_AWAY == REDIS_ERRORS_MAX, "kinds go on behind the rows of errors");

struct redis_conn {
	struct event_base *base;
	struct redis_conn_options options;
	const struct redis_conn_events *events;
	void *context;

	enum stage stage;
	unsigned held;   /* callbacks of ours are on the stack */
	bool free_later; /* freed inside one */
	bool subscribed; /* replies are messages */
	bool heard;      /* the server said something */
	struct redis_fault fault;
	char channel[128];
	redis_replied *subscribed_replied;
	void *subscribed_context;

	struct redis_dial *dial;
	redisContext *redis;
	redisReplyObjectFunctions functions;
	void *(*create_array)(const redisReadTask *, array_count);
	size_t elements, bytes; /* of the reply that is being read */
	struct event *readable, *writable, *flush, *timer;

	/* Replies due, a ring. */
	struct due *due;
	size_t due_first, due_count, due_room;
	int64_t waiting_since_ms, heard_ms;
	size_t logins_open; /* replies of the login still due */
};

int64_t redis_now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint32_t redis_jitter_ms(uint32_t ms)
{
	uint32_t random = 0;
	/* Without it all wait the same time, which is no reason to fail. */
	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	return ms / 2 + random % (ms / 2 + 1);
}

const char *redis_endpoint_text(const struct endpoint *endpoint, char buf[static 300])
{
	if (endpoint->kind == ENDPOINT_UNIX)
		snprintf(buf, 300, "unix:%s", endpoint->path);
	else if (strchr(endpoint->host, ':'))
		snprintf(buf, 300, "[%s]:%s", endpoint->host, endpoint->port);
	else
		snprintf(buf, 300, "%s:%s", endpoint->host, endpoint->port);
	return buf;
}

/* ---- replies ---- */

static const redisReply *raw(const struct redis_reply *reply)
{
	return (const redisReply *)reply;
}

static const struct redis_reply *opaque(const redisReply *reply)
{
	return (const struct redis_reply *)reply;
}

enum redis_kind redis_reply_kind(const struct redis_reply *reply)
{
	switch (raw(reply)->type) {
	case REDIS_REPLY_STRING:
	case REDIS_REPLY_STATUS:
	case REDIS_REPLY_ERROR:
		return REDIS_TEXT;
	case REDIS_REPLY_INTEGER:
		return REDIS_INTEGER;
	case REDIS_REPLY_ARRAY:
		return REDIS_LIST;
	default:
		return REDIS_NIL;
	}
}

int64_t redis_reply_integer(const struct redis_reply *reply)
{
	return raw(reply)->type == REDIS_REPLY_INTEGER ? raw(reply)->integer : 0;
}

const char *redis_reply_text(const struct redis_reply *reply, size_t *ret_len)
{
	bool text = redis_reply_kind(reply) == REDIS_TEXT && raw(reply)->str;
	if (ret_len)
		*ret_len = text ? raw(reply)->len : 0;
	return text ? raw(reply)->str : "";
}

size_t redis_reply_count(const struct redis_reply *reply)
{
	return raw(reply)->type == REDIS_REPLY_ARRAY ? raw(reply)->elements : 0;
}

const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t i)
{
	assert(i < redis_reply_count(reply));
	return opaque(raw(reply)->element[i]);
}

const char *redis_reply_error(const struct redis_reply *reply, size_t *ret_len)
{
	return raw(reply)->type == REDIS_REPLY_ERROR ? redis_reply_text(reply, ret_len)
						     : NULL;
}

/* ---- the end ---- */

static void conn_destroy(struct redis_conn *conn)
{
	struct event *const events[] = {
	    conn->readable, conn->writable, conn->flush, conn->timer};
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	redis_dial_free(conn->dial);
	if (conn->redis)
		redisFree(conn->redis); /* closes its descriptor */
	free(conn->due);
	free(conn);
}

static void hold(struct redis_conn *conn)
{
	conn->held++;
}

static void release(struct redis_conn *conn)
{
	if (--conn->held == 0 && conn->free_later)
		conn_destroy(conn);
}

static void stop_events(struct redis_conn *conn)
{
	struct event *const events[] = {
	    conn->readable, conn->writable, conn->flush, conn->timer};
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_del(events[i]);
	conn->dial = redis_dial_free(conn->dial);
}

/* Nobody will answer any more: everybody is told. Under hold(). */
static void give_up_due(struct redis_conn *conn)
{
	while (conn->due_count > 0) {
		struct due due = conn->due[conn->due_first];
		conn->due_first = (conn->due_first + 1) % conn->due_room;
		conn->due_count--;
		due.replied(due.context, NULL);
	}
	if (conn->subscribed_replied)
		TAKE(conn->subscribed_replied)(conn->subscribed_context, NULL);
}

struct redis_conn *redis_conn_free(struct redis_conn *conn)
{
	if (!conn || conn->free_later)
		return NULL;
	conn->stage = STAGE_OVER;
	stop_events(conn);
	conn->free_later = true;
	hold(conn);
	give_up_due(conn);
	release(conn);
	return NULL;
}

/* The fault is filled in. Under hold(). */
static void over(struct redis_conn *conn)
{
	if (conn->stage == STAGE_OVER)
		return;
	conn->stage = STAGE_OVER;
	stop_events(conn);
	give_up_due(conn);
	if (!conn->free_later)
		conn->events->lost(conn->context, conn, &conn->fault);
}

__attribute__((format(printf, 3, 4))) static void fail(
    struct redis_conn *conn, enum redis_fault_kind kind, const char *format, ...)
{
	char text[sizeof(conn->fault.text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printable(conn->fault.text, sizeof(conn->fault.text), text, strlen(text));
	conn->fault.kind = kind;
	conn->fault.result =
	    kind == REDIS_FAULT_FOREIGN ? REDIS_CONFIGURATION : REDIS_UNAVAILABLE;
	over(conn);
}

void redis_fault_of_reply(
    const char *command, const char *text, size_t len, struct redis_fault *ret)
{
	const struct redis_error *error = redis_error_find(text, len);
	char shown[160];

	printable(shown, sizeof(shown), text, len);
	snprintf(ret->text, sizeof(ret->text), "%s: \"%s\"", command, shown);
	ret->kind = redis_error_index(error);
	ret->remedy = error->remedy;
	/* Of a server's own commands no script and no key can be the cause. */
	ret->result = error->result == REDIS_CONFIGURATION ? REDIS_CONFIGURATION
							   : REDIS_UNAVAILABLE;
}

/* An error reply while logging in. */
static void fail_by_reply(
    struct redis_conn *conn, const char *command, const char *text, size_t len)
{
	redis_fault_of_reply(command, text, len, &conn->fault);
	over(conn);
}

/* ---- writing ---- */

static void write_out(struct redis_conn *conn)
{
	int done = 0;
	/* It closed its side: what it said before stands to be read, and then the end. */
	if (redisBufferWrite(conn->redis, &done) != REDIS_OK) {
		conn->redis->err = 0;
		done = 1;
	}
	if (done)
		event_del(conn->writable);
	else
		event_add(conn->writable, NULL);
}

static void on_flush(evutil_socket_t fd, short what, void *context)
{
	struct redis_conn *conn = context;
	(void)fd, (void)what;
	hold(conn);
	if (conn->stage == STAGE_LOGIN || conn->stage == STAGE_READY)
		write_out(conn);
	release(conn);
}

static bool due_put(struct redis_conn *conn, redis_replied *replied, void *context)
{
	if (conn->due_count == conn->due_room) {
		size_t room = conn->due_room ? conn->due_room * 2 : 64;
		struct due *due = reallocarray(NULL, room, sizeof(*due));
		if (!due)
			return false;
		for (size_t i = 0; i < conn->due_count; i++)
			due[i] = conn->due[(conn->due_first + i) % conn->due_room];
		free(conn->due);
		conn->due = due;
		conn->due_first = 0;
		conn->due_room = room;
	}
	conn->due[(conn->due_first + conn->due_count++) % conn->due_room] =
	    (struct due){replied, context};
	return true;
}

static int append(
    struct redis_conn *conn, int argc, const char *const *argv, const size_t *argv_len)
{
	/* hiredis asks for pointers that it could write through, and does not. */
	union {
		const char *const *in;
		const char **out;
	} arguments = {.in = argv};
	if (redisAppendCommandArgv(conn->redis, argc, arguments.out, argv_len) !=
	    REDIS_OK)
		return -ENOMEM;
	event_active(conn->flush, EV_TIMEOUT, 0);
	return 0;
}

static int send_command(
    struct redis_conn *conn, int argc, const char *const *argv, const size_t *argv_len,
    redis_replied *replied, void *context)
{
	if (!due_put(conn, replied, context))
		return -ENOMEM;
	if (append(conn, argc, argv, argv_len) < 0) {
		conn->due_count--;
		return -ENOMEM;
	}
	if (conn->due_count == 1)
		conn->waiting_since_ms = redis_now_ms();
	return 0;
}

bool redis_conn_usable(const struct redis_conn *conn)
{
	return conn && conn->stage == STAGE_READY;
}

int redis_conn_send(
    struct redis_conn *conn, int argc, const char *const *argv, const size_t *argv_len,
    redis_replied *replied, void *context)
{
	if (conn->stage != STAGE_READY || conn->subscribed)
		return -ENOTCONN;
	return send_command(conn, argc, argv, argv_len, replied, context);
}

int redis_conn_subscribe(
    struct redis_conn *conn, const char *channel, redis_replied *replied, void *context)
{
	const char *argv[] = {"SUBSCRIBE", channel};
	if (conn->stage != STAGE_READY || conn->subscribed)
		return -ENOTCONN;
	if (strlen(channel) >= sizeof(conn->channel))
		return -ENAMETOOLONG;
	int r = append(conn, 2, argv, NULL);
	if (r < 0)
		return r;
	strcpy(conn->channel, channel);
	conn->subscribed = true;
	conn->subscribed_replied = replied;
	conn->subscribed_context = context;
	conn->waiting_since_ms = redis_now_ms();
	return 0;
}

/* ---- logging in ---- */

/* The replies come in the order of the questions, so each step knows the one before. */
static const char *const login_names[] = {"AUTH", "SELECT", "ROLE", "PING"};
enum login { LOGIN_AUTH, LOGIN_SELECT, LOGIN_ROLE, LOGIN_PING };

static bool is_said(const char *text)
{
	return text && text[0];
}

static bool role_fits(const struct redis_conn *conn, const char *role)
{
	switch (conn->options.role) {
	case REDIS_ROLE_MASTER:
		return strcmp(role, "master") == 0;
	case REDIS_ROLE_SENTINEL:
		return strcmp(role, "sentinel") == 0;
	case REDIS_ROLE_ANY:
		return strcmp(role, "sentinel") != 0;
	}
	return false;
}

static void become_ready(struct redis_conn *conn)
{
	const struct timeval tick = {0, TICK_MS * 1000};
	conn->stage = STAGE_READY;
	event_del(conn->timer);
	event_add(conn->timer, &tick);
	conn->events->ready(conn->context, conn);
}

/* True: good, go on. */
static bool login_good(
    struct redis_conn *conn, enum login which, const struct redis_reply *reply)
{
	size_t len;
	if (!reply || conn->stage != STAGE_LOGIN)
		return false;
	const char *error = redis_reply_error(reply, &len);
	if (error)
		fail_by_reply(conn, login_names[which], error, len);
	return !error;
}

static void login_step_done(struct redis_conn *conn)
{
	if (--conn->logins_open == 0)
		become_ready(conn);
}

static void auth_replied(void *context, const struct redis_reply *reply)
{
	if (login_good(context, LOGIN_AUTH, reply))
		login_step_done(context);
}

static void select_replied(void *context, const struct redis_reply *reply)
{
	if (login_good(context, LOGIN_SELECT, reply))
		login_step_done(context);
}

static void ping_replied(void *context, const struct redis_reply *reply)
{
	if (login_good(context, LOGIN_PING, reply))
		login_step_done(context);
}

static void role_replied(void *context, const struct redis_reply *reply)
{
	struct redis_conn *conn = context;
	const char *role = "";

	if (!login_good(conn, LOGIN_ROLE, reply))
		return;
	if (redis_reply_count(reply) > 0)
		role = redis_reply_text(redis_reply_item(reply, 0), NULL);
	if (role_fits(conn, role))
		login_step_done(conn);
	else
		fail(
		    conn, REDIS_FAULT_ROLE, "is a %s, expected a %s",
		    strcmp(role, "slave") == 0 ? "replica" : role,
		    conn->options.role == REDIS_ROLE_SENTINEL ? "sentinel" : "master");
}

static bool login_send(
    struct redis_conn *conn, int argc, const char *const *argv, redis_replied *replied)
{
	conn->logins_open++;
	if (send_command(conn, argc, argv, NULL, replied, conn) == 0)
		return true;
	fail(conn, REDIS_FAULT_AWAY, "no memory to log in");
	return false;
}

static bool login_auth(struct redis_conn *conn)
{
	const struct redis_conn_options *options = &conn->options;
	const char *named[] = {"AUTH", options->username, options->password};
	const char *plain[] = {"AUTH", options->password};

	if (!is_said(options->password))
		return true;
	return is_said(options->username) ? login_send(conn, 3, named, auth_replied)
					  : login_send(conn, 2, plain, auth_replied);
}

static bool login_role(struct redis_conn *conn)
{
	const char *const role[] = {"ROLE"}, *const ping[] = {"PING"};
	/* ROLE is answered while a data set is loaded or its disk is full; PING is not.
	 */
	return login_send(conn, 1, role, role_replied) &&
	       login_send(conn, 1, ping, ping_replied);
}

/* A sentinel that was asked without a password. */
static void try_replied(void *context, const struct redis_reply *reply)
{
	struct redis_conn *conn = context;
	const char *error = reply ? redis_reply_error(reply, NULL) : NULL;
	bool asks = error && strncmp(error, "NOAUTH", 6) == 0;

	if (!reply || conn->stage != STAGE_LOGIN)
		return;
	if (asks && is_said(conn->options.password)) {
		if (!login_auth(conn))
			return;
	} else if (!login_good(conn, LOGIN_PING, reply)) {
		return;
	}
	if (login_role(conn))
		conn->logins_open--; /* this one */
}

static void login_begin(struct redis_conn *conn)
{
	const struct redis_conn_options *options = &conn->options;
	const char *const ping[] = {"PING"};
	char db[16];

	conn->stage = STAGE_LOGIN;
	conn->heard_ms = redis_now_ms();
	if (options->password_when_asked) {
		login_send(conn, 1, ping, try_replied);
		return;
	}
	snprintf(db, sizeof(db), "%u", options->db);
	const char *const select[] = {"SELECT", db};
	if (login_auth(conn) &&
	    (options->db == 0 || login_send(conn, 2, select, select_replied)))
		login_role(conn);
}

/* ---- reading ---- */

/* Before memory is taken for what a server announces. The reader hands on where it
 * stands; its root task has no parent. */
static void *create_array(const redisReadTask *task, array_count count)
{
	struct redis_conn *conn = task->privdata;

	conn->elements += (size_t)count;
	if (conn->elements > REDIS_REPLY_ELEMENTS)
		return NULL;
	return conn->create_array(task, count);
}

/* A bulk string is taken as a whole, so its announcement stands unread in the buffer. */
static bool announces_too_much(const redisReader *reader)
{
	char digits[24];
	if (reader->ridx < 0 || READ_TASK(reader)->type != REDIS_REPLY_STRING)
		return false;
	size_t len = reader->len - reader->pos;
	if (len >= sizeof(digits))
		len = sizeof(digits) - 1;
	memcpy(digits, reader->buf + reader->pos, len);
	digits[len] = '\0';
	return strtoll(digits, NULL, 10) > REDIS_REPLY_STRING_MAX;
}

static void fail_foreign(struct redis_conn *conn)
{
	const char *why = conn->redis->errstr, *got = strstr(why, "got \"");

	conn->fault.remedy = "mend redis.servers";
	if (conn->elements > REDIS_REPLY_ELEMENTS)
		fail(conn, REDIS_FAULT_EXCESS, "announces a reply without end");
	else if (got && strncmp(got, "got \"\\x15\"", 10) == 0)
		fail(
		    conn, REDIS_FAULT_FOREIGN,
		    "speaks TLS, which this build cannot; connect by a unix socket or "
		    "stunnel");
	else if (got && strncmp(got, "got \"H\"", 7) == 0)
		fail(conn, REDIS_FAULT_FOREIGN, "speaks HTTP, not Redis's protocol");
	else
		fail(conn, REDIS_FAULT_FOREIGN, "does not speak Redis's protocol");
}

static void take_message(struct redis_conn *conn, const redisReply *reply)
{
	size_t count = redis_reply_count(opaque(reply)), len, channel_len;
	const char *kind =
	    count > 0 ? redis_reply_text(redis_reply_item(opaque(reply), 0), NULL) : "";

	if (strcmp(kind, "message") == 0 && count == 3) {
		const char *channel =
		    redis_reply_text(redis_reply_item(opaque(reply), 1), &channel_len);
		const char *data =
		    redis_reply_text(redis_reply_item(opaque(reply), 2), &len);
		if (conn->events->message)
			conn->events->message(
			    conn->context, channel, channel_len, data, len);
		return;
	}
	/* "subscribe", or the error that came instead; a "pong" is only a sign of life.
	 */
	if (conn->subscribed_replied &&
	    (strcmp(kind, "subscribe") == 0 || reply->type == REDIS_REPLY_ERROR))
		TAKE(conn->subscribed_replied)(conn->subscribed_context, opaque(reply));
}

static void take_reply(struct redis_conn *conn, const redisReply *reply)
{
	/* What was asked before SUBSCRIBE is answered before it. */
	if (conn->due_count > 0) {
		struct due due = conn->due[conn->due_first];
		conn->due_first = (conn->due_first + 1) % conn->due_room;
		conn->due_count--;
		due.replied(due.context, opaque(reply));
	} else if (conn->subscribed) {
		take_message(conn, reply);
	} else if (reply->type == REDIS_REPLY_ERROR) {
		fail_by_reply(conn, "the server", reply->str, reply->len);
	} else {
		fail(conn, REDIS_FAULT_FOREIGN, "answers what nobody asked");
	}
}

static void take_replies(struct redis_conn *conn)
{
	while (conn->stage != STAGE_OVER) {
		void *reply = NULL;
		if (redisGetReplyFromReader(conn->redis, &reply) != REDIS_OK) {
			fail_foreign(conn);
			return;
		}
		if (!reply)
			break;
		conn->elements = conn->bytes = 0;
		take_reply(conn, reply);
		freeReplyObject(reply);
	}
	if (conn->stage == STAGE_OVER)
		return;
	if (conn->bytes > REDIS_REPLY_BYTES || announces_too_much(conn->redis->reader)) {
		conn->fault.remedy = "mend redis.servers";
		fail(conn, REDIS_FAULT_EXCESS, "announces a reply without end");
	}
}

static void read_in(struct redis_conn *conn)
{
	size_t before = conn->redis->reader->len - conn->redis->reader->pos;

	if (redisBufferRead(conn->redis) != REDIS_OK) {
		/* What came before the end still counts: "-ERR max number of clients". */
		take_replies(conn);
		if (!conn->heard)
			fail(
			    conn, REDIS_FAULT_AWAY,
			    "closed the connection without a word; is it a TLS port, or "
			    "no Redis?");
		else if (conn->redis->err == REDIS_ERR_EOF)
			fail(conn, REDIS_FAULT_AWAY, "closed the connection");
		else
			fail(conn, REDIS_FAULT_AWAY, "lost: %s", conn->redis->errstr);
		return;
	}
	conn->bytes += conn->redis->reader->len - conn->redis->reader->pos - before;
	conn->heard = true;
	conn->heard_ms = conn->waiting_since_ms = redis_now_ms();
	take_replies(conn);
}

/* ---- connecting ---- */

static void arm(struct redis_conn *conn, uint32_t ms)
{
	const struct timeval time = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
	event_del(conn->timer);
	event_add(conn->timer, &time);
}

/* The descriptor is hiredis's from here on. False: no memory. */
static bool adopt(struct redis_conn *conn, int fd)
{
	conn->redis = redisConnectFd(fd);
	if (!conn->redis) {
		close(fd);
		return false;
	}
	conn->redis->flags &= ~REDIS_BLOCK;
	conn->functions = *conn->redis->reader->fn;
	conn->create_array = conn->functions.createArray;
	conn->functions.createArray = create_array;
	conn->redis->reader->fn = &conn->functions;
	conn->redis->reader->privdata = conn;
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct redis_conn *conn = context;
	(void)fd, (void)what;
	hold(conn);
	if (conn->stage != STAGE_OVER)
		read_in(conn);
	release(conn);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	struct redis_conn *conn = context;
	(void)fd, (void)what;
	hold(conn);
	if (conn->stage != STAGE_OVER)
		write_out(conn);
	release(conn);
}

static void connected(struct redis_conn *conn, int fd)
{
	const short read = EV_READ | EV_PERSIST, write = EV_WRITE | EV_PERSIST;

	if (!adopt(conn, fd)) {
		fail(conn, REDIS_FAULT_AWAY, "no memory for a connection");
		return;
	}
	conn->readable = event_new(conn->base, fd, read, on_readable, conn);
	conn->writable = event_new(conn->base, fd, write, on_writable, conn);
	if (!conn->readable || !conn->writable || event_add(conn->readable, NULL) < 0) {
		fail(conn, REDIS_FAULT_AWAY, "no memory for a connection");
		return;
	}
	arm(conn, conn->options.timeout_ms);
	login_begin(conn);
}

static void on_dialled(void *context, const struct redis_dialled *dialled)
{
	struct redis_conn *conn = context;

	hold(conn);
	conn->fault.remedy = dialled->remedy;
	if (dialled->fd >= 0)
		connected(conn, dialled->fd);
	else
		fail(
		    conn, dialled->silent ? REDIS_FAULT_SILENT : REDIS_FAULT_AWAY, "%s",
		    dialled->error);
	release(conn);
}

/* ---- clocks ---- */

static void idle_replied(void *context, const struct redis_reply *reply)
{
	(void)context, (void)reply; /* that it came is all */
}

static void check_silence(struct redis_conn *conn)
{
	static const char *const ping[] = {"PING"};
	int64_t now_ms = redis_now_ms();

	if ((conn->due_count > 0 || conn->subscribed_replied) &&
	    now_ms - conn->waiting_since_ms > REDIS_CONN_SILENT_MS) {
		fail(
		    conn, REDIS_FAULT_SILENT, "has not answered for %lld ms",
		    (long long)(now_ms - conn->waiting_since_ms));
		return;
	}
	if (conn->due_count > 0 || conn->subscribed_replied)
		return;
	if (conn->subscribed &&
	    now_ms - conn->heard_ms > REDIS_CONN_IDLE_MS + REDIS_CONN_SILENT_MS) {
		fail(conn, REDIS_FAULT_SILENT, "has not answered");
		return;
	}
	if (now_ms - conn->heard_ms < REDIS_CONN_IDLE_MS)
		return;
	/* The answer to a subscriber's comes among the messages. */
	int r = conn->subscribed ? append(conn, 1, ping, NULL)
				 : send_command(conn, 1, ping, NULL, idle_replied, conn);
	if (r < 0)
		fail(conn, REDIS_FAULT_AWAY, "no memory to ask it");
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct redis_conn *conn = context;

	(void)fd, (void)what;
	hold(conn);
	switch (conn->stage) {
	case STAGE_LOGIN:
		fail(
		    conn, REDIS_FAULT_SILENT, "has not answered for %u ms",
		    conn->options.timeout_ms);
		break;
	case STAGE_READY:
		check_silence(conn);
		break;
	case STAGE_DIAL:
	case STAGE_OVER:
		break;
	}
	release(conn);
}

/* ---- the object ---- */

int redis_conn_new(
    struct event_base *base, const struct endpoint *endpoint,
    const struct redis_conn_options *options, const struct redis_conn_events *events,
    void *context, struct redis_conn **ret)
{
	struct redis_conn *conn = calloc(1, sizeof(*conn));
	if (!conn)
		return -ENOMEM;
	conn->base = base;
	conn->options = *options;
	conn->events = events;
	conn->context = context;
	conn->flush = event_new(base, -1, 0, on_flush, conn);
	conn->timer = event_new(base, -1, EV_PERSIST, on_timer, conn);
	int r = -ENOMEM;
	if (conn->flush && conn->timer)
		r = redis_dial_new(
		    base, endpoint, options->timeout_ms, on_dialled, conn, &conn->dial);
	if (r < 0) {
		conn_destroy(conn);
		return r;
	}
	*ret = conn;
	return 0;
}
