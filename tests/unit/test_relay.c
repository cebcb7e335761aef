/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

struct row {
	const char *client, *name, *sender;
	enum relay_host_result result;
	const char *why;
};

/* "absent" is a sender not known, "" the null sender. */
static void expect(const struct config *config, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct client client = {0};
		struct address sender = {.kind = ADDRESS_ABSENT};
		struct list_match match;

		if (rows[i].client[0])
			assert_true(
			    ip_parse(rows[i].client, strlen(rows[i].client), &client.ip));
		strcpy(client.name, rows[i].name);
		if (strcmp(rows[i].sender, "absent") != 0)
			address_canonical(
			    rows[i].sender, strlen(rows[i].sender), "+", &sender);
		struct relay_host found =
		    relay_host_look_up(config, &client, &sender, &match);
		if (found.result != rows[i].result)
			fail_msg("%s: got %d", rows[i].why, (int)found.result);
		found = relay_host_look_up(config, &client, &sender, NULL);
		assert_int_equal(found.result, rows[i].result);
	}
}

static void hosts_and_senders(void **state)
{
	(void)state;
	struct config *config = load_good(
	    "{\"domains\": {\"example.org\": {\"subdomains\": true}, \"example.com\": "
	    "{\"auth\": false}},\n"
	    "\"relay\": {\"hosts\": [\"192.0.2.0/24\", \"!192.0.2.13\", "
	    "\"host:mail.example.net\",\n"
	    "{\"host\": \"198.51.100.7\", \"senders\": [\"@shop.example\"]},\n"
	    "{\"host\": \"198.51.100.8\", \"senders\": [\"@shop.example\", \"<>\"]},\n"
	    "{\"host\": \"198.51.100.9\", \"senders\": []},\n"
	    "{\"hosts\": [\"203.0.113.1\", \"203.0.113.2\"], \"unknown_domains\": "
	    "true}]}}");
	static const struct row rows[] = {
	    {"192.0.2.1", "", "a@example.org", RELAY_HOST_GRANTS, "served domain"},
	    {"192.0.2.1", "", "a@host.example.org", RELAY_HOST_GRANTS, "its subdomain"},
	    {"192.0.2.1", "", "a@example.com", RELAY_HOST_GRANTS,
	     "auth false is about users"},
	    {"192.0.2.1", "", "a@sub.example.com", RELAY_HOST_NOT_SENDER,
	     "subdomain of one without them"},
	    {"192.0.2.1", "", "a@other.example", RELAY_HOST_NOT_SENDER, "not served"},
	    {"192.0.2.1", "", "", RELAY_HOST_GRANTS, "null sender"},
	    {"192.0.2.1", "", "absent", RELAY_HOST_NOT_SENDER, "sender not known yet"},
	    {"192.0.2.1", "", "a@example..org", RELAY_HOST_NOT_SENDER,
	     "cannot be parsed"},
	    {"192.0.2.1", "", "ada", RELAY_HOST_NOT_SENDER, "no domain"},
	    {"::ffff:192.0.2.1", "", "a@example.org", RELAY_HOST_GRANTS, "mapped"},
	    {"192.0.2.13", "", "a@example.org", RELAY_HOST_NO, "excepted"},
	    {"192.0.2.13", "mail.example.net", "", RELAY_HOST_NO,
	     "an exception beats the name"},
	    {"192.0.3.1", "mail.example.net", "a@example.org", RELAY_HOST_GRANTS,
	     "by name"},
	    {"192.0.3.1", "x.example.net", "a@example.org", RELAY_HOST_NO,
	     "another name"},
	    {"192.0.3.1", "", "a@example.org", RELAY_HOST_CANNOT_TELL, "name not known"},
	    {"198.51.100.7", "", "a@shop.example", RELAY_HOST_GRANTS, "its own sender"},
	    {"198.51.100.7", "", "a@example.org", RELAY_HOST_NOT_SENDER,
	     "exactly those, not the served ones"},
	    {"198.51.100.7", "", "", RELAY_HOST_NOT_SENDER, "null, not listed"},
	    {"198.51.100.7", "", "absent", RELAY_HOST_NOT_SENDER,
	     "not known, with a rule"},
	    {"198.51.100.8", "", "", RELAY_HOST_GRANTS, "null, listed"},
	    {"198.51.100.9", "", "a@example.org", RELAY_HOST_NOT_SENDER, "empty list"},
	    {"198.51.100.9", "", "", RELAY_HOST_NOT_SENDER, "empty list, null sender"},
	    {"203.0.113.2", "", "a@other.example", RELAY_HOST_GRANTS, "unknown domains"},
	    {"203.0.113.2", "", "a@example..org", RELAY_HOST_NOT_SENDER,
	     "unknown domains, cannot be parsed"},
	    {"203.0.113.2", "", "absent", RELAY_HOST_NOT_SENDER,
	     "unknown domains, not known"},
	};
	expect(config, rows, COUNT(rows));
	config_unref(config);
}

static void unknown_domains_everywhere(void **state)
{
	(void)state;
	struct config *config = load_good(
	    "{\"relay\": {\"unknown_domains\": true, \"hosts\": [\"192.0.2.1\",\n"
	    "{\"host\": \"192.0.2.2\", \"senders\": [\"@shop.example\"]}]}}");
	static const struct row rows[] = {
	    {"192.0.2.1", "", "a@other.example", RELAY_HOST_GRANTS, "any domain"},
	    {"192.0.2.2", "", "a@other.example", RELAY_HOST_NOT_SENDER,
	     "an entry with senders keeps to them"},
	    {"192.0.2.3", "", "a@other.example", RELAY_HOST_NO, "another host"},
	};
	expect(config, rows, COUNT(rows));
	config_unref(config);
}

static void an_empty_configuration_grants_nothing(void **state)
{
	(void)state;
	struct config *config = load_good("{}");
	static const struct row rows[] = {
	    {"192.0.2.1", "mail.example.net", "a@example.org", RELAY_HOST_NO,
	     "a stranger"},
	    {"127.0.0.1", "localhost", "", RELAY_HOST_NO, "loopback"},
	    {"", "", "", RELAY_HOST_NO, "nothing known"},
	};
	expect(config, rows, COUNT(rows));
	config_unref(config);
}

/* What matched is told with its rule, its reason and its place. */
static void the_match(void **state)
{
	(void)state;
	struct config *config = load_good(
	    "{\"relay\": {\"hosts\": [\"192.0.2.0/24\",\n"
	    "{\"hosts\": [\"192.0.2.7\"], \"unknown_domains\": true, \"reason\": \"web "
	    "shop\"}]}}");
	struct address sender = {.kind = ADDRESS_NULL};
	struct client client = {0};
	struct list_match match;

	assert_true(ip_parse("192.0.2.7", 9, &client.ip));
	struct relay_host found = relay_host_look_up(config, &client, &sender, &match);
	assert_int_equal(found.result, RELAY_HOST_GRANTS);
	assert_ptr_equal(found.rule, &config->relay.host_rules[0]);
	assert_true(found.rule->unknown_domains);
	assert_string_equal(match.reason, "web shop");
	assert_string_equal(match.where.file, "c.json");
	assert_int_equal(match.where.line, 2);

	assert_true(ip_parse("192.0.2.8", 9, &client.ip));
	found = relay_host_look_up(config, &client, &sender, &match);
	assert_null(found.rule);
	assert_null(match.reason);
	assert_int_equal(match.where.line, 1);
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts_and_senders),
	    cmocka_unit_test(unknown_domains_everywhere),
	    cmocka_unit_test(an_empty_configuration_grants_nothing),
	    cmocka_unit_test(the_match),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
