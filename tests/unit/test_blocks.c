/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/block_orders.h"
#include "policyd/block_subject.h"
#include "policyd/blocks.h"
#include "policyd/ledger.h"

#include "common/metrics.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

#define NOW_S INT64_C(1767600000)

static int64_t now_s = NOW_S;

static void test_clock(struct moment *ret)
{
	ret->wall_ms = now_s * 1000;
	ret->steady_ms = (now_s - NOW_S) * 1000 + 1000000;
}

static struct blocks *fresh(size_t max)
{
	struct blocks *blocks;

	now_s = NOW_S;
	assert_int_equal(blocks_new(max, &blocks), 0);
	ledger_set_clock(blocks_ledger(blocks), test_clock);
	return blocks;
}

static int put(
    struct blocks *blocks, enum block_kind kind, const char *subject, int64_t for_s,
    bool automatic)
{
	struct block block = {
	    .kind = kind,
	    .since_s = now_s,
	    .until_s = for_s ? now_s + for_s : 0,
	    .automatic = automatic,
	};

	strcpy(block.subject, subject);
	strcpy(block.by, "root@gw1");
	strcpy(block.reason, "spam");
	return blocks_put(blocks, &block);
}

static struct config *rules(void)
{
	return load_good("{\"recipient_delimiter\": \"+\", \"auth\": "
			 "{\"default_realm\": \"Example.ORG\"},\n"
			 "\"domains\": {\"example.org\": {}}, \"relay\": {\"hosts\": "
			 "[\"2001:db8::25\"]},\n"
			 "\"trusted\": {\"hosts\": [\"192.0.2.9\"], \"users\": "
			 "[\"boss@example.org\"]}}");
}

static void subjects(void **state)
{
	static const struct {
		enum block_kind kind;
		const char *text;
		const char *want; /* NULL: refused, with a text that has... */
		const char *says;
	} rows[] = {
	    {BLOCK_CLIENT, " 192.0.2.7 ", "192.0.2.7", NULL},
	    {BLOCK_CLIENT, "192.0.2.7/32", "192.0.2.7", NULL},
	    {BLOCK_CLIENT, "::ffff:192.0.2.7", "192.0.2.7", NULL},
	    {BLOCK_CLIENT, "192.0.2.0/24", "192.0.2.0/24", NULL},
	    {BLOCK_CLIENT, "2001:DB8:0:1:0::/64", "2001:db8:0:1::/64", NULL},
	    {BLOCK_CLIENT, "192.0.2.7/24", NULL, "192.0.2.0/24"},
	    {BLOCK_CLIENT, "0.0.0.0/0", NULL, "everybody"},
	    {BLOCK_CLIENT, "::/0", NULL, "everybody"},
	    {BLOCK_CLIENT, "any", NULL, "expected an IP address"},
	    {BLOCK_CLIENT, "", NULL, "expected an IP address"},
	    {BLOCK_USER, "ADA@Example.Org.", "ada@example.org", NULL},
	    {BLOCK_USER, "Ada", "ada@example.org", NULL},
	    {BLOCK_USER, "@B\303\274cher.example", "@xn--bcher-kva.example", NULL},
	    {BLOCK_USER, "ada+x@example.org", "ada+x@example.org", NULL},
	    {BLOCK_USER, "", NULL, "expected a name"},
	    {BLOCK_USER, "@", NULL, "expected a name"},
	    {BLOCK_SENDER, "Ada+news@Example.org", "ada@example.org", NULL},
	    {BLOCK_SENDER, "\"ada\"@example.org", "ada@example.org", NULL},
	    {BLOCK_SENDER, "@Example.org.", "@example.org", NULL},
	    {BLOCK_SENDER, ".Example.org", ".example.org", NULL},
	    {BLOCK_SENDER, "B\303\274cher.Example", "@xn--bcher-kva.example", NULL},
	    {BLOCK_SENDER, "example.org ada", NULL, "expected ada@example.org"},
	    {BLOCK_SENDER, "<>", "<>", NULL},
	    {BLOCK_SENDER, "", NULL, "or <>"},
	    {BLOCK_SENDER, "ada", NULL, "expected ada@example.org"},
	    {BLOCK_SENDER, "@", NULL, "expected ada@example.org"},
	    {BLOCK_RECIPIENT, "bob@example.net", "bob@example.net", NULL},
	    {BLOCK_RECIPIENT, "example.net.", "@example.net", NULL},
	    {BLOCK_RECIPIENT, "<>", NULL, "is no recipient"},
	};
	struct config *config = rules();
	char subject[ADDRESS_TEXT_MAX + 1];
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *wrong = block_subject(
		    config, rows[i].kind, rows[i].text, strlen(rows[i].text), subject);
		if (!rows[i].want) {
			if (!wrong || !strstr(wrong, rows[i].says))
				fail_msg("\"%s\": %s", rows[i].text, wrong ? wrong : "");
			continue;
		}
		if (wrong || strcmp(subject, rows[i].want) != 0)
			fail_msg("\"%s\": got %s", rows[i].text, wrong ? wrong : subject);
		if (!block_subject_is_canonical(rows[i].kind, subject, strlen(subject)))
			fail_msg("\"%s\" is not taken for canonical", subject);
	}
	config_unref(config);
}

static void not_canonical(void **state)
{
	static const struct {
		enum block_kind kind;
		const char *text;
	} rows[] = {
	    {BLOCK_CLIENT, "192.0.2.7/32"},
	    {BLOCK_CLIENT, "::/0"},
	    {BLOCK_CLIENT, "0.0.0.0/0"},
	    {BLOCK_CLIENT, "2001:DB8::1"},
	    {BLOCK_CLIENT, "192.0.2.7/24"},
	    {BLOCK_CLIENT, "x"},
	    {BLOCK_USER, "Ada@example.org"},
	    {BLOCK_USER, "@"},
	    {BLOCK_USER, ""},
	    {BLOCK_SENDER, "a@Example.org"},
	    {BLOCK_SENDER, "a@example.org."},
	    {BLOCK_SENDER, "@Example.org"},
	    {BLOCK_RECIPIENT, "<>"},
	    {BLOCK_SENDER, "?"},
	};
	struct blocks *blocks = fresh(10);
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* "?" is a login or local part like others; no request is it. */
		if (strcmp(rows[i].text, "?") == 0)
			continue;
		if (put(blocks, rows[i].kind, rows[i].text, 0, false) != -EINVAL)
			fail_msg("\"%s\" was taken", rows[i].text);
	}
	blocks_free(blocks);
}

struct question {
	const char *client, *user, *sender, *recipient;
};

static void look(
    struct blocks *blocks, const struct config *config, const struct question *q,
    struct facts *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (q->client)
		assert_true(ip_parse(q->client, strlen(q->client), &ret->client.ip));
	if (q->user)
		user_canonical(q->user, strlen(q->user), &ret->user);
	if (q->sender)
		address_canonical(q->sender, strlen(q->sender), "+", &ret->sender);
	if (q->recipient)
		address_canonical(
		    q->recipient, strlen(q->recipient), "+", &ret->recipient);
	blocks_look(blocks, config, now_s, ret);
}

static void what_is_blocked(void **state)
{
	static const struct {
		enum block_kind kind;
		const char *subject;
		struct question question;
		bool blocked;
		const char *why;
	} rows[] = {
	    {BLOCK_CLIENT, "192.0.2.7", {.client = "192.0.2.7"}, true, "the address"},
	    {BLOCK_CLIENT, "192.0.2.7", {.client = "::ffff:192.0.2.7"}, true, "mapped"},
	    {BLOCK_CLIENT, "192.0.2.7", {.client = "192.0.2.8"}, false, "its neighbour"},
	    {BLOCK_CLIENT, "192.0.2.0/24", {.client = "192.0.2.255"}, true, "network"},
	    {BLOCK_CLIENT, "192.0.2.0/24", {.client = "192.0.3.0"}, false, "behind it"},
	    {BLOCK_CLIENT, "128.0.0.0/1", {.client = "203.0.113.1"}, true, "half of it"},
	    {BLOCK_CLIENT, "2001:db8::/64", {.client = "2001:db8::9"}, true, "a /64"},
	    {BLOCK_CLIENT, "2001:db8::/64", {.client = "2001:db8:0:1::9"}, false, "next"},
	    {BLOCK_CLIENT, "2001:db8::9", {.client = "2001:db8::9"}, true, "IPv6"},
	    {BLOCK_CLIENT, "c000::/8", {.client = "192.0.2.1"}, false, "other family"},
	    {BLOCK_CLIENT, "192.0.2.7", {.client = NULL}, false, "no address"},
	    {BLOCK_USER, "ada@example.org", {.user = "ADA@example.org"}, true, "user"},
	    {BLOCK_USER, "ada@example.org", {.user = "bob@example.org"}, false, "other"},
	    {BLOCK_USER, "@example.org", {.user = "bob@example.org"}, true, "realm"},
	    {BLOCK_USER, "@example.org", {.user = "bob@h.example.org"}, false, "own"},
	    {BLOCK_USER, "@example.org", {.user = "bob"}, false, "no realm"},
	    {BLOCK_USER, "ada@example.org", {.sender = "ada@example.org"}, false, "kind"},
	    {BLOCK_SENDER,
	     "ada@example.org",
	     {.sender = "ada+x@example.org"},
	     true,
	     "extension"},
	    {BLOCK_SENDER, "@example.org", {.sender = "x@example.org"}, true, "domain"},
	    {BLOCK_SENDER,
	     "@example.org",
	     {.sender = "x@h.example.org"},
	     false,
	     "the domain alone"},
	    {BLOCK_SENDER,
	     ".example.org",
	     {.sender = "x@a.h.example.org"},
	     true,
	     "subdomains"},
	    {BLOCK_SENDER,
	     ".example.org",
	     {.sender = "x@example.org"},
	     false,
	     "subdomains alone"},
	    {BLOCK_SENDER, ".example.org", {.sender = "x@myexample.org"}, false, "a dot"},
	    {BLOCK_SENDER, "<>", {.sender = ""}, true, "null sender"},
	    {BLOCK_SENDER, "<>", {.sender = NULL}, false, "no sender yet"},
	    {BLOCK_SENDER, "<>", {.sender = "x@example.org"}, false, "a sender"},
	    {BLOCK_RECIPIENT,
	     "bob@example.net",
	     {.recipient = "Bob@example.net"},
	     true,
	     "recipient"},
	    {BLOCK_RECIPIENT,
	     "@example.net",
	     {.recipient = "a@example.net"},
	     true,
	     "recipient's domain"},
	    {BLOCK_RECIPIENT, "@example.net", {.sender = "a@example.net"}, false, "kind"},
	};
	struct config *config = rules();
	struct facts facts;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct blocks *blocks = fresh(10);
		if (put(blocks, rows[i].kind, rows[i].subject, 60, false) != 0)
			fail_msg("%s is refused", rows[i].subject);
		look(blocks, config, &rows[i].question, &facts);
		for (unsigned k = 0; k < BLOCK_KINDS; k++) {
			bool want = rows[i].blocked && k == rows[i].kind;
			if (facts.blocked[k].is_blocked != want ||
			    facts.blocked[k].is_set != (k == rows[i].kind))
				fail_msg(
				    "%s: %s, kind %u", rows[i].subject, rows[i].why, k);
		}
		if (rows[i].blocked) {
			assert_int_equal(facts.blocked[rows[i].kind].until_s, now_s + 60);
			assert_string_equal(facts.blocked[rows[i].kind].reason, "spam");
			assert_string_equal(facts.blocked[rows[i].kind].by, "root@gw1");
			assert_string_equal(
			    facts.blocked[rows[i].kind].subject, rows[i].subject);
		}
		now_s += 60;
		look(blocks, config, &rows[i].question, &facts);
		if (facts.blocked[rows[i].kind].is_blocked)
			fail_msg("%s: still blocked", rows[i].subject);
		blocks_free(blocks);
	}
	config_unref(config);
}

/* Of several, the one that holds longest: its reply is the one that stays true. */
static void the_longest_answers(void **state)
{
	static const struct question q = {.client = "192.0.2.7"};
	struct config *config = rules();
	struct blocks *blocks = fresh(10);
	struct facts facts;
	(void)state;

	put(blocks, BLOCK_CLIENT, "192.0.2.7", 60, false);
	put(blocks, BLOCK_CLIENT, "192.0.2.0/24", 600, false);
	look(blocks, config, &q, &facts);
	assert_int_equal(facts.blocked[BLOCK_CLIENT].until_s, now_s + 600);
	put(blocks, BLOCK_CLIENT, "192.0.0.0/16", 0, false);
	put(blocks, BLOCK_CLIENT, "192.0.2.0/28", 900, false);
	look(blocks, config, &q, &facts);
	assert_int_equal(facts.blocked[BLOCK_CLIENT].until_s, 0);
	assert_true(blocks_remove(blocks, BLOCK_CLIENT, "192.0.0.0/16"));
	assert_false(blocks_remove(blocks, BLOCK_CLIENT, "192.0.0.0/16"));
	look(blocks, config, &q, &facts);
	assert_int_equal(facts.blocked[BLOCK_CLIENT].until_s, now_s + 900);
	blocks_free(blocks);
	config_unref(config);
}

static void orders(
    struct blocks *blocks, const struct config *config, const struct question *q,
    enum block_kind kind, const char *subject)
{
	static struct plan plan;
	struct facts facts;

	look(blocks, config, q, &facts);
	plan.blocks_count = 1;
	plan.blocks[0] = (struct block_order){.kind = kind, .seconds = 60, .limit = "l"};
	strcpy(plan.blocks[0].subject, subject);
	block_orders_carry_out(blocks, config, &facts, &plan, now_s);
}

static void limits_spare_the_trusted(void **state)
{
	static const struct {
		struct question question;
		enum block_kind kind;
		const char *subject;
		bool blocked; /* by the limit; by hand always */
		const char *why;
	} rows[] = {
	    {{.client = "192.0.2.7"}, BLOCK_CLIENT, "192.0.2.7", true, "a stranger"},
	    {{.client = "192.0.2.9"}, BLOCK_CLIENT, "192.0.2.9", false, "trusted.hosts"},
	    {{.client = "2001:db8::25"},
	     BLOCK_CLIENT,
	     "2001:db8::/64",
	     false,
	     "a relay host"},
	    {{.client = "192.0.2.7", .user = "boss@example.org"},
	     BLOCK_USER,
	     "boss@example.org",
	     false,
	     "trusted.users"},
	    {{.client = "192.0.2.9", .user = "ada@example.org"},
	     BLOCK_USER,
	     "ada@example.org",
	     true,
	     "an account behind a trusted host can be stolen"},
	    {{.client = "192.0.2.9", .sender = "a@example.org"},
	     BLOCK_SENDER,
	     "a@example.org",
	     false,
	     "what a trusted host sends"},
	    {{.client = "192.0.2.7", .sender = "a@example.org"},
	     BLOCK_SENDER,
	     "a@example.org",
	     true,
	     "what a stranger sends"},
	};
	struct config *config = rules();
	struct facts facts;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct blocks *blocks = fresh(10);
		const struct question *q = &rows[i].question;
		enum block_kind kind = rows[i].kind;
		orders(blocks, config, q, kind, rows[i].subject);
		look(blocks, config, q, &facts);
		if (facts.blocked[kind].is_set != rows[i].blocked ||
		    facts.blocked[kind].is_blocked != rows[i].blocked)
			fail_msg("%s: order", rows[i].why);
		/* Made for another client, or before a reload. */
		put(blocks, kind, rows[i].subject, 60, true);
		look(blocks, config, q, &facts);
		if (facts.blocked[kind].is_blocked != rows[i].blocked)
			fail_msg("%s: look-up", rows[i].why);
		put(blocks, kind, rows[i].subject, 60, false);
		look(blocks, config, q, &facts);
		if (!facts.blocked[kind].is_blocked)
			fail_msg("%s: by hand", rows[i].why);
		blocks_free(blocks);
	}
	config_unref(config);
}

static void knocking_prolongs_nothing(void **state)
{
	static const struct question q = {.client = "192.0.2.7"};
	struct config *config = rules();
	struct blocks *blocks = fresh(10);
	struct facts facts;
	(void)state;

	assert_int_equal(put(blocks, BLOCK_CLIENT, "192.0.2.7", 60, true), 0);
	now_s += 30;
	assert_int_equal(put(blocks, BLOCK_CLIENT, "192.0.2.7", 60, true), BLOCKS_HELD);
	look(blocks, config, &q, &facts);
	assert_int_equal(facts.blocked[BLOCK_CLIENT].until_s, now_s + 30);
	/* Nor does a limit shorten what somebody said. */
	assert_int_equal(put(blocks, BLOCK_CLIENT, "192.0.2.7", 0, false), 0);
	assert_int_equal(put(blocks, BLOCK_CLIENT, "192.0.2.7", 60, true), BLOCKS_HELD);
	look(blocks, config, &q, &facts);
	assert_int_equal(facts.blocked[BLOCK_CLIENT].until_s, 0);
	blocks_free(blocks);
	config_unref(config);
}

static void room_for_those_by_hand(void **state)
{
	struct blocks *blocks = fresh(80);
	char subject[32];
	int made = 0;
	(void)state;

	for (int i = 0; i < 100; i++) {
		sprintf(subject, "192.0.2.%d", i);
		made += put(blocks, BLOCK_CLIENT, subject, 60, true) == 0;
	}
	assert_int_equal(made, 70);
	for (int i = 0; i < 100; i++) {
		sprintf(subject, "198.51.100.%d", i);
		made += put(blocks, BLOCK_CLIENT, subject, 0, false) == 0;
	}
	assert_int_equal(made, 80);
	now_s += 60;
	assert_int_equal(put(blocks, BLOCK_CLIENT, "192.0.2.1", 60, true), 0);
	blocks_free(blocks);
}

static void see_block(void *context, const struct block *block)
{
	char *text = context;

	sprintf(
	    text + strlen(text), "%s %s since %d until %d by %s reason %s%s\n",
	    block_kind_name(block->kind), block->subject, (int)(block->since_s - NOW_S),
	    block->until_s ? (int)(block->until_s - NOW_S) : -1, block->by, block->reason,
	    block->automatic ? " automatic" : "");
}

static void told_as_it_was_said(void **state)
{
	struct blocks *blocks = fresh(10);
	struct block block = {
	    .kind = BLOCK_SENDER,
	    .subject = "@example.org",
	    .since_s = NOW_S,
	    .until_s = NOW_S + 60,
	    .reason = "tab\there, \x1b[31mred",
	    .by = "limit ban on gw1",
	    .automatic = true,
	};
	char text[1024] = "";
	(void)state;

	assert_int_equal(blocks_put(blocks, &block), 0);
	blocks_each(blocks, NOW_S, see_block, text);
	assert_string_equal(
	    text, "sender @example.org since 0 until 60 by limit ban on gw1 "
		  "reason tab\\x09here, \\x1b[31mred automatic\n");
	/* As the state file puts it back. */
	blocks_remove(blocks, BLOCK_SENDER, "@example.org");
	strcpy(block.reason, "tab\\x09here, \\x1b[31mred");
	assert_int_equal(blocks_put(blocks, &block), 0);
	char again[1024] = "";
	blocks_each(blocks, NOW_S, see_block, again);
	assert_string_equal(again, text);
	text[0] = '\0';
	blocks_each(blocks, NOW_S + 60, see_block, text);
	assert_string_equal(text, "");
	blocks_free(blocks);
}

static void metric_counts(void **state)
{
	uint32_t series = metrics_series(METRIC_BLOCKS, NULL, NULL);
	struct blocks *blocks = fresh(10);
	uint64_t generation = blocks_generation(blocks);
	(void)state;

	assert_int_equal(metrics_value(series), 0);
	put(blocks, BLOCK_CLIENT, "192.0.2.1", 60, false);
	put(blocks, BLOCK_CLIENT, "192.0.2.1", 60, false);
	put(blocks, BLOCK_USER, "ada@example.org", 0, false);
	assert_int_equal(metrics_value(series), 2);
	assert_true(blocks_generation(blocks) > generation);
	now_s += 60;
	ledger_prune(blocks_ledger(blocks));
	assert_int_equal(metrics_value(series), 1);
	blocks_remove(blocks, BLOCK_USER, "ada@example.org");
	assert_int_equal(metrics_value(series), 0);
	blocks_free(blocks);
}

/* What another node, or somebody with access to Redis, may have written. */
static void foreign_records(void **state)
{
	static const struct {
		const char *key, *text;
		bool good;
	} rows[] = {
	    {"client:192.0.2.7", "-\troot\tspam", true},
	    {"client:192.0.2.7", "A\t\t", true},
	    {"client:192.0.2.7", "", false},
	    {"client:0.0.0.0/0", "-\troot\tspam", false},
	    {"client:192.0.2.7/24", "-\troot\tspam", false},
	    {"clients:192.0.2.7", "-\troot\tspam", false},
	    {"client", "-\troot\tspam", false},
	    {"user:Ada@example.org", "-\troot\tspam", false},
	    {"user:ada@example.org", "x\troot\tspam", false},
	    {"user:ada@example.org", "-\troot", false},
	    {"user:ada@example.org", "-", false},
	    {"user:ada@example.org", "-\tro\\x0aot\tspam", true},
	    {"user:ada@example.org", "-\tro\not\tspam", false},
	    {"user:ada@example.org", "-\troot\tspam\x1b[31m", false},
	    {"sender:<>", "-\t\t", true},
	    {"recipient:<>", "-\t\t", false},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct record record = {
		    .key = rows[i].key,
		    .key_len = strlen(rows[i].key),
		    .text = rows[i].text,
		    .text_len = strlen(rows[i].text),
		};
		if (blocks_accept(&record) != rows[i].good)
			fail_msg("%s = %s", rows[i].key, rows[i].text);
		record.removed = true;
		if (rows[i].text[0] && blocks_accept(&record))
			fail_msg("a tombstone says nothing: %s", rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(subjects),
	    cmocka_unit_test(not_canonical),
	    cmocka_unit_test(what_is_blocked),
	    cmocka_unit_test(the_longest_answers),
	    cmocka_unit_test(limits_spare_the_trusted),
	    cmocka_unit_test(knocking_prolongs_nothing),
	    cmocka_unit_test(room_for_those_by_hand),
	    cmocka_unit_test(told_as_it_was_said),
	    cmocka_unit_test(metric_counts),
	    cmocka_unit_test(foreign_records),
	};

	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
