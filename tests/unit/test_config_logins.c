/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static bool allows(const struct config *config, const char *sender, const char *user)
{
	struct address from, login;
	address_canonical(sender, strlen(sender), "+", &from);
	user_canonical(user, strlen(user), &login);
	return config_sender_login_allows(config, &from, &login);
}

static void pairs(void **state)
{
	(void)state;
	write_file(
	    "logins", "# sender users\nsales@example.org ada, bob\tcarl # a team\n"
		      "Sales@Example.ORG.\tdora\n\nexample.net @example.net\n");
	struct config *config = load_good(
	    "{\"auth\": {\"sender_logins\": [\"info@example.org ada@example.org,eve\", "
	    "\"@example.org postmaster\", \"b\xC3\xBC\x63her.example ada\", "
	    "\"file:logins\"]}}");
	static const struct {
		const char *sender, *user;
		bool allowed;
		const char *why;
	} rows[] = {
	    {"info@example.org", "ada@example.org", true, "named with its realm"},
	    {"INFO@Example.org.", "ADA@example.ORG", true, "canonical on both sides"},
	    {"info+list@example.org", "eve", true, "an extension is no other address"},
	    {"info@example.org", "ada", false, "another name without the realm"},
	    {"info@example.org", "postmaster", false,
	     "the address is listed, so its domain's line does not count"},
	    {"other@example.org", "postmaster", true, "the domain's line"},
	    {"other@sub.example.org", "postmaster", false,
	     "a domain is not its subdomains"},
	    {"sales@example.org", "ada", true, "comma and blank"},
	    {"sales@example.org", "bob", true, "behind a comma and blank"},
	    {"sales@example.org", "carl", true, "behind a tab"},
	    {"sales@example.org", "a", false, "a comment is no user"},
	    {"sales@example.org", "dora", true, "two lines add up"},
	    {"x@example.net", "ada@example.net", true, "@realm"},
	    {"x@example.net", "ada@sub.example.net", false,
	     "@realm is not its subdomains"},
	    {"x@example.net", "example.net", false, "a name without a realm"},
	    {"x@xn--bcher-kva.example", "ada", true, "A-label"},
	    {"", "ada", false, "the null sender is not listed"},
	    {"ada", "ada", false, "a sender without a domain"},
	    {"info@example..org", "eve", false, "a sender that cannot be parsed"},
	    {"info@example.org", "", false, "no user"},
	};
	for (size_t i = 0; i < COUNT(rows); i++)
		if (allows(config, rows[i].sender, rows[i].user) != rows[i].allowed)
			fail_msg("%s", rows[i].why);
	config_unref(config);
}

static void none(void **state)
{
	(void)state;
	struct config *config = load_good("{}");
	assert_false(allows(config, "info@example.org", "ada"));
	config_unref(config);
	config = load_good("{\"auth\": {\"sender_logins\": []}}");
	assert_false(allows(config, "info@example.org", "ada"));
	config_unref(config);
}

/* Sorted look-up against the plain meaning, over many pairs. */
static void many(void **state)
{
	(void)state;
	enum { PAIRS = 2000 };
	FILE *file = fopen("many", "w");
	for (int i = 0; i < PAIRS; i++)
		fprintf(file, "s%d@example.org u%d\n", i * 7 % 1000, i);
	assert_int_equal(fclose(file), 0);
	struct config *config =
	    load_good("{\"auth\": {\"sender_logins\": [\"file:many\"]}}");
	for (int i = 0; i < PAIRS; i++) {
		char sender[32], user[16];
		snprintf(sender, sizeof(sender), "s%d@example.org", i * 7 % 1000);
		snprintf(user, sizeof(user), "u%d", i);
		assert_true(allows(config, sender, user));
		snprintf(user, sizeof(user), "u%d", i + 1);
		assert_false(allows(config, sender, user));
	}
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pairs),
	    cmocka_unit_test(none),
	    cmocka_unit_test(many),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
