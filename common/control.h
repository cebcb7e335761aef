/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/sockets.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;

/*
 * The control sockets: how `postern` talks to the daemons. One JSON object a line each
 * way, answered in order:
 *
 *	{"command": "block", ...}
 *	{"ok": true, ...}  or  {"ok": false, "error": "...", "kind": "usage"}
 *
 * The socket's mode is the permission. Both sides bound what they take: the length of a
 * line, the depth of its JSON, the time for it, and the server its connections (the one
 * that has waited longest goes for a new one).
 */

#define CONTROL_REQUEST_MAX 65536
#define CONTROL_REPLY_MAX   (16 * 1024 * 1024)
#define CONTROL_CONNECTIONS 32
#define CONTROL_SECONDS     10 /* for a request to arrive, and a reply to be read */

/* ---- the daemon's side; all calls on the loop's thread ---- */

struct control_server;
struct control_request; /* one that waits for its reply */

/*
 * @command: its name, @message: the whole object; both gone after the call. Owes exactly
 * one control_reply() or control_refuse(), now or later.
 */
typedef void control_handler(
    void *context, struct control_request *request, const char *command,
    const json_t *message);

/* @fd: listening, non-blocking; stays the caller's. */
int control_server_new(
    struct event_base *base, int fd, control_handler *handler, void *context,
    struct control_server **ret);

/* No reply may be owed. NULL is fine. */
struct control_server *control_server_free(struct control_server *server);

/* Takes @reply (an object; "ok": true is added). NULL is a want of memory. A client that
 * has left is no error. */
void control_reply(struct control_request *request, json_t *reply);

enum control_refusal {
	CONTROL_WRONG_USE, /* "usage": the command's exit code is 64 */
	CONTROL_NO_SUCH,   /* "missing": 1 */
	CONTROL_FAILED,    /* "failed": 69 */
};

__attribute__((format(printf, 3, 4))) void control_refuse(
    struct control_request *request, enum control_refusal kind, const char *format, ...);

/* Who asks, by SO_PEERCRED: "root", "uid 1000". */
const char *control_request_peer(const struct control_request *request);

/* ---- the command's side; blocks ---- */

/*
 * Asks the daemon at @address ("unix:/run/postern/policyd"). 0 and the reply's object in
 * *ret (the caller's; "ok" may be false), or -1 with one sentence in @errbuf: nobody
 * listens, no permission, no answer within @timeout_ms, not JSON.
 */
int control_call(
    const char *address, const json_t *message, uint32_t timeout_ms, json_t **ret,
    char *errbuf, size_t errsize);
