/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Redis store over a link that the test plays: what is asked of it is kept, and
 * answered when and as a row wants. Real servers are tests/e2e's.
 */
#include "policyd/store.h"

#include "common/cleanup.h"
#include "common/config.h"
#include "policyd/breaker.h"
#include "policyd/limits_script.h"
#include "policyd/redis_conn.h"
#include "policyd/redis_link.h"
#include "policyd/redis_news.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES 2

/* ---- the link ---- */

struct asked {
	bool open;
	char verb[16], script[48];
	char words[8][200]; /* from the third on */
	int argc;
	uint32_t timeout_ms;
	redis_answered *answered;
	void *context;
};

struct redis_link {
	bool cluster, at_once; /* at_once: everything is unavailable, at once */
	struct asked asked[64];
	size_t count;
};

struct redis_reply {
	enum redis_kind kind;
	const char *text;
	size_t len;
	int64_t integer;
	const struct redis_reply *items;
	size_t count;
};

static struct redis_link the_link;

int redis_link_new(struct event_base *base, const char *purpose, struct redis_link **ret)
{
	(void)base, (void)purpose;
	*ret = &the_link;
	return 0;
}

static void answer_asked(
    struct asked *asked, enum redis_result result, const struct redis_reply *reply)
{
	assert_true(asked->open);
	asked->open = false;
	asked->answered(
	    asked->context, result, reply,
	    result == REDIS_ANSWERED ? "" : "the test says so");
}

struct redis_link *redis_link_free(struct redis_link *link)
{
	for (size_t i = 0; i < link->count; i++)
		if (link->asked[i].open)
			answer_asked(&link->asked[i], REDIS_UNAVAILABLE, NULL);
	return NULL;
}

void redis_link_set(struct redis_link *link, struct config *config)
{
	if (!config->has_redis)
		redis_link_free(link);
}

void redis_link_call(struct redis_link *link, const struct redis_call *call)
{
	assert_true(link->count < sizeof(link->asked) / sizeof(*link->asked));
	struct asked *asked = &link->asked[link->count++];
	*asked = (struct asked){
	    .open = true,
	    .argc = call->argc,
	    .timeout_ms = call->timeout_ms,
	    .answered = call->answered,
	    .context = call->context,
	};
	/* Everything this store asks may be asked twice. */
	assert_true(call->repeatable);
	snprintf(asked->verb, sizeof(asked->verb), "%s", call->argv[0]);
	for (int i = 2; i < call->argc && i < 10; i++)
		snprintf(
		    asked->words[i - 2], sizeof(asked->words[0]), "%.*s",
		    (int)call->argv_len[i], call->argv[i]);
	if (call->argc > 1)
		snprintf(
		    asked->script, sizeof(asked->script), "%.*s", (int)call->argv_len[1],
		    call->argv[1]);
	if (link->at_once)
		answer_asked(asked, REDIS_UNAVAILABLE, NULL);
}

/* The letter of a subject is its slot. */
unsigned redis_link_slot(const struct redis_link *link, const char *key, size_t len)
{
	assert_true(len > 2 && key[0] == '{' && key[len - 1] == '}');
	return link->cluster ? (unsigned)key[1] : 0;
}

bool redis_link_is_cluster(const struct redis_link *link)
{
	return link->cluster;
}

bool redis_link_call_node(
    struct redis_link *link, unsigned i, const struct redis_call *call)
{
	if (i >= (link->cluster ? NODES : 1))
		return false;
	redis_link_call(link, call);
	return true;
}

void redis_link_state(const struct redis_link *link, struct redis_link_state *ret)
{
	(void)link;
	*ret = (struct redis_link_state){.connected = true, .server = "the test"};
}

/* It would tell of none. */
bool redis_news_knew(int64_t at_ms)
{
	(void)at_ms;
	return true;
}

int64_t redis_now_ms(void)
{
	return 1;
}

enum redis_kind redis_reply_kind(const struct redis_reply *reply)
{
	return reply->kind;
}

const char *redis_reply_text(const struct redis_reply *reply, size_t *ret_len)
{
	*ret_len = reply->len;
	return reply->text ? reply->text : "";
}

int64_t redis_reply_integer(const struct redis_reply *reply)
{
	return reply->integer;
}

size_t redis_reply_count(const struct redis_reply *reply)
{
	return reply->count;
}

const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t i)
{
	assert_true(i < reply->count);
	return &reply->items[i];
}

/* ---- what the test says ---- */

static struct asked *last_asked(size_t back)
{
	assert_true(the_link.count > back);
	return &the_link.asked[the_link.count - 1 - back];
}

static void say(struct asked *asked, const char *text, size_t len)
{
	const struct redis_reply reply = {.kind = REDIS_TEXT, .text = text, .len = len};
	answer_asked(asked, REDIS_ANSWERED, &reply);
}

/* As the script answers about one fresh window: F or O. */
static void say_window(struct asked *asked, char kind, uint64_t used)
{
	char text[35] = {kind};
	double now = 1767571200000.0, start = now - (double)(1767571200000 % 60000);
	double current = (double)used;

	memcpy(text + 1, &now, 8);
	text[9] = 1;
	text[10] = 'w';
	memcpy(text + 11, &start, 8);
	memcpy(text + 19, &current, 8);
	say(asked, text, sizeof(text));
}

struct fixture {
	struct event_base *base;
	struct store *memory, *store;
	struct config config;
	struct charge charges[4];
	struct store_request request;
	int answers;
	struct outcome outcome;
};

static void on_answer(void *context, const struct outcome *outcome)
{
	struct fixture *f = context;

	f->answers++;
	f->outcome = *outcome;
}

static void ask(struct fixture *f)
{
	store_ask(f->store, &f->request, on_answer, f);
}

static void set_charge(struct charge *charge, const char *subject, uint64_t max)
{
	*charge = (struct charge){
	    .window_s = 60, .amount = 1, .max = max, .hard = true, .subject_at = 2};
	charge->key_len =
	    (uint16_t)snprintf(charge->key, sizeof(charge->key), "l:%s", subject);
}

/* Answers the probe that store_redis_set() makes at the next turn of the loop. */
static void answer_probe(struct fixture *f, bool is_there)
{
	static const struct redis_reply ok = {.kind = REDIS_TEXT, .text = "OK", .len = 2},
					nil = {.kind = REDIS_NIL};

	size_t before = the_link.count;
	event_base_loop(f->base, EVLOOP_ONCE);
	assert_true(the_link.count > before);
	for (size_t i = before; i < the_link.count; i++)
		if (the_link.asked[i].open)
			answer_asked(
			    &the_link.asked[i], REDIS_ANSWERED, is_there ? &ok : &nil);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memset(&the_link, 0, sizeof(the_link));
	f->base = event_base_new();
	assert_int_equal(store_memory_new(1000, &f->memory), 0);
	assert_int_equal(store_redis_new(f->base, f->memory, &f->store), 0);
	f->config.has_redis = true;
	f->config.redis.prefix = (char *)(uintptr_t) "p:";
	f->config.redis.timeout_ms = 100;
	f->config.redis.on_failure = STORE_FAILURE_LOCAL;
	f->config.nodes = NODES;
	set_charge(&f->charges[0], "a", 10);
	f->request = (struct store_request){
	    .token = "t",
	    .token_len = 1,
	    .charges = f->charges,
	    .count = 1,
	    .now_ms = 1767571200000};
	store_redis_set(f->store, &f->config);
	answer_probe(f, true);
	the_link.count = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_free(f->store);
	store_free(f->memory);
	event_base_free(f->base);
	free(f);
	return 0;
}

static void one_call_whatever_the_number_of_limits(void **state)
{
	struct fixture *f = *state;

	set_charge(&f->charges[1], "b", 10);
	f->request.count = 2;
	ask(f);
	assert_int_equal(the_link.count, 1);
	struct asked *asked = last_asked(0);
	assert_string_equal(asked->verb, "EVALSHA");
	assert_string_equal(asked->script, lua_limits_sha);
	assert_string_equal(asked->words[0], "3");
	assert_string_equal(asked->words[1], "p:{a}:l");
	assert_string_equal(asked->words[2], "p:{b}:l");
	assert_string_equal(asked->words[3], "p:=t");
	assert_string_equal(asked->words[5], "120000");
	assert_int_equal(asked->timeout_ms, 100);
	assert_int_equal(f->answers, 0);
}

static void an_answer_is_told(void **state)
{
	struct fixture *f = *state;

	ask(f);
	say_window(last_asked(0), 'F', 4);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->outcome.kind, OUTCOME_FITS);
	assert_int_equal(f->outcome.count, 1);
	assert_int_equal(f->outcome.results[0].used, 5);
	ask(f);
	say_window(last_asked(0), 'O', 10);
	assert_int_equal(f->answers, 2);
	assert_int_equal(f->outcome.kind, OUTCOME_OVER);
	assert_int_equal(f->outcome.results[0].used, 10);
	assert_true(f->outcome.results[0].over);
}

static void a_look_has_no_name(void **state)
{
	struct fixture *f = *state;

	f->charges[0].look = true;
	ask(f);
	assert_string_equal(last_asked(0)->words[0], "1");
	say_window(last_asked(0), 'F', 4);
	assert_int_equal(f->outcome.results[0].used, 4);
}

static void a_charge_without_a_name_gets_one(void **state)
{
	struct fixture *f = *state;
	char first[200];

	f->request.token_len = 0;
	ask(f);
	assert_string_equal(last_asked(0)->words[0], "2");
	snprintf(first, sizeof(first), "%s", last_asked(0)->words[2]);
	say_window(last_asked(0), 'F', 0);
	ask(f);
	assert_string_not_equal(first, last_asked(0)->words[2]);
	say_window(last_asked(0), 'F', 1);
}

static void a_lost_script_is_brought_once(void **state)
{
	struct fixture *f = *state;

	ask(f);
	answer_asked(last_asked(0), REDIS_NO_SCRIPT, NULL);
	assert_int_equal(the_link.count, 2);
	assert_string_equal(last_asked(0)->verb, "EVAL");
	assert_in_range(last_asked(0)->timeout_ms, 1, 100);
	assert_string_equal(last_asked(0)->words[1], "p:{a}:l");
	answer_asked(last_asked(0), REDIS_NO_SCRIPT, NULL);
	assert_int_equal(the_link.count, 2);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->outcome.kind, OUTCOME_FITS); /* counted here */
}

static void each_failure_has_its_answer(void **state)
{
	static const struct {
		const char *why;
		enum store_failure on_failure;
		enum redis_result result;
		enum outcome_kind wanted;
	} rows[] = {
	    {"local, away", STORE_FAILURE_LOCAL, REDIS_UNAVAILABLE, OUTCOME_FITS},
	    {"allow, away", STORE_FAILURE_ALLOW, REDIS_UNAVAILABLE, OUTCOME_FITS},
	    {"defer, away", STORE_FAILURE_DEFER, REDIS_UNAVAILABLE, OUTCOME_UNAVAILABLE},
	    {"local, no password", STORE_FAILURE_LOCAL, REDIS_CONFIGURATION,
	     OUTCOME_FITS},
	    {"local, a key not ours", STORE_FAILURE_LOCAL, REDIS_BAD_KEY,
	     OUTCOME_UNAVAILABLE},
	    {"allow, a key not ours", STORE_FAILURE_ALLOW, REDIS_BAD_KEY,
	     OUTCOME_UNAVAILABLE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(setup(state), 0);
		struct fixture *f = *state;
		f->config.redis.on_failure = rows[i].on_failure;
		store_redis_set(f->store, &f->config);
		ask(f);
		answer_asked(last_asked(0), rows[i].result, NULL);
		if (f->answers != 1 || f->outcome.kind != rows[i].wanted)
			fail_msg("%s: %d", rows[i].why, f->outcome.kind);
		if (f->outcome.kind == OUTCOME_FITS && f->outcome.count != 1)
			fail_msg("%s: %zu results", rows[i].why, f->outcome.count);
		teardown(state);
	}
	assert_int_equal(setup(state), 0);
}

static void the_script_names_a_bad_key(void **state)
{
	struct fixture *f = *state;

	ask(f);
	say(last_asked(0), "!1", 2);
	assert_int_equal(f->outcome.kind, OUTCOME_UNAVAILABLE);
	/* The server is well: the next one asks it again. */
	ask(f);
	assert_int_equal(the_link.count, 2);
	say_window(last_asked(0), 'F', 0);
}

static void fail_in_a_row(struct fixture *f)
{
	the_link.at_once = true;
	for (int i = 0; i < BREAKER_FAILURES; i++)
		ask(f);
	the_link.at_once = false;
}

/* The whole max is 10 for two nodes: five here, and what is told is of the whole. */
static void a_share_is_counted_here(void **state)
{
	struct fixture *f = *state;
	char token[8];

	assert_int_equal(store_redis_max(f->store, 10), 10);
	fail_in_a_row(f); /* one token: one charge */
	assert_int_equal(store_redis_max(f->store, 10), 5);
	assert_int_equal(f->outcome.results[0].used, 1);
	for (int i = 0; i < 4; i++) {
		snprintf(token, sizeof(token), "n%d", i);
		f->request.token = token;
		f->request.token_len = 2;
		ask(f);
		assert_int_equal(f->outcome.kind, OUTCOME_FITS);
	}
	f->request.token = "last";
	f->request.token_len = 4;
	ask(f);
	assert_int_equal(f->outcome.kind, OUTCOME_OVER);
	assert_true(f->outcome.results[0].over);
	assert_int_equal(f->outcome.results[0].used, 10);
}

static void shares_of_little(void **state)
{
	static const struct {
		const char *why;
		uint64_t max;
		enum outcome_kind first, second;
	} rows[] = {
	    {"one for many nodes is still one", 1, OUTCOME_FITS, OUTCOME_OVER},
	    {"nothing stays nothing", 0, OUTCOME_OVER, OUTCOME_OVER},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(setup(state), 0);
		struct fixture *f = *state;
		fail_in_a_row(f);
		set_charge(&f->charges[0], "other", rows[i].max);
		f->request.token = "first";
		f->request.token_len = 5;
		ask(f);
		if (f->outcome.kind != rows[i].first)
			fail_msg("%s: %d", rows[i].why, f->outcome.kind);
		f->request.token = "secnd";
		ask(f);
		if (f->outcome.kind != rows[i].second)
			fail_msg("%s: then %d", rows[i].why, f->outcome.kind);
		teardown(state);
	}
	assert_int_equal(setup(state), 0);
}

static void an_open_breaker_asks_nobody_until_a_probe_answers(void **state)
{
	struct fixture *f = *state;

	fail_in_a_row(f);
	size_t asked = the_link.count;
	ask(f);
	assert_int_equal(the_link.count, asked);
	assert_int_equal(f->answers, BREAKER_FAILURES + 1);
	/* A probe that fails leaves it open. */
	event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(the_link.count, asked + 1);
	assert_string_equal(last_asked(0)->verb, "SET");
	assert_string_equal(last_asked(0)->words[1], "XX");
	answer_asked(last_asked(0), REDIS_UNAVAILABLE, NULL);
	ask(f);
	assert_int_equal(the_link.count, asked + 1);
	answer_probe(f, true);
	asked = the_link.count;
	ask(f);
	assert_int_equal(the_link.count, asked + 1);
	assert_string_equal(last_asked(0)->verb, "EVALSHA");
	say_window(last_asked(0), 'F', 0);
}

static void one_that_must_be_mended_opens_at_once(void **state)
{
	struct fixture *f = *state;

	ask(f);
	answer_asked(last_asked(0), REDIS_CONFIGURATION, NULL);
	size_t asked = the_link.count;
	ask(f);
	assert_int_equal(the_link.count, asked);
}

/* One slot that is held half-moved must not take the others from Redis. */
static void a_moving_slot_opens_nothing(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3 * BREAKER_FAILURES; i++) {
		size_t asked = the_link.count;
		ask(f);
		assert_int_equal(the_link.count, asked + 1);
		answer_asked(last_asked(0), REDIS_MOVING, NULL);
		assert_int_equal(f->answers, i + 1);
	}
	assert_false(store_redis_is_away(f->store));
	/* By on_failure: one token, counted here once. */
	assert_int_equal(f->outcome.kind, OUTCOME_FITS);
	assert_int_equal(f->outcome.results[0].used, 1);
}

/* Where only writing fails, what only reads hides nothing. */
static void looks_do_not_close_what_charges_open(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < BREAKER_FAILURES; i++) {
		f->charges[0].look = false;
		ask(f);
		answer_asked(last_asked(0), REDIS_UNAVAILABLE, NULL);
		if (i == BREAKER_FAILURES - 1)
			break;
		f->charges[0].look = true;
		ask(f);
		say_window(last_asked(0), 'F', 0);
	}
	size_t asked = the_link.count;
	ask(f);
	assert_int_equal(the_link.count, asked);
}

static void a_probe_makes_its_key_anew(void **state)
{
	struct fixture *f = *state;

	store_redis_set(f->store, &f->config);
	size_t before = the_link.count;
	event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(the_link.count, before + 1);
	const struct redis_reply nil = {.kind = REDIS_NIL};
	answer_asked(last_asked(0), REDIS_ANSWERED, &nil);
	assert_string_equal(last_asked(0)->verb, "SET");
	assert_string_equal(last_asked(0)->words[1], "NX");
}

/* ---- Cluster ---- */

static void ask_two_slots(struct fixture *f)
{
	the_link.cluster = true;
	set_charge(&f->charges[1], "b", 10);
	set_charge(&f->charges[2], "aa", 10); /* of a's slot */
	f->request.count = 3;
	ask(f);
	assert_int_equal(the_link.count, 2);
	assert_string_equal(the_link.asked[0].words[1], "p:{a}:l");
	assert_string_equal(the_link.asked[0].words[2], "p:{aa}:l");
	assert_string_equal(the_link.asked[0].words[3], "p:{a}=t");
	assert_string_equal(the_link.asked[1].words[1], "p:{b}:l");
	assert_string_equal(the_link.asked[1].words[2], "p:{b}=t");
}

/* Two windows, of charges 0 and 2. */
static void say_two(struct asked *asked, char kind, uint64_t used, uint64_t used2)
{
	char text[60] = {kind};
	double now = 1767571200000.0, start = now - (double)(1767571200000 % 60000);
	double current = (double)used, current2 = (double)used2;

	memcpy(text + 1, &now, 8);
	text[9] = 2;
	text[10] = text[35] = 'w';
	memcpy(text + 11, &start, 8);
	memcpy(text + 36, &start, 8);
	memcpy(text + 19, &current, 8);
	memcpy(text + 44, &current2, 8);
	say(asked, text, sizeof(text));
}

static void slots_are_merged_in_the_order_of_charges(void **state)
{
	struct fixture *f = *state;

	ask_two_slots(f);
	say_window(&the_link.asked[1], 'F', 5);
	assert_int_equal(f->answers, 0);
	say_two(&the_link.asked[0], 'F', 3, 7);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->outcome.kind, OUTCOME_FITS);
	assert_int_equal(f->outcome.count, 3);
	assert_int_equal(f->outcome.results[0].used, 4);
	assert_int_equal(f->outcome.results[1].used, 6);
	assert_int_equal(f->outcome.results[2].used, 8);
	assert_int_equal(the_link.count, 2);
}

/* Which calls take back: their first key. */
static void check_undone(size_t from, const char *const *keys, const char *why)
{
	for (; *keys; keys++, from++) {
		if (from >= the_link.count)
			fail_msg("%s: %s is not undone", why, *keys);
		struct asked *asked = &the_link.asked[from];
		if (strcmp(asked->verb, "EVAL") != 0 ||
		    strncmp(asked->script, lua_limits_undo, 40) != 0 ||
		    strcmp(asked->words[1], *keys) != 0)
			fail_msg("%s: %s %s", why, asked->verb, asked->words[1]);
	}
	if (from != the_link.count)
		fail_msg("%s: %zu calls too many", why, the_link.count - from);
}

static void what_another_slot_refuses_is_undone(void **state)
{
	static const struct {
		const char *why;
		char first, second; /* slot: F, O, U, "!", or "x" no answer */
		enum outcome_kind wanted;
		const char *undone[3];
	} rows[] = {
	    {"the second refuses", 'F', 'O', OUTCOME_OVER, {"p:{a}:l"}},
	    {"the first refuses", 'O', 'F', OUTCOME_OVER, {"p:{b}:l"}},
	    {"both refuse", 'O', 'O', OUTCOME_OVER, {NULL}},
	    {"one does not answer: nobody knows what it did",
	     'F',
	     'x',
	     OUTCOME_FITS,
	     {"p:{a}:l", "p:{b}:l"}},
	    {"one refuses, one does not answer", 'x', 'O', OUTCOME_OVER, {"p:{a}:l"}},
	    {"one has a key that is not ours",
	     'F',
	     '!',
	     OUTCOME_UNAVAILABLE,
	     {"p:{a}:l"}},
	    {"a repetition of what was undone", 'F', 'U', OUTCOME_FITS, {"p:{a}:l"}},
	    {"a repetition of what was refused", 'U', 'O', OUTCOME_OVER, {NULL}},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_int_equal(setup(state), 0);
		struct fixture *f = *state;
		ask_two_slots(f);
		for (size_t n = 0; n < 2; n++) {
			struct asked *asked = &the_link.asked[n];
			char what = n == 0 ? rows[i].first : rows[i].second;
			if (what == 'x')
				answer_asked(asked, REDIS_UNAVAILABLE, NULL);
			else if (what == 'U' || what == '!')
				say(asked, what == 'U' ? "U" : "!1", what == 'U' ? 1 : 2);
			else if (n == 0)
				say_two(asked, what, 10, 1);
			else
				say_window(asked, what, 10);
		}
		if (f->answers != 1 || f->outcome.kind != rows[i].wanted)
			fail_msg(
			    "%s: %d answers, %d", rows[i].why, f->answers,
			    f->outcome.kind);
		check_undone(2, rows[i].undone, rows[i].why);
		teardown(state);
	}
	assert_int_equal(setup(state), 0);
}

static void every_master_is_probed(void **state)
{
	struct fixture *f = *state;

	the_link.cluster = true;
	store_redis_set(f->store, &f->config);
	event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(the_link.count, NODES + 1);
	assert_string_equal(the_link.asked[0].verb, "PING");
	assert_string_equal(the_link.asked[NODES].verb, "SET");
}

/* ---- changes ---- */

static void the_end_answers_what_is_open(void **state)
{
	struct fixture *f = *state;

	ask(f);
	assert_int_equal(f->answers, 0);
	f->store = store_free(f->store);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->outcome.kind, OUTCOME_FITS);
	assert_int_equal(store_redis_new(f->base, f->memory, &f->store), 0);
}

static void without_redis_memory_has_the_whole(void **state)
{
	struct fixture *f = *state;
	char token[8];

	ask(f);
	f->config.has_redis = false;
	store_redis_set(f->store, &f->config);
	assert_int_equal(f->answers, 1); /* it ended as it began */
	size_t asked = the_link.count;
	for (int i = 0; i < 9; i++) {
		snprintf(token, sizeof(token), "n%d", i);
		f->request.token = token;
		f->request.token_len = 2;
		ask(f);
		if (f->outcome.kind != OUTCOME_FITS)
			fail_msg("number %d does not fit", i);
	}
	f->request.token = "last";
	ask(f);
	assert_int_equal(f->outcome.kind, OUTCOME_OVER);
	assert_int_equal(the_link.count, asked);
	/* And back. */
	f->config.has_redis = true;
	store_redis_set(f->store, &f->config);
	ask(f);
	assert_int_equal(the_link.count, asked + 1);
	say_window(last_asked(0), 'F', 0);
}

static void a_request_without_charges_fits(void **state)
{
	struct fixture *f = *state;

	f->request.count = 0;
	ask(f);
	assert_int_equal(the_link.count, 0);
	assert_int_equal(f->outcome.kind, OUTCOME_FITS);
}

/* ---- counters for an operator ---- */

struct seen {
	size_t rows;
	int done;
};

static void on_row(void *context, const struct store_row *row)
{
	struct seen *seen = context;

	assert_string_equal(row->key, "l:a");
	assert_int_equal(row->window.current, 3);
	seen->rows++;
}

static void on_done(void *context, int r)
{
	struct seen *seen = context;

	assert_int_equal(seen->done, 1);
	seen->done = r;
}

static void what_is_no_answer_to_scan_ends_it(void **state)
{
	static const struct redis_reply text[] = {{REDIS_TEXT, "0", 1, 0, NULL, 0}};
	static const struct {
		const char *why;
		struct redis_reply reply;
	} rows[] = {
	    {"a text", {REDIS_TEXT, "OK", 2, 0, NULL, 0}},
	    {"nothing", {REDIS_NIL, NULL, 0, 0, NULL, 0}},
	    {"an empty list", {REDIS_LIST, NULL, 0, 0, NULL, 0}},
	    {"a cursor without keys", {REDIS_LIST, NULL, 0, 0, text, 1}},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct seen seen = {.done = 1};
		store_scan(f->store, on_row, on_done, &seen);
		answer_asked(last_asked(0), REDIS_ANSWERED, &rows[i].reply);
		if (seen.done != -EPROTO || seen.rows > 0)
			fail_msg("%s: %d", rows[i].why, seen.done);
	}
}

static void a_row_that_no_counter_can_be_is_left_out(void **state)
{
	static const int64_t now = 1767571200000, far = INT64_MIN;
	static const struct {
		const char *why;
		int64_t numbers[4];
		size_t seen;
	} rows[] = {
	    {"a counter", {now, now - 1000, 3, 1}, 1},
	    {"a clock before all time", {-1, 0, 3, 1}, 0},
	    {"a bucket before all time", {now, far, 3, 1}, 0},
	    {"a bucket after all time", {now, INT64_MAX, 3, 1}, 0},
	    {"fewer than none", {now, now - 1000, -1, 1}, 0},
	    {"fewer than none before", {now, now - 1000, 3, far}, 0},
	};
	static const char *const keys[] = {"l:a"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct redis_reply items[4] = {0};
		struct seen seen = {.done = 1};
		for (size_t n = 0; n < 4; n++)
			items[n] = (struct redis_reply){
			    .kind = REDIS_INTEGER, .integer = rows[i].numbers[n]};
		const struct redis_reply reply = {
		    .kind = REDIS_LIST, .items = items, .count = 4};
		store_read(f->store, keys, 1, on_row, on_done, &seen);
		answer_asked(last_asked(0), REDIS_ANSWERED, &reply);
		if (seen.done != 0 || seen.rows != rows[i].seen)
			fail_msg("%s: %d, %zu", rows[i].why, seen.done, seen.rows);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(one_call_whatever_the_number_of_limits),
	    CASE(an_answer_is_told),
	    CASE(a_look_has_no_name),
	    CASE(a_charge_without_a_name_gets_one),
	    CASE(a_lost_script_is_brought_once),
	    cmocka_unit_test_teardown(each_failure_has_its_answer, teardown),
	    CASE(the_script_names_a_bad_key),
	    CASE(a_share_is_counted_here),
	    cmocka_unit_test_teardown(shares_of_little, teardown),
	    CASE(an_open_breaker_asks_nobody_until_a_probe_answers),
	    CASE(one_that_must_be_mended_opens_at_once),
	    CASE(a_moving_slot_opens_nothing),
	    CASE(looks_do_not_close_what_charges_open),
	    CASE(a_probe_makes_its_key_anew),
	    CASE(slots_are_merged_in_the_order_of_charges),
	    cmocka_unit_test_teardown(what_another_slot_refuses_is_undone, teardown),
	    CASE(every_master_is_probed),
	    CASE(the_end_answers_what_is_open),
	    CASE(without_redis_memory_has_the_whole),
	    CASE(a_request_without_charges_fits),
	    CASE(what_is_no_answer_to_scan_ends_it),
	    CASE(a_row_that_no_counter_can_be_is_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
