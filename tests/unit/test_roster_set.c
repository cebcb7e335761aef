/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * One set of the roster over a link that the test plays: what a server answers that is
 * broken, or none of ours. Real servers are tests/e2e's.
 */

#include "policyd/roster_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* READ_AT_ONCE of roster_set.c. */
#define PAGE 500
/* Arguments of a call that reads; one that writes has more. */
#define READ 8

struct redis_reply {
	enum redis_kind kind;
	const char *text;
	const struct redis_reply *items;
	size_t count;
};

/* ---- the link ---- */

struct redis_link {
	unsigned asked;
	int argc;                 /* of the last call */
	redis_answered *answered; /* NULL: nothing is open */
	void *context;
};

void redis_link_call(struct redis_link *link, const struct redis_call *call)
{
	assert_null(link->answered);
	link->asked++;
	link->argc = call->argc;
	link->answered = call->answered;
	link->context = call->context;
}

static void answer(struct redis_link *link, const struct redis_reply *reply)
{
	redis_answered *answered = link->answered;

	assert_non_null(answered);
	link->answered = NULL;
	answered(link->context, REDIS_ANSWERED, reply, "");
}

static void answer_unavailable(struct redis_link *link)
{
	redis_answered *answered = link->answered;

	assert_non_null(answered);
	link->answered = NULL;
	answered(link->context, REDIS_UNAVAILABLE, NULL, "cut");
}

const char *redis_reply_text(const struct redis_reply *reply, size_t *ret_len)
{
	const char *text = reply->kind == REDIS_TEXT ? reply->text : "";

	*ret_len = strlen(text);
	return text;
}

size_t redis_reply_count(const struct redis_reply *reply)
{
	return reply->kind == REDIS_LIST ? reply->count : 0;
}

const struct redis_reply *redis_reply_item(const struct redis_reply *reply, size_t i)
{
	assert_true(i < redis_reply_count(reply));
	return &reply->items[i];
}

/* ---- the set ---- */

struct fixture {
	struct redis_link link;
	struct roster_place place;
	struct roster_set set;
	struct ledger *ledger;
	unsigned away, complete;
};

static void on_away(void *context, const char *why, bool unheard)
{
	struct fixture *f = context;

	if (unheard)
		assert_string_equal(why, "an answer that makes no sense");
	else
		assert_string_equal(why, "cut");
	roster_set_away(&f->set);
	f->away++;
}

static void on_changed(void *context)
{
	(void)context;
}

static void on_complete(void *context)
{
	struct fixture *f = context;

	f->complete++;
}

static bool accept_all(const struct record *record)
{
	(void)record;
	return true;
}

static void begin(struct fixture *f)
{
	static const struct roster_set_rules rules = {
	    "things", 10, LEDGER_REFUSE, accept_all};
	static const struct roster_set_events events = {on_away, on_changed, on_complete};

	*f = (struct fixture){.place = {.prefix = "p:", .channel = "c", .nonce = "n"}};
	assert_int_equal(ledger_new(10, &f->ledger), 0);
	f->place.link = &f->link;
	roster_set_init(&f->set, &f->place, &rules, f->ledger, &events, f);
	roster_set_join(&f->set);
}

static void end(struct fixture *f)
{
	roster_set_leave(&f->set);
	ledger_free(f->ledger);
}

static void put(struct fixture *f)
{
	struct moment now;

	ledger_now(f->ledger, &now);
	const struct record record = {
	    .key = "k", .key_len = 1, .text = "t", .text_len = 1, .made_ms = now.wall_ms};
	assert_int_equal(
	    ledger_put(f->ledger, &record, LEDGER_REPLACE, LEDGER_REFUSE), 0);
}

/* The first read: there is nothing. */
static void reach(struct fixture *f)
{
	static const struct redis_reply head[] = {
	    {.kind = REDIS_TEXT, .text = "epoch"},
	    {.kind = REDIS_TEXT, .text = "0"},
	    {.kind = REDIS_TEXT, .text = "1767571200000"}};
	static const struct redis_reply reply = {
	    .kind = REDIS_LIST, .items = head, .count = 3};

	assert_int_equal(f->link.argc, READ);
	answer(&f->link, &reply);
}

/* While it waits for a connection it would grow younger: nobody knows that it has one
 * before something was answered. */
static void nothing_is_written_before_something_was_read(void **state)
{
	struct fixture f;
	(void)state;

	begin(&f);
	put(&f);
	roster_set_want(&f.set, ROSTER_WANT_WRITE);
	reach(&f);
	assert_int_equal(f.link.asked, 2);
	assert_true(f.link.argc > READ);
	answer_unavailable(&f.link);
	assert_int_equal(f.away, 1);
	roster_set_want(&f.set, ROSTER_WANT_WRITE);
	reach(&f);
	assert_true(f.link.argc > READ);
	end(&f);
}

/* What is not answered waits for the next look, and does not ask without end. */
static void an_answer_of_another_length_is_none(void **state)
{
	static const struct redis_reply two[] = {
	    {.kind = REDIS_TEXT, .text = "1"}, {.kind = REDIS_TEXT, .text = "2"}};
	static const struct {
		const char *why;
		struct redis_reply reply;
	} rows[] = {
	    {"a text", {.kind = REDIS_TEXT, .text = "OK"}},
	    {"nothing", {.kind = REDIS_NIL}},
	    {"an empty list", {.kind = REDIS_LIST}},
	    {"more than was written", {.kind = REDIS_LIST, .items = two, .count = 2}},
	};
	struct fixture f;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(&f);
		put(&f);
		roster_set_want(&f.set, ROSTER_WANT_WRITE);
		reach(&f);
		answer(&f.link, &rows[i].reply);
		if (f.away != 1 || f.link.asked != 2 ||
		    ledger_oldest_waiting(f.ledger) == 0)
			fail_msg(
			    "%s: %u away, %u asked", rows[i].why, f.away, f.link.asked);
		end(&f);
	}
}

static void what_is_written_waits_no_more(void **state)
{
	static const struct redis_reply made = {
	    .kind = REDIS_TEXT, .text = "1767571200000"};
	static const struct redis_reply reply = {
	    .kind = REDIS_LIST, .items = &made, .count = 1};
	struct fixture f;
	(void)state;

	begin(&f);
	put(&f);
	roster_set_want(&f.set, ROSTER_WANT_WRITE);
	reach(&f);
	answer(&f.link, &reply);
	assert_int_equal(f.away, 0);
	assert_int_equal(ledger_oldest_waiting(f.ledger), 0);
	end(&f);
}

/* A full page that leads no further would be asked for without end. */
static void a_page_that_leads_nowhere_is_none(void **state)
{
	static struct redis_reply items[3 + 3 * PAGE];
	static const struct redis_reply reply = {
	    .kind = REDIS_LIST, .items = items, .count = 3 + 3 * PAGE};
	static const char *const head[] = {"epoch", "9", "1767571200000"};
	struct fixture f;
	(void)state;

	for (size_t i = 0; i < reply.count; i++)
		items[i] = (struct redis_reply){
		    .kind = REDIS_TEXT,
		    .text = i < 3        ? head[i]
			    : i % 3 == 1 ? "7"
					 : ""};
	begin(&f);
	roster_set_want(&f.set, ROSTER_WANT_WHOLE);
	answer(&f.link, &reply); /* from 0 to 7: there may be more */
	assert_int_equal(f.away, 0);
	assert_int_equal(f.link.asked, 2);
	answer(&f.link, &reply); /* from 7 to 7 */
	assert_int_equal(f.away, 1);
	assert_int_equal(f.link.asked, 2);
	assert_int_equal(f.complete, 0);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_written_before_something_was_read),
	    cmocka_unit_test(an_answer_of_another_length_is_none),
	    cmocka_unit_test(what_is_written_waits_no_more),
	    cmocka_unit_test(a_page_that_leads_nowhere_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
