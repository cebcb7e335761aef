/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>

/*
 * The status page of a daemon over HTTP: / for people, /metrics for Prometheus, /healthz
 * for a load balancer. GET and HEAD, one request a connection, no TLS, no login: it shows
 * counts and the state of the daemon, never an address, user or sender.
 *
 * It has a thread and an event loop of its own, and shares nothing with the serving
 * threads that locks. Bounded, whatever clients do: so many connections
 * (the one that has waited longest goes for a new one), so many bytes of a request, so
 * many seconds from accept to close.
 *
 * This is not evhttp: that of libevent 2.1 bounds neither the connections nor the time
 * that a request takes as a whole.
 */

#define STATUS_HTTP_CONNECTIONS   32
#define STATUS_HTTP_REQUEST_BYTES 4096
#define STATUS_HTTP_SECONDS       5

struct status_health {
	/* /healthz: 200, else 503. */
	bool serving;
	/* One line, printable: what is wrong, in both cases; "" is nothing. */
	char trouble[512];
};

/* Asked on the status thread for each request of / and /healthz; not slow. */
typedef void status_health_ask(void *context, struct status_health *ret);

struct status_http;

/*
 * Serves on the listening, non-blocking socket @fd, which stays the caller's. Several
 * processes may serve one socket. @program is kept by pointer. 0 or negative errno.
 */
int status_http_new(
    int fd, const char *program, status_health_ask *ask, void *context,
    struct status_http **ret);

/* Closes what is open, joins the thread. */
struct status_http *status_http_free(struct status_http *http);
