/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Subjects as operators write them against the keys that requests are counted under: the
 * keys come from decide(), never from this test.
 */

#include "policyd/counter_name.h"

#include "policyd/core/decide.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

enum {
	BY_USER,
	BY_CLIENT,
	BY_SENDER,
	BY_SENDER_DOMAIN,
	BY_RECIPIENT,
	BY_RECIPIENT_DOMAIN,
	BY_EVERYONE,
	BY_PAIR
};

#define LIMIT(name, per, more)                                                           \
	"{\"name\": \"" name "\", \"per\": " per                                         \
	", \"count\": \"messages\", \"max\": 10, "                                       \
	"\"window\": \"1h\"" more "}"

static const char text[] =
    "{\"domains\": {\"example.org\": {\"limits\": {\"sender\": 77}}},\n"
    "\"auth\": {\"default_realm\": \"example.org\", \"require_tls\": false,\n"
    "\"sender\": \"any\", \"blocked_ports\": []},\n"
    "\"limits\": [\n" LIMIT(
	"user", "\"user\"", ", \"override\": {\"boss@example.org\": 99, \"free@example.org\": null}") ",\n" LIMIT("client", "\"client\"", ", \"override\": {\"192.0.2.0/24\": 5}") ",\n" LIMIT("sender", "\"sender\"", "") ",\n" LIMIT("sender-domain", "\"sender_domain\"", "") ",\n" LIMIT("recipient", "\"recipient\"", "") ",\n" LIMIT("recipient-domain", "\"recipient_domain\"", "") ",\n" LIMIT("everyone", "\"everyone\"", "") ",\n" LIMIT("pair", "[\"client\", \"user\"]", ", \"override\": {\"boss@example.org\": 8}") "]}";

static struct config *config;

static int set_up(void **state)
{
	(void)state;
	config = load_good(text);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	config = config_unref(config);
	return 0;
}

struct asked {
	const char *client, *user, *sender, *recipient;
};

/* The counter that a request has at limit number @index. */
static const struct charge *counted(const struct asked *asked, size_t index)
{
	static struct plan plan;
	static struct facts facts;
	struct request request = {.state = STATE_RCPT};

	request.client_address = (struct slice){asked->client, strlen(asked->client)};
	request.sasl_method = (struct slice){"PLAIN", 5};
	request.sasl_username = (struct slice){asked->user, strlen(asked->user)};
	request.sender = (struct slice){asked->sender, strlen(asked->sender)};
	request.recipient = (struct slice){asked->recipient, strlen(asked->recipient)};
	request.recipient_count = (struct slice){"1", 1};
	/* Recipients are counted one by one, the rest once the message is there. */
	if (index != BY_RECIPIENT && index != BY_RECIPIENT_DOMAIN)
		request.state = STATE_END_OF_MESSAGE;
	facts_read(config, &request, &facts);
	decide(config, &facts, &plan, NULL);
	for (size_t i = 0; i < plan.charges_count; i++)
		if (plan.charges[i].limit == index)
			return &plan.charges[i];
	fail_msg("limit %zu counts nothing", index);
	return NULL;
}

static const struct asked ada = {
    "192.0.2.7", "Ada@Example.ORG", "ada+list@example.org", "Joe@outside.example"};
static const struct asked bare = {
    "2001:DB8:1:2:3::4", "ada", "",
    "joe@b\xc3\xbc"
    "cher.example"};
static const struct asked odd = {"nonsense", "a|b%c d@example.org", "a@b@", "x y"};

static const struct {
	const char *why;
	const struct asked *asked;
	const char *kind, *name;
	size_t limit;
} rows[] = {
    {"a SASL user, however written", &ada, NULL, "ADA@example.org.", BY_USER},
    {"a SASL user, narrowed", &ada, "user", "ada@example.org", BY_USER},
    {"a login without its realm", &ada, "user", "ada", BY_USER},
    {"with the realm, a login without", &bare, NULL, "ada@example.org", BY_USER},
    {"a client", &ada, NULL, "192.0.2.7", BY_CLIENT},
    {"a mapped client", &ada, "client", "::ffff:192.0.2.7", BY_CLIENT},
    {"any address of an IPv6 network", &bare, NULL, "2001:db8:1:2::99", BY_CLIENT},
    {"the network as usage shows it", &bare, "client", "2001:db8:1:2::/64", BY_CLIENT},
    {"a sender without its extension", &ada, NULL, "ada@example.org", BY_SENDER},
    {"a sender with another one", &ada, "sender", "ada+x@example.org", BY_SENDER},
    {"the null sender", &bare, NULL, "<>", BY_SENDER},
    {"a sender's domain", &ada, NULL, "Example.org", BY_SENDER_DOMAIN},
    {"a sender's domain behind an @", &ada, "sender", "@example.org", BY_SENDER_DOMAIN},
    {"a sender's domain by its own kind", &ada, "sender_domain", "example.org",
     BY_SENDER_DOMAIN},
    {"a recipient", &ada, NULL, "joe@OUTSIDE.example", BY_RECIPIENT},
    {"a recipient's domain", &ada, "recipient", "outside.example", BY_RECIPIENT_DOMAIN},
    {"an A-label for a U-label", &bare, NULL, "xn--bcher-kva.example",
     BY_RECIPIENT_DOMAIN},
    {"everyone", &ada, NULL, "*", BY_EVERYONE},
    {"what cannot be parsed", &odd, NULL, "?", BY_CLIENT},
    {"a name that keys escape", &odd, NULL, "a|b%c d@example.org", BY_USER},
};

static void test_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct counter_name *name;
		const char *wrong = "";
		char key[CHARGE_KEY_MAX] = "";
		int r =
		    counter_name_new(config, rows[i].kind, rows[i].name, &name, &wrong);
		if (r < 0)
			fail_msg("%s: %d, %s", rows[i].why, r, wrong);
		const struct charge *charge = counted(rows[i].asked, rows[i].limit);
		bool found = counter_name_key(name, rows[i].limit, key);
		if (!found || strcmp(key, charge->key) != 0)
			fail_msg("%s: \"%s\" for \"%s\"", rows[i].why, key, charge->key);
		counter_name_free(name);
	}
}

/* A kind keeps the others out, and so does what the text cannot be. */
static void test_narrow(void **state)
{
	(void)state;
	static const struct {
		const char *kind, *name;
		unsigned limits; /* set of those with a key for it */
	} narrow[] = {
	    {"user", "ada@example.org", 1 << BY_USER},
	    {"sender", "ada@example.org", 1 << BY_SENDER},
	    {"recipient", "ada@example.org", 1 << BY_RECIPIENT},
	    {"client", "192.0.2.7", 1 << BY_CLIENT},
	    {"recipient_domain", "example.org", 1 << BY_RECIPIENT_DOMAIN},
	    {NULL, "ada@example.org", 1 << BY_USER | 1 << BY_SENDER | 1 << BY_RECIPIENT},
	    {NULL, "@example.org", 1 << BY_SENDER_DOMAIN | 1 << BY_RECIPIENT_DOMAIN},
	    {NULL, "<>", 1 << BY_SENDER},
	};
	for (size_t i = 0; i < sizeof(narrow) / sizeof(narrow[0]); i++) {
		struct counter_name *name;
		const char *wrong;
		char key[CHARGE_KEY_MAX];
		unsigned limits = 0;
		assert_int_equal(
		    counter_name_new(
			config, narrow[i].kind, narrow[i].name, &name, &wrong),
		    0);
		for (size_t limit = 0; limit < config->limits_count; limit++)
			if (counter_name_key(name, limit, key))
				limits |= 1U << limit;
		if (limits != narrow[i].limits)
			fail_msg(
			    "%s: %#x for %#x", narrow[i].name, limits, narrow[i].limits);
		counter_name_free(name);
	}
}

static void test_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *kind, *name, *says;
	} wrong_rows[] = {
	    {"host", "192.0.2.7", "a subject is a client"},
	    {"client", "ada@example.org", "no IP address"},
	    {"client", "192.0.2.0/24", "no IP address"},
	    {"sender_domain", "a@b", "no address, user name or domain"},
	};
	for (size_t i = 0; i < sizeof(wrong_rows) / sizeof(wrong_rows[0]); i++) {
		struct counter_name *name;
		const char *wrong = "";
		int r = counter_name_new(
		    config, wrong_rows[i].kind, wrong_rows[i].name, &name, &wrong);
		if (r != -EINVAL || !strstr(wrong, wrong_rows[i].says))
			fail_msg("%s: %d, \"%s\"", wrong_rows[i].name, r, wrong);
	}
}

/* From the key of a request back to what the request was judged by. */
static void test_back(void **state)
{
	(void)state;
	static const struct asked boss = {
	    "198.51.100.1", "boss", "boss@example.org", "joe@outside.example"};
	static const struct {
		const struct asked *asked;
		size_t limit;
		const char *subject;
	} back[] = {
	    {&ada, BY_USER, "ada@example.org"},
	    {&boss, BY_USER, "boss@example.org"},
	    {&ada, BY_CLIENT, "192.0.2.7"},
	    {&bare, BY_CLIENT, "2001:db8:1:2::/64"},
	    {&ada, BY_SENDER, "ada@example.org"},
	    {&bare, BY_SENDER, "<>"},
	    {&ada, BY_PAIR, "192.0.2.7|ada@example.org"},
	    {&boss, BY_PAIR, "198.51.100.1|boss@example.org"},
	    {&odd, BY_USER, "a|b%c d@example.org"},
	};
	for (size_t i = 0; i < sizeof(back) / sizeof(back[0]); i++) {
		const struct charge *charge = counted(back[i].asked, back[i].limit);
		struct counter counter;
		assert_true(counter_read(config, charge->key, charge->key_len, &counter));
		assert_int_equal(counter.limit, back[i].limit);
		assert_string_equal(counter.subject, back[i].subject);
		if (counter.is_unlimited || counter.max != charge->max)
			fail_msg(
			    "%s: max %d for %d", back[i].subject, (int)counter.max,
			    (int)charge->max);
	}
	struct counter counter;
	assert_true(counter_read(config, "user:free@example.org", 21, &counter));
	assert_true(counter.is_unlimited);
	assert_false(counter_read(config, "gone:ada@example.org", 20, &counter));
	assert_false(counter_read(config, "user", 4, &counter));
	assert_false(counter_read(config, "use:ada", 7, &counter));
	/* Whoever writes to Redis may name a key like this: behind the NUL is no limit.
	 */
	assert_false(counter_read(config, "user\0and so on and on:ada", 25, &counter));
}

/* Of several things at a time each is a name of it, and no part of one. */
static void test_parts(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		bool is_of;
	} parts[] = {
	    {"192.0.2.7", true},
	    {"ada@example.org", true},
	    {"ada", true},
	    {"192.0.2.70", false},
	    {"192.0.2.8", false},
	    {"da@example.org", false},
	    {"a@example.org", false},
	    {"example.org", false},
	};
	const struct charge *charge = counted(&ada, BY_PAIR);
	struct counter counter;

	assert_true(counter_read(config, charge->key, charge->key_len, &counter));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct counter_name *name;
		const char *wrong;
		char key[CHARGE_KEY_MAX];
		assert_int_equal(
		    counter_name_new(config, NULL, parts[i].name, &name, &wrong), 0);
		assert_false(counter_name_key(name, BY_PAIR, key));
		if (counter_is_of(config, &counter, name) != parts[i].is_of)
			fail_msg("%s", parts[i].name);
		counter_name_free(name);
	}
	struct counter_name *name;
	const char *wrong;
	assert_int_equal(counter_name_new(config, "sender", "a@b.c", &name, &wrong), 0);
	assert_false(counter_name_is_part(name, BY_PAIR));
	assert_false(counter_name_is_part(name, BY_SENDER));
	counter_name_free(name);
	assert_int_equal(counter_name_new(config, "user", "a@b.c", &name, &wrong), 0);
	assert_true(counter_name_is_part(name, BY_PAIR));
	counter_name_free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_narrow, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_wrong, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_back, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_parts, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
