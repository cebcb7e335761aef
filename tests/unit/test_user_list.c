/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/lists.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

DEFINE_CLEANUP(struct user_list, user_list_free)

static const char *try_add(
    struct user_list *list, const char *text, uint32_t line, uint32_t payload)
{
	static char errbuf[256];
	struct list_entry entry = {
	    .reason = "because",
	    .where = {.file = "users", .line = line},
	    .payload = payload,
	};

	return user_list_add(list, text, strlen(text), &entry, errbuf);
}

static const struct {
	const char *text;
	bool taken;
	const char *why;
} entry_rows[] = {
    {"ada", true, "name"},
    {"ada@example.org", true, "name with a realm"},
    {"Ada+x@bücher.example", true, "name, IDN"},
    {"@example.org", true, "realm"},
    {"", false, "nothing"},
    {"  ", false, "blanks"},
    {"@", false, "an @"},
    {"ada@", false, "no realm"},
    {"@a..b", false, "no domain"},
    {"@*", false, "any realm"},
    {"a\xff", false, "no UTF-8"},
};

static void takes_and_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(entry_rows) / sizeof(entry_rows[0]); i++) {
		CLEANUP(user_list_freep) struct user_list *list = NULL;
		size_t repeated;
		assert_int_equal(user_list_new(&list), 0);
		const char *error = try_add(list, entry_rows[i].text, 1, 0);
		if (!error != entry_rows[i].taken)
			fail_msg("%s: %s", entry_rows[i].why, error);
		assert_int_equal(user_list_count(list), entry_rows[i].taken);
		assert_int_equal(user_list_empty(list), !entry_rows[i].taken);
		assert_int_equal(user_list_seal(list, &repeated), 0);
	}
}

static const struct {
	const char *entries[3];
	const char *user;
	const char *text; /* of the match, NULL for none */
	const char *why;
} match_rows[] = {
    {{NULL}, "ada", NULL, "an empty list"},
    {{"ada"}, "ada", "ada", "name"},
    {{"ada"}, " ADA\n", "ada", "case, blanks"},
    {{" Ada "}, "ada", "ada", "case, blanks, the other way"},
    {{"ada"}, "ada@example.org", NULL, "a name is not one with a realm"},
    {{"ada@example.org"}, "Ada@Example.ORG.", "ada@example.org", "name with a realm"},
    {{"ada@example.org"}, "ada", NULL, "no realm"},
    {{"ada@example.org"}, "ada+x@example.org", NULL, "a login has no extension"},
    {{"@example.org"}, "ada@example.org", "@example.org", "realm"},
    {{"@example.org"}, "ada@a.example.org", NULL, "a realm is not its subdomains"},
    {{"@example.org"}, "ada", NULL, "a realm is not those without"},
    {{"@example.org"}, "@example.org", NULL, "a realm is no user"},
    {{"@example.org"}, "ada@x@example.org", "@example.org", "the last @ splits"},
    {{"@x"}, "ada@x@example.org", NULL, "the first @ does not"},
    {{"@example.org", "ada@example.org"},
     "ada@example.org",
     "ada@example.org",
     "the name first"},
    {{"@bücher.example"}, "ada@xn--bcher-kva.example", "@xn--bcher-kva.example", "IDN"},
    {{"ada"}, "", NULL, "no user"},
    {{"ada"}, "ada@a..b", NULL, "a bad user"},
};

static void matches(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(match_rows) / sizeof(match_rows[0]); i++) {
		CLEANUP(user_list_freep) struct user_list *list = NULL;
		size_t repeated;
		assert_int_equal(user_list_new(&list), 0);
		for (uint32_t n = 0; n < 3 && match_rows[i].entries[n]; n++)
			assert_null(try_add(list, match_rows[i].entries[n], n + 1, n));
		assert_int_equal(user_list_seal(list, &repeated), 0);
		const char *want = match_rows[i].text;
		struct address user;
		user_canonical(match_rows[i].user, strlen(match_rows[i].user), &user);
		struct list_match match = {.text = ""};
		bool found = user_list_match(list, &user, &match);
		if (found != !!want || (want && strcmp(match.text, want) != 0))
			fail_msg("%s: %d \"%s\"", match_rows[i].why, found, match.text);
		assert_int_equal(user_list_match(list, &user, NULL), found);
		if (!found)
			continue;
		assert_string_equal(match.where.file, "users");
		assert_int_equal(match.where.line, match.payload + 1);
		assert_string_equal(match.reason, "because");
	}
}

static void seals(void **state)
{
	(void)state;
	CLEANUP(user_list_freep) struct user_list *list = NULL, *other = NULL;
	struct list_match first, second;
	size_t repeated = 12345;

	assert_int_equal(user_list_new(&list), 0);
	assert_null(try_add(list, "ada", 1, 0));
	assert_null(try_add(list, "ADA", 2, 0));
	assert_null(try_add(list, "ada@x.org", 3, 0));
	assert_int_equal(user_list_seal(list, &repeated), 0);
	assert_int_equal(repeated, 1);

	assert_int_equal(user_list_new(&other), 0);
	assert_null(try_add(other, "@X.org", 1, 7));
	assert_null(try_add(other, "@x.org.", 2, 8));
	assert_int_equal(user_list_seal(other, &repeated), -EEXIST);
	user_list_conflict(other, &first, &second);
	assert_string_equal(first.text, "@x.org");
	assert_int_equal(first.where.line, 1);
	assert_int_equal(second.where.line, 2);
}

static void without_a_list(void **state)
{
	(void)state;
	struct address user;

	user_canonical("ada", 3, &user);
	assert_false(user_list_match(NULL, &user, NULL));
	assert_true(user_list_empty(NULL));
	assert_int_equal(user_list_count(NULL), 0);
	assert_null(user_list_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_and_refuses),
	    cmocka_unit_test(matches),
	    cmocka_unit_test(seals),
	    cmocka_unit_test(without_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
