/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/lists.h"
#include "common/siphash.h"

#include <ctype.h>
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

/* The published vectors of SipHash-2-4: key 00..0f, messages 00, 01, ... */
static void hashes_as_published(void **state)
{
	(void)state;
	static const struct {
		size_t len;
		uint64_t want;
	} rows[] = {
	    {0, 0x726fdb47dd0e0e31U},  {1, 0x74f839c593dc67fdU},
	    {7, 0xab0200f58b01d137U},  {8, 0x93f5f5799a932462U},
	    {15, 0xa129ca6149be45e5U}, {63, 0x958a324ceb064572U},
	};
	const uint64_t key[2] = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
	unsigned char message[64];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (siphash(message, rows[i].len, key, 2, 4) != rows[i].want)
			fail_msg("message of %zu bytes", rows[i].len);
}

/* ---- against a scan of all entries ---- */

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)((random_state >> 32) * n >> 32);
}

#define DOMAINS   62
#define LOCALS    40
#define NAIVE_MAX 400

/* Canonical by construction. */
static char domains[DOMAINS][48];
static bool below[DOMAINS][DOMAINS]; /* the first is a subdomain of the second */

/* In the order in which they win. */
enum form { FORM_NULL, FORM_ADDRESS, FORM_USER, FORM_DOMAIN, FORM_PARENT };

struct naive {
	enum form form;
	uint32_t local, domain;
};

static struct naive naive[NAIVE_MAX];
static uint32_t naive_count;

static void make_domains(void)
{
	static const char *const labels[] = {"a", "b", "mail", "r3---sn", "x-1"};
	static const char *const roots[] = {"example.org", "test"};
	size_t n = 0;

	for (int root = 0; root < 2; root++) {
		strcpy(domains[n++], roots[root]);
		for (int i = 0; i < 5; i++) {
			snprintf(
			    domains[n++], sizeof(domains[0]), "%s.%s", labels[i],
			    roots[root]);
			for (int j = 0; j < 5; j++)
				snprintf(
				    domains[n++], sizeof(domains[0]), "%s.%s.%s",
				    labels[j], labels[i], roots[root]);
		}
	}
	assert_int_equal(n, DOMAINS);
	for (size_t i = 0; i < DOMAINS; i++) {
		for (size_t j = 0; j < DOMAINS; j++) {
			size_t child = strlen(domains[i]), parent = strlen(domains[j]);
			const char *tail = domains[i] + child - parent;
			below[i][j] = child > parent && tail[-1] == '.' &&
				      strcmp(tail, domains[j]) == 0;
		}
	}
}

static const char *print(const struct naive *entry, char buf[static 96])
{
	const char *domain = domains[entry->domain];

	switch (entry->form) {
	case FORM_NULL:
		strcpy(buf, "<>");
		break;
	case FORM_ADDRESS:
		snprintf(buf, 96, "user%u@%s", entry->local, domain);
		break;
	case FORM_USER:
		snprintf(buf, 96, "user%u@", entry->local);
		break;
	case FORM_DOMAIN:
		snprintf(buf, 96, "@%s", domain);
		break;
	case FORM_PARENT:
		snprintf(buf, 96, ".%s", domain);
		break;
	}
	return buf;
}

/* Another spelling of a canonical text. */
static void disguise(const char *canonical, char *buf, size_t size)
{
	const char *at = strrchr(canonical, '@');
	size_t local_len = at && at != canonical ? (size_t)(at - canonical) : 0;
	char local[64] = "";

	memcpy(local, canonical, local_len);
	switch (local_len ? random_below(6) : 5) {
	case 0:
		snprintf(buf, size, "\"%s\"%s", local, canonical + local_len);
		break;
	case 1:
		snprintf(buf, size, "%s+tag%s", local, canonical + local_len);
		break;
	case 2:
		snprintf(buf, size, "\\%s%s", local, canonical + local_len);
		break;
	default:
		snprintf(buf, size, "%s", canonical);
		break;
	}
	for (char *c = buf; *c; c++)
		if (random_below(3) == 0)
			*c = (char)toupper((unsigned char)*c);
	if (at && at[1] && random_below(4) == 0)
		strcat(buf, ".");
}

static void random_entry(struct address_list *list, uint32_t line)
{
	static const enum form forms[] = {
	    FORM_NULL,
	    FORM_USER,
	    FORM_DOMAIN,
	    FORM_PARENT,
	};
	struct naive *entry = &naive[naive_count++];
	uint32_t form = random_below(16);
	char canonical[96], text[128];

	*entry = (struct naive){
	    .form = form < 4 ? forms[form] : FORM_ADDRESS,
	    .local = random_below(LOCALS),
	    .domain = random_below(DOMAINS),
	};
	disguise(print(entry, canonical), text, sizeof(text));
	add(list, text, line);
}

static bool fits(const struct naive *entry, const struct naive *address)
{
	if (address->form == FORM_NULL || entry->form == FORM_NULL)
		return address->form == entry->form;
	switch (entry->form) {
	case FORM_NULL:
		break;
	case FORM_ADDRESS:
		return entry->local == address->local && entry->domain == address->domain;
	case FORM_USER:
		return entry->local == address->local;
	case FORM_DOMAIN:
		return entry->domain == address->domain;
	case FORM_PARENT:
		return below[address->domain][entry->domain];
	}
	return false;
}

/* The line that wins, 0 for none. */
static uint32_t naive_match(const struct naive *address)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < naive_count; i++) {
		if (!fits(&naive[i], address))
			continue;
		const struct naive *other = &naive[best ? best - 1 : 0];
		if (!best || naive[i].form < other->form ||
		    (naive[i].form == FORM_PARENT && other->form == FORM_PARENT &&
		     below[naive[i].domain][other->domain]))
			best = i + 1;
	}
	return best;
}

static void equals_a_scan(void **state)
{
	(void)state;
	size_t hits = 0, misses = 0;

	random_state = 42;
	make_domains();
	for (uint32_t round = 0; round < 100; round++) {
		CLEANUP(address_list_freep) struct address_list *list = list_new();
		naive_count = 0;
		for (uint32_t n = 1 + random_below(NAIVE_MAX); naive_count < n;)
			random_entry(list, naive_count + 1);
		seal(list);
		for (int i = 0; i < 2000; i++) {
			struct naive wanted = {
			    .form = random_below(50) ? FORM_ADDRESS : FORM_NULL,
			    .local = random_below(LOCALS),
			    .domain = random_below(DOMAINS),
			};
			char text[96], spelled[128] = "";
			struct address address;
			struct list_match match;
			if (wanted.form != FORM_NULL)
				disguise(print(&wanted, text), spelled, sizeof(spelled));
			address_canonical(spelled, strlen(spelled), "+", &address);
			uint32_t line = naive_match(&wanted);
			bool found = address_list_match(list, &address, &match);
			*(found ? &hits : &misses) += 1;
			if (found != (line > 0) ||
			    (line &&
			     (match.where.line != line ||
			      strcmp(match.text, print(&naive[line - 1], text)) != 0)))
				fail_msg(
				    "round %u: %s: %d line %u, wanted line %u", round,
				    spelled, found, match.where.line, line);
		}
	}
	assert_true(hits > 20000 && misses > 20000);
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
	    cmocka_unit_test(hashes_as_published),
	    cmocka_unit_test(equals_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
