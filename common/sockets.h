/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

/*
 * Addresses to listen on or connect to, as the configuration writes them: unix:PATH,
 * HOST:PORT, [V6]:PORT. HOST is an address, or a name that resolves when the socket is
 * opened.
 */

enum endpoint_kind { ENDPOINT_UNIX, ENDPOINT_INET };

struct endpoint {
	enum endpoint_kind kind;
	char path[108]; /* unix: absolute */
	char host[256];
	char port[6];
};

/* Returns NULL and sets *ret, or what is wrong (static text). "unix:" paths must be
 * absolute, fit sun_path. */
const char *endpoint_parse(const char *text, struct endpoint *ret);

/*
 * Opens a listening socket: non-blocking, close-on-exec, TCP_NODELAY inherited by
 * accepted connections. A unix path that a dead process left behind is replaced, after a
 * connect probe under a lock file (PATH.lock); a live one, a regular file or a symlink is
 * refused and left alone.
 * @mode and @group (NULL: unchanged) are set before the path appears under its name.
 * Returns the descriptor, or -1 with one sentence in @errbuf: the object, the reason, the
 * remedy.
 */
int endpoint_listen(
    const struct endpoint *endpoint, mode_t mode, const char *group, char *errbuf,
    size_t errsize);

/* Removes the path of a unix endpoint that this process opened. */
void endpoint_unlink(const struct endpoint *endpoint);

/*
 * Sockets passed by systemd (sd_listen_fds): returns how many, 0 without activation; the
 * first is @ret_first. -1: something passed is not a listening stream socket, with a
 * sentence in @errbuf.
 */
int sockets_activated(int *ret_first, char *errbuf, size_t errsize);
