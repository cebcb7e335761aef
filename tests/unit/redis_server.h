/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

/*
 * A redis-server of the test's own, on a unix socket in a private folder, asked one
 * command at a time. Everything fails the test that goes wrong.
 */

struct redis_server;

struct redis_server *redis_server_start(void);
struct redis_server *redis_server_stop(struct redis_server *server);
const char *redis_server_path(const struct redis_server *server);

/*
 * The text of the reply, NUL-terminated, good until the next call: of a bulk or status
 * its text, of an error "-" and its text, of an integer its digits, "(nil)"; of a list
 * the same of each element with a blank between.
 */
const char *redis_server_ask(
    struct redis_server *server, int argc, const char *const *argv, const size_t *len,
    size_t *ret_len);

/* The same of words that are strings; ends with NULL. */
const char *redis_server_say(struct redis_server *server, ...);
