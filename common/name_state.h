/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/log.h"
#include "common/name_networks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One name that list entries stand for, over time: what it resolved to, until when that
 * holds, and what is to be told when it changes.
 *
 * The rules, all in name_settle():
 * - A good answer holds for its TTL, between a floor and a ceiling.
 * - When DNS fails, or gives something that cannot be used, the last good answer stays,
 *   until it is older than an age limit; it is then withdrawn.
 * - "There is no such record" counts when it comes twice in a row.
 * Each is told once, when it begins.
 *
 * Knows no clock and no thread: the caller brings the time.
 */

struct name_times {
	int64_t floor_ms, ceiling_ms; /* of a TTL */
	int64_t retry_ms;             /* after a first failure; doubles up to the floor */
	int64_t age_ms;               /* how long a last good answer may stand in */
};

typedef void names_say(enum log_level level, const char *line);

enum name_trouble { TROUBLE_NONE, TROUBLE_EMPTY, TROUBLE_TEMPORARY, TROUBLE_PERMANENT };

struct name {
	char *text, *domain;
	enum host_dns_kind kind;

	/* The first entry that asks for it, for messages: "relay.hosts" and its place. */
	const char *label;
	struct where where;

	bool resolved; /* networks are good; they may be empty */
	bool tried;    /* settled at least once */
	bool changed;  /* since the owner of the name last cleared it */
	struct name_networks networks;
	int64_t good_ms, due_ms;
	unsigned failures, empties; /* in a row */
	enum name_trouble told;

	/* While it is being resolved. */
	bool running;
	bool dirty; /* an answer came since it was last worked out */
	int64_t deadline_ms;
	struct name_question **questions;
	uint32_t questions_capacity;
	size_t questions_count, questions_open;
};

int name_new(
    const char *text, const char *domain, enum host_dns_kind kind, struct name **ret);
struct name *name_free(struct name *name); /* no question may be open */

/*
 * Begins to resolve, or goes on when an answer came: asks through @dns what is needed.
 * Once nothing is missing, settles and returns true. @dns may be NULL: DNS failed.
 */
bool name_advance(
    struct name *name, struct dns *dns, int64_t now_ms, const struct name_times *times,
    names_say *say);

/* Forgets the questions; none may be open. */
void name_reset(struct name *name);

/* What name_advance() does at the end. Takes the sets of @found on NAME_FOUND. */
void name_settle(
    struct name *name, int result, struct name_networks *found, int64_t now_ms,
    const struct name_times *times, names_say *say);
