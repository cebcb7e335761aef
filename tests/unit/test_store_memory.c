/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/store_memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_S 3600
/* As the configuration allows at most. */
#define LIMIT_DISTINCT 10000
/* A whole hour, so that windows begin where the tests begin. */
#define START_MS (INT64_C(500000) * HOUR_S * 1000)

static void keep(void *context, const struct outcome *outcome)
{
	struct outcome *kept = context;
	*kept = *outcome;
}

static struct charge charge(const char *key, uint64_t amount, uint64_t max, bool hard)
{
	struct charge charge = {
	    .window_s = HOUR_S, .amount = amount, .max = max, .hard = hard};
	charge.key_len = (uint16_t)strlen(key);
	memcpy(charge.key, key, charge.key_len);
	return charge;
}

static struct outcome ask(
    struct store *store, bool commit, const char *token, int64_t now_ms,
    const struct charge *charges, size_t count)
{
	struct outcome outcome = {.kind = OUTCOME_UNAVAILABLE, .count = SIZE_MAX};
	struct charge asked[LIMITS_MAX];
	if (count > 0)
		memcpy(asked, charges, count * sizeof(*charges));
	for (size_t i = 0; i < count; i++)
		asked[i].look = !commit;
	struct store_request request = {
	    .token = token,
	    .token_len = strlen(token),
	    .charges = asked,
	    .count = count,
	    .now_ms = now_ms,
	};
	store_ask(store, &request, keep, &outcome);
	assert_true(outcome.count != SIZE_MAX); /* it answered */
	return outcome;
}

/* Charges one key by one, hard. */
static enum outcome_kind hit(struct store *store, const char *key, uint64_t max)
{
	struct charge one = charge(key, 1, max, true);
	return ask(store, true, "", START_MS, &one, 1).kind;
}

static uint64_t used(struct store *store, const char *key, int64_t now_ms)
{
	struct charge one = charge(key, 1, 1000000, true);
	return ask(store, false, "", now_ms, &one, 1).results[0].used;
}

static struct store *new_store(size_t max_keys)
{
	struct store *store = NULL;
	assert_int_equal(store_memory_new(max_keys, &store), 0);
	return store;
}

static void test_counts_to_the_max(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	for (int i = 0; i < 5; i++)
		assert_int_equal(hit(store, "user-hour ada", 5), OUTCOME_FITS);
	struct charge one = charge("user-hour ada", 1, 5, true);
	struct outcome outcome = ask(store, true, "", START_MS, &one, 1);
	assert_int_equal(outcome.kind, OUTCOME_OVER);
	assert_int_equal(outcome.count, 1);
	assert_int_equal(outcome.results[0].used, 5);
	assert_true(outcome.results[0].over);
	assert_true(outcome.results[0].retry_after_s > 0);
	assert_int_equal(hit(store, "user-hour bob", 5), OUTCOME_FITS);
	/* Two windows on, all is forgotten. */
	assert_int_equal(
	    ask(store, true, "", START_MS + 2 * HOUR_S * 1000, &one, 1).kind,
	    OUTCOME_FITS);
	store_free(store);
}

static void test_result_of_a_charge_is_the_use_after_it(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	struct charge three = charge("k", 3, 10, true);
	struct outcome outcome = ask(store, true, "", START_MS, &three, 1);
	assert_int_equal(outcome.results[0].used, 3);
	assert_int_equal(ask(store, true, "", START_MS, &three, 1).results[0].used, 6);
	outcome = ask(store, false, "", START_MS, &three, 1);
	assert_int_equal(outcome.results[0].used, 6);
	assert_int_equal(outcome.kind, OUTCOME_FITS);
	store_free(store);
}

static void test_look_charges_nothing(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	struct charge one = charge("k", 1, 3, true);
	for (int i = 0; i < 10; i++)
		assert_int_equal(
		    ask(store, false, "t", START_MS, &one, 1).kind, OUTCOME_FITS);
	assert_int_equal(used(store, "k", START_MS), 0);
	/* The token of a look is not used up. */
	assert_int_equal(ask(store, true, "t", START_MS, &one, 1).results[0].used, 1);
	store_free(store);
}

static void test_all_or_nothing(void **state)
{
	(void)state;
	struct store *store = new_store(1000000); /* many shards */
	struct charge charges[LIMITS_MAX];
	for (int i = 0; i < LIMITS_MAX; i++) {
		char key[32];
		snprintf(key, sizeof(key), "key %d", i);
		charges[i] = charge(key, 1, i == 40 ? 2 : 100, true);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    ask(store, true, "", START_MS, charges, LIMITS_MAX).kind,
		    OUTCOME_FITS);
	struct outcome outcome = ask(store, true, "", START_MS, charges, LIMITS_MAX);
	assert_int_equal(outcome.kind, OUTCOME_OVER);
	assert_int_equal(outcome.count, LIMITS_MAX);
	for (int i = 0; i < LIMITS_MAX; i++) {
		assert_int_equal(outcome.results[i].used, 2);
		assert_int_equal(outcome.results[i].over, i == 40);
		char key[32];
		snprintf(key, sizeof(key), "key %d", i);
		assert_int_equal(used(store, key, START_MS), 2);
	}
	store_free(store);
}

static void test_soft_ones_do_not_hinder(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	struct charge charges[2] = {
	    charge("soft", 4, 5, false), charge("hard", 1, 5, true)};
	ask(store, true, "", START_MS, charges, 2);
	struct outcome outcome = ask(store, true, "", START_MS, charges, 2);
	assert_int_equal(outcome.kind, OUTCOME_FITS);
	assert_true(outcome.results[0].over);
	assert_int_equal(outcome.results[0].used, 8);
	assert_int_equal(outcome.results[1].used, 2);
	store_free(store);
}

/* Padding and the results behind the last one have no defined content. */
static void assert_same_outcome(const struct outcome *a, const struct outcome *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		assert_int_equal(a->results[i].used, b->results[i].used);
		assert_int_equal(a->results[i].over, b->results[i].over);
		assert_int_equal(
		    a->results[i].retry_after_s, b->results[i].retry_after_s);
	}
}

static void test_token(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	struct charge one = charge("k", 1, 2, true);
	struct charge two[2] = {charge("other", 7, 10, true), charge("k", 1, 2, true)};

	struct outcome first = ask(store, true, "token", START_MS, &one, 1);
	assert_int_equal(first.results[0].used, 1);
	struct outcome again = ask(store, true, "token", START_MS + 1000, two, 2);
	assert_same_outcome(&first, &again);
	assert_int_equal(used(store, "k", START_MS), 1);
	assert_int_equal(used(store, "other", START_MS), 0);

	/* A refusal is remembered as well: the same mail is not let in a second later. */
	struct charge big = charge("k", 9, 2, true);
	assert_int_equal(ask(store, true, "big", START_MS, &big, 1).kind, OUTCOME_OVER);
	assert_int_equal(ask(store, true, "big", START_MS, &one, 1).kind, OUTCOME_OVER);
	assert_int_equal(ask(store, true, "next", START_MS, &one, 1).kind, OUTCOME_FITS);
	store_free(store);
}

/* However many charges: a record holds few results itself. */
static void test_a_repetition_hears_all_of_it_again(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	struct charge five[5] = {
	    charge("a", WINDOW_USE_MAX, WINDOW_USE_MAX, false),
	    charge("b", 9, 2, false), /* never fits */
	    charge("c", 1, 10, false), charge("d", 3, 5, false),
	    charge("e", 0x123456789aU, 0xffffffffffU, false)};

	ask(store, true, "", START_MS, &five[3], 1); /* d: full at the next */
	for (size_t count = 1; count <= 5; count++) {
		char token[16];
		snprintf(token, sizeof(token), "token %zu", count);
		struct outcome first = ask(store, true, token, START_MS, five, count);
		struct outcome again = ask(store, true, token, START_MS + 1000, five, 1);
		assert_int_equal(again.count, count);
		assert_same_outcome(&first, &again);
		assert_int_equal(again.results[0].over, count > 1);
		if (count > 1) {
			assert_true(again.results[1].over);
			assert_true(again.results[1].retry_after_s == UINT32_MAX);
		}
		if (count > 2)
			assert_false(again.results[2].over);
	}
	store_free(store);
}

static void test_token_lasts_a_quarter_of_an_hour(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	struct charge one = charge("k", 1, 100, true);
	ask(store, true, "token", START_MS, &one, 1);
	int64_t later_ms = START_MS + 15 * 60 * 1000;
	char filler[32];
	for (int i = 0; i < 50; i++) {
		snprintf(filler, sizeof(filler), "filler %d", i);
		ask(store, true, filler, later_ms, &one, 1);
	}
	ask(store, true, "token", later_ms, &one, 1);
	assert_int_equal(used(store, "k", later_ms), 51);
	store_free(store);
}

static void test_tokens_are_bounded(void **state)
{
	(void)state;
	struct store *store = new_store(10);
	struct charge one = charge("k", 1, 100, true);
	char token[32];
	for (int i = 0; i < 20; i++) {
		snprintf(token, sizeof(token), "token %d", i);
		ask(store, true, token, START_MS, &one, 1);
	}
	assert_int_equal(used(store, "k", START_MS), 20);
	ask(store, true, "token 10", START_MS, &one, 1); /* the oldest still known */
	assert_int_equal(used(store, "k", START_MS), 20);
	ask(store, true, "token 9", START_MS, &one, 1); /* forgotten: charged again */
	assert_int_equal(used(store, "k", START_MS), 21);
	store_free(store);
}

/* Round and round: blocks come and go, the index grows, and outcomes have one result or
 * many. */
static void test_tokens_by_the_thousand(void **state)
{
	(void)state;
	enum { MAX = 1000, TOKENS = 20 * MAX };
	struct store *store = new_store(MAX);
	struct charge five[5] = {
	    charge("a", 1, TOKENS, true), charge("b", 1, TOKENS, true),
	    charge("c", 1, TOKENS, true), charge("d", 1, TOKENS, true),
	    charge("e", 1, TOKENS, true)};
	struct outcome outcomes[8];
	char token[32];
	for (unsigned i = 0; i < TOKENS; i++) {
		snprintf(token, sizeof(token), "token %u", i);
		struct outcome outcome =
		    ask(store, true, token, START_MS, five, i % 5 + 1);
		assert_int_equal(outcome.results[0].used, i + 1);
		if (i >= TOKENS - 8)
			outcomes[i % 8] = outcome;
	}
	for (unsigned i = TOKENS - MAX; i < TOKENS; i++) {
		snprintf(token, sizeof(token), "token %u", i);
		struct outcome again = ask(store, true, token, START_MS, five, 1);
		assert_int_equal(again.results[0].used, i + 1);
		assert_int_equal(again.count, i % 5 + 1);
		if (i >= TOKENS - 8)
			assert_same_outcome(&again, &outcomes[i % 8]);
	}
	assert_int_equal(used(store, "a", START_MS), TOKENS);
	snprintf(token, sizeof(token), "token %d", TOKENS - MAX - 1);
	assert_int_equal(ask(store, true, token, START_MS, five, 1).kind, OUTCOME_OVER);
	store_free(store);
}

static void test_the_least_recently_used_goes(void **state)
{
	(void)state;
	struct store *store = new_store(3);
	hit(store, "a", 10);
	hit(store, "b", 10);
	hit(store, "c", 10);
	hit(store, "a", 10);
	hit(store, "d", 10); /* b goes */
	assert_int_equal(used(store, "b", START_MS), 0);
	assert_int_equal(used(store, "a", START_MS), 2);
	assert_int_equal(used(store, "c", START_MS), 1);
	assert_int_equal(used(store, "d", START_MS), 1);
	store_free(store);
}

static void test_what_is_over_stays(void **state)
{
	(void)state;
	struct store *store = new_store(3);
	hit(store, "full", 1);
	char key[32];
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		assert_int_equal(hit(store, key, 10), OUTCOME_FITS);
	}
	assert_int_equal(hit(store, "full", 1), OUTCOME_OVER);

	/* All full: a new one is not let through uncounted, and nothing is half charged.
	 */
	hit(store, "full 2", 1);
	hit(store, "full 3", 1);
	assert_int_equal(hit(store, "new", 10), OUTCOME_UNAVAILABLE);
	struct charge both[2] = {charge("full", 1, 5, true), charge("new", 1, 10, true)};
	assert_int_equal(
	    ask(store, true, "t", START_MS, both, 2).kind, OUTCOME_UNAVAILABLE);
	assert_int_equal(used(store, "full", START_MS), 1);

	/* Once the windows have run out there is room, and the token was not burnt. */
	int64_t later_ms = START_MS + 2 * HOUR_S * 1000;
	assert_int_equal(ask(store, true, "t", later_ms, both, 2).kind, OUTCOME_FITS);
	assert_int_equal(used(store, "new", later_ms), 1);
	store_free(store);
}

/* With a max of 0 a counter is never under it: what has run out goes all the same. */
static void test_a_max_of_nothing_does_not_last_for_ever(void **state)
{
	(void)state;
	struct store *store = new_store(3);
	char key[32];
	for (int i = 0; i < 3; i++) {
		snprintf(key, sizeof(key), "watched %d", i);
		struct charge watched = charge(key, 1, 0, false);
		assert_int_equal(
		    ask(store, true, "", START_MS, &watched, 1).kind, OUTCOME_FITS);
	}
	struct charge one = charge("new", 1, 10, true);
	assert_int_equal(
	    ask(store, true, "", START_MS, &one, 1).kind, OUTCOME_UNAVAILABLE);
	int64_t later_ms = START_MS + 2 * HOUR_S * 1000;
	assert_int_equal(ask(store, true, "", later_ms, &one, 1).kind, OUTCOME_FITS);
	store_free(store);
}

static void test_one_request_does_not_evict_its_own(void **state)
{
	(void)state;
	struct store *store = new_store(3);
	struct charge four[4] = {
	    charge("a", 1, 9, true), charge("b", 1, 9, true), charge("c", 1, 9, true),
	    charge("d", 1, 9, true)};
	assert_int_equal(
	    ask(store, true, "", START_MS, four, 4).kind, OUTCOME_UNAVAILABLE);
	assert_int_equal(used(store, "a", START_MS), 0);
	assert_int_equal(ask(store, true, "", START_MS, four, 3).kind, OUTCOME_FITS);
	assert_int_equal(ask(store, true, "", START_MS, four + 1, 3).kind, OUTCOME_FITS);
	assert_int_equal(used(store, "a", START_MS), 0);
	assert_int_equal(used(store, "b", START_MS), 2);
	store_free(store);
}

static void test_a_new_max_counts_after_a_reload(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	for (int i = 0; i < 5; i++)
		hit(store, "k", 5);
	assert_int_equal(hit(store, "k", 5), OUTCOME_OVER);
	assert_int_equal(hit(store, "k", 6), OUTCOME_FITS);
	assert_int_equal(hit(store, "k", 3), OUTCOME_OVER);
	store_free(store);
}

static void test_nothing_to_charge(void **state)
{
	(void)state;
	struct store *store = new_store(1);
	assert_int_equal(ask(store, true, "t", START_MS, NULL, 0).kind, OUTCOME_FITS);
	store_free(store);
}

/* ---- distinct counts ---- */

static struct charge member(const char *key, int number, uint64_t max, bool hard)
{
	struct charge one = charge(key, 1, max, hard);
	one.member_len =
	    (uint16_t)snprintf(one.member, sizeof(one.member), "member %d", number);
	return one;
}

static enum outcome_kind see(
    struct store *store, const char *key, int number, uint64_t max)
{
	struct charge one = member(key, number, max, true);
	return ask(store, true, "", START_MS, &one, 1).kind;
}

static uint64_t members(struct store *store, const char *key)
{
	struct charge one = member(key, -1, 1000000, true);
	return ask(store, false, "", START_MS, &one, 1).results[0].used;
}

static void test_large_sets(void **state)
{
	(void)state;
	struct store *store = new_store(1000000);
	for (int i = 0; i < LIMIT_DISTINCT; i++)
		assert_int_equal(see(store, "k", i, LIMIT_DISTINCT), OUTCOME_FITS);
	assert_int_equal(see(store, "k", -7, LIMIT_DISTINCT), OUTCOME_OVER);
	for (int i = 0; i < LIMIT_DISTINCT; i++)
		assert_int_equal(see(store, "k", i, LIMIT_DISTINCT), OUTCOME_FITS);
	assert_int_equal(members(store, "k"), LIMIT_DISTINCT);
	/* In the next window those that are seen again stay, two later none does. */
	struct charge again = member("k", 5, 10, false);
	int64_t next_ms = START_MS + HOUR_S * 1000;
	ask(store, true, "", next_ms, &again, 1);
	struct outcome outcome = ask(store, true, "", next_ms + HOUR_S * 1000, &again, 1);
	assert_int_equal(outcome.results[0].used, 1);
	store_free(store);
}

static void test_members_count_towards_the_bound(void **state)
{
	(void)state;
	struct store *store = new_store(20);
	hit(store, "oldest", 10);
	for (int i = 0; i < 10; i++)
		see(store, "set", i, 100);
	assert_int_equal(used(store, "oldest", START_MS), 1); /* 12 of 20 */
	hit(store, "a", 10);
	for (int i = 10; i < 18; i++)
		assert_int_equal(see(store, "set", i, 100), OUTCOME_FITS);
	/* 1 and 18 of 20: no room for both others. */
	assert_int_equal(used(store, "oldest", START_MS), 0);
	assert_int_equal(used(store, "a", START_MS), 1);
	assert_int_equal(members(store, "set"), 18);
	/* It takes all there is and then no more; nothing of a refused one stays. */
	assert_int_equal(see(store, "set", 18, 100), OUTCOME_FITS);
	assert_int_equal(used(store, "a", START_MS), 0);
	struct charge two[2] = {charge("b", 1, 9, true), member("set", 19, 100, true)};
	assert_int_equal(
	    ask(store, true, "", START_MS, two, 2).kind, OUTCOME_UNAVAILABLE);
	assert_int_equal(members(store, "set"), 19);
	assert_int_equal(used(store, "b", START_MS), 0);
	/* A new counter can do without the set, which goes with all its members. */
	for (int i = 0; i < 20; i++) {
		char key[32];
		snprintf(key, sizeof(key), "key %d", i);
		assert_int_equal(hit(store, key, 10), OUTCOME_FITS);
	}
	assert_int_equal(members(store, "set"), 0);
	assert_int_equal(used(store, "key 0", START_MS), 1);
	store_free(store);
}

static void test_a_full_set_stays(void **state)
{
	(void)state;
	struct store *store = new_store(10);
	for (int i = 0; i < 3; i++)
		see(store, "set", i, 3);
	char key[32];
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		assert_int_equal(hit(store, key, 10), OUTCOME_FITS);
	}
	assert_int_equal(see(store, "set", 7, 3), OUTCOME_OVER);
	store_free(store);
}

static void test_what_counted_something_else_begins_anew(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	hit(store, "k", 5);
	assert_int_equal(see(store, "k", 1, 1), OUTCOME_FITS);
	assert_int_equal(see(store, "k", 2, 1), OUTCOME_OVER);
	assert_int_equal(hit(store, "k", 1), OUTCOME_FITS);
	assert_int_equal(hit(store, "k", 1), OUTCOME_OVER);
	store_free(store);
}

/* ---- reading and setting back ---- */

struct seen {
	char keys[8][32];
	struct window windows[8];
	size_t count;
	int done; /* 1: not yet */
};

static void note_row(void *context, const struct store_row *row)
{
	struct seen *seen = context;
	assert_true(seen->count < 8 && seen->done == 1);
	assert_true(row->now_ms > 0);
	snprintf(
	    seen->keys[seen->count], sizeof(seen->keys[0]), "%.*s", (int)row->key_len,
	    row->key);
	seen->windows[seen->count++] = row->window;
}

static void note_done(void *context, int r)
{
	struct seen *seen = context;
	assert_int_equal(seen->done, 1);
	seen->done = r;
}

static void test_read(void **state)
{
	(void)state;
	struct store *store = new_store(1000000);
	hit(store, "a", 5);
	hit(store, "a", 5);
	see(store, "set", 1, 5);
	static const char *const keys[] = {"none", "a", "set"};
	struct seen seen = {.done = 1};
	store_read(store, keys, 3, note_row, note_done, &seen);
	assert_int_equal(seen.done, 0);
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.keys[0], "a");
	assert_int_equal(window_use(&seen.windows[0], HOUR_S, START_MS), 2);
	assert_string_equal(seen.keys[1], "set");
	assert_int_equal(distinct_use(&seen.windows[1], HOUR_S, START_MS), 1);
	store_free(store);
}

static void test_scan_and_forget(void **state)
{
	(void)state;
	struct store *store = new_store(1000000);
	static const char *const keys[] = {"a", "b", "c", "d", "set"};
	for (int i = 0; i < 4; i++)
		hit(store, keys[i], 5);
	see(store, "set", 1, 5);
	struct seen seen = {.done = 1};
	store_scan(store, note_row, note_done, &seen);
	assert_int_equal(seen.done, 0);
	assert_int_equal(seen.count, 5);
	for (int i = 0; i < 5; i++) {
		bool found = false;
		for (int j = 0; j < 5; j++)
			found = found || strcmp(seen.keys[j], keys[i]) == 0;
		assert_true(found);
	}

	static const char *const gone[] = {"b", "none", "set"};
	uint64_t changes = store_memory_changes(store);
	seen = (struct seen){.done = 1};
	store_forget(store, gone, 3, note_done, &seen);
	assert_int_equal(seen.done, 0);
	assert_true(store_memory_changes(store) > changes);
	seen = (struct seen){.done = 1};
	store_scan(store, note_row, note_done, &seen);
	assert_int_equal(seen.count, 3);
	assert_int_equal(used(store, "b", START_MS), 0);
	assert_int_equal(used(store, "a", START_MS), 1);
	assert_int_equal(hit(store, "b", 1), OUTCOME_FITS);
	store_free(store);
}

static void test_changes(void **state)
{
	(void)state;
	struct store *store = new_store(100);
	uint64_t before = store_memory_changes(store);
	used(store, "k", START_MS);
	assert_true(store_memory_changes(store) == before);
	hit(store, "k", 1);
	uint64_t after = store_memory_changes(store);
	assert_true(after > before);
	hit(store, "k", 1); /* refused */
	assert_true(store_memory_changes(store) == after);
	store_free(store);
}

/* ---- a table that grows ---- */

enum { OLD = 500, NEW = 3000 };

struct growing {
	struct store *store;
	unsigned seen[OLD];
	int added;
};

static void hit_number(struct store *store, const char *kind, int number)
{
	char key[32];
	snprintf(key, sizeof(key), "%s %d", kind, number);
	assert_int_equal(hit(store, key, 10), OUTCOME_FITS);
}

/* More counters come while all are looked at, and their chains are split. */
static bool see_and_add(void *context, const struct memory_counter *counter)
{
	struct growing *growing = context;
	char key[32];
	int number;
	snprintf(key, sizeof(key), "%.*s", (int)counter->key_len, counter->key);
	if (sscanf(key, "old %d", &number) == 1)
		growing->seen[number]++;
	for (int i = 0; i < 6 && growing->added < NEW; i++)
		hit_number(growing->store, "new", growing->added++);
	return true;
}

static void test_all_are_seen_once_while_more_come(void **state)
{
	(void)state;
	struct growing growing = {.store = new_store(4000)};
	struct store *store = growing.store;
	for (int i = 0; i < OLD; i++)
		hit_number(store, "old", i);
	assert_int_equal(store_memory_each(store, see_and_add, &growing), 0);
	assert_int_equal(growing.added, NEW);
	for (int i = 0; i < OLD; i++) {
		if (growing.seen[i] != 1)
			fail_msg("old %d was seen %u times", i, growing.seen[i]);
	}
	/* Each is found where it is now, or it would begin at 0. */
	for (int i = 0; i < NEW; i++) {
		char key[32];
		snprintf(key, sizeof(key), "new %d", i);
		if (used(store, key, START_MS) != 1)
			fail_msg("%s is lost", key);
		const char *gone = key;
		struct seen done = {.done = 1};
		if (i % 2 == 0)
			store_forget(store, &gone, 1, note_done, &done);
	}
	for (int i = 0; i < NEW; i++)
		hit_number(store, "new", i);
	assert_int_equal(used(store, "new 0", START_MS), 1);
	assert_int_equal(used(store, "new 1", START_MS), 2);
	store_free(store);
}

/* ---- threads ---- */

enum { THREADS = 4, ASKED = 20000, KEYS = 50, MAX = 700 };

struct racer {
	struct store *store;
	unsigned number;
	atomic_ulong *fits; /* per key */
};

/* Each charges two keys at once, in an order that differs by thread. */
static void *race(void *context)
{
	struct racer *racer = context;
	unsigned seed = racer->number;
	for (int i = 0; i < ASKED; i++) {
		unsigned a = (unsigned)rand_r(&seed) % KEYS;
		unsigned b = (a + 1 + (unsigned)rand_r(&seed) % (KEYS - 1)) % KEYS;
		char key_a[32], key_b[32];
		snprintf(key_a, sizeof(key_a), "key %u", a);
		snprintf(key_b, sizeof(key_b), "key %u", b);
		struct charge two[2] = {
		    charge(key_a, 1, MAX, true), charge(key_b, 1, MAX, true)};
		if (ask(racer->store, true, "", START_MS, two, 2).kind == OUTCOME_FITS) {
			atomic_fetch_add(&racer->fits[a], 1);
			atomic_fetch_add(&racer->fits[b], 1);
		}
	}
	return NULL;
}

static void test_threads_never_exceed(void **state)
{
	(void)state;
	struct store *store = new_store(1000000);
	atomic_ulong fits[KEYS] = {0};
	struct racer racers[THREADS];
	pthread_t threads[THREADS];
	for (unsigned i = 0; i < THREADS; i++) {
		racers[i] = (struct racer){store, i, fits};
		assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32];
		snprintf(key, sizeof(key), "key %u", i);
		assert_int_equal(used(store, key, START_MS), fits[i]);
		/* Many more were asked for than fit. */
		assert_true(fits[i] <= MAX && fits[i] > MAX / 2);
	}
	store_free(store);
}

/* All ask the same tokens: each is charged once. */
static void *repeat(void *context)
{
	struct racer *racer = context;
	for (int i = 0; i < 5000; i++) {
		char token[32];
		snprintf(token, sizeof(token), "token %d", i);
		struct charge one = charge("k", 1, 1000000, true);
		struct outcome outcome =
		    ask(racer->store, true, token, START_MS, &one, 1);
		if (outcome.kind == OUTCOME_FITS)
			atomic_fetch_add(racer->fits, 1);
	}
	return NULL;
}

static void test_threads_share_tokens(void **state)
{
	(void)state;
	struct store *store = new_store(1000000);
	atomic_ulong fits = 0;
	struct racer racer = {.store = store, .fits = &fits};
	pthread_t threads[THREADS];
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, repeat, &racer), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(used(store, "k", START_MS), 5000);
	assert_int_equal(fits, 5000 * THREADS);
	store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_counts_to_the_max),
	    cmocka_unit_test(test_result_of_a_charge_is_the_use_after_it),
	    cmocka_unit_test(test_look_charges_nothing),
	    cmocka_unit_test(test_all_or_nothing),
	    cmocka_unit_test(test_soft_ones_do_not_hinder),
	    cmocka_unit_test(test_token),
	    cmocka_unit_test(test_a_repetition_hears_all_of_it_again),
	    cmocka_unit_test(test_token_lasts_a_quarter_of_an_hour),
	    cmocka_unit_test(test_tokens_are_bounded),
	    cmocka_unit_test(test_tokens_by_the_thousand),
	    cmocka_unit_test(test_the_least_recently_used_goes),
	    cmocka_unit_test(test_what_is_over_stays),
	    cmocka_unit_test(test_a_max_of_nothing_does_not_last_for_ever),
	    cmocka_unit_test(test_one_request_does_not_evict_its_own),
	    cmocka_unit_test(test_a_new_max_counts_after_a_reload),
	    cmocka_unit_test(test_nothing_to_charge),
	    cmocka_unit_test(test_large_sets),
	    cmocka_unit_test(test_members_count_towards_the_bound),
	    cmocka_unit_test(test_a_full_set_stays),
	    cmocka_unit_test(test_what_counted_something_else_begins_anew),
	    cmocka_unit_test(test_read),
	    cmocka_unit_test(test_scan_and_forget),
	    cmocka_unit_test(test_changes),
	    cmocka_unit_test(test_all_are_seen_once_while_more_come),
	    cmocka_unit_test(test_threads_never_exceed),
	    cmocka_unit_test(test_threads_share_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
