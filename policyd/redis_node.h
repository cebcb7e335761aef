/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/redis_call.h"
#include "policyd/redis_conn.h"

/*
 * One server, kept connected: connects, and connects again after a growing pause with
 * jitter; slowly at once where somebody must mend something first. Calls that come while
 * the first attempt is under way, or the first after a loss, wait as long as they have
 * time; when that failed new ones are not taken until the server is back.
 */

struct redis_node;

/* Pauses between attempts, the second half of each by chance: doubling, the longest at
 * once where somebody must mend something first. Who is back, or mended, is found within
 * the longest. */
#define REDIS_RETRY_FIRST_MS   50
#define REDIS_RETRY_LONGEST_MS 1000

struct redis_node_events {
	void (*up)(void *context, struct redis_node *node);
	/* Each failed attempt and each loss. */
	void (*down)(
	    void *context, struct redis_node *node, const struct redis_fault *fault);
	/* A reply to a call of redis_node_send(). NULL: lost on the way; it may be sent
	 * again, to this node too. */
	void (*replied)(
	    void *context, struct redis_node *node, struct redis_pending *call,
	    const struct redis_reply *reply);
	/* Only with a channel. */
	void (*message)(void *context, const char *data, size_t len);
};

/* Connects to nobody before redis_node_set(). @options are the caller's, as is what they
 * point to. @channel (NULL: none): subscribes to it, "up" is when that holds. */
int redis_node_new(
    struct event_base *base, const struct redis_conn_options *options,
    const char *channel, const struct redis_node_events *events, void *context,
    struct redis_node **ret);

/* Calls under way are told as lost before this returns. Not inside its events. */
struct redis_node *redis_node_free(struct redis_node *node);

/* Where it is; connects anew, at once, also when it is the same place. NULL: nowhere. */
void redis_node_set(struct redis_node *node, const struct endpoint *endpoint);

/* Where its next attempt goes to; nothing else changes. */
void redis_node_point(struct redis_node *node, const struct endpoint *endpoint);

/* The connection is no good although it stands: another one. @fault says why. */
void redis_node_drop(struct redis_node *node, const struct redis_fault *fault);

/* Now, without the rest of a pause. */
void redis_node_hurry(struct redis_node *node);

/*
 * Sends, or lets it wait for the connection. False: the server is known to be away, and
 * the caller has the call back.
 */
bool redis_node_send(struct redis_node *node, struct redis_pending *call);

bool redis_node_is_up(const struct redis_node *node);
/* An attempt failed since it was last up: calls are not taken. */
bool redis_node_is_away(const struct redis_node *node);
/* NULL: nothing is wrong, as far as is known. */
const struct redis_fault *redis_node_fault(const struct redis_node *node);
const struct endpoint *redis_node_endpoint(const struct redis_node *node);
