/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;

/*
 * A way to Redis for one event loop, whatever Redis is: one server, a master that
 * Sentinel names, or a Cluster. Commands go out pipelined, one write a loop turn; each is
 * answered exactly once, within its own time.
 *
 * It keeps itself connected: back-off with jitter, AUTH and SELECT, the role checked
 * after every connect (a replica is never asked), MASTER switches followed, the slot map
 * kept. MOVED, ASK, TRYAGAIN and READONLY are its own business: at most three hops, then
 * the call has failed. Commands marked repeatable are sent again over a new connection
 * when theirs was cut, as long as they have time.
 *
 * redis_conn.c is the only file that knows hiredis: struct redis_reply is opaque.
 * All calls on the loop's thread. Callbacks may call back in, and free nothing of this.
 * A call is never answered before redis_link_call() returns, unless there is no memory
 * for it or the link is being freed. While Redis is known to be away it is answered at
 * the next turn of the loop.
 */

struct redis_link;
struct redis_reply;

enum redis_result {
	REDIS_ANSWERED,    /* the reply is there, and no error */
	REDIS_UNAVAILABLE, /* nobody answered in time, or cannot now: away, LOADING, OOM,
			      MISCONF, NOREPLICAS, BUSY, CLUSTERDOWN */
	REDIS_MOVING,      /* too many hops: of a Cluster that is well, this key's slot is
			      just being moved */
	REDIS_NO_SCRIPT,   /* NOSCRIPT: EVAL brings it back */
	REDIS_BAD_KEY,     /* WRONGTYPE, or the script failed over what it found */
	REDIS_CONFIGURATION, /* NOAUTH, WRONGPASS, NOPERM, wrong master name, not a Redis:
				somebody must mend something */
};

/* @error: one line, printable; "" when answered. Both gone after the call. */
typedef void redis_answered(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error);

struct redis_call {
	/* The key whose slot decides who is asked; NULL: anybody. */
	const char *key;
	size_t key_len;
	int argc;
	const char *const *argv;
	const size_t *argv_len;
	uint32_t timeout_ms; /* 0: redis.timeout */
	bool repeatable;     /* may be carried out twice without harm */
	redis_answered *answered;
	void *context;
};

/* Connects to nobody until redis_link_set(). @purpose names it in messages: "limits". */
int redis_link_new(struct event_base *base, const char *purpose, struct redis_link **ret);

/* Open calls are answered REDIS_UNAVAILABLE. Not inside its callbacks. NULL is fine. */
struct redis_link *redis_link_free(struct redis_link *link);

/* The configuration in force, referenced as long as needed. The same redis section again
 * keeps the connections. Without "redis" it disconnects. Not inside its callbacks. */
void redis_link_set(struct redis_link *link, struct config *config);

/* The argv is copied out before this returns. */
void redis_link_call(struct redis_link *link, const struct redis_call *call);

/* Where in a Cluster a key lies (its hash tag, CRC16); 0 elsewhere: calls whose keys have
 * different slots must be several. */
unsigned redis_link_slot(const struct redis_link *link, const char *key, size_t len);
bool redis_link_is_cluster(const struct redis_link *link);

/*
 * Commands to every master: for SCAN, and a new script. @i from 0; false: there is no
 * such one (a standalone server has one). The call's key is not looked at.
 */
bool redis_link_call_node(
    struct redis_link *link, unsigned i, const struct redis_call *call);

/* What `postern status` shows. */
struct redis_link_state {
	bool connected;
	char server[300];  /* "unix:/run/redis.sock", "10.0.0.1:6379", "cluster of 3"; of
			      a master that was not found yet, its name in Sentinel */
	char trouble[200]; /* "" or why not, as the last error said; of a server that
			      answers again, until a second after the last error */
};
void redis_link_state(const struct redis_link *link, struct redis_link_state *ret);

/*
 * Messages of one channel, over a connection of its own (of a Cluster, any node).
 * @lost tells that messages may have been missed until now: at every (re)connect.
 */
typedef void redis_message(void *context, const char *data, size_t len);
typedef void redis_lost(void *context);
int redis_link_subscribe(
    struct redis_link *link, const char *channel, redis_message *message,
    redis_lost *lost, void *context);

/* ---- replies ---- */

enum redis_kind { REDIS_NIL, REDIS_TEXT, REDIS_INTEGER, REDIS_LIST };

enum redis_kind redis_reply_kind(const struct redis_reply *reply);
int64_t redis_reply_integer(const struct redis_reply *reply); /* 0 if it is none */
/* Of status and bulk replies; "" if it is none. Binary: *ret_len counts. */
const char *redis_reply_text(const struct redis_reply *reply, size_t *ret_len);
size_t redis_reply_count(const struct redis_reply *reply); /* 0 if it is no list */
const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t i);
