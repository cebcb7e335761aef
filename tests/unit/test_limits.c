/* SPDX-License-Identifier: BSD-2-Clause */
/* What each limit asks of a request, its key and member, and the token of the plan. */
#include "policyd/core/decide.h"
#include "policyd/core/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A request and a limit; where a row says nothing: RCPT from 192.0.2.1, ada@example.org
 * to bob@example.net, one message a user and hour, refused when over. */
struct row {
	const char *why;
	enum protocol_state state;
	unsigned per;
	enum limit_count count;
	enum limit_over over;
	bool shadow, at_data, refused, anonymous;
	const char *client, *sender, *recipient;
	enum country_state country;
	const char *size, *recipients;
	/* Wanted; want NULL: silent. */
	const char *want; /* the key */
	uint64_t amount;
	bool looks, soft, answers;
	const char *member;
	bool cannot_count;
};

static const struct row rows[] = {
    {.why = "messages: nothing at RCPT",
     .state = STATE_RCPT,
     .per = PER_USER,
     .count = COUNT_MESSAGES},
    {.why = "messages: DATA looks",
     .state = STATE_DATA,
     .per = PER_USER,
     .count = COUNT_MESSAGES,
     .want = "l:ada@example.org",
     .amount = 1,
     .looks = true},
    {.why = "messages: the end charges",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_USER,
     .count = COUNT_MESSAGES,
     .want = "l:ada@example.org",
     .amount = 1,
     .answers = true},
    {.why = "charge_at data: DATA charges",
     .state = STATE_DATA,
     .per = PER_USER,
     .count = COUNT_RECIPIENTS,
     .at_data = true,
     .want = "l:ada@example.org",
     .amount = 7,
     .answers = true},
    {.why = "charge_at data: nothing more at the end",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_USER,
     .count = COUNT_RECIPIENTS,
     .at_data = true},
    {.why = "per user without a login",
     .state = STATE_DATA,
     .per = PER_USER,
     .count = COUNT_MESSAGES,
     .anonymous = true},
    {.why = "bytes without a claim still look",
     .state = STATE_DATA,
     .per = PER_CLIENT,
     .count = COUNT_BYTES,
     .want = "l:192.0.2.1",
     .amount = 1,
     .looks = true},
    {.why = "more bytes than are counted",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_CLIENT,
     .count = COUNT_BYTES,
     .size = "9999999999999999999",
     .want = "l:192.0.2.1",
     .amount = WINDOW_USE_MAX,
     .answers = true},
    {.why = "more bytes than a number of ours holds are many, not none",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_CLIENT,
     .count = COUNT_BYTES,
     .size = "18446744073709551617",
     .want = "l:192.0.2.1",
     .amount = WINDOW_USE_MAX,
     .answers = true},
    {.why = "a size that is no number is none",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_CLIENT,
     .count = COUNT_BYTES,
     .size = "-5",
     .want = "l:192.0.2.1",
     .amount = 1,
     .answers = true},
    {.why = "more recipients than a number of ours holds",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_CLIENT,
     .count = COUNT_RECIPIENTS,
     .recipients = "4294967297",
     .want = "l:192.0.2.1",
     .amount = UINT32_MAX,
     .answers = true},
    {.why = "per recipient: RCPT charges",
     .state = STATE_RCPT,
     .per = PER_RECIPIENT,
     .count = COUNT_RECIPIENTS,
     .want = "l:bob@example.net",
     .amount = 1,
     .answers = true},
    {.why = "per recipient: not behind RCPT, though the recipient is named",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_RECIPIENT,
     .count = COUNT_MESSAGES},
    {.why = "per domain of the recipient",
     .state = STATE_RCPT,
     .per = PER_RECIPIENT_DOMAIN | PER_SENDER_DOMAIN,
     .count = COUNT_MESSAGES,
     .want = "l:example.org|example.net",
     .amount = 1,
     .answers = true},
    {.why = "a recipient that cannot be parsed is counted",
     .state = STATE_RCPT,
     .per = PER_RECIPIENT,
     .count = COUNT_MESSAGES,
     .recipient = "a@@",
     .want = "l:?",
     .amount = 1,
     .answers = true},
    {.why = "refusals: a decent request looks",
     .state = STATE_RCPT,
     .per = PER_CLIENT,
     .count = COUNT_REFUSALS,
     .want = "l:192.0.2.1",
     .looks = true},
    {.why = "refusals: a refused one charges, softly",
     .state = STATE_RCPT,
     .per = PER_CLIENT,
     .count = COUNT_REFUSALS,
     .refused = true,
     .want = "l:192.0.2.1",
     .amount = 1,
     .soft = true,
     .answers = true},
    {.why = "refusals per sender, before there is one",
     .state = STATE_CONNECT,
     .per = PER_SENDER,
     .count = COUNT_REFUSALS,
     .sender = "-",
     .refused = true},
    {.why = "a refusal is nothing to the others",
     .state = STATE_RCPT,
     .per = PER_RECIPIENT,
     .count = COUNT_MESSAGES,
     .refused = true},
    {.why = "nor to sets",
     .state = STATE_RCPT,
     .per = PER_USER,
     .count = COUNT_CLIENTS,
     .refused = true},
    {.why = "distinct clients: charged at RCPT",
     .state = STATE_RCPT,
     .per = PER_USER,
     .count = COUNT_CLIENTS,
     .want = "l:ada@example.org",
     .amount = 1,
     .member = "192.0.2.1"},
    {.why = "distinct clients: and at DATA, said at the end",
     .state = STATE_DATA,
     .per = PER_USER,
     .count = COUNT_CLIENTS,
     .over = OVER_HOLD,
     .soft = true,
     .want = "l:ada@example.org",
     .amount = 1,
     .member = "192.0.2.1"},
    {.why = "an IPv6 client is its /64",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_USER,
     .count = COUNT_CLIENTS,
     .client = "2001:db8:1:2:3::4",
     .want = "l:ada@example.org",
     .amount = 1,
     .answers = true,
     .member = "2001:db8:1:2::/64"},
    {.why = "distinct senders, the null one",
     .state = STATE_RCPT,
     .per = PER_CLIENT,
     .count = COUNT_SENDERS,
     .sender = "",
     .want = "l:192.0.2.1",
     .amount = 1,
     .member = "<>"},
    {.why = "a long member stands as its digest",
     .state = STATE_RCPT,
     .per = PER_CLIENT,
     .count = COUNT_SENDERS,
     .sender = "a.very.long.local.part.that.nobody.would.choose.for.long.really@"
	       "example.org",
     .want = "l:192.0.2.1",
     .amount = 1,
     .member = "#cd0d000f9be3e80eddcc71f06d2878748895416098ea29ca08b1aa2855e15f5f"},
    {.why = "a country",
     .state = STATE_RCPT,
     .per = PER_USER,
     .count = COUNT_COUNTRIES,
     .country = COUNTRY_KNOWN,
     .want = "l:ada@example.org",
     .amount = 1,
     .member = "DE"},
    {.why = "no country",
     .state = STATE_RCPT,
     .per = PER_USER,
     .count = COUNT_COUNTRIES,
     .country = COUNTRY_NONE},
    {.why = "no database of countries",
     .state = STATE_RCPT,
     .per = PER_USER,
     .count = COUNT_COUNTRIES,
     .country = COUNTRY_NO_DATABASE,
     .want = "l:ada@example.org",
     .amount = 1,
     .cannot_count = true},
    {.why = "in shadow: soft",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_EVERYONE,
     .count = COUNT_MESSAGES,
     .shadow = true,
     .want = "l:*",
     .amount = 1,
     .soft = true,
     .answers = true},
    {.why = "what separates parts is escaped",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_CLIENT | PER_SENDER,
     .count = COUNT_MESSAGES,
     .sender = "a|b{%}\xc3\xa9@example.org",
     .want = "l:192.0.2.1|a%7Cb%7B%25%7D%C3%A9@example.org",
     .amount = 1,
     .answers = true},
    {.why = "a client without an address",
     .state = STATE_END_OF_MESSAGE,
     .per = PER_CLIENT,
     .count = COUNT_MESSAGES,
     .client = "",
     .want = "l:?",
     .amount = 1,
     .answers = true},
};

static struct slice slice(const char *text)
{
	return (struct slice){text, strlen(text)};
}

static void make_facts(
    const struct row *row, const struct config *config, struct facts *ret)
{
	struct request request = {.state = row->state};

	request.client_address = slice(row->client ? row->client : "192.0.2.1");
	if (!row->sender)
		request.sender = slice("ada@example.org");
	else if (row->sender[0] != '-')
		request.sender = slice(row->sender);
	request.recipient = slice(row->recipient ? row->recipient : "bob@example.net");
	request.recipient_count = slice(row->recipients ? row->recipients : "7");
	if (!row->anonymous)
		request.sasl_username = slice("ada@example.org");
	if (row->size)
		request.size = slice(row->size);
	facts_read(config, &request, ret);
	ret->country_state = row->country;
	strcpy(ret->country, "DE");
}

static void what_each_asks(void **state)
{
	static char plus[] = "+";
	static struct config config = {.recipient_delimiter = plus};
	static struct facts facts;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct limit limit = {
		    .name = (char[]){'l', 0},
		    .per = row->per,
		    .count = row->count,
		    .max = 5,
		    .window_s = 3600,
		    .over = row->over,
		    .shadow = row->shadow,
		};
		struct charge charge = {0};
		enum failure failure = FAILURE_MEMORY;
		config.limits = &limit;
		config.limits_count = 1;
		config.policyd.charge_at =
		    row->at_data ? CHARGE_AT_DATA : CHARGE_AT_END_OF_MESSAGE;
		make_facts(row, &config, &facts);
		enum limit_moment moment =
		    row->refused ? MOMENT_REFUSAL : limit_moment(&config, row->state);
		enum limit_answer answer =
		    limit_charge(&config, 0, &facts, false, moment, &charge, &failure);
		enum limit_answer wanted = !row->want          ? LIMIT_SILENT
					   : row->cannot_count ? LIMIT_CANNOT_COUNT
							       : LIMIT_ASKS;
		if (answer != wanted)
			fail_msg("%s: %d, wanted %d", row->why, answer, wanted);
		if (answer == LIMIT_SILENT)
			continue;
		size_t member_len = row->member ? strlen(row->member) : 0;
		if (strcmp(charge.key, row->want) != 0 ||
		    charge.key_len != strlen(row->want) || charge.subject_at != 2 ||
		    charge.amount != row->amount || charge.look != row->looks ||
		    charge.hard == row->soft || charge.answers != row->answers ||
		    charge.member_len != member_len ||
		    memcmp(charge.member, row->member ? row->member : "", member_len))
			fail_msg(
			    "%s: key %s, amount %llu, look %d, hard %d, answers %d, "
			    "member %.*s",
			    row->why, charge.key, (unsigned long long)charge.amount,
			    charge.look, charge.hard, charge.answers,
			    (int)charge.member_len, charge.member);
		if (row->cannot_count)
			assert_int_equal(failure, FAILURE_COUNTRY);
	}
}

static void long_subjects(void **state)
{
	(void)state;
	char name[LIMIT_NAME_MAX + 1], text[1400];
	struct subject_part part = {.text = text, .domain = ""};
	struct charge one, other;

	memset(name, 'n', LIMIT_NAME_MAX);
	name[LIMIT_NAME_MAX] = '\0';
	for (size_t len = 150; len < 1300; len += 7) {
		memset(text, '|', len); /* three bytes each */
		text[len] = '\0';
		subject_key(name, &part, 1, &one);
		assert_true(one.key_len < CHARGE_KEY_MAX);
		assert_int_equal(strlen(one.key), one.key_len);
		assert_int_equal(one.subject_at, LIMIT_NAME_MAX + 1);
		text[len - 1] = 'x';
		subject_key(name, &part, 1, &other);
		assert_string_not_equal(one.key, other.key);
	}
	/* Just short enough, and one more. */
	memset(text, 'a', 193);
	text[192] = '\0';
	subject_key(name, &part, 1, &one);
	assert_int_equal(one.key_len - one.subject_at, 192);
	text[192] = 'a';
	text[193] = '\0';
	subject_key(name, &part, 1, &one);
	assert_int_equal(one.key[one.subject_at], '#');
}

static void tokens(void **state)
{
	static const struct {
		const char *why;
		enum charge_token token;
		const char *instance, *recipient;
		const char *want; /* "": none */
	} cases[] = {
	    {"nothing to name", TOKEN_NONE, "1a.2b.0", "a@b.example", ""},
	    {"a message", TOKEN_MESSAGE, "1a.2b.0", "a@b.example", "gw/1a.2b.0"},
	    {"a recipient", TOKEN_RECIPIENT, "1a.2b.0", "A@B.example",
	     "gw/1a.2b.0/R/a@b.example"},
	    {"a refusal", TOKEN_REFUSAL, "1a.2b.0", "a@b.example",
	     "gw/1a.2b.0/X/a@b.example"},
	    {"a refusal before RCPT", TOKEN_REFUSAL, "1a.2b.0", "", "gw/1a.2b.0/X/"},
	    {"no instance", TOKEN_MESSAGE, "", "a@b.example", ""},
	    {"a recipient that has no canonical form", TOKEN_RECIPIENT, "1a.2b.0", "a@@",
	     ""},
	    {"of the message, it does not matter", TOKEN_MESSAGE, "1a.2b.0", "a@@",
	     "gw/1a.2b.0"},
	};
	static char host[] = "gw";
	static struct config config = {.hostname = host};
	static struct facts facts;
	static struct plan plan = {.facts = &facts};
	char got[PLAN_TOKEN_MAX];
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		facts.instance = slice(cases[i].instance);
		address_canonical(
		    cases[i].recipient, strlen(cases[i].recipient), "", &facts.recipient);
		plan.token = cases[i].token;
		size_t len = plan_token(&config, &plan, got);
		if (len != strlen(cases[i].want) || memcmp(got, cases[i].want, len) != 0)
			fail_msg("%s: %.*s", cases[i].why, (int)len, got);
	}
}

/* Long ones are bounded, and still told apart. */
static void long_tokens(void **state)
{
	static char host[300], instance[4000], recipient[1200];
	static struct config config = {.hostname = host};
	static struct facts facts;
	static struct plan plan = {.facts = &facts, .token = TOKEN_RECIPIENT};
	char one[PLAN_TOKEN_MAX], other[PLAN_TOKEN_MAX];
	(void)state;

	memset(host, 'h', 290);
	memset(instance, 'i', sizeof(instance));
	memset(recipient, 'r', 1000);
	strcpy(recipient + 1000, "@example.org");
	facts.instance = (struct slice){instance, sizeof(instance)};
	address_canonical(recipient, strlen(recipient), "", &facts.recipient);
	assert_int_equal(facts.recipient.kind, ADDRESS_OK);
	size_t len = plan_token(&config, &plan, one);
	assert_true(len > 0 && len < PLAN_TOKEN_MAX);

	instance[3999] = 'j';
	assert_int_equal(plan_token(&config, &plan, other), len);
	assert_memory_not_equal(one, other, len);
	instance[3999] = 'i';
	recipient[999] = 's';
	address_canonical(recipient, strlen(recipient), "", &facts.recipient);
	assert_int_equal(plan_token(&config, &plan, other), len);
	assert_memory_not_equal(one, other, len);
	host[289] = 'i';
	recipient[999] = 'r';
	address_canonical(recipient, strlen(recipient), "", &facts.recipient);
	assert_int_equal(plan_token(&config, &plan, other), len);
	assert_memory_not_equal(one, other, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_each_asks),
	    cmocka_unit_test(long_subjects),
	    cmocka_unit_test(tokens),
	    cmocka_unit_test(long_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
