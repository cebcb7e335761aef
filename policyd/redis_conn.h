/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/sockets.h"
#include "policyd/redis_link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One connection to one server, from resolving its name to the end: connect, AUTH,
 * SELECT, ROLE, PING, then commands in a row, answered in a row. It comes up once and
 * goes down once; who wants another connection makes another object.
 *
 * The only file that knows hiredis, and of it only the part without callbacks: a
 * redisContext over a socket of ours (close-on-exec, keepalive, TCP_NODELAY), whose
 * buffers the loop fills and empties. redisAsyncContext of 0.14 makes its own socket and
 * resolves names itself, waiting; has no timers; and frees itself inside callbacks.
 *
 * Deadlines of single commands are the caller's: a command cannot be taken back, its
 * reply comes late or never. A server that says nothing for REDIS_CONN_SILENT_MS while an
 * answer is due is given up, an idle one is asked (PING) whether it is there.
 *
 * Replies are bounded: what announces more elements or longer strings than any answer of
 * ours has, is no answer of ours, and ends the connection before memory is taken for it.
 */

struct event_base;
struct redis_conn;

#define REDIS_CONN_SILENT_MS   1000
#define REDIS_CONN_IDLE_MS     2000
#define REDIS_REPLY_ELEMENTS   (1024 * 1024)      /* in one reply, nested ones included */
#define REDIS_REPLY_STRING_MAX (16 * 1024 * 1024) /* bytes of one string */
#define REDIS_REPLY_BYTES      (64 * 1024 * 1024) /* of one reply */

enum redis_role { REDIS_ROLE_MASTER, REDIS_ROLE_SENTINEL, REDIS_ROLE_ANY };

struct redis_conn_options {
	const char *username, *password; /* "" or NULL: none */
	/* Only when the server asks for it: a sentinel seldom has a password. */
	bool password_when_asked;
	uint32_t db;
	enum redis_role role;
	uint32_t timeout_ms; /* for connecting and for logging in, each */
};

/* Why a connection ended. */
struct redis_fault {
	enum redis_result result; /* REDIS_UNAVAILABLE or REDIS_CONFIGURATION */
	unsigned kind;            /* the same fault has the same: for the log */
	const char *remedy;       /* or NULL */
	char text[200];           /* one line, printable */
};

/* Kinds beside the rows of redis_error.h. */
enum redis_fault_kind {
	REDIS_FAULT_AWAY = 48, /* refused, reset, closed, silent, name not found */
	REDIS_FAULT_SILENT,    /* connected, and no answer */
	REDIS_FAULT_ROLE,      /* a replica where the master was expected */
	REDIS_FAULT_EXCESS,    /* a longer reply than any that we ask for */
	REDIS_FAULT_FOREIGN,   /* does not speak Redis's protocol */
	REDIS_FAULT_MISSED,    /* any of these, where only messages are missed */
	REDIS_FAULT_KINDS = 64,
};

struct redis_conn_events {
	/* Commands may be sent. */
	void (*ready)(void *context, struct redis_conn *conn);
	/* It is over; commands under way were told before. Once, and last. */
	void (*lost)(
	    void *context, struct redis_conn *conn, const struct redis_fault *fault);
	/* A message of a channel; NULL where nobody subscribes. */
	void (*message)(
	    void *context, const char *channel, size_t channel_len, const char *data,
	    size_t len);
};

/* @reply NULL: the connection ended without one. An error reply is REDIS_TEXT's sibling:
 * ask redis_reply_error(). Gone after the call. */
typedef void redis_replied(void *context, const struct redis_reply *reply);

/* Begins to connect; nothing is called back before this returns. The strings of
 * @options, @events and @context are used until it is freed. */
int redis_conn_new(
    struct event_base *base, const struct endpoint *endpoint,
    const struct redis_conn_options *options, const struct redis_conn_events *events,
    void *context, struct redis_conn **ret);

/* Commands under way get NULL; no other callback. Also inside callbacks. NULL is fine. */
struct redis_conn *redis_conn_free(struct redis_conn *conn);

/* True between ready and lost. */
bool redis_conn_usable(const struct redis_conn *conn);

/*
 * Sends a command, together with the others of this loop turn. Returns 0, or negative
 * errno: not usable, or no memory; then @replied is not called.
 */
int redis_conn_send(
    struct redis_conn *conn, int argc, const char *const *argv, const size_t *argv_len,
    redis_replied *replied, void *context);

/* From then on messages come, and commands cannot be sent. @replied: when it holds. */
int redis_conn_subscribe(
    struct redis_conn *conn, const char *channel, redis_replied *replied, void *context);

/* The text of an error reply; NULL: it is none. */
const char *redis_reply_error(const struct redis_reply *reply, size_t *ret_len);

/* What the error reply to @command means, as a fault. */
void redis_fault_of_reply(
    const char *command, const char *text, size_t len, struct redis_fault *ret);

/* "10.0.0.1:6379", "[::1]:6379", "unix:/run/redis.sock". */
const char *redis_endpoint_text(const struct endpoint *endpoint, char buf[static 300]);

/* Half to all of @ms, so that a thousand loops do not knock together. */
uint32_t redis_jitter_ms(uint32_t ms);

/* Monotonic. */
int64_t redis_now_ms(void);
