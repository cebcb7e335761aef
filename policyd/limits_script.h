/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The scripts in Redis, as the daemon speaks to them: what a request's charges are in a
 * call, and what a reply says of them. Pure: no connection, no clock. See limits.lua.
 *
 * A counter's key is PREFIX{SUBJECT}:LIMIT, so that a Cluster keeps one subject's
 * counters in one slot; a token's is PREFIX=TOKEN, in a Cluster PREFIX{SUBJECT}=TOKEN.
 */

/* Made at build time from the files of these names; NUL-terminated. */
extern const char lua_limits[], lua_limits_sha[];
extern const char lua_limits_undo[], lua_limits_undo_sha[];
extern const char lua_limits_read[], lua_limits_read_sha[];

/* Longer ones must not come. */
#define LIMITS_TOKEN_MAX 1024

/* The words of one call, built in place; reused from call to call. */
struct limits_script;

/* @prefix is copied. */
int limits_script_new(const char *prefix, struct limits_script **ret);
struct limits_script *limits_script_free(struct limits_script *script);

const char *limits_script_prefix(const struct limits_script *script);

/* Bytes that a counter's key in Redis has at most, with this prefix, and its NUL. */
size_t limits_script_key_size(const char *prefix);

/* LIMIT:SUBJECT, the charge's key, as it is called in Redis. @buf has
 * limits_script_key_size() bytes. Returns the length. */
size_t limits_script_key(
    const char *prefix, const char *key, size_t key_len, size_t subject_at, char *buf);

/* And back. False: not a counter's key. @buf has CHARGE_KEY_MAX bytes. */
bool limits_script_key_back(
    const char *prefix, const char *key, size_t key_len, char *buf, size_t *ret_len);

struct limits_call {
	int argc;
	const char *const *argv;
	const size_t *argv_len;
	const char *key; /* the first one, for its slot */
	size_t key_len;
};

/* Which words come before the keys. */
enum limits_verb {
	LIMITS_EVALSHA,
	LIMITS_EVAL, /* brings the script */
	LIMITS_UNDO,
};

/*
 * The call for those of @request's charges whose bit stands in @members, at least one,
 * and its token, if it has one. @tagged: in a Cluster. *ret is valid until the next call.
 */
void limits_script_compose(
    struct limits_script *script, enum limits_verb verb,
    const struct store_request *request, uint64_t members, bool tagged,
    struct limits_call *ret);

enum limits_result {
	LIMITS_FIT,  /* charged, if that was asked */
	LIMITS_OVER, /* a hard one is over; nothing was charged */
	LIMITS_UNDONE,
	LIMITS_BAD_KEY, /* *ret_bad: which word of argv names it; 0: cannot be told */
};

/*
 * Reads the reply to a call for @members into the same places of @results; *ret_known
 * says which were written. A token's outcome is told of the charges of then: of fewer
 * than @members, or, where @members are all of the request's, of more.
 */
enum limits_result limits_script_read(
    const struct store_request *request, uint64_t members, const char *reply, size_t len,
    struct charge_result *results, uint64_t *ret_known, size_t *ret_bad);
