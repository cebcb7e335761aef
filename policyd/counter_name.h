/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/facts.h"
#include "policyd/core/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Counters by what an operator calls them: from a subject ("ada@example.org", a domain,
 * an address) to the keys that requests of it are counted under, and from a key back to
 * its limit, subject and max. Texts go the way that requests go (facts, subject parts),
 * so both sides have one canonical form.
 */

struct counter_name;

/*
 * @kind: "client", "user", "sender", "recipient", "sender_domain", "recipient_domain";
 * NULL: whatever @text can be. "?" is what could not be parsed, "*" is everyone.
 * Returns 0 and *ret, -EINVAL and what is wrong in *reterr (static text), or -ENOMEM.
 */
int counter_name_new(
    const struct config *config, const char *kind, const char *text,
    struct counter_name **ret, const char **reterr);
struct counter_name *counter_name_free(struct counter_name *name);

/*
 * The key under which limit number @index counts it, in @ret (NUL-terminated). False: it
 * counts something else, nothing, or several things at a time.
 */
bool counter_name_key(
    const struct counter_name *name, size_t index, char ret[static CHARGE_KEY_MAX]);

/* Limit number @index counts several things, and it is one of them: its counters can only
 * be looked for among all. */
bool counter_name_is_part(const struct counter_name *name, size_t index);

/* ---- and back ---- */

struct counter {
	size_t limit;                 /* index into config.limits */
	const char *subject_text;     /* in the key, escaped, NUL-terminated */
	bool is_unlimited;            /* an override lifts the limit; max is 0 */
	uint64_t max;                 /* that holds for it */
	char key[CHARGE_KEY_MAX];     /* NUL-terminated */
	char subject[CHARGE_KEY_MAX]; /* for people: not escaped; parts by "|" */
};

/* False: no limit of @config has this key. */
bool counter_read(
    const struct config *config, const char *key, size_t key_len, struct counter *ret);

/* True: one of the counter's parts is @name. */
bool counter_is_of(
    const struct config *config, const struct counter *counter,
    const struct counter_name *name);
