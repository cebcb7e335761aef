/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/state_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static char user_hour[] = "user-hour", roaming[] = "roaming";
static struct limit limits[] = {{.name = user_hour}, {.name = roaming}};
const struct config state_config = {.limits = limits, .limits_count = 2};
/* By a clock that nobody sets, on a machine that has been up for ten days. */
const struct state_clock *clock_at(int64_t wall_ms)
{
	static struct state_clock clock;

	clock = (struct state_clock){
	    .wall_ms = wall_ms,
	    .steady_ms = wall_ms - NOW_MS + 240 * HOUR_MS,
	    .boot = "first",
	};
	return &clock;
}

struct state_parts parts_new(size_t max)
{
	struct state_parts parts;

	assert_int_equal(store_memory_new(max, &parts.memory), 0);
	assert_int_equal(blocks_new(1000, &parts.blocks), 0);
	assert_int_equal(logins_new(1000, &parts.logins), 0);
	return parts;
}

void parts_free(struct state_parts *parts)
{
	store_free(parts->memory);
	blocks_free(parts->blocks);
	logins_free(parts->logins);
}

void keep_outcome(void *context, const struct outcome *outcome)
{
	struct outcome *kept = context;

	*kept = *outcome;
}

struct outcome parts_ask(
    struct store *store, const char *key, const char *member, uint64_t max, bool look,
    int64_t now_ms)
{
	struct outcome outcome = {.kind = OUTCOME_UNAVAILABLE};
	struct charge charge = {
	    .window_s = 3600, .amount = 1, .max = max, .hard = true, .look = look};
	const struct store_request request = {
	    .token = "", .charges = &charge, .count = 1, .now_ms = now_ms};

	charge.key_len = (uint16_t)strlen(key);
	memcpy(charge.key, key, charge.key_len);
	charge.member_len = (uint16_t)strlen(member);
	memcpy(charge.member, member, charge.member_len);
	store_ask(store, &request, keep_outcome, &outcome);
	return outcome;
}

uint64_t parts_used(struct store *store, const char *key, int64_t now_ms)
{
	return parts_ask(store, key, "", 1000000, true, now_ms).results[0].used;
}

void parts_fill_blocks(struct state_parts *parts)
{
	static const struct block blocks[] = {
	    {.kind = BLOCK_CLIENT,
	     .subject = "192.0.2.66",
	     .since_s = NOW_S,
	     .reason = "says \"hello\" \xc3\xa4",
	     .by = "root@gw1"},
	    {.kind = BLOCK_USER,
	     .subject = "ada@example.org",
	     .since_s = NOW_S,
	     .until_s = INT64_C(4102444800),
	     .by = "limit ban on gw1",
	     .automatic = true},
	};
	struct login login = {.at_s = time(NULL) - 60, .user = "ada@example.org"};

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(blocks_put(parts->blocks, &blocks[i]), 0);
	assert_true(ip_parse("2001:db8::1", 11, &login.ip));
	assert_int_equal(logins_put(parts->logins, &login), 0);
}

/* 3 counters that are kept, 2 blocks, 1 login. */
void parts_fill(struct state_parts *parts)
{
	/* In order: a clock set back would pull back what it finds. */
	parts_ask(parts->memory, "user-hour:old", "", 5, false, NOW_MS - 2 * HOUR_MS);
	parts_ask(
	    parts->memory, "user-hour:bob@example.org", "", 5, false, NOW_MS - HOUR_MS);
	parts_ask(
	    parts->memory, "roaming:ada@example.org", "DE", 5, false, NOW_MS - HOUR_MS);
	for (int i = 0; i < 5; i++)
		parts_ask(
		    parts->memory, "user-hour:ada@example.org", "", 5, false, NOW_MS);
	parts_ask(parts->memory, "user-hour:bob@example.org", "", 5, false, NOW_MS);
	parts_ask(parts->memory, "roaming:ada@example.org", "FR", 5, false, NOW_MS);
	parts_ask(parts->memory, "gone:ada@example.org", "", 5, false, NOW_MS);
	parts_fill_blocks(parts);
}

void parts_save(const struct state_parts *parts, const char *path)
{
	struct state_saved saved;

	assert_int_equal(
	    state_file_save(path, parts, &state_config, clock_at(NOW_MS), &saved), 0);
	assert_null(saved.step);
}

void parts_load(
    const char *path, struct state_parts *parts, int64_t now_ms, struct state_loaded *ret)
{
	*parts = parts_new(10000);
	assert_int_equal(
	    state_file_load(path, parts, &state_config, clock_at(now_ms), ret), 0);
}

void parts_load_by(
    struct state_parts *parts, int64_t wall_ms, int64_t steady_ms, const char *boot,
    struct state_loaded *ret)
{
	struct state_clock now = *clock_at(NOW_MS);

	now.wall_ms = wall_ms;
	now.steady_ms = steady_ms;
	snprintf(now.boot, sizeof(now.boot), "%s", boot);
	*parts = parts_new(100);
	assert_int_equal(
	    state_file_load("state.json", parts, &state_config, &now, ret), 0);
}

/* Ada is up to her limit of 5, and two countries were seen of her. */
