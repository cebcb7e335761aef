/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory store against a naive model: a log of every charge, read anew at each
 * question. Random requests of several charges (amounts and distinct counts, hard and
 * soft, looks, tokens) at a clock that goes on.
 *
 * POSTERN_MODEL_SEED repeats a run.
 */
#include "policyd/store_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 12, EVENTS = 4000, CHARGES = 5, TOKENS = 40, REQUESTS = 30000 };

/* Long ago enough that nothing is pulled back. */
#define BEGIN_MS INT64_C(1767571200000)

struct event {
	int64_t at_ms;
	uint64_t amount;
	char member[8];
};

/* Keys of an even number count amounts, the others members. */
static struct logged {
	struct event events[EVENTS];
	size_t count;
} logs[KEYS];

static struct answered {
	bool is_known;
	struct outcome outcome;
} answered[TOKENS];

static unsigned seed;

static unsigned pick(unsigned below)
{
	return (unsigned)rand_r(&seed) % below;
}

static uint32_t window_of(unsigned key)
{
	static const uint32_t windows[] = {10, 60, 3600};
	return windows[key % 3];
}

static bool is_distinct(unsigned key)
{
	return key % 2 == 1;
}

static int64_t bucket_of(int64_t at_ms, uint32_t window_s)
{
	return at_ms / (window_s * INT64_C(1000));
}

static uint64_t amounts_in(const struct logged *log, int64_t bucket, uint32_t window_s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < log->count; i++)
		if (bucket_of(log->events[i].at_ms, window_s) == bucket)
			sum += log->events[i].amount;
	return sum;
}

static uint64_t use_of_amounts(
    const struct logged *log, uint32_t window_s, int64_t now_ms)
{
	int64_t window_ms = window_s * INT64_C(1000), bucket = now_ms / window_ms;
	uint64_t left_ms = (uint64_t)(window_ms - now_ms % window_ms);
	uint64_t steps =
	    (left_ms * 65536 + (uint64_t)window_ms - 1) / (uint64_t)window_ms;

	return amounts_in(log, bucket, window_s) +
	       (amounts_in(log, bucket - 1, window_s) * steps + 65535) / 65536;
}

static bool seen_since(
    const struct logged *log, size_t end, const char *member, int64_t bucket,
    uint32_t window_s)
{
	for (size_t i = 0; i < end; i++)
		if (strcmp(log->events[i].member, member) == 0 &&
		    bucket_of(log->events[i].at_ms, window_s) >= bucket)
			return true;
	return false;
}

static uint64_t use_of_members(
    const struct logged *log, uint32_t window_s, int64_t now_ms)
{
	int64_t oldest = bucket_of(now_ms, window_s) - 1;
	uint64_t use = 0;

	for (size_t i = 0; i < log->count; i++)
		use += bucket_of(log->events[i].at_ms, window_s) >= oldest &&
		       !seen_since(log, i, log->events[i].member, oldest, window_s);
	return use;
}

static uint64_t use_of(unsigned key, int64_t now_ms)
{
	uint32_t window_s = window_of(key);

	return is_distinct(key) ? use_of_members(&logs[key], window_s, now_ms)
				: use_of_amounts(&logs[key], window_s, now_ms);
}

/* What can count no more is dropped, so that the log stays short. */
static void forget_old(unsigned key, int64_t now_ms)
{
	struct logged *log = &logs[key];
	int64_t oldest = bucket_of(now_ms, window_of(key)) - 1;
	size_t kept = 0;

	for (size_t i = 0; i < log->count; i++)
		if (bucket_of(log->events[i].at_ms, window_of(key)) >= oldest)
			log->events[kept++] = log->events[i];
	log->count = kept;
}

static bool is_member(unsigned key, const char *member, int64_t now_ms)
{
	return seen_since(
	    &logs[key], logs[key].count, member, bucket_of(now_ms, window_of(key)) - 1,
	    window_of(key));
}

static void log_event(unsigned key, int64_t now_ms, const struct charge *charge)
{
	struct logged *log = &logs[key];
	struct event *event = &log->events[log->count++];

	assert_true(log->count < EVENTS);
	*event = (struct event){.at_ms = now_ms, .amount = charge->amount};
	memcpy(event->member, charge->member, charge->member_len);
}

static void model_charge(
    unsigned key, int64_t now_ms, const struct charge *charge,
    struct charge_result *result)
{
	char member[8] = "";

	memcpy(member, charge->member, charge->member_len);
	if (!is_distinct(key) || is_member(key, member, now_ms) ||
	    result->used <= charge->max)
		log_event(key, now_ms, charge);
	result->used = use_of(key, now_ms);
}

static void model_ask(
    const unsigned *keys, const struct charge *charges, size_t count, int64_t now_ms,
    struct outcome *ret)
{
	ret->kind = OUTCOME_FITS;
	ret->count = count;
	for (size_t i = 0; i < count; i++) {
		const struct charge *charge = &charges[i];
		struct charge_result *result = &ret->results[i];
		char member[8] = "";
		memcpy(member, charge->member, charge->member_len);
		forget_old(keys[i], now_ms);
		result->used = use_of(keys[i], now_ms);
		uint64_t after = result->used + charge->amount;
		if (is_distinct(keys[i]) && is_member(keys[i], member, now_ms))
			after = result->used;
		result->over = after > charge->max;
		if (result->over && charge->hard)
			ret->kind = OUTCOME_OVER;
	}
	for (size_t i = 0; i < count && ret->kind == OUTCOME_FITS; i++)
		if (!charges[i].look)
			model_charge(keys[i], now_ms, &charges[i], &ret->results[i]);
}

static void make_charge(unsigned key, struct charge *ret)
{
	*ret = (struct charge){
	    .window_s = window_of(key),
	    .amount = is_distinct(key) ? 1 : pick(8),
	    .max = 3 + key,
	    .hard = pick(4) > 0,
	    .look = pick(4) == 0,
	};
	if (pick(20) == 0)
		ret->max = pick(20);
	ret->key_len = (uint16_t)sprintf(ret->key, "limit-%u:ada@example.org", key);
	if (is_distinct(key))
		ret->member_len = (uint16_t)sprintf(ret->member, "m%u", pick(20));
}

static size_t make_request(unsigned *keys, struct charge *charges)
{
	size_t count = 1 + pick(CHARGES);
	unsigned first = pick(KEYS);
	bool looks = pick(5) == 0;

	for (size_t i = 0; i < count; i++) {
		keys[i] = (first + (unsigned)i) % KEYS;
		make_charge(keys[i], &charges[i]);
		charges[i].look = charges[i].look || looks;
	}
	return count;
}

static void keep(void *context, const struct outcome *outcome)
{
	struct outcome *kept = context;

	*kept = *outcome;
}

static bool charges_something(const struct charge *charges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!charges[i].look)
			return true;
	return false;
}

static void compare(
    unsigned n, const struct outcome *got, const struct outcome *wanted, unsigned first)
{
	if (got->kind != wanted->kind || got->count != wanted->count)
		fail_msg(
		    "seed %u, request %u: kind %d, wanted %d", first, n, got->kind,
		    wanted->kind);
	for (size_t i = 0; i < got->count; i++)
		if (got->results[i].used != wanted->results[i].used ||
		    got->results[i].over != wanted->results[i].over)
			fail_msg(
			    "seed %u, request %u, charge %zu: used %llu %d, "
			    "wanted %llu %d",
			    first, n, i, (unsigned long long)got->results[i].used,
			    got->results[i].over,
			    (unsigned long long)wanted->results[i].used,
			    wanted->results[i].over);
}

/* Out of the store and into a new one, as the state file does. */
struct move {
	struct store *to;
	int64_t now_ms;
};

static bool move_counter(void *context, const struct memory_counter *counter)
{
	struct move *move = context;

	assert_int_equal(store_memory_put(move->to, counter, move->now_ms), 0);
	return true;
}

static struct store *moved(struct store *store, int64_t now_ms)
{
	struct move move = {.now_ms = now_ms};

	assert_int_equal(store_memory_new(100000, &move.to), 0);
	assert_int_equal(store_memory_each(store, move_counter, &move), 0);
	store_free(store);
	return move.to;
}

static void ask_both(
    struct store *store, unsigned n, int64_t now_ms, int last_token_known)
{
	unsigned keys[CHARGES], first = seed;
	struct charge charges[CHARGES];
	size_t count = make_request(keys, charges);
	unsigned token = pick(TOKENS * 4);
	char text[16] = "";
	struct outcome got = {.kind = OUTCOME_UNAVAILABLE}, wanted = {0};
	bool has_token = token < TOKENS && last_token_known;

	if (has_token)
		sprintf(text, "token-%u", token);
	const struct store_request request = {
	    .token = text,
	    .token_len = strlen(text),
	    .charges = charges,
	    .count = count,
	    .now_ms = now_ms,
	};
	store_ask(store, &request, keep, &got);
	if (!charges_something(charges, count))
		has_token = false;
	if (has_token && answered[token].is_known)
		wanted = answered[token].outcome;
	else
		model_ask(keys, charges, count, now_ms, &wanted);
	if (has_token)
		answered[token] = (struct answered){true, wanted};
	compare(n, &got, &wanted, first);
}

/* Tokens live for a quarter of an hour, which is not this test's matter: they are used
 * while less than that has gone by. @move: into a new store now and then, where tokens
 * are not kept. */
static void run(bool move)
{
	struct store *store = NULL;
	int64_t now_ms = BEGIN_MS;

	memset(logs, 0, sizeof(logs));
	memset(answered, 0, sizeof(answered));
	assert_int_equal(store_memory_new(move ? 100000 : 1000, &store), 0);
	for (unsigned n = 0; n < REQUESTS; n++) {
		ask_both(store, n, now_ms, !move && now_ms < BEGIN_MS + 800000);
		now_ms += pick(100) == 0 ? pick(5000) : pick(50);
		if (pick(5000) == 0)
			now_ms += pick(8000000);
		if (move && pick(500) == 0)
			store = moved(store, now_ms);
	}
	store_free(store);
}

static void answers_as_the_log_says(void **state)
{
	(void)state;
	run(false);
}

static void answers_so_after_a_restart(void **state)
{
	(void)state;
	run(true);
}

int main(void)
{
	const char *wanted = getenv("POSTERN_MODEL_SEED");
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_as_the_log_says),
	    cmocka_unit_test(answers_so_after_a_restart),
	};

	seed = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 20260105;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
