/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/ledger.h"

#include "common/printable.h"
#include "common/siphash.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <utlist.h>

/* Slots that are gone through under one lock: some 30 microseconds. */
#define SLOTS_AT_ONCE 1024

#define NEVER INT64_MAX

struct entry {
	struct entry *chain;
	struct entry *prev, *next;             /* in the list of its like, oldest first */
	struct entry *waits_prev, *waits_next; /* in the list of unshared ones */
	uint64_t hash, change;
	int64_t made_ms, until_ms;         /* wall clock */
	int64_t made_steady, until_steady; /* until_steady NEVER: no end */
	int64_t stamp_ms;
	/* Of an own change: the stamp of what it replaced, which it is younger than
	 * whatever the clocks say; 0: not known. */
	int64_t base_ms;
	uint32_t round;
	uint16_t key_len, text_len;
	bool removed, waits;
	char bytes[]; /* key, text */
};

struct ledger {
	pthread_rwlock_t lock; /* of everything but the atomics */
	uint64_t seed[2];
	size_t max, count; /* count: tombstones too */
	struct entry **slots;
	/* A power of two, as many as the table may ever need: pages that no record lies
	 * in cost nothing, and who goes through the slots in parts misses none and meets
	 * none twice. */
	size_t slots_count;
	struct entry *held, *gone; /* gone: tombstones */
	struct entry *waiting;
	int64_t soonest; /* nothing ends before, by the steady clock */
	int64_t apart;   /* the clocks, when it was last pruned */
	uint64_t change;
	ledger_clock *clock;
	ledger_counted *counted;
	void *counted_context;
	ledger_changed *changed;
	void *changed_context;
	atomic_size_t held_count;
	_Atomic uint64_t generation;
};

static void system_clock(struct moment *ret)
{
	struct timespec wall, steady;

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &steady);
	ret->wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
	ret->steady_ms = (int64_t)steady.tv_sec * 1000 + steady.tv_nsec / 1000000;
}

int ledger_new(size_t max, struct ledger **ret)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));

	if (!ledger)
		return -ENOMEM;
	for (ledger->slots_count = 64; ledger->slots_count < max;)
		ledger->slots_count *= 2;
	ledger->slots = calloc(ledger->slots_count, sizeof(struct entry *));
	if (!ledger->slots) {
		free(ledger);
		return -ENOMEM;
	}
	if (getrandom(ledger->seed, sizeof(ledger->seed), 0) !=
	    (ssize_t)sizeof(ledger->seed)) {
		free(ledger->slots);
		free(ledger);
		return -EIO;
	}
	ledger->max = max;
	ledger->soonest = NEVER;
	ledger->clock = system_clock;
	pthread_rwlock_init(&ledger->lock, NULL);
	*ret = ledger;
	return 0;
}

struct ledger *ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return NULL;
	for (size_t i = 0; i < ledger->slots_count; i++)
		for (struct entry *next, *e = ledger->slots[i]; e; e = next) {
			next = e->chain;
			free(e);
		}
	free(ledger->slots);
	pthread_rwlock_destroy(&ledger->lock);
	free(ledger);
	return NULL;
}

void ledger_set_clock(struct ledger *ledger, ledger_clock *clock)
{
	ledger->clock = clock;
}

void ledger_now(const struct ledger *ledger, struct moment *ret)
{
	ledger->clock(ret);
}

size_t ledger_count(const struct ledger *ledger)
{
	return atomic_load_explicit(&ledger->held_count, memory_order_relaxed);
}

uint64_t ledger_generation(const struct ledger *ledger)
{
	return atomic_load(&ledger->generation);
}

void ledger_on_count(struct ledger *ledger, ledger_counted *counted, void *context)
{
	ledger->counted = counted;
	ledger->counted_context = context;
}

void ledger_on_change(struct ledger *ledger, ledger_changed *changed, void *context)
{
	pthread_rwlock_wrlock(&ledger->lock);
	ledger->changed = changed;
	ledger->changed_context = context;
	pthread_rwlock_unlock(&ledger->lock);
}

bool ledger_is_printable(const char *text, size_t len, size_t size)
{
	char raw[LEDGER_TEXT_MAX], escaped[LEDGER_TEXT_MAX + 8];

	if (len >= size || len > sizeof(raw))
		return false;
	/* Escapes have a backslash, which would be escaped itself. */
	for (size_t i = 0; i < len; i++)
		raw[i] = text[i] == '\\' ? '/' : text[i];
	return printable(escaped, sizeof(escaped), raw, len) == len;
}

void ledger_print(char *buf, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (ledger_is_printable(text, len, size))
		memcpy(buf, text, len + 1);
	else
		printable(buf, size, text, len);
}

/* ---- entries ---- */

static struct entry **find_place(
    struct ledger *ledger, uint64_t hash, const char *key, size_t len)
{
	struct entry **place = &ledger->slots[hash & (ledger->slots_count - 1)];

	for (; *place; place = &(*place)->chain)
		if ((*place)->hash == hash && (*place)->key_len == len &&
		    memcmp((*place)->bytes, key, len) == 0)
			break;
	return place;
}

static struct entry *find_entry(struct ledger *ledger, const char *key, size_t len)
{
	return *find_place(ledger, siphash(key, len, ledger->seed, 1, 3), key, len);
}

static bool has_ended(const struct entry *entry, const struct moment *now)
{
	return (entry->until_ms != 0 && now->wall_ms >= entry->until_ms) ||
	       now->steady_ms >= entry->until_steady;
}

static bool holds(const struct entry *entry, const struct moment *now)
{
	return !entry->removed && !has_ended(entry, now);
}

static void print_record(
    const struct entry *entry, const struct moment *now, struct record *ret)
{
	*ret = (struct record){
	    .key = entry->bytes,
	    .key_len = entry->key_len,
	    .text = entry->bytes + entry->key_len,
	    .text_len = entry->text_len,
	    .made_ms = entry->made_ms,
	    .until_ms = entry->until_ms,
	    .age_ms = now->steady_ms - entry->made_steady,
	    .removed = entry->removed,
	    .stamp_ms = entry->stamp_ms,
	    .base_ms = entry->base_ms,
	};
}

static void count_held(struct ledger *ledger, const struct entry *entry, int by)
{
	if (by > 0)
		atomic_fetch_add(&ledger->held_count, 1);
	else
		atomic_fetch_sub(&ledger->held_count, 1);
	if (ledger->counted)
		ledger->counted(
		    ledger->counted_context, entry->bytes, entry->key_len, by);
}

static void stop_waiting(struct ledger *ledger, struct entry *entry)
{
	if (entry->waits)
		DL_DELETE2(ledger->waiting, entry, waits_prev, waits_next);
	entry->waits = false;
}

static void start_waiting(struct ledger *ledger, struct entry *entry)
{
	bool is_first = !ledger->waiting;

	entry->change = ++ledger->change;
	if (!entry->waits)
		DL_APPEND2(ledger->waiting, entry, waits_prev, waits_next);
	entry->waits = true;
	if (is_first && ledger->changed)
		ledger->changed(ledger->changed_context);
}

/* Unlinks the entry at @place and frees it. */
static void drop(struct ledger *ledger, struct entry **place)
{
	struct entry *entry = *place;

	*place = entry->chain;
	stop_waiting(ledger, entry);
	if (entry->removed) {
		DL_DELETE(ledger->gone, entry);
	} else {
		DL_DELETE(ledger->held, entry);
		count_held(ledger, entry, -1);
	}
	ledger->count--;
	free(entry);
}

static void drop_entry(struct ledger *ledger, struct entry *entry)
{
	drop(ledger, find_place(ledger, entry->hash, entry->bytes, entry->key_len));
}

/* Drops what has ended in some slots, notes when the next of them ends. */
static void prune_slots(
    struct ledger *ledger, size_t from, size_t to, const struct moment *now)
{
	for (size_t i = from; i < to && i < ledger->slots_count; i++)
		for (struct entry **place = &ledger->slots[i]; *place;) {
			if (has_ended(*place, now)) {
				drop(ledger, place);
				continue;
			}
			if ((*place)->until_steady < ledger->soonest)
				ledger->soonest = (*place)->until_steady;
			place = &(*place)->chain;
		}
}

/* Under the lock: something may have ended since the last time. */
static bool begin_pruning(struct ledger *ledger, const struct moment *now)
{
	int64_t apart = now->wall_ms - now->steady_ms;
	bool was_set = apart - ledger->apart > 500;

	ledger->apart = apart;
	if (ledger->count == 0 || (now->steady_ms < ledger->soonest && !was_set))
		return false;
	ledger->soonest = NEVER; /* those that stay, and new ones, lower it again */
	return true;
}

void ledger_prune(struct ledger *ledger)
{
	struct moment now;

	ledger->clock(&now);
	pthread_rwlock_wrlock(&ledger->lock);
	bool begins = begin_pruning(ledger, &now);
	pthread_rwlock_unlock(&ledger->lock);
	for (size_t at = 0; begins && at < ledger->slots_count; at += SLOTS_AT_ONCE) {
		pthread_rwlock_wrlock(&ledger->lock);
		prune_slots(ledger, at, at + SLOTS_AT_ONCE, &now);
		pthread_rwlock_unlock(&ledger->lock);
	}
}

/* Room for one more. The whole table is looked at only when something must have ended. */
static bool make_room(
    struct ledger *ledger, enum ledger_full full, const struct moment *now)
{
	if (ledger->count < ledger->max)
		return true;
	if (now->steady_ms >= ledger->soonest) {
		ledger->soonest = NEVER;
		prune_slots(ledger, 0, ledger->slots_count, now);
	}
	if (ledger->count < ledger->max)
		return true;
	if (ledger->gone)
		drop_entry(ledger, ledger->gone);
	else if (full == LEDGER_DROP_OLDEST && ledger->held)
		drop_entry(ledger, ledger->held);
	return ledger->count < ledger->max;
}

/* The times of an entry that comes in, in both clocks. */
struct times {
	int64_t made_ms, until_ms, made_steady, until_steady;
};

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static bool is_too_large(const struct record *record)
{
	return record->key_len > LEDGER_KEY_MAX || record->text_len > LEDGER_TEXT_MAX;
}

/*
 * Takes the place of one with the same key. NULL and *reterr: -ENOMEM, -ENOSPC; then the
 * older one is as it was.
 */
static struct entry *insert(
    struct ledger *ledger, const struct record *record, const struct times *times,
    enum ledger_full full, const struct moment *now, int *reterr)
{
	uint64_t hash = siphash(record->key, record->key_len, ledger->seed, 1, 3);
	struct entry *entry = malloc(sizeof(*entry) + record->key_len + record->text_len);
	if (!entry) {
		*reterr = -ENOMEM;
		return NULL;
	}
	struct entry **place = find_place(ledger, hash, record->key, record->key_len);
	int64_t base_ms = 0;
	if (*place) {
		base_ms = later((*place)->stamp_ms, (*place)->base_ms);
		drop(ledger, place);
	} else if (!make_room(ledger, full, now)) {
		free(entry);
		*reterr = -ENOSPC;
		return NULL;
	}
	*entry = (struct entry){
	    .hash = hash,
	    .made_ms = times->made_ms,
	    .until_ms = times->until_ms,
	    .made_steady = times->made_steady,
	    .until_steady = times->until_steady,
	    .base_ms = base_ms,
	    .key_len = (uint16_t)record->key_len,
	    .text_len = (uint16_t)record->text_len,
	    .removed = record->removed,
	};
	memcpy(entry->bytes, record->key, record->key_len);
	memcpy(entry->bytes + record->key_len, record->text, record->text_len);
	place = &ledger->slots[hash & (ledger->slots_count - 1)];
	entry->chain = *place;
	*place = entry;
	if (times->until_steady < ledger->soonest)
		ledger->soonest = times->until_steady;
	ledger->count++;
	if (entry->removed) {
		DL_APPEND(ledger->gone, entry);
	} else {
		DL_APPEND(ledger->held, entry);
		count_held(ledger, entry, 1);
	}
	atomic_fetch_add(&ledger->generation, 1);
	return entry;
}

/* ---- looking up ---- */

void ledger_read(struct ledger *ledger)
{
	pthread_rwlock_rdlock(&ledger->lock);
}

void ledger_leave(struct ledger *ledger)
{
	pthread_rwlock_unlock(&ledger->lock);
}

bool ledger_find(
    struct ledger *ledger, const char *key, size_t len, int64_t wall_ms,
    struct record *ret)
{
	struct entry *entry = find_entry(ledger, key, len);
	struct moment now;

	if (!entry)
		return false;
	ledger->clock(&now);
	now.wall_ms = wall_ms;
	if (!holds(entry, &now))
		return false;
	print_record(entry, &now, ret);
	return true;
}

static void see_slots(
    struct ledger *ledger, size_t from, bool removed, const struct moment *now,
    ledger_seen *seen, void *context)
{
	struct record record;

	for (size_t i = from; i < from + SLOTS_AT_ONCE && i < ledger->slots_count; i++)
		for (struct entry *e = ledger->slots[i]; e; e = e->chain)
			if (e->removed == removed && !has_ended(e, now)) {
				print_record(e, now, &record);
				seen(context, &record);
			}
}

static void see_all(
    struct ledger *ledger, bool removed, int64_t wall_ms, ledger_seen *seen,
    void *context)
{
	struct moment now;

	ledger->clock(&now);
	now.wall_ms = wall_ms;
	for (size_t at = 0; at < ledger->slots_count; at += SLOTS_AT_ONCE) {
		pthread_rwlock_rdlock(&ledger->lock);
		see_slots(ledger, at, removed, &now, seen, context);
		pthread_rwlock_unlock(&ledger->lock);
	}
}

void ledger_each(struct ledger *ledger, int64_t wall_ms, ledger_seen *seen, void *context)
{
	see_all(ledger, false, wall_ms, seen, context);
}

void ledger_each_removed(
    struct ledger *ledger, int64_t wall_ms, ledger_seen *seen, void *context)
{
	see_all(ledger, true, wall_ms, seen, context);
}

/* ---- changes made here ---- */

/* What is left of a record's time now, and never more than it was made for. */
static void times_of(
    const struct record *record, const struct moment *now, struct times *ret)
{
	int64_t age = now->wall_ms - record->made_ms;

	/* Made in the future: the clock was set back since. */
	if (age < 0 || (age < 1000 && !record->restored))
		age = 0;
	*ret = (struct times){
	    .made_ms = record->made_ms,
	    .until_ms = record->until_ms,
	    .made_steady = now->steady_ms - age,
	    .until_steady = NEVER,
	};
	if (record->until_ms == 0)
		return;
	int64_t left = record->until_ms - now->wall_ms;
	int64_t whole = record->until_ms - record->made_ms;
	ret->until_steady = now->steady_ms + (left < whole ? left : whole);
}

static bool is_kept(
    const struct entry *entry, enum ledger_rule rule, const struct times *times,
    const struct moment *now)
{
	if (!entry || has_ended(entry, now))
		return false;
	switch (rule) {
	case LEDGER_REPLACE:
		return false;
	case LEDGER_KEEP:
		return !entry->removed;
	case LEDGER_LATER:
		return entry->made_steady >= times->made_steady;
	}
	return false;
}

static int put_locked(
    struct ledger *ledger, const struct record *record, enum ledger_rule rule,
    enum ledger_full full)
{
	struct entry *old = find_entry(ledger, record->key, record->key_len);
	struct moment now;
	struct times times;
	int r = 0;

	ledger->clock(&now);
	times_of(record, &now, &times);
	if (is_kept(old, rule, &times, &now))
		return LEDGER_KEPT;
	if (now.steady_ms >= times.until_steady) {
		if (old && !old->removed && !record->removed)
			drop_entry(ledger, old);
		return 0;
	}
	struct entry *entry = insert(ledger, record, &times, full, &now, &r);
	if (!entry)
		return r;
	if (record->restored) {
		entry->stamp_ms = record->stamp_ms;
		entry->base_ms = later(entry->base_ms, record->base_ms);
	}
	start_waiting(ledger, entry);
	return 0;
}

int ledger_put(
    struct ledger *ledger, const struct record *record, enum ledger_rule rule,
    enum ledger_full full)
{
	if (is_too_large(record))
		return -EMSGSIZE;
	pthread_rwlock_wrlock(&ledger->lock);
	int r = put_locked(ledger, record, rule, full);
	pthread_rwlock_unlock(&ledger->lock);
	return r;
}

/*
 * A tombstone is of use as long as somebody may still hold what it takes back: until that
 * would have ended, with a minute for clocks that differ.
 */
static void bury(
    struct ledger *ledger, struct entry *entry, const struct moment *now,
    int64_t tombstone_ms)
{
	int64_t left = tombstone_ms;
	int r;

	if (entry->until_steady != NEVER && entry->until_steady - now->steady_ms < left)
		left = entry->until_steady - now->steady_ms + 60 * 1000;
	struct record record = {
	    .key = entry->bytes,
	    .key_len = entry->key_len,
	    .text = "",
	    .removed = true,
	};
	struct times times = {
	    .made_ms = now->wall_ms,
	    .until_ms = now->wall_ms + left,
	    .made_steady = now->steady_ms,
	    .until_steady = now->steady_ms + left,
	};
	char key[LEDGER_KEY_MAX];
	memcpy(key, record.key, record.key_len);
	record.key = key;
	struct entry *tombstone = insert(ledger, &record, &times, LEDGER_REFUSE, now, &r);
	if (tombstone)
		start_waiting(ledger, tombstone);
	else /* no memory: gone here, and the others are not told */
		drop_entry(ledger, entry);
}

bool ledger_remove(
    struct ledger *ledger, const char *key, size_t len, int64_t tombstone_ms)
{
	struct moment now;

	pthread_rwlock_wrlock(&ledger->lock);
	ledger->clock(&now);
	struct entry *entry = find_entry(ledger, key, len);
	bool found = entry && holds(entry, &now);
	if (found)
		bury(ledger, entry, &now, tombstone_ms);
	pthread_rwlock_unlock(&ledger->lock);
	return found;
}

/* ---- sharing ---- */

size_t ledger_each_unshared(
    struct ledger *ledger, size_t max, ledger_unshared *seen, void *context)
{
	struct entry *entry;
	struct moment now;
	size_t count = 0;

	ledger->clock(&now);
	pthread_rwlock_rdlock(&ledger->lock);
	DL_FOREACH2(ledger->waiting, entry, waits_next)
	{
		struct unshared unshared = {
		    .change = entry->change,
		    .left_ms = entry->until_steady == NEVER
				   ? -1
				   : entry->until_steady - now.steady_ms,
		    .stamp_ms = entry->stamp_ms,
		    .base_ms = entry->stamp_ms ? 0 : entry->base_ms,
		};
		if (count == max)
			break;
		/* One that ended meanwhile says so: the others may still have it. */
		if (entry->until_steady != NEVER && unshared.left_ms < 0)
			unshared.left_ms = 0;
		print_record(entry, &now, &unshared.record);
		seen(context, &unshared);
		count++;
	}
	pthread_rwlock_unlock(&ledger->lock);
	return count;
}

uint64_t ledger_last_change(struct ledger *ledger)
{
	pthread_rwlock_rdlock(&ledger->lock);
	uint64_t change = ledger->change;
	pthread_rwlock_unlock(&ledger->lock);
	return change;
}

/* Changes make new entries, which begin to wait at the end: the first is the oldest. */
uint64_t ledger_oldest_waiting(struct ledger *ledger)
{
	pthread_rwlock_rdlock(&ledger->lock);
	uint64_t change = ledger->waiting ? ledger->waiting->change : 0;
	pthread_rwlock_unlock(&ledger->lock);
	return change;
}

void ledger_shared(
    struct ledger *ledger, const char *key, size_t len, uint64_t change, int64_t stamp_ms)
{
	pthread_rwlock_wrlock(&ledger->lock);
	struct entry *entry = find_entry(ledger, key, len);
	if (entry && entry->waits && entry->change == change) {
		stop_waiting(ledger, entry);
		entry->stamp_ms = stamp_ms;
	} else if (entry && entry->waits) {
		/* Changed again meanwhile. */
		entry->base_ms = later(entry->base_ms, stamp_ms);
	}
	pthread_rwlock_unlock(&ledger->lock);
}

/* True: what is here is younger than what the others say, who have to learn it. */
static bool is_younger(const struct entry *entry, int64_t made_steady, int64_t stamp_ms)
{
	if (entry->stamp_ms != 0)
		return entry->stamp_ms > stamp_ms;
	return entry->base_ms >= stamp_ms || entry->made_steady > made_steady;
}

static int merge_locked(
    struct ledger *ledger, const struct record *record, const struct times *times,
    int64_t stamp_ms, uint32_t round, enum ledger_full full, const struct moment *now)
{
	struct entry *entry = find_entry(ledger, record->key, record->key_len);
	int r = 0;

	if (entry && is_younger(entry, times->made_steady, stamp_ms)) {
		entry->round = round;
		if (!entry->waits)
			start_waiting(ledger, entry);
		return 0;
	}
	if (entry && entry->stamp_ms == stamp_ms && !entry->waits) {
		entry->round = round;
		return 0;
	}
	if (now->steady_ms >= times->until_steady) {
		if (entry)
			drop_entry(ledger, entry);
		return 0;
	}
	entry = insert(ledger, record, times, full, now, &r);
	if (!entry)
		return r;
	entry->stamp_ms = stamp_ms;
	entry->round = round;
	return 0;
}

int ledger_merge(
    struct ledger *ledger, const struct record *record, int64_t age_ms, int64_t left_ms,
    int64_t stamp_ms, uint32_t round, enum ledger_full full)
{
	struct moment now;

	if (is_too_large(record))
		return -EMSGSIZE;
	ledger->clock(&now);
	struct times times = {
	    .made_ms = now.wall_ms - age_ms,
	    .until_ms = left_ms < 0 ? 0 : now.wall_ms + left_ms,
	    .made_steady = now.steady_ms - age_ms,
	    .until_steady = left_ms < 0 ? NEVER : now.steady_ms + left_ms,
	};
	pthread_rwlock_wrlock(&ledger->lock);
	int r = merge_locked(ledger, record, &times, stamp_ms, round, full, &now);
	pthread_rwlock_unlock(&ledger->lock);
	return r;
}

static void round_slots(struct ledger *ledger, size_t from, uint32_t round)
{
	for (size_t i = from; i < from + SLOTS_AT_ONCE && i < ledger->slots_count; i++)
		for (struct entry *e = ledger->slots[i]; e; e = e->chain)
			if (e->round != round && !e->waits)
				start_waiting(ledger, e);
}

void ledger_round(struct ledger *ledger, uint32_t round)
{
	for (size_t at = 0; at < ledger->slots_count; at += SLOTS_AT_ONCE) {
		pthread_rwlock_wrlock(&ledger->lock);
		round_slots(ledger, at, round);
		pthread_rwlock_unlock(&ledger->lock);
	}
}
