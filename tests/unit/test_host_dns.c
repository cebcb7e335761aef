/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/host_dns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A list of one to five entries; those from DNS with what they resolve to: "" is nothing,
 * NULL not resolved. */
struct entry_row {
	const char *text, *networks;
};

static struct ip_set set_of(const char *text, enum ip_family family)
{
	struct ip_set set = {0};

	while (text && *text) {
		struct ip_set one;
		struct ip_prefix prefix;
		size_t n = strcspn(text, " ");
		assert_null(ip_prefix_parse(text, n, &prefix));
		if (prefix.ip.family == family) {
			assert_int_equal(ip_set_prefix(&prefix, &one), 0);
			assert_int_equal(ip_set_add(&set, &one), 0);
			ip_set_done(&one);
		}
		text += n + (text[n] == ' ');
	}
	return set;
}

static const char *add(
    struct host_list *list, const char *text, uint32_t line, uint32_t payload)
{
	static char errbuf[256];
	struct list_entry entry = {
	    .where = {.file = "hosts", .line = line, .column = 1}, .payload = payload};

	return host_list_add(list, text, strlen(text), true, &entry, errbuf);
}

static struct host_list *list_of(const struct entry_row *rows, size_t count)
{
	struct host_list *list;
	size_t repeated;

	assert_int_equal(host_list_new(&list), 0);
	for (uint32_t i = 0; i < count && rows[i].text; i++)
		assert_null(add(list, rows[i].text, i + 1, 0));
	assert_int_equal(host_list_seal(list, &repeated), 0);
	return list;
}

static void publish(struct host_list *list, const struct entry_row *rows, size_t count)
{
	struct host_dns *dns = host_list_dns(list);
	struct host_dns_networks networks[5] = {{0}};
	struct ip_set v4[5] = {{0}}, v6[5] = {{0}};

	for (size_t i = 0; i < host_dns_count(dns); i++) {
		size_t row = host_dns_entry(dns, i)->where.line - 1;
		assert_true(row < count);
		if (!rows[row].networks)
			continue;
		v4[i] = set_of(rows[row].networks, IP_V4);
		v6[i] = set_of(rows[row].networks, IP_V6);
		networks[i] = (struct host_dns_networks){&v4[i], &v6[i]};
	}
	assert_int_equal(host_dns_publish(dns, networks), 0);
	for (size_t i = 0; i < 5; i++) {
		ip_set_done(&v4[i]);
		ip_set_done(&v6[i]);
	}
}

static const char *const result_names[] = {
    [HOST_NO_MATCH] = "no match",
    [HOST_MATCH] = "match",
    [HOST_EXCEPTION] = "exception",
    [HOST_CANNOT_TELL] = "cannot tell",
};

static void test_order(void **state)
{
	static const struct {
		const char *why;
		struct entry_row entries[5];
		const char *ip, *name;
		enum host_result result, as_block;
		const char *text;
	} rows[] = {
	    {"an address from DNS",
	     {{"n.example", "192.0.2.1"}},
	     "192.0.2.1",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "n.example"},
	    {"IPv6",
	     {{"n.example/spf", "192.0.2.1 2001:db8::/48"}},
	     "2001:db8::7",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "n.example/spf"},
	    {"another address",
	     {{"n.example/a", "192.0.2.1"}},
	     "192.0.2.2",
	     "",
	     HOST_NO_MATCH,
	     HOST_NO_MATCH,
	     NULL},
	    {"resolved to nothing",
	     {{"n.example/a", ""}},
	     "192.0.2.2",
	     "",
	     HOST_NO_MATCH,
	     HOST_NO_MATCH,
	     NULL},
	    {"not resolved",
	     {{"n.example/a", NULL}},
	     "192.0.2.2",
	     "",
	     HOST_CANNOT_TELL,
	     HOST_CANNOT_TELL,
	     NULL},
	    {"one of two is not resolved, the other matches",
	     {{"n.example/a", NULL}, {"m.example/a", "192.0.2.1"}},
	     "192.0.2.1",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "m.example/a"},
	    {"a written address needs no DNS",
	     {{"n.example/a", NULL}, {"192.0.2.0/24", NULL}},
	     "192.0.2.1",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "192.0.2.0/24"},
	    {"a name needs no DNS",
	     {{"n.example/a", NULL}, {".example.org", NULL}},
	     "192.0.2.1",
	     "x.example.org",
	     HOST_MATCH,
	     HOST_MATCH,
	     ".example.org"},
	    {"the first of two in the list",
	     {{"n.example/a", "192.0.2.1"}, {"m.example/a", "192.0.2.0/24"}},
	     "192.0.2.1",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "n.example/a"},
	    {"the first of two in the list, the wider one first",
	     {{"m.example/a", "192.0.2.0/24"}, {"n.example/a", "192.0.2.1"}},
	     "192.0.2.1",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "m.example/a"},
	    {"a written exception beats DNS",
	     {{"n.example/a", "192.0.2.1"}, {"!192.0.2.0/24", NULL}},
	     "192.0.2.1",
	     "",
	     HOST_EXCEPTION,
	     HOST_EXCEPTION,
	     "!192.0.2.0/24"},
	    {"an exception by name beats DNS",
	     {{"n.example/a", "192.0.2.1"}, {"!.example.org", NULL}},
	     "192.0.2.1",
	     "x.example.org",
	     HOST_EXCEPTION,
	     HOST_EXCEPTION,
	     "!.example.org"},
	    {"an exception by name, and the name is not known",
	     {{"n.example/a", "192.0.2.1"}, {"!.example.org", NULL}},
	     "192.0.2.1",
	     "",
	     HOST_CANNOT_TELL,
	     HOST_MATCH,
	     NULL},
	    {"an exception from DNS beats DNS",
	     {{"n.example/spf", "192.0.2.0/24"}, {"!n.example/a", "192.0.2.1"}},
	     "192.0.2.1",
	     "",
	     HOST_EXCEPTION,
	     HOST_EXCEPTION,
	     "!n.example/a"},
	    {"for its address alone",
	     {{"n.example/spf", "192.0.2.0/24"}, {"!n.example/a", "192.0.2.1"}},
	     "192.0.2.2",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "n.example/spf"},
	    {"an exception from DNS beats a name",
	     {{".example.org", NULL}, {"!n.example/a", "192.0.2.1"}},
	     "192.0.2.1",
	     "x.example.org",
	     HOST_EXCEPTION,
	     HOST_EXCEPTION,
	     "!n.example/a"},
	    {"an exception from DNS beats a wider written range",
	     {{"192.0.2.0/24", NULL}, {"!n.example/a", "192.0.2.1"}},
	     "192.0.2.1",
	     "",
	     HOST_EXCEPTION,
	     HOST_EXCEPTION,
	     "!n.example/a"},
	    {"and one that is as wide",
	     {{"192.0.2.0/24", NULL}, {"!n.example/spf", "192.0.2.0/24"}},
	     "192.0.2.1",
	     "",
	     HOST_EXCEPTION,
	     HOST_EXCEPTION,
	     "!n.example/spf"},
	    {"but not a narrower one",
	     {{"192.0.2.1", NULL}, {"!n.example/spf", "192.0.2.0/24"}},
	     "192.0.2.1",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "192.0.2.1"},
	    {"IPv6: narrower",
	     {{"2001:db8::1", NULL}, {"!n.example/spf", "2001:db8::/32"}},
	     "2001:db8::1",
	     "",
	     HOST_MATCH,
	     HOST_MATCH,
	     "2001:db8::1"},
	    {"IPv6: wider",
	     {{"2001:db8::/47", NULL}, {"!n.example/spf", "2001:db8::/48"}},
	     "2001:db8::1",
	     "",
	     HOST_EXCEPTION,
	     HOST_EXCEPTION,
	     "!n.example/spf"},
	    {"an exception that is not resolved may be anybody: an address",
	     {{"192.0.2.1", NULL}, {"!n.example/a", NULL}},
	     "192.0.2.1",
	     "",
	     HOST_CANNOT_TELL,
	     HOST_MATCH,
	     NULL},
	    {"an exception that is not resolved may be anybody: a name",
	     {{".example.org", NULL}, {"!n.example/a", NULL}},
	     "192.0.2.1",
	     "x.example.org",
	     HOST_CANNOT_TELL,
	     HOST_MATCH,
	     NULL},
	    {"an exception that is not resolved may be anybody: DNS",
	     {{"m.example/a", "192.0.2.1"}, {"!n.example/a", NULL}},
	     "192.0.2.1",
	     "",
	     HOST_CANNOT_TELL,
	     HOST_MATCH,
	     NULL},
	    {"but nobody who does not match",
	     {{"192.0.2.1", NULL}, {"!n.example/a", NULL}},
	     "192.0.2.2",
	     "",
	     HOST_NO_MATCH,
	     HOST_NO_MATCH,
	     NULL},
	    {"a client without address",
	     {{"n.example/a", "192.0.2.1"}},
	     "",
	     "x.example.org",
	     HOST_NO_MATCH,
	     HOST_NO_MATCH,
	     NULL},
	    {"a name's client without address may be the exception",
	     {{".example.org", NULL}, {"!n.example/a", "192.0.2.1"}},
	     "",
	     "x.example.org",
	     HOST_CANNOT_TELL,
	     HOST_CANNOT_TELL,
	     NULL},
	    {"an IPv6 network around the mapped addresses is none of IPv4",
	     {{"n.example/spf", "::/32"}},
	     "192.0.2.1",
	     "",
	     HOST_NO_MATCH,
	     HOST_NO_MATCH,
	     NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct host_list *list = list_of(rows[i].entries, 5);
		struct list_match match;
		struct client client = {0};
		publish(list, rows[i].entries, 5);
		ip_parse(rows[i].ip, strlen(rows[i].ip), &client.ip);
		snprintf(client.name, sizeof(client.name), "%s", rows[i].name);
		for (unsigned block = 0; block < 2; block++) {
			enum host_result want = block ? rows[i].as_block : rows[i].result;
			enum host_result got =
			    block ? host_list_match_block(list, &client, &match)
				  : host_list_match(list, &client, &match);
			if (got != want)
				fail_msg(
				    "%s%s: %s, not %s", rows[i].why,
				    block ? " (block)" : "", result_names[got],
				    result_names[want]);
			if (rows[i].text && strcmp(match.text, rows[i].text) != 0)
				fail_msg("%s: %s matched", rows[i].why, match.text);
			assert_int_equal(
			    host_list_match(list, &client, NULL), rows[i].result);
		}
		host_list_free(list);
	}
}

static void test_before_the_first_publication(void **state)
{
	static const struct entry_row rows[] = {{"192.0.2.1", NULL}, {"n.example", NULL}};
	struct host_list *list = list_of(rows, 2);
	struct client client = {.ip = {IP_V4, {192, 0, 2, 2}}};

	(void)state;
	assert_int_equal(host_list_match(list, &client, NULL), HOST_CANNOT_TELL);
	client.ip.bytes[3] = 1;
	assert_int_equal(host_list_match(list, &client, NULL), HOST_MATCH);
	assert_int_equal(host_list_count(list), 2);
	assert_false(host_list_empty(list));
	host_list_free(list);
}

static void test_entries(void **state)
{
	static const struct {
		const char *text, *shown, *domain;
		enum host_dns_kind kind;
		bool exception;
	} rows[] = {
	    {"Mail.Example.ORG.", "mail.example.org", "mail.example.org", HOST_DNS_BOTH,
	     false},
	    {"example.org/a", "example.org/a", "example.org", HOST_DNS_A, false},
	    {"example.org/AAAA", "example.org/aaaa", "example.org", HOST_DNS_AAAA, false},
	    {"b\xc3\xbc"
	     "cher.example/mx",
	     "xn--bcher-kva.example/mx", "xn--bcher-kva.example", HOST_DNS_MX, false},
	    {"_spf.example.org/spf", "_spf.example.org/spf", "_spf.example.org",
	     HOST_DNS_SPF, false},
	    {"!example.org/spf", "example.org/spf", "example.org", HOST_DNS_SPF, true},
	    {"localhost", "localhost", "localhost", HOST_DNS_BOTH, false},
	};
	static const char *const bad[] = {
	    "/a",
	    "!/spf",
	    "example.org/ptr",
	    "example.org/",
	    "example..org",
	    "192.0.2.1/a",
	    "[192.0.2.1]",
	    "exam ple.org",
	    "host:example.org/a",
	    ".example.org/a",
	    "-/spf/spf",
	    "!!example.org/a",
	    "example.999",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct entry_row row = {rows[i].text, NULL};
		struct host_list *list = list_of(&row, 1);
		const struct host_dns *dns = host_list_dns(list);
		assert_int_equal(host_dns_count(dns), 1);
		const struct host_dns_entry *entry = host_dns_entry(dns, 0);
		assert_string_equal(entry->text, rows[i].shown);
		assert_string_equal(entry->domain, rows[i].domain);
		assert_int_equal(entry->kind, rows[i].kind);
		assert_int_equal(entry->exception, rows[i].exception);
		assert_string_equal(entry->where.file, "hosts");
		assert_int_equal(entry->where.line, 1);
		host_list_free(list);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct host_list *list;
		assert_int_equal(host_list_new(&list), 0);
		if (!add(list, bad[i], 1, 0))
			fail_msg("\"%s\" was taken", bad[i]);
		assert_null(host_list_dns(list));
		host_list_free(list);
	}
}

static void test_repeated_and_conflicting(void **state)
{
	struct host_list *list;
	struct list_match first, second;
	size_t repeated;

	(void)state;
	assert_int_equal(host_list_new(&list), 0);
	assert_null(add(list, "example.org/a", 1, 0));
	assert_null(add(list, "example.org", 2, 0));
	assert_null(add(list, "EXAMPLE.org/a", 3, 0));
	assert_null(add(list, "!example.org/a", 4, 0));
	assert_int_equal(host_list_seal(list, &repeated), 0);
	assert_int_equal(repeated, 1);
	host_list_free(list);

	assert_int_equal(host_list_new(&list), 0);
	assert_null(add(list, "example.org/a", 1, 1));
	assert_null(add(list, "example.org/mx", 2, 2));
	assert_null(add(list, "example.org/a", 3, 2));
	assert_int_equal(host_list_seal(list, &repeated), -17);
	host_list_conflict(list, &first, &second);
	assert_int_equal(first.where.line, 1);
	assert_int_equal(second.where.line, 3);
	assert_string_equal(second.text, "example.org/a");
	host_list_free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_before_the_first_publication),
	    cmocka_unit_test(test_entries),
	    cmocka_unit_test(test_repeated_and_conflicting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
