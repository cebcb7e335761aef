/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The script in a real Redis: tests/limit_cases.json, and random requests against the
 * same in C. So that both have one clock, the test's copy of the script reads it from two
 * keys where the daemon's asks TIME; everything else is the text that the daemon sends.
 */
#include "common/cleanup.h"
#include "ctl/replay_store.h"
#include "policyd/limits_script.h"
#include "tests/unit/limit_cases.h"
#include "tests/unit/redis_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PREFIX "test:"

struct fixture {
	struct redis_server *redis;
	struct limits_script *script;
	char text[8192], undo_text[8192];
};

static void set_clock_source(const char *script, char *buf, size_t size)
{
	static const char from[] = "call('TIME')";
	const char *at = strstr(script, from);

	assert_non_null(at);
	assert_null(strstr(at + 1, from));
	snprintf(
	    buf, size, "%.*scall('MGET', 'clock:s', 'clock:us')%s", (int)(at - script),
	    script, at + strlen(from));
	assert_true(strlen(buf) + 1 < size);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	fixture->redis = redis_server_start();
	assert_int_equal(limits_script_new(PREFIX, &fixture->script), 0);
	set_clock_source(lua_limits, fixture->text, sizeof(fixture->text));
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	redis_server_stop(fixture->redis);
	limits_script_free(fixture->script);
	free(fixture);
	return 0;
}

static void begin(void *context)
{
	struct fixture *fixture = context;

	redis_server_say(fixture->redis, "FLUSHALL", NULL);
}

static void set_clock(struct fixture *fixture, int64_t now_ms)
{
	char s[24], us[24];

	snprintf(s, sizeof(s), "%lld", (long long)(now_ms / 1000));
	snprintf(us, sizeof(us), "%lld", (long long)(now_ms % 1000 * 1000 + 999));
	redis_server_say(fixture->redis, "MSET", "clock:s", s, "clock:us", us, NULL);
}

/* What the script says; the reply is good until the next question. */
static const char *run(
    struct fixture *fixture, enum limits_verb verb, const struct store_request *request,
    size_t *ret_len)
{
	struct limits_call call;
	const char *argv[160];
	size_t len[160];

	limits_script_compose(
	    fixture->script, verb, request, UINT64_MAX >> (64 - request->count), false,
	    &call);
	memcpy(argv, call.argv, sizeof(*argv) * (size_t)call.argc);
	memcpy(len, call.argv_len, sizeof(*len) * (size_t)call.argc);
	if (verb == LIMITS_EVAL) {
		argv[1] = fixture->text;
		len[1] = strlen(fixture->text);
	}
	return redis_server_ask(fixture->redis, call.argc, argv, len, ret_len);
}

static enum limits_result ask_request(
    struct fixture *fixture, const struct store_request *request, struct outcome *ret,
    size_t *ret_bad)
{
	size_t len;
	uint64_t known = 0;
	const char *reply = run(fixture, LIMITS_EVAL, request, &len);
	if (reply[0] == '-')
		fail_msg("%s", reply);
	enum limits_result result = limits_script_read(
	    request, UINT64_MAX >> (64 - request->count), reply, len, ret->results,
	    &known, ret_bad);
	ret->count = (size_t)__builtin_popcountll(known);
	return result;
}

static void ask(
    void *context, const char *token, size_t token_len, const struct charge *charges,
    size_t count, int64_t now_ms, struct outcome *ret)
{
	struct fixture *fixture = context;
	const struct store_request request = {
	    .token = token, .token_len = token_len, .charges = charges, .count = count};
	size_t bad;
	bool commits = false;

	for (size_t i = 0; i < count; i++)
		commits = commits || !charges[i].look;
	struct store_request asked = request;
	asked.token_len = commits ? token_len : 0;
	set_clock(fixture, now_ms);
	switch (ask_request(fixture, &asked, ret, &bad)) {
	case LIMITS_FIT:
		ret->kind = OUTCOME_FITS;
		break;
	case LIMITS_OVER:
		ret->kind = OUTCOME_OVER;
		break;
	case LIMITS_UNDONE:
	case LIMITS_BAD_KEY:
		ret->kind = OUTCOME_UNAVAILABLE;
		break;
	}
}

static void the_table_of_cases(void **state)
{
	const struct limit_asker asker = {"redis", begin, ask, *state};

	assert_true(limit_cases_run(&asker) > 200);
}

/* ---- random requests, the same to both ---- */

static uint64_t seed;

static uint64_t pick(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static uint64_t pick_amount(void)
{
	switch (pick(12)) {
	case 0:
		return WINDOW_USE_MAX - pick(3);
	case 1:
		return pick(WINDOW_USE_MAX);
	case 2:
		return UINT64_MAX - pick(3);
	case 3:
		return 0;
	default:
		return 1 + pick(40);
	}
}

static void pick_charge(struct charge *charge, unsigned key, bool sets)
{
	static const uint32_t lengths[] = {60, 3600, 61, 31622400};
	bool distinct = sets && key % 3 == 2;

	*charge = (struct charge){
	    /* A key keeps its window but now and then, as a reload may do. */
	    .window_s = lengths[(key + (!distinct && pick(20) == 0)) % 4],
	    .amount = distinct ? 1 : pick_amount(),
	    .max = pick(4) == 0 ? pick_amount() : pick(distinct ? 5 : 120),
	    .hard = pick(3) > 0,
	    .look = pick(4) == 0,
	};
	/* No max is larger; an amount that a client claims may be. */
	if (charge->max > WINDOW_USE_MAX)
		charge->max = WINDOW_USE_MAX;
	if (charge->amount == 0)
		charge->look = true;
	charge->key_len =
	    (uint16_t)snprintf(charge->key, sizeof(charge->key), "k%u:s", key);
	charge->subject_at = charge->key_len - 1;
	if (distinct)
		charge->member_len = (uint16_t)snprintf(
		    charge->member, sizeof(charge->member), "m%llu",
		    (unsigned long long)pick(7));
}

#define KEYS 9

/*
 * Different keys in one request; @all: every one, charged. A counter that there is not
 * yet has no bucket in Redis, and one in C from the first look on, which a clock that is
 * set back would show.
 */
static size_t pick_charges(struct charge *charges, bool sets, bool all)
{
	size_t count = all ? KEYS : 1 + pick(4);
	unsigned key = all ? 0 : (unsigned)pick(KEYS - 3);

	for (size_t i = 0; i < count; i++)
		pick_charge(&charges[i], key + (unsigned)i, sets);
	for (size_t i = 0; all && i < count; i++)
		charges[i].look = charges[i].hard = false;
	return count;
}

static int64_t pick_time(int64_t now_ms, bool back)
{
	switch (pick(25)) {
	case 0: /* the clock jumps */
		return now_ms + (int64_t)pick(400000000) - (back ? 200000000 : 0);
	case 1:
		return now_ms + (int64_t)pick(90000) - (back ? 90000 : 0);
	case 2:
		return now_ms + (int64_t)pick(7200000);
	default:
		return now_ms + (int64_t)pick(15000);
	}
}

static void print_request(
    char *buf, size_t size, int64_t now_ms, const struct charge *charges, size_t count)
{
	size_t len = (size_t)snprintf(buf, size, "at %lld:", (long long)now_ms);

	for (size_t i = 0; i < count && len < size; i++)
		len += (size_t)snprintf(
		    buf + len, size - len,
		    " %.*s%s%s window %u amount %llu max %llu %s%s", charges[i].key_len,
		    charges[i].key, charges[i].member_len ? " member " : "",
		    charges[i].member_len ? charges[i].member : "", charges[i].window_s,
		    (unsigned long long)charges[i].amount,
		    (unsigned long long)charges[i].max, charges[i].hard ? "hard" : "soft",
		    charges[i].look ? " look" : "");
}

static void compare(
    const struct outcome *redis, const struct outcome *c, const char *request)
{
	if (redis->kind != c->kind || redis->count != c->count)
		fail_msg(
		    "%s: Redis says %d of %zu, C says %d of %zu", request, redis->kind,
		    redis->count, c->kind, c->count);
	for (size_t i = 0; i < c->count; i++) {
		const struct charge_result *a = &redis->results[i], *b = &c->results[i];
		if (a->used != b->used || a->over != b->over ||
		    a->retry_after_s != b->retry_after_s)
			fail_msg(
			    "%s: charge %zu: Redis says %llu %d %u, C says %llu %d %u",
			    request, i + 1, (unsigned long long)a->used, a->over,
			    a->retry_after_s, (unsigned long long)b->used, b->over,
			    b->retry_after_s);
	}
}

/* One sequence: both stores empty, some dozens of requests. Returns how many were over.
 */
static unsigned run_sequence(struct fixture *fixture, uint64_t number)
{
	static struct charge charges[LIMITS_MAX];
	static struct outcome redis, c;
	struct replay_store *replay;
	int64_t now_ms = INT64_C(1767571200000);
	unsigned over = 0;
	/* A look rolls a set on in C; in Redis it leaves it alone, which a clock that is
	 * set back then, or another window, may show: sets have their cases of that in
	 * the table. */
	bool sets = number % 2;

	seed = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
	assert_int_equal(replay_store_new(&replay), 0);
	begin(fixture);
	for (int i = 0; i < 40; i++) {
		char token[16] = "", request[1024];
		size_t count = pick_charges(charges, sets, i == 0);
		now_ms = pick_time(now_ms, !sets);
		if (now_ms < 0)
			now_ms = 0;
		bool commits = false;
		for (size_t n = 0; n < count; n++)
			commits = commits || !charges[n].look;
		/* A new name every time: what repetitions get is the table's subject. */
		if (commits && pick(2) == 0)
			snprintf(token, sizeof(token), "t%d", i);
		replay_store_ask(
		    replay, token, strlen(token), charges, count, now_ms, &c);
		ask(fixture, token, strlen(token), charges, count, now_ms, &redis);
		print_request(request, sizeof(request), now_ms, charges, count);
		compare(&redis, &c, request);
		over += c.kind == OUTCOME_OVER;
	}
	replay_store_free(replay);
	return over;
}

static void random_requests_are_answered_as_in_c(void **state)
{
	const char *rounds = getenv("POSTERN_SCRIPT_ROUNDS");
	uint64_t sequences = rounds ? strtoull(rounds, NULL, 10) : 400, over = 0;

	for (uint64_t i = 0; i < sequences; i++)
		over += run_sequence(*state, i);
	/* It would prove nothing if nothing were ever refused, or everything. */
	assert_in_range(over, sequences * 4, sequences * 36);
}

/* ---- what the table cannot say ---- */

static struct store_request one_charge(struct charge *charge, const char *token)
{
	*charge = (struct charge){
	    .window_s = 60,
	    .amount = 1,
	    .max = 3,
	    .hard = true,
	    .key_len = 3,
	    .subject_at = 2,
	    .key = "l:s"};
	return (struct store_request){
	    .token = token, .token_len = strlen(token), .charges = charge, .count = 1};
}

static void every_key_has_an_end(void **state)
{
	struct fixture *fixture = *state;
	static struct charge charges[2];
	struct store_request request = one_charge(&charges[0], "token");
	struct outcome outcome;
	size_t bad;

	request.count = 2;
	charges[1] = charges[0];
	memcpy(charges[1].key, "d", 1);
	memcpy(charges[1].member, "m", charges[1].member_len = 1);
	begin(fixture);
	set_clock(fixture, 30000);
	assert_int_equal(ask_request(fixture, &request, &outcome, &bad), LIMITS_FIT);
	assert_string_equal(
	    redis_server_say(fixture->redis, "DBSIZE", NULL), "5"); /* and the clock's */
	assert_in_range(
	    atol(redis_server_say(fixture->redis, "PTTL", PREFIX "{s}:l", NULL)), 110000,
	    120000);
	assert_in_range(
	    atol(redis_server_say(fixture->redis, "PTTL", PREFIX "{s}:d", NULL)), 110000,
	    120000);
	assert_in_range(
	    atol(redis_server_say(fixture->redis, "PTTL", PREFIX "=token", NULL)),
	    (STORE_TOKEN_S - 10) * 1000, STORE_TOKEN_S * 1000);
	/* One that lost its end gets it back with the next charge. */
	redis_server_say(fixture->redis, "PERSIST", PREFIX "{s}:l", NULL);
	redis_server_say(fixture->redis, "PERSIST", PREFIX "{s}:d", NULL);
	request.token = "other";
	assert_int_equal(ask_request(fixture, &request, &outcome, &bad), LIMITS_FIT);
	assert_in_range(
	    atol(redis_server_say(fixture->redis, "PTTL", PREFIX "{s}:l", NULL)), 110000,
	    120000);
	assert_in_range(
	    atol(redis_server_say(fixture->redis, "PTTL", PREFIX "{s}:d", NULL)), 110000,
	    120000);
}

static void what_is_not_ours_is_refused_and_left_alone(void **state)
{
	static const struct {
		const char *why;
		const char *key, *command[6];
		size_t bad; /* word */
		bool set;
	} rows[] = {
	    {"a list", PREFIX "{s}:l", {"RPUSH", PREFIX "{s}:l", "x"}, 3, false},
	    {"a text", PREFIX "{s}:l", {"SET", PREFIX "{s}:l", "17"}, 3, false},
	    {"as long as ours, no numbers",
	     PREFIX "{s}:l",
	     {"SET", PREFIX "{s}:l", "abcdefghijklmnopqrstuvwx"},
	     3,
	     false},
	    {"a set of ours, a window asked",
	     PREFIX "{s}:l",
	     {"ZADD", PREFIX "{s}:l", "60000", "x"},
	     3,
	     false},
	    {"a window of text, a set asked",
	     PREFIX "{s}:l",
	     {"SET", PREFIX "{s}:l", "17"},
	     3,
	     true},
	    {"a score that is no time",
	     PREFIX "{s}:l",
	     {"ZADD", PREFIX "{s}:l", "inf", "x"},
	     3,
	     true},
	    {"a score that is no integer",
	     PREFIX "{s}:l",
	     {"ZADD", PREFIX "{s}:l", "1.5", "x"},
	     3,
	     true},
	    {"a negative score",
	     PREFIX "{s}:l",
	     {"ZADD", PREFIX "{s}:l", "-60000", "x"},
	     3,
	     true},
	    {"a list under the token",
	     PREFIX "=t",
	     {"RPUSH", PREFIX "=t", "x"},
	     4,
	     false},
	    {"a text under the token", PREFIX "=t", {"SET", PREFIX "=t", "x"}, 0, false},
	    {"an empty text under the token",
	     PREFIX "=t",
	     {"SET", PREFIX "=t", ""},
	     0,
	     false},
	};
	struct fixture *fixture = *state;
	static struct charge charge;
	struct outcome outcome;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const char *const *c = rows[i].command;
		struct store_request request = one_charge(&charge, "t");
		char before[512], after[512];
		size_t bad = 99;
		if (rows[i].set)
			memcpy(charge.member, "m", charge.member_len = 1);
		begin(fixture);
		set_clock(fixture, 30000);
		redis_server_say(fixture->redis, c[0], c[1], c[2], c[3], NULL);
		snprintf(
		    before, sizeof(before), "%s",
		    redis_server_say(fixture->redis, "DUMP", rows[i].key, NULL));
		enum limits_result result =
		    ask_request(fixture, &request, &outcome, &bad);
		snprintf(
		    after, sizeof(after), "%s",
		    redis_server_say(fixture->redis, "DUMP", rows[i].key, NULL));
		if (result != LIMITS_BAD_KEY || bad != rows[i].bad)
			fail_msg(
			    "%s: result %d, word %zu, wanted %zu", rows[i].why, result,
			    bad, rows[i].bad);
		if (strcmp(before, after) != 0)
			fail_msg("%s: it was changed", rows[i].why);
		if (strcmp(redis_server_say(fixture->redis, "DBSIZE", NULL), "3") != 0)
			fail_msg("%s: something else was charged", rows[i].why);
	}
}

/* Of several charges nothing is charged when the last key is not ours. */
static void a_bad_key_charges_nothing(void **state)
{
	struct fixture *fixture = *state;
	static struct charge charges[2];
	struct store_request request = one_charge(&charges[0], "t");
	struct outcome outcome;
	size_t bad;

	request.count = 2;
	charges[1] = charges[0];
	charges[1].key[0] = 'x';
	begin(fixture);
	set_clock(fixture, 30000);
	redis_server_say(fixture->redis, "RPUSH", PREFIX "{s}:x", "1", NULL);
	assert_int_equal(ask_request(fixture, &request, &outcome, &bad), LIMITS_BAD_KEY);
	assert_int_equal(bad, 4);
	assert_string_equal(
	    redis_server_say(fixture->redis, "EXISTS", PREFIX "{s}:l", PREFIX "=t", NULL),
	    "0");
}

static void a_charge_is_undone_once(void **state)
{
	struct fixture *fixture = *state;
	static struct charge charge;
	struct store_request request = one_charge(&charge, "a");
	struct store_request other = request;
	struct outcome outcome;
	size_t bad, len;

	other.token = "b";
	begin(fixture);
	set_clock(fixture, 30000);
	assert_int_equal(ask_request(fixture, &other, &outcome, &bad), LIMITS_FIT);
	assert_int_equal(ask_request(fixture, &request, &outcome, &bad), LIMITS_FIT);
	assert_int_equal(outcome.results[0].used, 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(run(fixture, LIMITS_UNDO, &request, &len)[0], 'U');
	/* Asked again under its name, it is not charged again either. */
	assert_int_equal(ask_request(fixture, &request, &outcome, &bad), LIMITS_UNDONE);
	other.token = "c";
	assert_int_equal(ask_request(fixture, &other, &outcome, &bad), LIMITS_FIT);
	assert_int_equal(outcome.results[0].used, 2);
}

static void an_undo_overtakes_its_charge(void **state)
{
	struct fixture *fixture = *state;
	static struct charge charge;
	struct store_request request = one_charge(&charge, "a");
	struct outcome outcome;
	size_t bad, len;

	begin(fixture);
	set_clock(fixture, 30000);
	assert_int_equal(run(fixture, LIMITS_UNDO, &request, &len)[0], 'U');
	assert_int_equal(ask_request(fixture, &request, &outcome, &bad), LIMITS_UNDONE);
	assert_string_equal(
	    redis_server_say(fixture->redis, "EXISTS", PREFIX "{s}:l", NULL), "0");
}

/* What was charged in a bucket is taken from it, wherever it stands by then. */
static void an_undo_finds_the_bucket(void **state)
{
	static const struct {
		const char *why;
		int64_t later_ms;
		uint64_t used; /* by a look, of 2 charged then and 1 now */
	} rows[] = {
	    {"the same bucket", 0, 2},
	    {"the next one: it is the previous now", 60000, 2},
	    {"two later: it is gone", 120000, 1},
	};
	struct fixture *fixture = *state;
	static struct charge charge;
	struct outcome outcome;
	size_t bad, len;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct store_request request = one_charge(&charge, "a");
		struct store_request other = request;
		charge.max = 100;
		begin(fixture);
		set_clock(fixture, 0);
		assert_int_equal(
		    ask_request(fixture, &request, &outcome, &bad), LIMITS_FIT);
		other.token = "b";
		assert_int_equal(
		    ask_request(fixture, &other, &outcome, &bad), LIMITS_FIT);
		set_clock(fixture, rows[i].later_ms);
		other.token = "c";
		assert_int_equal(
		    ask_request(fixture, &other, &outcome, &bad), LIMITS_FIT);
		run(fixture, LIMITS_UNDO, &request, &len);
		charge.look = true;
		other.token_len = 0;
		assert_int_equal(
		    ask_request(fixture, &other, &outcome, &bad), LIMITS_FIT);
		if (outcome.results[0].used != rows[i].used)
			fail_msg(
			    "%s: used %llu, wanted %llu", rows[i].why,
			    (unsigned long long)outcome.results[0].used,
			    (unsigned long long)rows[i].used);
	}
}

static void the_script_is_known_by_its_sha(void **state)
{
	struct fixture *fixture = *state;

	assert_string_equal(
	    redis_server_say(fixture->redis, "SCRIPT", "LOAD", lua_limits, NULL),
	    lua_limits_sha);
	assert_string_equal(
	    redis_server_say(fixture->redis, "SCRIPT", "LOAD", lua_limits_undo, NULL),
	    lua_limits_undo_sha);
	assert_string_equal(
	    redis_server_say(fixture->redis, "SCRIPT", "LOAD", lua_limits_read, NULL),
	    lua_limits_read_sha);
}

/* The daemon's own text, with Redis's own clock. */
static void redis_has_the_time(void **state)
{
	struct fixture *fixture = *state;
	static struct charge charge;
	struct store_request request = one_charge(&charge, "a");
	struct limits_call call;
	char reply[64];
	size_t len;
	double now_ms;

	begin(fixture);
	limits_script_compose(fixture->script, LIMITS_EVAL, &request, 1, false, &call);
	const char *text =
	    redis_server_ask(fixture->redis, call.argc, call.argv, call.argv_len, &len);
	assert_int_equal(len, 10 + 25);
	memcpy(reply, text, len);
	memcpy(&now_ms, reply + 1, sizeof(now_ms));
	long before_s = atol(redis_server_say(fixture->redis, "TIME", NULL));
	assert_in_range((int64_t)now_ms / 1000, before_s - 5, before_s);
	long long stored[4];
	text = redis_server_say(
	    fixture->redis, "EVAL", lua_limits_read, "1", PREFIX "{s}:l", NULL);
	assert_int_equal(
	    sscanf(
		text, "%lld %lld %lld %lld", &stored[0], &stored[1], &stored[2],
		&stored[3]),
	    4);
	assert_true(stored[0] >= (long long)now_ms);
	assert_int_equal(stored[2], 1);
	assert_int_equal(stored[3], 0);
}

static void keys_go_there_and_back(void **state)
{
	static const struct {
		const char *why, *key, *redis;
		size_t subject_at;
	} rows[] = {
	    {"a limit's", "user-hour:ada@example.org", "p:{ada@example.org}:user-hour",
	     10},
	    {"colons in the subject", "h:2001:db8::/64", "p:{2001:db8::/64}:h", 2},
	};
	static const char *const strange[] = {
	    "p:", "p:=token", "p:{a}=token", "q:{a}:b", "p:{a", "p:{a}b", "p:alive"};
	char buf[512], back[CHARGE_KEY_MAX];
	size_t len;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		len = limits_script_key(
		    "p:", rows[i].key, strlen(rows[i].key), rows[i].subject_at, buf);
		if (len != strlen(rows[i].redis) || strcmp(buf, rows[i].redis) != 0)
			fail_msg("%s: %s", rows[i].why, buf);
		if (!limits_script_key_back("p:", buf, len, back, &len) ||
		    len != strlen(rows[i].key) || memcmp(back, rows[i].key, len) != 0)
			fail_msg("%s: back: %.*s", rows[i].why, (int)len, back);
	}
	for (size_t i = 0; i < sizeof(strange) / sizeof(*strange); i++)
		if (limits_script_key_back(
			"p:", strange[i], strlen(strange[i]), back, &len))
			fail_msg("%s is taken for a counter", strange[i]);
}

static void replies_that_are_none(void **state)
{
	static const struct {
		const char *why, *reply;
		size_t len;
		enum limits_result wanted;
	} rows[] = {
	    {"nothing", "", 0, LIMITS_BAD_KEY},
	    {"another letter", "X", 1, LIMITS_BAD_KEY},
	    {"no time", "F", 1, LIMITS_BAD_KEY},
	    {"no charge, of one", "F\0\0\0\0\0\0\0\0\0", 10, LIMITS_BAD_KEY},
	    {"half a charge", "F\0\0\0\0\0\0\0\0\1w", 11, LIMITS_BAD_KEY},
	    {"a time that is none", "F\377\377\377\377\377\377\377\377\0", 10,
	     LIMITS_BAD_KEY},
	    {"undone", "U", 1, LIMITS_UNDONE},
	    {"a remembered charge that ends too early",
	     "F\0\0\0\0\0\0\0\0\1w\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
	     "abc",
	     38, LIMITS_BAD_KEY},
	};
	static struct charge charge;
	struct store_request request = one_charge(&charge, "a");
	struct outcome outcome;
	uint64_t known = 0;
	size_t bad;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		enum limits_result result = limits_script_read(
		    &request, 1, rows[i].reply, rows[i].len, outcome.results, &known,
		    &bad);
		if (result != rows[i].wanted || known != 0)
			fail_msg("%s: %d", rows[i].why, result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_table_of_cases),
	    cmocka_unit_test(random_requests_are_answered_as_in_c),
	    cmocka_unit_test(every_key_has_an_end),
	    cmocka_unit_test(what_is_not_ours_is_refused_and_left_alone),
	    cmocka_unit_test(a_bad_key_charges_nothing),
	    cmocka_unit_test(a_charge_is_undone_once),
	    cmocka_unit_test(an_undo_overtakes_its_charge),
	    cmocka_unit_test(an_undo_finds_the_bucket),
	    cmocka_unit_test(the_script_is_known_by_its_sha),
	    cmocka_unit_test(redis_has_the_time),
	    cmocka_unit_test(keys_go_there_and_back),
	    cmocka_unit_test(replies_that_are_none),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
