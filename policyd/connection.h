/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/complaints.h"
#include "policyd/core/protocol.h"

#include <stddef.h>
#include <stdint.h>

struct event_base;

/*
 * The connections of one event loop: bytes in, requests out to somebody who answers them,
 * answers back in order. All calls on the loop's thread.
 *
 * The usual request arrives whole: it is parsed where it was read, in a buffer that all
 * connections of the loop share, and answered with one write; nothing is allocated. Only
 * what is incomplete gets a buffer of its own, while it is. An idle connection holds this
 * module's struct and nothing else.
 *
 * Bounded: a request by PROTOCOL_REQUEST_MAX, unread answers by one output buffer (the
 * next request is neither parsed nor read until they are gone), both by
 * connection_settings.request_ms, silence by idle_ms.
 */

struct connection;
struct connection_pool;

/*
 * Asked for each request, of one connection one at a time and in order. The answer goes
 * to connection_answer(), exactly once, before this returns or later; what @request
 * points to stays where it is until then.
 */
typedef void request_handler(
    void *context, struct connection *connection, const struct request *request);

struct connection_settings {
	int64_t request_ms; /* from a request's first byte to its last; the same for
				reading an answer */
	int64_t idle_ms;
};

/* @complaints stays the caller's. */
int connection_pool_new(
    struct event_base *base, const struct connection_settings *settings,
    struct complaints *complaints, request_handler *handler, void *context,
    struct connection_pool **ret);

/* Closes what is left. No answer may be outstanding. */
struct connection_pool *connection_pool_free(struct connection_pool *pool);

/* For connections from now on and those that are open. */
void connection_pool_set(
    struct connection_pool *pool, const struct connection_settings *settings);

/*
 * Serves the accepted, non-blocking @fd, which is the pool's from now on; on failure it
 * is closed. @listener says where it was accepted and outlives the connection.
 */
int connection_open(struct connection_pool *pool, int fd, const char *listener);

/*
 * From now on connections end once they have nothing under way; idle ones at once, after
 * a last look for a request that has arrived.
 */
void connection_pool_drain(struct connection_pool *pool);

size_t connection_pool_count(const struct connection_pool *pool);

/* @bytes: one whole answer, at most VERDICT_WIRE_MAX, copied. */
void connection_answer(struct connection *connection, const char *bytes, size_t len);
