/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A bounded table of records that the nodes of a cluster keep in common: what blocks.c
 * and logins.c are made of, and what roster.c shares. A record is a key and a text, when
 * it was made and when it ends; the owner knows what the bytes mean.
 *
 * A record that was taken back leaves a tombstone, so that a node that has not heard of
 * it yet does not bring it back. Changes made here are marked until ledger_shared() says
 * that the others have them.
 *
 * Two clocks: the wall clock is what people see and what survives a restart; a clock that
 * only goes forward bounds each record by the time it had left when it came in, so that a
 * wall clock set back prolongs nothing.
 *
 * Thread-safe. ledger_count() is one relaxed load: who looks up asks that first. Looking
 * up takes a read lock, a change a write lock for about a microsecond.
 */

struct ledger;

struct moment {
	int64_t wall_ms, steady_ms;
};

/* For tests: another clock than the system's. */
typedef void ledger_clock(struct moment *ret);

struct record {
	const char *key, *text; /* bytes; no NUL needed */
	size_t key_len, text_len;
	int64_t made_ms, until_ms; /* wall clock; until_ms 0: no end */
	/* Of one that is looked up: made so long ago, by the clock that only goes
	 * forward.
	 */
	int64_t age_ms;
	bool removed; /* a tombstone */
	/* Of one that is put in: it comes from a file, and was made when it says. Else
	 * one of this second is made now: most makers know seconds, and what follows a
	 * removal must not seem older than that. */
	bool restored;
	/* When it was made by the shared clock, and when what it replaced was, as in
	 * struct unshared; 0: not known. Of one that is put in: where @restored. */
	int64_t stamp_ms, base_ms;
};

/* True: @text is what printable() makes of a text, shorter than @size. Texts are escaped
 * once, where they come from: not again when they come from a file or another node. */
bool ledger_is_printable(const char *text, size_t len, size_t size);
/* Makes it so. */
void ledger_print(char *buf, size_t size, const char *text);

#define LEDGER_KEY_MAX  2048
#define LEDGER_TEXT_MAX 1024

int ledger_new(size_t max, struct ledger **ret);
struct ledger *ledger_free(struct ledger *ledger);
void ledger_set_clock(struct ledger *ledger, ledger_clock *clock);
void ledger_now(const struct ledger *ledger, struct moment *ret);

/* Records that are no tombstones; expired ones until they are pruned. */
size_t ledger_count(const struct ledger *ledger);

/* ---- looking up, between these two ---- */

void ledger_read(struct ledger *ledger);
void ledger_leave(struct ledger *ledger);

/* True, and *ret (valid until ledger_leave()): one that holds at @wall_ms. */
bool ledger_find(
    struct ledger *ledger, const char *key, size_t len, int64_t wall_ms,
    struct record *ret);

/* All that hold, in no order; of what changes meanwhile either state. Takes the lock
 * itself, a part of the table at a time: @seen is short and does not call back. */
typedef void ledger_seen(void *context, const struct record *record);
void ledger_each(
    struct ledger *ledger, int64_t wall_ms, ledger_seen *seen, void *context);

/* The same of the tombstones. */
void ledger_each_removed(
    struct ledger *ledger, int64_t wall_ms, ledger_seen *seen, void *context);

/* ---- changes made here ---- */

enum ledger_rule {
	LEDGER_REPLACE,
	LEDGER_KEEP,  /* one that holds stays as it is */
	LEDGER_LATER, /* the one made later stays, be it a tombstone */
};

/* What becomes of a new record when the table is full of records that hold. */
enum ledger_full { LEDGER_REFUSE, LEDGER_DROP_OLDEST };

#define LEDGER_KEPT 1 /* there was one, and the rule left it as it was */

/*
 * 0, LEDGER_KEPT, -ENOMEM, -ENOSPC, or -EMSGSIZE. What has ended already is not put in,
 * and an older one of that key goes. @made_ms lies in the past after a restart; a record
 * never holds longer from now on than it was made for. A tombstone (@removed) may be put
 * in that was restored.
 */
int ledger_put(
    struct ledger *ledger, const struct record *record, enum ledger_rule rule,
    enum ledger_full full);

/* True: there was one that holds; its tombstone stays for as long as it could come back
 * from somewhere, @tombstone_ms at most. */
bool ledger_remove(
    struct ledger *ledger, const char *key, size_t len, int64_t tombstone_ms);

/* Drops what has ended, a part of the table at a time. */
void ledger_prune(struct ledger *ledger);

/* Changes since the start, whoever made them. */
uint64_t ledger_generation(const struct ledger *ledger);

/*
 * Called under the lock. @counted: a record that is no tombstone came (+1) or went (-1).
 * @changed: the first of what waits to be shared was changed; short, calls nothing back.
 * Set before there are records, and before other threads: @counted.
 */
typedef void ledger_counted(void *context, const char *key, size_t len, int by);
typedef void ledger_changed(void *context);
void ledger_on_count(struct ledger *ledger, ledger_counted *counted, void *context);
void ledger_on_change(struct ledger *ledger, ledger_changed *changed, void *context);

/* ---- sharing, on one thread ---- */

struct unshared {
	struct record record;
	uint64_t change;  /* names this change */
	int64_t left_ms;  /* holds so much longer; -1: no end */
	int64_t stamp_ms; /* when it was made by the shared clock; 0: not known */
	int64_t base_ms;  /* then: that of what it replaced, so it was made later; or 0 */
};

/* Up to @max changes that wait to be shared, in the order they were made, under a lock.
 * Returns how many. */
typedef void ledger_unshared(void *context, const struct unshared *unshared);
size_t ledger_each_unshared(
    struct ledger *ledger, size_t max, ledger_unshared *seen, void *context);

/* The number of the last change made here, and of the oldest that waits to be shared (0:
 * none does): all up to the one are shared once the other is above it, or none. */
uint64_t ledger_last_change(struct ledger *ledger);
uint64_t ledger_oldest_waiting(struct ledger *ledger);

/* The others have that change (unless there was another since), as of @stamp_ms. */
void ledger_shared(
    struct ledger *ledger, const char *key, size_t len, uint64_t change,
    int64_t stamp_ms);

/*
 * What the others say: made @age_ms ago, holds @left_ms longer (-1: no end). An own
 * change that is younger stays and will be shared. @round: see ledger_round(). 0 or as
 * ledger_put().
 */
int ledger_merge(
    struct ledger *ledger, const struct record *record, int64_t age_ms, int64_t left_ms,
    int64_t stamp_ms, uint32_t round, enum ledger_full full);

/* The others were read whole and said everything they have with ledger_merge() of this
 * @round: what is here and was not among it has been lost there, and is shared again. */
void ledger_round(struct ledger *ledger, uint32_t round);
