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

DEFINE_CLEANUP(struct address_list, address_list_free)

#define TEN "aaaaaaaaaa"
#define L60 TEN TEN TEN TEN TEN TEN

static struct address_list *list_new(void)
{
	struct address_list *list = NULL;

	assert_int_equal(address_list_new(&list), 0);
	return list;
}

static const char *try_add(
    struct address_list *list, const char *text, uint32_t line, uint32_t payload)
{
	static char errbuf[256];
	struct list_entry entry = {
	    .where = {.file = "senders", .line = line},
	    .payload = payload,
	};
	/* Exactly its size, and without a NUL. */
	size_t len = strlen(text);
	char *copy = malloc(len + !len);
	memcpy(copy, text, len);
	const char *error = address_list_add(list, copy, len, "+", &entry, errbuf);
	free(copy);
	return error;
}

static void add(struct address_list *list, const char *text, uint32_t line)
{
	const char *error = try_add(list, text, line, 0);

	if (error)
		fail_msg("%s: %s", text, error);
}

static size_t seal(struct address_list *list)
{
	size_t repeated = 12345;

	assert_int_equal(address_list_seal(list, &repeated), 0);
	return repeated;
}

static const struct {
	const char *text;
	const char *canonical; /* NULL: refused */
	const char *why;
} entry_rows[] = {
    {"user@example.org", "user@example.org", "address"},
    {"User+tag@EXAMPLE.org.", "user@example.org", "address in another spelling"},
    {"\"a b\"@example.org", "a b@example.org", "quoted"},
    {"user@bücher.example", "user@xn--bcher-kva.example", "IDN"},
    {"@example.org", "@example.org", "domain"},
    {"Example.ORG", "@example.org", "domain without the @"},
    {"bücher.example", "@xn--bcher-kva.example", "domain, IDN"},
    {".Example.org", ".example.org", "subdomains"},
    {"User@", "user@", "user in any domain"},
    {"user+tag@", "user@", "user in any domain, extension"},
    {"\"a b\"@", "a b@", "user in any domain, quoted"},
    {"<>", "<>", "null sender"},
    {"@[192.0.2.1]", "@[192.0.2.1]", "address literal"},
    {"[192.0.2.1]", "@[192.0.2.1]", "address literal without the @"},
    {"localhost", "@localhost", "domain of one label"},
    {"", NULL, "nothing"},
    {"@", NULL, "an @"},
    {".", NULL, "a dot"},
    {"*", NULL, "a star"},
    {"*@example.org", "*@example.org", "a star is a local part"},
    {"@*.example.org", NULL, "wildcard domain"},
    {"@.example.org", NULL, "an @ and a dot"},
    {".[192.0.2.1]", NULL, "subdomains of a literal"},
    {"a b", NULL, "a blank"},
    {"user@exa mple.org", NULL, "a blank in the domain"},
    {"user@a..b", NULL, "empty label"},
    {"\"\"@", NULL, "empty user"},
    {"a@b@", NULL, "an address before the last @"},
    {"j\xfcrgen@example.org", NULL, "Latin-1"},
    {"<user@example.org>", NULL, "brackets"},
};

static void takes_and_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(entry_rows) / sizeof(entry_rows[0]); i++) {
		CLEANUP(address_list_freep) struct address_list *list = list_new();
		const char *want = entry_rows[i].canonical;
		const char *error = try_add(list, entry_rows[i].text, 1, 0);
		if (!error != !!want)
			fail_msg(
			    "%s: \"%s\": %s", entry_rows[i].why, entry_rows[i].text,
			    error);
		assert_int_equal(address_list_count(list), !error);
		assert_int_equal(address_list_empty(list), !!error);
		/* The canonical form is the same entry. */
		if (want)
			add(list, want, 2);
		size_t repeated = seal(list);
		if (want && repeated != 1)
			fail_msg("%s: not %s", entry_rows[i].why, want);
	}
}

#define MAX_ENTRIES 5

static const struct {
	const char *entries[MAX_ENTRIES];
	const char *address;
	const char *text; /* of the match, NULL for none */
	const char *why;
} match_rows[] = {
    {{NULL}, "user@example.org", NULL, "an empty list"},
    {{"user@example.org"}, "user@example.org", "user@example.org", "address"},
    {{"user@example.org"}, "USER@EXAMPLE.ORG.", "user@example.org", "case, final dot"},
    {{"user@example.org"}, "user+x@example.org", "user@example.org", "extension"},
    {{"user+x@example.org"}, "user+y@example.org", "user@example.org", "both sides"},
    {{"user@example.org"}, "\"us\\er\"@example.org", "user@example.org", "quotes"},
    {{"user@example.org"}, "user@example.net", NULL, "another domain"},
    {{"user@example.org"}, "xuser@example.org", NULL, "another user"},
    {{"user@example.org"}, "user", NULL, "no domain"},
    {{"user@example.org"}, "user@a.example.org", NULL, "a subdomain"},
    {{"@bücher.example"}, "a@XN--BCHER-KVA.example", "@xn--bcher-kva.example", "IDN"},
    {{"@xn--bcher-kva.example"},
     "a@BÜCHER.example",
     "@xn--bcher-kva.example",
     "IDN, the other way"},
    {{"@example.org"}, "user@example.org", "@example.org", "domain"},
    {{"example.org"}, "user@example.org", "@example.org", "domain without the @"},
    {{"example.org"}, "user@a.example.org", NULL, "a domain is not its subdomains"},
    {{"example.org"}, "user@badexample.org", NULL, "a domain is not its tail"},
    {{".example.org"}, "user@a.example.org", ".example.org", "subdomain"},
    {{".example.org"}, "user@a.b.example.org", ".example.org", "subdomain, deeper"},
    {{".example.org"}, "user@example.org", NULL, "the domain is no subdomain"},
    {{".example.org"}, "user@badexample.org", NULL, "a tail is no subdomain"},
    {{".org"}, "user@example.org", ".org", "subdomains of one label"},
    {{"user@"}, "user@example.org", "user@", "user in any domain"},
    {{"user@"}, "User+x@example.net", "user@", "user in any domain, extension"},
    {{"user@"}, "user", "user@", "user in no domain"},
    {{"user@"}, "xuser@example.org", NULL, "another user"},
    {{"<>"}, "", "<>", "null sender"},
    {{"user@", "@example.org", ".org"}, "", NULL, "null sender, not listed"},
    {{"<>"}, "<>", NULL, "brackets that came as text"},
    {{"<>"}, "user@example.org", NULL, "null sender alone"},
    {{"example.org"}, "example.org", NULL, "an address without domain is no domain"},
    {{"@example.org", ".org", "user@", "user@example.org"},
     "user@example.org",
     "user@example.org",
     "the address first"},
    {{"@example.org", ".org", "user@"}, "user@example.org", "user@", "then user@"},
    {{"@example.org", ".org"}, "user@example.org", "@example.org", "then @domain"},
    {{".org", ".example.org"},
     "user@a.example.org",
     ".example.org",
     "the nearest parent"},
    {{"@d.example"}, "user@c.example@d.example", "@d.example", "the last @ splits"},
    {{"@c.example"}, "user@c.example@d.example", NULL, "the first @ does not"},
    {{"@c.example"}, "\"user@c.example\"@d.example", NULL, "nor a quoted one"},
    {{"@c.example"}, "user%c.example@d.example", NULL, "percent hack"},
    {{"@c.example"}, "c.example!user@d.example", NULL, "bang path"},
    {{"@[192.0.2.1]"}, "user@[192.0.2.1]", "@[192.0.2.1]", "literal"},
    {{".0.2.1", ".1"}, "user@[192.0.2.1]", NULL, "a literal has no parents"},
    {{"@example.org", ".org", "user@"}, "user@exa mple.org", NULL, "a bad address"},
    {{"@example.org", ".org", "user@"}, "@example.org", NULL, "a bad address, no user"},
};

static void matches(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(match_rows) / sizeof(match_rows[0]); i++) {
		CLEANUP(address_list_freep) struct address_list *list = list_new();
		for (uint32_t n = 0; n < MAX_ENTRIES && match_rows[i].entries[n]; n++)
			add(list, match_rows[i].entries[n], n + 1);
		seal(list);
		const char *text = match_rows[i].address, *want = match_rows[i].text;
		struct address address;
		address_canonical(text, strlen(text), "+", &address);
		struct list_match match = {.text = ""};
		bool found = address_list_match(list, &address, &match);
		if (found != !!want || (want && strcmp(match.text, want) != 0))
			fail_msg("%s: %d \"%s\"", match_rows[i].why, found, match.text);
		assert_int_equal(address_list_match(list, &address, NULL), found);
	}
}

static void without_a_list(void **state)
{
	(void)state;
	CLEANUP(address_list_freep) struct address_list *list = list_new();
	struct address absent = {.kind = ADDRESS_ABSENT};

	assert_false(address_list_match(NULL, &absent, NULL));
	assert_true(address_list_empty(NULL));
	assert_int_equal(address_list_count(NULL), 0);
	assert_null(address_list_free(NULL));
	add(list, "<>", 1);
	add(list, "user@", 2);
	seal(list);
	assert_false(address_list_match(list, &absent, NULL));
}

static void tells_where(void **state)
{
	(void)state;
	static const struct {
		const char *text, *file, *reason;
		uint32_t line, column, payload;
	} rows[] = {
	    {"a@x.org", "one", NULL, 1, 0, 0},
	    {"b@x.org", "one", "spam", 127, 0, 0},
	    {"c@x.org", "one", "spam", 128, 0, 0},
	    {"g@x.org", "one", "spam", 128, 1, 0},
	    {"h@x.org", "one", "ham", 128, 1, 0},
	    {"i@x.org", "one", "ham", 128, 1, 1},
	    {"d@x.org", "two", NULL, 16384, 9, 0},
	    {"e@x.org", "one", NULL, UINT32_MAX, 0, 5},
	    {"f@x.org", "three", "", 0, UINT32_MAX, UINT32_MAX},
	    {"@x.org", "two", "the \"rest\"", 2097152, 1, 200},
	    {"<>", "three", "null", 3, 0, 1},
	};
	const size_t n = sizeof(rows) / sizeof(rows[0]);
	CLEANUP(address_list_freep) struct address_list *list = list_new();
	char errbuf[256];

	for (size_t i = 0; i < n; i++) {
		struct list_entry entry = {
		    .reason = rows[i].reason,
		    .where = {rows[i].file, rows[i].line, rows[i].column},
		    .payload = rows[i].payload,
		};
		assert_null(address_list_add(
		    list, rows[i].text, strlen(rows[i].text), "+", &entry, errbuf));
	}
	assert_int_equal(seal(list), 0);
	for (size_t i = 0; i < n; i++) {
		const char *text = rows[i].text;
		struct address address;
		struct list_match match;
		text = text[0] == '@' ? "z@x.org" : text[0] == '<' ? "" : text;
		address_canonical(text, strlen(text), "+", &address);
		assert_true(address_list_match(list, &address, &match));
		assert_string_equal(match.text, rows[i].text);
		assert_string_equal(match.where.file, rows[i].file);
		assert_int_equal(match.where.line, rows[i].line);
		assert_int_equal(match.where.column, rows[i].column);
		assert_int_equal(match.payload, rows[i].payload);
		if (rows[i].reason)
			assert_string_equal(match.reason, rows[i].reason);
		else
			assert_null(match.reason);
	}
}

static void seals(void **state)
{
	(void)state;
	CLEANUP(address_list_freep) struct address_list *list = list_new();
	CLEANUP(address_list_freep) struct address_list *other = list_new();
	struct list_match first, second;
	size_t repeated = 12345;

	add(list, "a@x.org", 1);
	add(list, "A+t@X.org", 2);
	add(list, "b@x.org", 3);
	add(list, "x.org", 4);
	add(list, "@x.org", 5);
	assert_int_equal(seal(list), 2);

	assert_null(try_add(other, "b@x.org", 1, 1));
	assert_null(try_add(other, "a@x.org", 2, 1));
	assert_null(try_add(other, "A@X.org", 3, 2));
	assert_int_equal(address_list_seal(other, &repeated), -EEXIST);
	assert_int_equal(repeated, 12345);
	address_list_conflict(other, &first, &second);
	assert_string_equal(first.text, "a@x.org");
	assert_int_equal(first.where.line, 2);
	assert_int_equal(first.payload, 1);
	assert_string_equal(second.text, "a@x.org");
	assert_int_equal(second.where.line, 3);
	assert_int_equal(second.payload, 2);
}

/* The longest entry there can be, and none longer. */
static void takes_the_longest(void **state)
{
	(void)state;
	CLEANUP(address_list_freep) struct address_list *list = list_new();
	char text[ADDRESS_TEXT_MAX + 1];
	struct address address;
	struct list_match match;

	memset(text, 'u', ADDRESS_LOCAL_MAX);
	strcpy(text + ADDRESS_LOCAL_MAX, "@" L60 "." L60 "." L60 "." L60 ".aaaaaaaaa");
	assert_int_equal(strlen(text), ADDRESS_TEXT_MAX - 1);
	add(list, text, 1);
	text[ADDRESS_LOCAL_MAX + 1] = '\0';
	add(list, text, 2);
	seal(list);
	text[ADDRESS_LOCAL_MAX + 1] = 'a';
	address_canonical(text, strlen(text), "+", &address);
	assert_true(address_list_match(list, &address, &match));
	assert_string_equal(match.text, text);
	text[ADDRESS_LOCAL_MAX] = '\0';
	address_canonical(text, strlen(text), "+", &address);
	assert_true(address_list_match(list, &address, &match));
	assert_int_equal(strlen(match.text), ADDRESS_LOCAL_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_and_refuses),
	    cmocka_unit_test(matches),
	    cmocka_unit_test(without_a_list),
	    cmocka_unit_test(tells_where),
	    cmocka_unit_test(seals),
	    cmocka_unit_test(takes_the_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
