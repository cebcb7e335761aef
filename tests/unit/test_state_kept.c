/* SPDX-License-Identifier: BSD-2-Clause */
/* What the state file keeps over a restart beside counters, and over a clock that was
 * set. */
#include "policyd/state_file.h"

#include "policyd/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"
#include "tests/unit/state_parts.h"

static void clocks_that_were_set(void **state)
{
	(void)state;
	enum { MINUTE = 60 * 1000 };
	static const struct {
		const char *why;
		int64_t wall_ms;           /* since the file was written */
		int64_t steady_ms;         /* the same; after another boot: up so long */
		bool boots, over;          /* over: Ada still is */
		int64_t over_ms, ended_ms; /* still over then; not any more then */
	} rows[] = {
	    {"a second", 1000, 1000, false, true, 29 * MINUTE, 90 * MINUTE},
	    {"set forward by a day", 24 * HOUR_MS + 1000, 1000, false, true, 29 * MINUTE,
	     90 * MINUTE},
	    {"set forward by a day and some", 24 * HOUR_MS + 20 * MINUTE, 1000, false,
	     true, 29 * MINUTE, 150 * MINUTE},
	    {"set back by a day and some", -24 * HOUR_MS - 20 * MINUTE, 1000, false, true,
	     29 * MINUTE, 150 * MINUTE},
	    {"set back, and a long stop", -24 * HOUR_MS, 2 * HOUR_MS, false, false, 0, 0},
	    {"a long stop", 2 * HOUR_MS, 2 * HOUR_MS, false, false, 0, 0},
	    {"a boot that took a minute", 2 * MINUTE, MINUTE, true, true, 27 * MINUTE,
	     88 * MINUTE},
	    {"off for a long time, or a wrong clock", 240 * HOUR_MS, MINUTE, true, true,
	     19 * MINUTE, 150 * MINUTE},
	    {"off for a long time, up for as long", 8 * HOUR_MS, 4 * HOUR_MS, true, false,
	     0, 0},
	    {"the year 1970 after a boot", -NOW_MS + MINUTE, MINUTE, true, true,
	     29 * MINUTE, 150 * MINUTE},
	};
	const char *ada = "user-hour:ada@example.org";
	const char *seen = "roaming:ada@example.org";
	struct state_parts parts = parts_new(100), again;
	struct state_loaded loaded;

	parts_fill(&parts);
	parts_save(&parts, "state.json");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t now_ms = NOW_MS + rows[i].wall_ms;
		parts_load_by(
		    &again, now_ms,
		    rows[i].steady_ms + (rows[i].boots ? 0 : 240 * HOUR_MS),
		    rows[i].boots ? "second" : "first", &loaded);
		struct store *store = again.memory;
		bool over =
		    parts_ask(store, ada, "", 5, true, now_ms).kind == OUTCOME_OVER &&
		    parts_ask(store, seen, "ES", 2, true, now_ms).kind == OUTCOME_OVER;
		if (over != rows[i].over || (!over && parts_used(store, ada, now_ms) > 0))
			fail_msg("%s: over: %d", rows[i].why, over);
		if (over &&
		    parts_ask(store, ada, "", 5, true, now_ms + rows[i].over_ms).kind !=
			OUTCOME_OVER)
			fail_msg("%s: free too soon", rows[i].why);
		if (over && parts_used(store, ada, now_ms + rows[i].ended_ms) > 0)
			fail_msg("%s: held for too long", rows[i].why);
		parts_free(&again);
	}
	parts_free(&parts);
}

static void keep_block(void *context, const struct block *block)
{
	struct block *kept = context;

	*kept = *block;
}

static void keep_login(void *context, const struct login *login)
{
	struct login *kept = context;

	*kept = *login;
}

/* A block holds as long as it had left, a login is as old as it is. */
static void what_moves_with_the_clock(void **state)
{
	(void)state;
	static const struct {
		const char *why;
		int64_t wall_s; /* since the file was written, and a minute passed */
		bool boots;
		int64_t moved_s;
		size_t logins;
	} rows[] = {
	    {"not set", 60, false, 0, 1},
	    {"set forward by an hour", 3660, false, 3600, 1},
	    {"set back by an hour", -3540, false, -3600, 1},
	    {"nobody knows, forward", 3660, true, 0, 1},
	    {"nobody knows, back", -3540, true, 0, 0},
	};
	int64_t then_s = time(NULL);
	const struct block block = {
	    .kind = BLOCK_CLIENT,
	    .subject = "192.0.2.66",
	    .since_s = then_s,
	    .until_s = then_s + 86400};
	struct login login = {.at_s = then_s - 600, .user = "ada"};
	struct state_parts parts = parts_new(100), again;
	struct state_saved saved;
	struct state_loaded loaded;

	assert_int_equal(blocks_put(parts.blocks, &block), 0);
	assert_true(ip_parse("2001:db8::1", 11, &login.ip));
	assert_int_equal(logins_put(parts.logins, &login), 0);
	assert_int_equal(
	    state_file_save(
		"state.json", &parts, &state_config, clock_at(then_s * 1000), &saved),
	    0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct block got = {.since_s = 0};
		struct login seen = {.at_s = 0};
		parts_load_by(
		    &again, (then_s + rows[i].wall_s) * 1000,
		    rows[i].boots ? 60000 : clock_at(then_s * 1000)->steady_ms + 60000,
		    rows[i].boots ? "second" : "first", &loaded);
		blocks_each(again.blocks, 0, keep_block, &got);
		logins_each(again.logins, 0, keep_login, &seen);
		if (got.since_s != block.since_s + rows[i].moved_s ||
		    got.until_s != block.until_s + rows[i].moved_s)
			fail_msg("%s: the block", rows[i].why);
		if (loaded.logins != rows[i].logins ||
		    loaded.ageless != 1 - rows[i].logins ||
		    (loaded.logins > 0 && seen.at_s != login.at_s + rows[i].moved_s))
			fail_msg("%s: the login", rows[i].why);
		parts_free(&again);
	}
	parts_free(&parts);
}

/* The clock was set to 1970, and the block's end would lie before that: it has ended, and
 * is not one without an end. */
static void what_ended_before_all_time(void **state)
{
	(void)state;
	int64_t then_s = time(NULL);
	const struct block block = {
	    .kind = BLOCK_CLIENT,
	    .subject = "192.0.2.66",
	    .since_s = then_s,
	    .until_s = then_s + 30};
	struct state_parts parts = parts_new(100), again;
	struct state_saved saved;
	struct state_loaded loaded;
	struct block got = {.since_s = -1};

	assert_int_equal(blocks_put(parts.blocks, &block), 0);
	assert_int_equal(
	    state_file_save(
		"state.json", &parts, &state_config, clock_at(then_s * 1000), &saved),
	    0);
	parts_load_by(
	    &again, 10000, clock_at(then_s * 1000)->steady_ms + 60000, "first", &loaded);
	blocks_each(again.blocks, 0, keep_block, &got);
	assert_int_equal(got.since_s, -1);
	parts_free(&again);
	parts_free(&parts);
}

/* ---- charges that were answered ---- */

/* Charges one to each of @count limits of "0", "1"...: all but the first are soft. */
static struct outcome charge(
    struct store *store, const char *token, size_t count, uint64_t max, int64_t now_ms)
{
	struct outcome outcome = {.kind = OUTCOME_UNAVAILABLE};
	struct charge charges[5];
	const struct store_request request = {
	    .token = token,
	    .token_len = strlen(token),
	    .charges = charges,
	    .count = count,
	    .now_ms = now_ms,
	};

	assert_true(count <= 5);
	for (size_t i = 0; i < count; i++) {
		charges[i] = (struct charge){
		    .window_s = 3600, .amount = 1, .max = max, .hard = i == 0};
		charges[i].key_len =
		    (uint16_t)sprintf(charges[i].key, "user-hour:%zu@example.org", i);
	}
	store_ask(store, &request, keep_outcome, &outcome);
	return outcome;
}

static void expect_same(const struct outcome *a, const struct outcome *b, const char *why)
{
	if (a->kind != b->kind || a->count != b->count)
		fail_msg("%s: another outcome", why);
	for (size_t i = 0; i < a->count; i++)
		if (a->results[i].used != b->results[i].used ||
		    a->results[i].over != b->results[i].over ||
		    a->results[i].retry_after_s != b->results[i].retry_after_s)
			fail_msg("%s: another result %zu", why, i);
}

/* Charges of one limit, of some, and of more than a record holds itself; one that is
 * over, one that is over softly. */
static void charges_are_answered_once(void **state)
{
	(void)state;
	static const struct {
		const char *token;
		size_t count;
		uint64_t max;
		enum outcome_kind kind;
	} rows[] = {
	    {"gw1/1", 1, 5, OUTCOME_FITS}, {"gw1/2", 2, 5, OUTCOME_FITS},
	    {"gw1/3", 5, 5, OUTCOME_FITS}, {"gw1/4", 5, 1, OUTCOME_OVER},
	    {"gw1/5", 3, 0, OUTCOME_OVER}, {"gw1/6", 1, 9, OUTCOME_FITS},
	};
	enum { ROWS = sizeof(rows) / sizeof(rows[0]) };
	struct state_parts parts = parts_new(100), again, third;
	struct outcome said[ROWS];
	struct state_loaded loaded;

	for (size_t i = 0; i < ROWS; i++) {
		said[i] = charge(
		    parts.memory, rows[i].token, rows[i].count, rows[i].max, NOW_MS);
		assert_int_equal(said[i].kind, rows[i].kind);
	}
	parts_save(&parts, "state.json");
	parts_load("state.json", &again, NOW_MS, &loaded);
	assert_int_equal(loaded.tokens, ROWS);
	assert_int_equal(loaded.skipped, 0);
	parts_save(&again, "state.json");
	parts_load("state.json", &third, NOW_MS, &loaded);
	for (size_t i = 0; i < ROWS; i++) {
		struct outcome second = charge(
		    third.memory, rows[i].token, rows[i].count, rows[i].max, NOW_MS);
		expect_same(&said[i], &second, rows[i].token);
	}
	assert_int_equal(parts_used(third.memory, "user-hour:0@example.org", NOW_MS), 4);
	charge(third.memory, "gw1/7", 1, 9, NOW_MS);
	assert_int_equal(parts_used(third.memory, "user-hour:0@example.org", NOW_MS), 5);
	parts_free(&parts);
	parts_free(&again);
	parts_free(&third);
}

static void charges_of_long_ago(void **state)
{
	(void)state;
	enum { MINUTE = 60 * 1000 };
	struct state_parts parts = parts_new(100), again;
	struct state_loaded loaded;
	struct state_saved saved;

	charge(parts.memory, "gw1/1", 1, 9, NOW_MS - 16 * MINUTE);
	charge(parts.memory, "gw1/2", 1, 9, NOW_MS - 10 * MINUTE);
	charge(parts.memory, "gw1/3", 1, 9, NOW_MS);
	parts_save(&parts, "state.json");
	parts_load("state.json", &again, NOW_MS + 6 * MINUTE, &loaded);
	assert_int_equal(loaded.tokens, 1);
	parts_free(&again);
	/* By the clock that goes on; one that was set back makes none younger. */
	parts_load_by(
	    &again, NOW_MS - HOUR_MS, 240 * HOUR_MS + 14 * MINUTE, "first", &loaded);
	assert_int_equal(loaded.tokens, 1);
	struct state_clock set_back = *clock_at(NOW_MS + 14 * MINUTE);
	set_back.wall_ms = NOW_MS - HOUR_MS;
	assert_int_equal(
	    state_file_save("state.json", &again, &state_config, &set_back, &saved), 0);
	assert_int_equal(saved.tokens, 1);
	parts_free(&again);
	parts_load_by(&again, NOW_MS - HOUR_MS + 2 * MINUTE, MINUTE, "second", &loaded);
	assert_int_equal(loaded.tokens, 0);
	parts_free(&again);
	parts_free(&parts);
}

/* A store that serves has tokens by a key of its own. */
static void tokens_of_a_file_that_was_read_late(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100), late = parts_new(100);
	struct state_loaded loaded;

	charge(parts.memory, "gw1/1", 1, 9, NOW_MS);
	parts_save(&parts, "state.json");
	struct outcome said = charge(late.memory, "gw1/2", 1, 9, NOW_MS);
	late.serves = true;
	assert_int_equal(
	    state_file_load(
		"state.json", &late, &state_config, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(loaded.tokens, 0);
	assert_int_equal(loaded.skipped, 0);
	struct outcome second = charge(late.memory, "gw1/2", 1, 9, NOW_MS);
	expect_same(&said, &second, "its own");
	parts_free(&parts);
	parts_free(&late);
}

/* The newest are saved, and the file does not grow beyond them. */
static void more_charges_than_are_saved(void **state)
{
	(void)state;
	enum { MANY = 2 * STATE_TOKENS_MAX };
	struct state_parts parts = parts_new(2 * MANY), again = parts_new(2 * MANY);
	struct state_saved saved;
	struct state_loaded loaded;
	char token[32];

	for (int i = 0; i < MANY; i++) {
		snprintf(token, sizeof(token), "gw1/%d", i);
		charge(parts.memory, token, 1, 2 * MANY, NOW_MS - MANY + i);
	}
	assert_int_equal(
	    state_file_save(
		"state.json", &parts, &state_config, clock_at(NOW_MS), &saved),
	    0);
	assert_in_range(saved.tokens, STATE_TOKENS_MAX * 9 / 10, STATE_TOKENS_MAX + 64);
	assert_int_equal(
	    state_file_load(
		"state.json", &again, &state_config, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(loaded.tokens, saved.tokens);
	for (int i = MANY - 1000; i < MANY; i++) {
		snprintf(token, sizeof(token), "gw1/%d", i);
		struct outcome outcome = charge(again.memory, token, 1, 2 * MANY, NOW_MS);
		assert_int_equal(outcome.results[0].used, i + 1);
	}
	parts_free(&parts);
	parts_free(&again);
}

/* ---- lifted blocks ---- */

static int hear_of_block(struct state_parts *parts, int64_t stamp_ms)
{
	static const char key[] = "client:192.0.2.66", text[] = "-\troot@gw2\tspam";
	const struct record record = {
	    .key = key,
	    .key_len = sizeof(key) - 1,
	    .text = text,
	    .text_len = sizeof(text) - 1,
	};

	/* Made just now, by clocks that do not agree. */
	return ledger_merge(
	    blocks_ledger(parts->blocks), &record, 0, -1, stamp_ms, 1, LEDGER_REFUSE);
}

static void count_block(void *context, const struct block *block)
{
	size_t *count = context;

	assert_string_equal(block->subject, "192.0.2.66");
	++*count;
}

static size_t blocks_in(const struct state_parts *parts)
{
	size_t count = 0;

	blocks_each(parts->blocks, time(NULL), count_block, &count);
	return count;
}

static void keep_lifted(void *context, const struct lifted_block *lifted)
{
	struct lifted_block *kept = context;

	*kept = *lifted;
}

static void load_lifted(struct state_parts *parts, struct lifted_block *ret)
{
	struct state_loaded loaded;

	*ret = (struct lifted_block){.kind = BLOCK_KINDS};
	parts_load("state.json", parts, NOW_MS, &loaded);
	assert_int_equal(loaded.skipped, 0);
	blocks_each_lifted(parts->blocks, time(NULL), keep_lifted, ret);
	assert_int_equal(loaded.lifted, ret->kind != BLOCK_KINDS);
}

/* What was lifted stays so, whatever those say who have not heard of it. */
static void lifted_blocks(void **state)
{
	(void)state;
	enum { STAMP = 5000 };
	struct state_parts parts = parts_new(100), again;
	struct lifted_block first, second;

	assert_int_equal(hear_of_block(&parts, STAMP), 0);
	assert_int_equal(blocks_in(&parts), 1);
	assert_true(blocks_remove(parts.blocks, BLOCK_CLIENT, "192.0.2.66"));
	parts_save(&parts, "state.json");
	parts_free(&parts);

	load_lifted(&again, &first);
	assert_int_equal(first.kind, BLOCK_CLIENT);
	assert_string_equal(first.subject, "192.0.2.66");
	assert_int_equal(first.base_ms, STAMP);
	assert_int_equal(blocks_in(&again), 0);
	assert_int_equal(hear_of_block(&again, STAMP), 0);
	assert_int_equal(blocks_in(&again), 0);
	/* The same over a second restart, and its end is the same. */
	parts_save(&again, "state.json");
	parts_free(&again);
	load_lifted(&again, &second);
	assert_int_equal(second.at_ms, first.at_ms);
	assert_int_equal(second.until_ms, first.until_ms);
	assert_int_equal(second.base_ms, STAMP);
	/* A block that was made since holds. */
	assert_int_equal(hear_of_block(&again, STAMP + 1), 0);
	assert_int_equal(blocks_in(&again), 1);
	parts_free(&again);
}

/* The stamp that others know a block by comes back with it: one that they lifted since is
 * lifted here too, and one that was lifted here first is known to be younger. */
static void blocks_that_others_know(void **state)
{
	(void)state;
	static const char key[] = "client:192.0.2.66";
	const struct record tombstone = {
	    .key = key, .key_len = sizeof(key) - 1, .text = "", .removed = true};
	struct state_parts parts = parts_new(100), again;
	struct state_loaded loaded;
	struct lifted_block lifted;

	assert_int_equal(hear_of_block(&parts, 5000), 0);
	parts_save(&parts, "state.json");
	parts_free(&parts);
	parts_load("state.json", &again, NOW_MS, &loaded);
	assert_int_equal(loaded.blocks, 1);
	/* Lifted an hour ago, by clocks that do not agree. */
	assert_int_equal(
	    ledger_merge(
		blocks_ledger(again.blocks), &tombstone, HOUR_MS, HOUR_MS, 6000, 1,
		LEDGER_REFUSE),
	    0);
	assert_int_equal(blocks_in(&again), 0);
	parts_free(&again);

	parts_load("state.json", &again, NOW_MS, &loaded);
	assert_true(blocks_remove(again.blocks, BLOCK_CLIENT, "192.0.2.66"));
	blocks_each_lifted(again.blocks, time(NULL), keep_lifted, &lifted);
	assert_int_equal(lifted.base_ms, 5000);
	parts_free(&again);
}

/* A file that could be read late only: what was done meanwhile counts. */
static void lifted_before_it_was_read(void **state)
{
	(void)state;
	struct state_parts parts = parts_new(100);
	struct state_loaded loaded;

	assert_int_equal(hear_of_block(&parts, 5000), 0);
	parts_save(&parts, "state.json");
	assert_true(blocks_remove(parts.blocks, BLOCK_CLIENT, "192.0.2.66"));
	assert_int_equal(
	    state_file_load(
		"state.json", &parts, &state_config, clock_at(NOW_MS), &loaded),
	    0);
	assert_int_equal(blocks_in(&parts), 0);
	parts_free(&parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clocks_that_were_set),
	    cmocka_unit_test(what_moves_with_the_clock),
	    cmocka_unit_test(what_ended_before_all_time),
	    cmocka_unit_test(charges_are_answered_once),
	    cmocka_unit_test(charges_of_long_ago),
	    cmocka_unit_test(tokens_of_a_file_that_was_read_late),
	    cmocka_unit_test(more_charges_than_are_saved),
	    cmocka_unit_test(lifted_blocks),
	    cmocka_unit_test(blocks_that_others_know),
	    cmocka_unit_test(lifted_before_it_was_read),
	};

	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
