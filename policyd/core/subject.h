/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/facts.h"
#include "policyd/core/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The subject of a limit: whom a request counts for, as the parts that `per` names, in a
 * fixed order; from them the max that holds and the key of the counter.
 */

/* One part: the client, the SASL user, the sender, ... Points into the facts. */
struct subject_part {
	const char *text;
	const char *domain;         /* "" where it has none */
	const struct ip *ip;        /* client only */
	const struct address *user; /* SASL user only */
	char buf[IP_TEXT_MAX];
};

#define SUBJECT_PARTS_MAX 8

/*
 * The parts of @per. What cannot be parsed or was not sent counts in one place, "?".
 * False: a part does not exist here: no login, no recipient behind RCPT, and of
 * @is_refusal (which may come before MAIL) no sender yet.
 */
bool subject_parts(
    unsigned per, const struct facts *facts, bool is_refusal, struct subject_part *ret,
    size_t *ret_count);

/* The max of limit number @index for these parts: override, domain, or the limit's own.
 * False: none holds. */
bool subject_max(
    const struct config *config, size_t index, const struct subject_part *parts,
    size_t count, uint64_t *ret);

/* Writes LIMIT:PART|PART into @ret->key; a long subject stands as its digest. */
void subject_key(
    const char *limit, const struct subject_part *parts, size_t count,
    struct charge *ret);

/* Writes @text (what a distinct count counts) into @ret->member; a long one stands as its
 * digest. */
void subject_member(const char *text, struct charge *ret);

/* The client as limits count it: an address, of IPv6 the /64; "?" without one. Returns
 * @buf or static text. */
const char *subject_client(const struct facts *facts, char buf[static IP_TEXT_MAX]);

/* An address as limits count it: its text, "<>", or "?". */
const char *subject_address(const struct address *address);
