/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/permit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

static const char text[] =
    "{ \"domains\": { \"a.example\": {}, \"b.example\": { \"subdomains\": true },"
    "                 \"c.example\": {} },"
    "  \"auth\": { \"default_realm\": \"a.example\" },"
    "  \"relay\": { \"hosts\": [ \"192.0.2.1\","
    "    { \"host\": \"192.0.2.2\", \"senders\": [\"@a.example\", \"@far.example\"] },"
    "    { \"host\": \"192.0.2.3\", \"senders\": [\"@a.example\", \"<>\"] },"
    "    { \"host\": \"192.0.2.4\", \"unknown_domains\": true },"
    "    { \"host\": \"192.0.2.5\", \"senders\": [\"news@a.example\"] } ] },"
    "  \"milter\": { \"dkim\": { \"match\": \"%s\" } } }";

#define ANY      0
#define ENVELOPE 1
#define USER     2
static struct config *configs[3];

static int set_up(void **state)
{
	static const char *const matches[] = {"any", "envelope", "user"};
	char buf[2048];
	if (config_files_setup(state) != 0)
		return -1;
	for (int i = 0; i < 3; i++) {
		snprintf(buf, sizeof(buf), text, matches[i]);
		configs[i] = load_good(buf);
	}
	return 0;
}

static int tear_down(void **state)
{
	for (int i = 0; i < 3; i++)
		config_unref(configs[i]);
	return config_files_teardown(state);
}

#define LOCAL "local"
#define ALL   "any envelope user"
#define NONE  ""

static const struct {
	const char *why;
	const char *client; /* an address, LOCAL */
	const char *user;   /* NULL: not authenticated; "": a name that is none */
	const char *sender, *author;
	const char *signed_with;  /* the ways of match that permit it */
	enum sign_permit refusal; /* the other ways' answer */
} rows[] = {
    /* Who is nobody. */
    {"a stranger with our domain everywhere", "203.0.113.1", NULL, "x@a.example",
     "x@a.example", NONE, SIGN_STRANGER},
    {"a stranger, null sender", "203.0.113.1", NULL, "", "x@a.example", NONE,
     SIGN_STRANGER},
    /* Users. */
    {"his own domain", "203.0.113.1", "x@a.example", "x@a.example", "x@a.example", ALL,
     SIGN_PERMITTED},
    {"another author of his domain", "203.0.113.1", "x@a.example", "x@a.example",
     "y@a.example", ALL, SIGN_PERMITTED},
    {"tenant A with MAIL FROM:<> and tenant B's From", "203.0.113.1", "x@a.example", "",
     "y@b.example", "any", SIGN_DISAGREES},
    {"tenant A with tenant B's From", "203.0.113.1", "x@a.example", "x@a.example",
     "y@b.example", "any", SIGN_DISAGREES},
    {"tenant A with tenant B's From and envelope", "203.0.113.1", "x@a.example",
     "y@b.example", "y@b.example", "any envelope", SIGN_DISAGREES},
    {"a user without realm, null sender: the default realm's", "203.0.113.1", "x", "",
     "x@a.example", ALL, SIGN_DISAGREES},
    {"a user without realm, null sender, another domain", "203.0.113.1", "x", "",
     "x@c.example", "any", SIGN_DISAGREES},
    {"a login that is no name", "203.0.113.1", "", "", "x@a.example", "any",
     SIGN_DISAGREES},
    {"an author from elsewhere", "203.0.113.1", "x@a.example", "x@a.example",
     "x@elsewhere.example", NONE, SIGN_NOT_SERVED},
    {"an author beneath a domain without subdomains", "203.0.113.1", "x@a.example",
     "x@a.example", "x@host.a.example", NONE, SIGN_NOT_SERVED},
    {"an envelope sender that is none", "203.0.113.1", "x@a.example", "@@", "x@a.example",
     "any user", SIGN_DISAGREES},
    {"a login answers for himself, not for the relay host he comes from", "192.0.2.1",
     "x@a.example", "", "y@b.example", "any", SIGN_DISAGREES},
    {"a login is not bound by the senders of where he comes from", "192.0.2.5",
     "x@b.example", "x@b.example", "x@b.example", ALL, SIGN_PERMITTED},
    /* Agreement up and down. */
    {"the envelope beneath the author", "203.0.113.1", "x@b.example",
     "bounce@mail.b.example", "x@b.example", ALL, SIGN_PERMITTED},
    {"the author beneath the envelope", "203.0.113.1", "x@b.example", "x@b.example",
     "x@host.b.example", ALL, SIGN_PERMITTED},
    {"siblings", "203.0.113.1", "x@one.b.example", "x@one.b.example", "x@two.b.example",
     "any", SIGN_DISAGREES},
    {"an envelope above everything", "203.0.113.1", "x@example", "x@example",
     "x@a.example", "any", SIGN_DISAGREES},
    {"a name that only ends alike", "203.0.113.1", "x@ab.example", "x@ab.example",
     "x@b.example", "any", SIGN_DISAGREES},
    /* Local mail. */
    {"local", LOCAL, NULL, "x@a.example", "x@a.example", ALL, SIGN_PERMITTED},
    {"local, null sender", LOCAL, NULL, "", "x@a.example", ALL, SIGN_PERMITTED},
    {"local, another author", LOCAL, NULL, "x@a.example", "x@b.example", "any",
     SIGN_DISAGREES},
    {"local, an author from elsewhere", LOCAL, NULL, "", "x@elsewhere.example", NONE,
     SIGN_NOT_SERVED},
    /* Relay hosts. */
    {"a relay host", "192.0.2.1", NULL, "x@a.example", "x@a.example", ALL,
     SIGN_PERMITTED},
    {"a relay host, null sender", "192.0.2.1", NULL, "", "x@a.example", "any",
     SIGN_DISAGREES},
    {"a backup MX brings in outside mail with our From", "192.0.2.1", NULL,
     "spam@elsewhere.example", "x@a.example", NONE, SIGN_STRANGER},
    {"the same where unknown domains may relay", "192.0.2.4", NULL,
     "spam@elsewhere.example", "x@a.example", "any", SIGN_DISAGREES},
    {"the same under a top-level domain", "192.0.2.4", NULL, "spam@example",
     "x@a.example", "any", SIGN_DISAGREES},
    {"an entry with senders", "192.0.2.2", NULL, "x@a.example", "x@a.example", ALL,
     SIGN_PERMITTED},
    {"an entry with senders, null sender not among them", "192.0.2.2", NULL, "",
     "x@a.example", NONE, SIGN_STRANGER},
    {"an entry with senders, another domain as author", "192.0.2.2", NULL, "x@a.example",
     "x@c.example", NONE, SIGN_NOT_LISTED},
    {"an entry with senders, an author elsewhere that it lists", "192.0.2.2", NULL,
     "x@far.example", "x@far.example", NONE, SIGN_NOT_SERVED},
    {"an entry that lists <>", "192.0.2.3", NULL, "", "x@a.example", ALL, SIGN_PERMITTED},
    {"an entry that lists <>, another domain as author", "192.0.2.3", NULL, "",
     "x@c.example", NONE, SIGN_NOT_LISTED},
    {"an entry with one sender, and that author", "192.0.2.5", NULL, "news@a.example",
     "news@a.example", ALL, SIGN_PERMITTED},
    {"an entry with one sender, another author of the domain", "192.0.2.5", NULL,
     "news@a.example", "ceo@a.example", ALL, SIGN_PERMITTED},
    {"an entry with one sender, an author below the domain", "192.0.2.5", NULL,
     "news@a.example", "x@host.b.example", NONE, SIGN_NOT_LISTED},
};

static void address_of(const char *from, struct address *ret)
{
	address_canonical(from, strlen(from), "+", ret);
}

static void run(size_t i, int match)
{
	const struct config *config = configs[match];
	const char *name = match == ANY ? "any" : match == ENVELOPE ? "envelope" : "user";
	struct address user = {.kind = ADDRESS_ABSENT}, sender, author;
	struct client client = {0};
	address_of(rows[i].sender, &sender);
	address_of(rows[i].author, &author);
	if (rows[i].user)
		user_canonical(rows[i].user, strlen(rows[i].user), &user);
	if (rows[i].user && !rows[i].user[0])
		user.kind = ADDRESS_BAD;
	ip_parse(rows[i].client, strlen(rows[i].client), &client.ip);
	struct sign_facts facts = {
	    .local = strcmp(rows[i].client, LOCAL) == 0,
	    .user = &user,
	    .relay = relay_host_look_up(config, &client, &sender, NULL),
	    .sender = &sender,
	    .author = &author,
	};
	const struct domain *domain = NULL;
	enum sign_permit got = sign_permitted(config, &facts, &domain);
	bool wanted = strstr(rows[i].signed_with, name) != NULL;
	if (got != (wanted ? SIGN_PERMITTED : rows[i].refusal))
		fail_msg("%s, match %s: %s", rows[i].why, name, sign_permit_text(got));
	if ((got == SIGN_PERMITTED) != (domain != NULL))
		fail_msg("%s, match %s: domain", rows[i].why, name);
	if (domain && !domain_is_within(address_domain(&author), domain->name))
		fail_msg("%s: signed as %s", rows[i].why, domain->name);
	/* What is impossible before the author is known stays so. */
	if (!sign_possible(&facts) && got == SIGN_PERMITTED)
		fail_msg("%s, match %s: was not possible", rows[i].why, name);
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int match = 0; match < 3; match++)
			run(i, match);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
