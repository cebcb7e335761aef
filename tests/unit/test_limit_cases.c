/* SPDX-License-Identifier: BSD-2-Clause */
/* The stores in C against tests/limit_cases.json, which the one in Redis is run against
 * too. */
#include "ctl/replay_store.h"
#include "policyd/store.h"
#include "tests/unit/limit_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void replay_begin(void *context)
{
	struct replay_store **store = context;

	replay_store_free(*store);
	assert_int_equal(replay_store_new(store), 0);
}

static void replay_ask(
    void *context, const char *token, size_t token_len, const struct charge *charges,
    size_t count, int64_t now_ms, struct outcome *ret)
{
	struct replay_store **store = context;

	replay_store_ask(*store, token, token_len, charges, count, now_ms, ret);
}

static void the_counters_of_a_replay(void **state)
{
	(void)state;
	struct replay_store *store = NULL;
	const struct limit_asker asker = {"replay", replay_begin, replay_ask, &store};

	assert_true(limit_cases_run(&asker) > 200);
	replay_store_free(store);
}

static void memory_begin(void *context)
{
	struct store **store = context;

	store_free(*store);
	assert_int_equal(store_memory_new(10000, store), 0);
}

static void keep(void *context, const struct outcome *outcome)
{
	struct outcome *kept = context;

	*kept = *outcome;
}

static void memory_ask(
    void *context, const char *token, size_t token_len, const struct charge *charges,
    size_t count, int64_t now_ms, struct outcome *ret)
{
	struct store **store = context;
	const struct store_request request = {
	    .token = token,
	    .token_len = token_len,
	    .charges = charges,
	    .count = count,
	    .now_ms = now_ms,
	};

	store_ask(*store, &request, keep, ret);
}

static void the_memory_store(void **state)
{
	(void)state;
	struct store *store = NULL;
	const struct limit_asker asker = {"memory", memory_begin, memory_ask, &store};

	assert_true(limit_cases_run(&asker) > 200);
	store_free(store);
}

/*
 * What docs/limits.md promises of distinct counts, against an exact log: an interval as
 * long as the window never lets through more than max different ones, and who was let
 * through stays so while it comes once a window.
 */
static void distinct_guarantee(const struct limit_asker *asker)
{
	enum { EVENTS = 3000, WINDOW_S = 60, MEMBERS = 9 };
	static struct {
		int64_t at_ms;
		unsigned member;
	} passed[EVENTS];
	struct charge charge = {
	    .window_s = WINDOW_S, .amount = 1, .hard = true, .key = "k"};
	struct outcome outcome;

	charge.key_len = charge.member_len = 1;
	for (unsigned seed = 1; seed <= 30; seed++) {
		size_t count = 0, over = 0;
		int64_t now = 1767571200000;
		unsigned draw = seed * 2654435761U;
		charge.max = 1 + seed % 5;
		asker->begin(asker->context);
		for (int i = 0; i < EVENTS; i++) {
			draw = draw * 1103515245 + 12345;
			now += draw >> 8 & (seed % 2 ? 0x7fff : 0x3ff);
			unsigned member = (draw >> 24) % MEMBERS;
			charge.member[0] = (char)('a' + member);
			asker->ask(asker->context, "", 0, &charge, 1, now, &outcome);
			bool was = false;
			unsigned set = 1U << member;
			for (size_t n = count;
			     n-- > 0 && passed[n].at_ms > now - WINDOW_S * 1000;) {
				set |= 1U << passed[n].member;
				was = was || passed[n].member == member;
			}
			if (outcome.kind != OUTCOME_FITS) {
				assert_false(was);
				over++;
				continue;
			}
			if ((unsigned)__builtin_popcount(set) > charge.max)
				fail_msg("%s, seed %u: too many", asker->name, seed);
			passed[count].at_ms = now;
			passed[count++].member = member;
		}
		assert_true(count > 20 && over > 20);
	}
}

static void the_guarantee_of_sets(void **state)
{
	(void)state;
	struct store *store = NULL;
	struct replay_store *replay = NULL;

	distinct_guarantee(
	    &(struct limit_asker){"memory", memory_begin, memory_ask, &store});
	distinct_guarantee(
	    &(struct limit_asker){"replay", replay_begin, replay_ask, &replay});
	store_free(store);
	replay_store_free(replay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_memory_store),
	    cmocka_unit_test(the_counters_of_a_replay),
	    cmocka_unit_test(the_guarantee_of_sets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
