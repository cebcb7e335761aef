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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_memory_store),
	    cmocka_unit_test(the_counters_of_a_replay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
