/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdio.h>
#include <sys/types.h>

/* tests/dns_server.py as a child of a test; every failure ends the test. */

struct dns_server {
	pid_t pid;
	FILE *to, *from;
	char address[32]; /* "127.0.0.1:PORT" */
	char *servers[1];
};

void dns_server_start(struct dns_server *server);
void dns_server_stop(struct dns_server *server);

/* One command; returns its answer's number, 0 for "ok". */
__attribute__((format(printf, 2, 3))) int dns_server_say(
    struct dns_server *server, const char *format, ...);
