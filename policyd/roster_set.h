/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/ledger.h"
#include "policyd/redis_link.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One table of the roster (the blocks, the logins) and what all nodes have of it in
 * Redis: reads the changes that are not known here, writes those made here. One call at a
 * time, so that what is written is in Redis in the order in which it was made.
 *
 * Who owns it says when to look (roster_set_want()), and hears what came of it.
 */

#define ROSTER_WRITE_AT_ONCE 32
#define ROSTER_PREFIX_MAX    256
#define ROSTER_NAME_MAX      (ROSTER_PREFIX_MAX + 64)
#define ROSTER_EPOCH_MAX     96
#define ROSTER_NUMBER_MAX    24

/* Of all sets: how their keys begin, whom their scripts tell, and by which link. */
struct roster_place {
	struct redis_link *link; /* NULL: no Redis */
	char prefix[ROSTER_PREFIX_MAX];
	char channel[ROSTER_NAME_MAX];
	char nonce[17]; /* this process, for a new epoch */
};

struct roster_set_rules {
	const char *name; /* "blocks" */
	size_t max;
	enum ledger_full full;
	/* A record that came from elsewhere is one of these. */
	bool (*accept)(const struct record *record);
};

struct roster_set_events {
	/* A call has failed. @unheard: the link has not said why in the log. */
	void (*away)(void *context, const char *why, bool unheard);
	/* Something was written, or replaced by what others wrote. */
	void (*changed)(void *context);
	/* All that is in Redis is known here. */
	void (*complete)(void *context);
};

/* A change on its way to Redis. */
struct roster_sent {
	char *key, *text;
	size_t key_len, text_len;
	uint64_t change;
	bool removed;
	char how[4], when[ROSTER_NUMBER_MAX], base[ROSTER_NUMBER_MAX];
	char left[ROSTER_NUMBER_MAX];
};

struct roster_set {
	const struct roster_place *place;
	const struct roster_set_rules *rules;
	const struct roster_set_events *events;
	void *context;
	struct ledger *ledger;
	char max[ROSTER_NUMBER_MAX];
	char keys[3][ROSTER_NAME_MAX];
	bool busy; /* a call is under way */
	/* The last call was answered: else the next one reads, so that no change grows
	 * younger while it waits for a connection. */
	bool reached;
	bool wants_read, wants_whole;
	bool writes_next; /* reading and writing take turns */
	/* What is read: since that number of that epoch. */
	uint64_t number;
	char epoch[ROSTER_EPOCH_MAX];
	bool knows_epoch;
	bool whole; /* from the beginning, as round number... */
	uint32_t round;
	int64_t whole_at_ms; /* when that was last done */
	bool is_complete;
	int64_t told_ms; /* of what is wrong with its records */
	struct roster_sent sent[ROSTER_WRITE_AT_ONCE];
	size_t sent_count;
};

/* All pointers stay the caller's. */
void roster_set_init(
    struct roster_set *set, const struct roster_place *place,
    const struct roster_set_rules *rules, struct ledger *ledger,
    const struct roster_set_events *events, void *context);

/* The place has got a link, or is about to lose it (whose calls are answered still). */
void roster_set_join(struct roster_set *set);
void roster_set_leave(struct roster_set *set);

/* Looks for changes on both sides, now or once the call under way has ended. @whole: at
 * all that is there, not only at what is new. */
enum roster_want { ROSTER_WANT_WRITE, ROSTER_WANT_NEW, ROSTER_WANT_WHOLE };
void roster_set_want(struct roster_set *set, enum roster_want want);

/* Redis is away: what is there has to be read whole when it is back. */
void roster_set_away(struct roster_set *set);
