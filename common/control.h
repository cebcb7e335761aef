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
 * line, the depth of its JSON, the time for it, and the server its connections (of those
 * that still owe a request, the one that has waited longest goes for a new one; when all
 * are being served, new ones wait in the kernel's queue).
 *
 * Texts travel as they are. Who prints one escapes it (common/printable.h).
 */

#define CONTROL_REQUEST_MAX 65536
#define CONTROL_REPLY_MAX   (64 * 1024 * 1024) /* of 100,000 blocks: 30 MB */
#define CONTROL_DEPTH       16
#define CONTROL_CONNECTIONS 32
#define CONTROL_SECONDS     10 /* for a request to arrive, and a reply to be read */
#define CONTROL_ERROR_MAX   512

/*
 * The object on a line of @len bytes, its newline left out; the caller's. NULL and a
 * sentence in @errbuf: no JSON, no object, nested deeper than CONTROL_DEPTH, a member
 * twice, a NUL in a text.
 */
json_t *control_parse(const char *line, size_t len, char *errbuf, size_t errsize);

/*
 * Opens the socket @address, a "unix:" one: @mode, @group ("": unchanged), and owned by
 * @user ("": unchanged), which the daemon becomes later. A folder that is missing is made
 * (/run is empty after a boot). Returns the descriptor, or -1 with one sentence in
 * @errbuf. endpoint_unlink(@ret) when done.
 */
int control_listen(
    const char *address, mode_t mode, const char *group, const char *user,
    struct endpoint *ret, char *errbuf, size_t errsize);

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

/* @fd: listening, non-blocking; stays the caller's. 0 or -ENOMEM. */
int control_server_new(
    struct event_base *base, int fd, control_handler *handler, void *context,
    struct control_server **ret);

/* Replies may still be owed: they go nowhere, and are still to be given, or their
 * requests leak. NULL is fine. */
struct control_server *control_server_free(struct control_server *server);

/* Takes @reply (an object; "ok": true is added). NULL is a want of memory. A client that
 * has left is no error. @request is gone after the call. */
void control_reply(struct control_request *request, json_t *reply);

enum control_refusal {
	CONTROL_WRONG_USE, /* "usage": the command's exit code is 64 */
	CONTROL_NO_SUCH,   /* "missing": 1 */
	CONTROL_FAILED,    /* "failed": 69 */
};

/* Cut at CONTROL_ERROR_MAX. @request is gone after the call. */
__attribute__((format(printf, 3, 4))) void control_refuse(
    struct control_request *request, enum control_refusal kind, const char *format, ...);

/* Who asks, by SO_PEERCRED: "root", "uid 1000". */
const char *control_request_peer(const struct control_request *request);

enum control_type { CONTROL_TEXT, CONTROL_COUNT };

/* One member that a command takes. What is absent leaves its output as it was. */
struct control_member {
	const char *name;
	enum control_type type;
	bool required;
	uint64_t max;      /* a text's bytes, a count's value */
	const char **text; /* CONTROL_TEXT: lives as long as the message; never "" */
	uint64_t *count;   /* CONTROL_COUNT: 0 to max */
	bool *given;       /* may be NULL */
};

/*
 * Reads the members of @message beside "command". False: one is unknown, missing, of
 * another type, empty or too large, and @request has been refused (CONTROL_WRONG_USE) and
 * is gone.
 */
bool control_members(
    struct control_request *request, const json_t *message,
    const struct control_member *members, size_t count);

/* ---- the command's side; blocks ---- */

/*
 * Asks the daemon at @address ("unix:/run/postern/policyd"). 0 and the reply's object in
 * *ret (the caller's; "ok" may be false), or a negative errno and one sentence in
 * @errbuf: -ENOENT, -ECONNREFUSED nobody listens, -EACCES no permission, -ETIMEDOUT no
 * answer within @timeout_ms, -EPROTO no reply, or one that is none.
 */
int control_call(
    const char *address, const json_t *message, uint32_t timeout_ms, json_t **ret,
    char *errbuf, size_t errsize);
