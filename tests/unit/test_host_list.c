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

DEFINE_CLEANUP(struct host_list, host_list_free)

static struct host_list *list_new(void)
{
	struct host_list *list = NULL;

	assert_int_equal(host_list_new(&list), 0);
	return list;
}

static const char *add_full(
    struct host_list *list, const char *text, bool grants, uint32_t line,
    uint32_t payload, const char *reason)
{
	static char errbuf[256];
	struct list_entry entry = {
	    .reason = reason,
	    .where = {.file = "hosts", .line = line},
	    .payload = payload,
	};
	/* Exactly its size, and without a NUL. */
	size_t len = strlen(text);
	char *copy = malloc(len + !len);
	memcpy(copy, text, len);
	const char *error = host_list_add(list, copy, len, grants, &entry, errbuf);
	free(copy);
	return error;
}

static void add(struct host_list *list, const char *text, uint32_t line, uint32_t payload)
{
	const char *error = add_full(list, text, false, line, payload, NULL);

	if (error)
		fail_msg("%s: %s", text, error);
}

static size_t seal(struct host_list *list)
{
	size_t repeated = 12345;

	assert_int_equal(host_list_seal(list, &repeated), 0);
	return repeated;
}

static struct client client_of(const char *ip, const char *name)
{
	struct client client = {0};

	ip_parse(ip, strlen(ip), &client.ip);
	snprintf(client.name, sizeof(client.name), "%s", name);
	return client;
}

/* ---- what is taken and what is not ---- */

static const struct {
	const char *text;
	bool grants, others; /* taken by a list that grants, by one that does not */
	const char *error;   /* a part of the error */
	const char *why;
} entry_rows[] = {
    {"192.0.2.1", true, true, "", "address"},
    {"192.0.2.0/24", true, true, "", "range"},
    {"2001:DB8::/32", true, true, "", "IPv6 range, upper case"},
    {"::ffff:192.0.2.0/120", true, true, "", "mapped range"},
    {"10.", true, true, "", "one octet"},
    {"192.168.", true, true, "", "two octets"},
    {"192.168.1.", true, true, "", "three octets"},
    {".example.org", true, true, "", "subdomains"},
    {".bücher.example.", true, true, "", "subdomains, IDN, final dot"},
    {"host:mail.example.org", true, true, "", "name"},
    {"HOST:Mail.Example.ORG.", true, true, "", "name, case, final dot"},
    {"!192.0.2.1", true, true, "", "exception"},
    {"!10.", true, true, "", "octets' exception"},
    {"!.example.org", true, true, "", "subdomains' exception"},
    {"!host:a.example.org", true, true, "", "name's exception"},
    {"!any", true, true, "", "taking all out gives nothing"},
    {"!0.0.0.0/0", true, true, "", "taking all out, as a range"},
    {"128.0.0.0/1", true, true, "", "half of all"},
    {"any", false, true, "every host", "all"},
    {"ANY", false, true, "every host", "all, case"},
    {"*", false, true, "every host", "all, as a star"},
    {"0.0.0.0/0", false, true, "every host", "all of IPv4"},
    {"::/0", false, true, "every host", "all of IPv6"},
    {"0::0/0", false, true, "every host", "all of IPv6, spelled otherwise"},
    {"0:0:0:0:0:0:0:0/0", false, true, "every host", "all of IPv6, spelled out"},
    {"::0.0.0.0/0", false, true, "every host", "all of IPv6, dotted"},
    {"::ffff:0:0/96", false, true, "every host", "all of IPv4, mapped"},
    {"::FFFF:0.0.0.0/96", false, true, "every host", "all of IPv4, mapped, dotted"},
    {"0.", false, true, "every host", "looks like all of IPv4"},
    {"0.0.0.", false, true, "every host", "looks like all of IPv4, too"},
    {".", false, false, "expected", "a dot"},
    {"!", false, false, "expected", "exception to nothing"},
    {"!!192.0.2.1", false, false, "expected", "exception to an exception"},
    {"", false, false, "expected", "nothing"},
    {"192.0.2.1/24", false, false, "the network is 192.0.2.0/24", "host bits"},
    {"!192.0.2.1/24", false, false, "the network is 192.0.2.0/24", "host bits, but not"},
    {"2001:db8::1/32", false, false, "the network is 2001:db8::/32", "host bits, IPv6"},
    {"::ffff:10.1.1.1/104", false, false, "the network is 10.0.0.0/8",
     "host bits, mapped"},
    {"0.0.0.1/0", false, false, "the network is 0.0.0.0/0", "host bits, everything"},
    {"192.0.2.0/33", false, false, "0 to 32", "length"},
    {"2001:db8::/129", false, false, "0 to 128", "length, IPv6"},
    {"192.0.2.256", false, false, "not an IP address", "octet over 255"},
    {"192.0.2", false, false, "not an IP address", "three octets, no dot"},
    {"010.", false, false, "octets", "octal octet"},
    {"256.", false, false, "octets", "octet over 255, and a dot"},
    {"1.2.3.4.", false, false, "octets", "four octets and a dot"},
    {"1..", false, false, "octets", "empty octet"},
    {"...", false, false, "not a host name", "dots"},
    {"fe80::1%eth0", false, false, "zone", "zone"},
    {"host:", false, false, "expected", "no name"},
    {"host:.example.org", false, false, "host name", "name with a dot in front"},
    {"host:192.0.2.1:25", false, false, "host name", "name with a port"},
    {"host:[192.0.2.1]", false, false, "host name", "address literal"},
    {"host:a_b..org", false, false, "host name", "empty label"},
    {"host:Unknown", false, false, "never matches", "what is said without a name"},
    {"..example.org", false, false, "host name", "two dots in front"},
    {".*.example.org", false, false, "host name", "wildcard"},
    {"*.example.org", false, false, "expected", "wildcard in front"},
    {"[192.0.2.1]", false, false, "expected", "brackets"},
    {"192.0.2.1 ", false, false, "expected", "blank behind"},
    {"192.0.2.1-192.0.2.9", false, false, "expected", "a span"},
    {"mail.example.org", true, true, "", "plain name"},
    {"!mail.example.org", true, true, "", "plain name's exception"},
    {"localhost", true, true, "", "plain name of one label"},
    {"example.org/a", true, true, "", "DNS name, /a"},
    {"example.org/aaaa", true, true, "", "DNS name, /aaaa"},
    {"example.org/MX", true, true, "", "DNS name, /mx"},
    {"example.org/spf", true, true, "", "DNS name, /spf"},
    {"example.org/txt", false, false, "expected", "DNS name of no kind"},
    {"/mx", false, false, "expected", "kind without a name"},
    {"a b/mx", false, false, "expected", "kind behind no name"},
};

static void takes_and_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(entry_rows) / sizeof(entry_rows[0]); i++) {
		for (int grants = 0; grants < 2; grants++) {
			CLEANUP(host_list_freep) struct host_list *list = list_new();
			bool want = grants ? entry_rows[i].grants : entry_rows[i].others;
			const char *text = entry_rows[i].text;
			const char *error = add_full(list, text, grants, 1, 0, NULL);
			if (!error != want ||
			    (error && !strstr(error, entry_rows[i].error)))
				fail_msg(
				    "%s: \"%s\": %s", entry_rows[i].why, text, error);
			assert_int_equal(host_list_count(list), want);
			assert_int_equal(host_list_empty(list), !want);
			assert_int_equal(seal(list), 0);
		}
	}
}

/* ---- what matches ---- */

#define MAX_ENTRIES 6

static const struct {
	const char *entries[MAX_ENTRIES];
	const char *ip, *name;
	enum host_result result;
	const char *text; /* of the match */
	const char *why;
} match_rows[] = {
    {{NULL}, "192.0.2.1", "a.org", HOST_NO_MATCH, "", "an empty list"},
    {{"192.0.2.1"}, "192.0.2.1", "", HOST_MATCH, "192.0.2.1", "address"},
    {{"192.0.2.1"}, "192.0.2.2", "", HOST_NO_MATCH, "", "another address"},
    {{"192.0.2.1"}, "::ffff:192.0.2.1", "", HOST_MATCH, "192.0.2.1", "mapped client"},
    {{"::ffff:192.0.2.1"}, "192.0.2.1", "", HOST_MATCH, "192.0.2.1", "mapped entry"},
    {{"2001:DB8:0::1"}, "2001:db8::1", "", HOST_MATCH, "2001:db8::1", "IPv6"},
    {{"192.0.2.0/24"}, "192.0.2.0", "", HOST_MATCH, "192.0.2.0/24", "first of a range"},
    {{"192.0.2.0/24"}, "192.0.2.255", "", HOST_MATCH, "192.0.2.0/24", "last of a range"},
    {{"192.0.2.0/24"}, "192.0.3.0", "", HOST_NO_MATCH, "", "behind a range"},
    {{"192.0.2.0/24"}, "192.0.1.255", "", HOST_NO_MATCH, "", "before a range"},
    {{"2001:db8::/32"}, "2001:db8:ffff::1", "", HOST_MATCH, "2001:db8::/32", "IPv6"},
    {{"2001:db8::/32"}, "2001:db9::", "", HOST_NO_MATCH, "", "behind an IPv6 range"},
    {{"10."}, "10.255.0.1", "", HOST_MATCH, "10.0.0.0/8", "one octet"},
    {{"192.168."}, "192.168.7.1", "", HOST_MATCH, "192.168.0.0/16", "two octets"},
    {{"192.168.1."}, "192.168.1.77", "", HOST_MATCH, "192.168.1.0/24", "three octets"},
    {{"192.168.1."}, "192.168.10.1", "", HOST_NO_MATCH, "", "octets, not text"},
    {{"1."}, "10.0.0.1", "", HOST_NO_MATCH, "", "octets, not text, one"},
    {{"::/0"}, "192.0.2.1", "", HOST_NO_MATCH, "", "all of IPv6 is not IPv4"},
    {{"0.0.0.0/0"}, "2001:db8::1", "", HOST_NO_MATCH, "", "all of IPv4 is not IPv6"},
    {{"any"}, "192.0.2.1", "", HOST_MATCH, "any", "all"},
    {{"*"}, "2001:db8::1", "", HOST_MATCH, "any", "all, IPv6"},
    {{"any"}, "unknown", "", HOST_MATCH, "any", "all, and no address"},
    {{"0.0.0.0/0", "::/0"}, "unknown", "", HOST_NO_MATCH, "", "ranges need an address"},
    {{"any", "!192.0.2.0/24"},
     "192.0.2.9",
     "",
     HOST_EXCEPTION,
     "!192.0.2.0/24",
     "all but a range"},
    {{"any", "!any"}, "192.0.2.9", "", HOST_EXCEPTION, "!any", "all but all"},
    {{"!any", "any"}, "unknown", "", HOST_EXCEPTION, "!any", "all but all, no address"},
    {{"!any", "192.0.2.9"}, "192.0.2.9", "", HOST_MATCH, "192.0.2.9", "none but one"},
    {{"192.0.0.0/16", "192.0.2.0/24", "192.0.2.7"},
     "192.0.2.7",
     "",
     HOST_MATCH,
     "192.0.2.7",
     "the most specific of three"},
    {{"192.0.2.7", "192.0.2.0/24", "192.0.0.0/16"},
     "192.0.2.8",
     "",
     HOST_MATCH,
     "192.0.2.0/24",
     "the middle one behind the end of the inner one"},
    {{"192.0.2.7", "192.0.2.0/24", "192.0.0.0/16"},
     "192.0.99.1",
     "",
     HOST_MATCH,
     "192.0.0.0/16",
     "the outer one behind the end of both"},
    {{"10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "!10.1.2.3"},
     "10.1.2.3",
     "",
     HOST_EXCEPTION,
     "!10.1.2.3",
     "out, in, out, in: innermost"},
    {{"10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "!10.1.2.3"},
     "10.1.2.4",
     "",
     HOST_MATCH,
     "10.1.2.0/24",
     "out, in, out, in: third"},
    {{"10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "!10.1.2.3"},
     "10.1.3.0",
     "",
     HOST_EXCEPTION,
     "!10.1.0.0/16",
     "out, in, out, in: second"},
    {{"10.0.0.0/8", "!10.1.0.0/16", "10.1.2.0/24", "!10.1.2.3"},
     "10.2.0.0",
     "",
     HOST_MATCH,
     "10.0.0.0/8",
     "out, in, out, in: outermost"},
    {{"192.0.2.1", "!192.0.2.1"},
     "192.0.2.1",
     "",
     HOST_EXCEPTION,
     "!192.0.2.1",
     "the exception at equal length"},
    {{"!192.0.2.1", "192.0.2.1"},
     "192.0.2.1",
     "",
     HOST_EXCEPTION,
     "!192.0.2.1",
     "the exception at equal length, first"},
    {{"!192.0.2.0/24", "192.0.2.1"},
     "192.0.2.1",
     "",
     HOST_MATCH,
     "192.0.2.1",
     "an entry inside an exception"},
    {{"host:mail.example.org"},
     "192.0.2.1",
     "mail.example.org",
     HOST_MATCH,
     "mail.example.org",
     "name"},
    {{"host:mail.example.org"},
     "192.0.2.1",
     "a.mail.example.org",
     HOST_NO_MATCH,
     "",
     "a name is not its subdomains"},
    {{"host:mail.example.org"},
     "192.0.2.1",
     "example.org",
     HOST_NO_MATCH,
     "",
     "a name is not its parent"},
    {{"host:mail.example.org"},
     "192.0.2.1",
     "xmail.example.org",
     HOST_NO_MATCH,
     "",
     "a name is not its tail"},
    {{".example.org"},
     "192.0.2.1",
     "a.example.org",
     HOST_MATCH,
     ".example.org",
     "subdomain"},
    {{".example.org"},
     "192.0.2.1",
     "a.b.example.org",
     HOST_MATCH,
     ".example.org",
     "subdomain, deeper"},
    {{".example.org"},
     "192.0.2.1",
     "example.org",
     HOST_NO_MATCH,
     "",
     "the name itself is no subdomain"},
    {{".example.org"},
     "192.0.2.1",
     "badexample.org",
     HOST_NO_MATCH,
     "",
     "a tail is none"},
    {{".example.org"},
     "192.0.2.1",
     "example.org.evil.net",
     HOST_NO_MATCH,
     "",
     "a head is none"},
    {{".bücher.example"},
     "192.0.2.1",
     "a.xn--bcher-kva.example",
     HOST_MATCH,
     ".xn--bcher-kva.example",
     "IDN"},
    {{"host:mail.example.org"}, "192.0.2.1", "", HOST_CANNOT_TELL, "", "no name"},
    {{"host:mail.example.org", "192.0.2.1"},
     "192.0.2.1",
     "",
     HOST_MATCH,
     "192.0.2.1",
     "an address needs no name"},
    {{"host:mail.example.org", "!192.0.2.1"},
     "192.0.2.1",
     "",
     HOST_EXCEPTION,
     "!192.0.2.1",
     "an exception needs no name"},
    {{"!192.0.2.1", "host:mail.example.org"},
     "192.0.2.1",
     "mail.example.org",
     HOST_EXCEPTION,
     "!192.0.2.1",
     "a written exception beats a name"},
    {{"!192.0.0.0/16", "host:mail.example.org"},
     "192.0.2.1",
     "mail.example.org",
     HOST_EXCEPTION,
     "!192.0.0.0/16",
     "a wide written exception beats a name"},
    {{".example.org", "!host:bad.example.org"},
     "192.0.2.1",
     "bad.example.org",
     HOST_EXCEPTION,
     "!bad.example.org",
     "a name's exception beats names"},
    {{"host:a.bad.example.org", "!.example.org"},
     "192.0.2.1",
     "a.bad.example.org",
     HOST_EXCEPTION,
     "!.example.org",
     "even a wider one beats names"},
    {{".example.org", "!host:bad.example.org"},
     "192.0.2.1",
     "good.example.org",
     HOST_MATCH,
     ".example.org",
     "a name's exception is for that name"},
    {{"192.0.2.0/24", "!host:bad.example.org", ".example.org"},
     "192.0.2.1",
     "bad.example.org",
     HOST_MATCH,
     "192.0.2.0/24",
     "a name's exception does not beat a written address"},
    {{"!host:bad.example.org"},
     "192.0.2.1",
     "",
     HOST_NO_MATCH,
     "",
     "with exceptions alone no name is needed"},
    {{"host:mail.example.org"},
     "unknown",
     "mail.example.org",
     HOST_MATCH,
     "mail.example.org",
     "a name, and no address"},
    {{"host:mail.example.org", "!192.0.2.1"},
     "unknown",
     "mail.example.org",
     HOST_CANNOT_TELL,
     "",
     "who knows that it is not 192.0.2.1"},
    {{"192.0.2.1", "2001:db8::1"}, "unknown", "", HOST_NO_MATCH, "", "nothing known"},
};

static void matches(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(match_rows) / sizeof(match_rows[0]); i++) {
		CLEANUP(host_list_freep) struct host_list *list = list_new();
		uint32_t line = 0;
		for (; line < MAX_ENTRIES && match_rows[i].entries[line]; line++)
			add(list, match_rows[i].entries[line], line + 1, 0);
		seal(list);
		struct client client = client_of(match_rows[i].ip, match_rows[i].name);
		struct list_match match = {.text = ""};
		enum host_result result = host_list_match(list, &client, &match);
		bool matched = result == HOST_MATCH || result == HOST_EXCEPTION;
		if (result != match_rows[i].result ||
		    (matched && strcmp(match.text, match_rows[i].text) != 0))
			fail_msg("%s: %d \"%s\"", match_rows[i].why, result, match.text);
		assert_int_equal(host_list_match(list, &client, NULL), result);
	}
}

static void without_a_list(void **state)
{
	(void)state;
	struct client client = client_of("192.0.2.1", "a.org");

	assert_int_equal(host_list_match(NULL, &client, NULL), HOST_NO_MATCH);
	assert_true(host_list_empty(NULL));
	assert_int_equal(host_list_count(NULL), 0);
	assert_null(host_list_free(NULL));
}

/* ---- what a match brings back ---- */

static void tells_where(void **state)
{
	(void)state;
	CLEANUP(host_list_freep) struct host_list *list = list_new();
	char file[] = "relay.json", reason[] = "web shop", errbuf[256];
	struct list_entry entry = {
	    .reason = reason,
	    .where = {.file = file, .line = 7, .column = 12},
	    .payload = 3,
	};
	struct list_match match;

	assert_null(host_list_add(list, "192.0.2.1", 9, true, &entry, errbuf));
	assert_null(host_list_add(list, "host:a.org", 10, true, &entry, errbuf));
	/* All of it is copied. */
	memset(file, 'x', sizeof(file) - 1);
	memset(reason, 'x', sizeof(reason) - 1);
	add(list, "192.0.2.0/24", 70000, 0);
	seal(list);

	const char *names[] = {"", "a.org"}, *ips[] = {"192.0.2.1", "203.0.113.1"};
	for (int i = 0; i < 2; i++) {
		struct client client = client_of(ips[i], names[i]);
		assert_int_equal(host_list_match(list, &client, &match), HOST_MATCH);
		assert_string_equal(match.where.file, "relay.json");
		assert_int_equal(match.where.line, 7);
		assert_int_equal(match.where.column, 12);
		assert_int_equal(match.payload, 3);
		assert_string_equal(match.reason, "web shop");
	}
	struct client client = client_of("192.0.2.2", "");
	assert_int_equal(host_list_match(list, &client, &match), HOST_MATCH);
	assert_string_equal(match.where.file, "hosts");
	assert_int_equal(match.where.line, 70000);
	assert_int_equal(match.where.column, 0);
	assert_int_equal(match.payload, 0);
	assert_null(match.reason);
}

/* ---- repeated, covered, contradicting ---- */

static const struct {
	struct {
		const char *text;
		uint32_t payload;
	} entries[MAX_ENTRIES];
	size_t repeated;
	const char *first, *second; /* the contradiction */
	uint32_t first_line, second_line;
	const char *why;
} seal_rows[] = {
    {{{"192.0.2.1", 0}, {"192.0.2.2", 0}}, 0, NULL, NULL, 0, 0, "all different"},
    {{{"192.0.2.1", 0}, {"192.0.2.1/32", 0}}, 1, NULL, NULL, 0, 0, "repeated"},
    {{{"10.", 0}, {"10.0.0.0/8", 0}, {"::ffff:10.0.0.0/104", 0}},
     2,
     NULL,
     NULL,
     0,
     0,
     "repeated in other spellings"},
    {{{"10.0.0.0/8", 0}, {"10.1.2.3", 0}}, 1, NULL, NULL, 0, 0, "covered"},
    {{{"10.1.2.3", 0}, {"10.0.0.0/8", 0}}, 1, NULL, NULL, 0, 0, "covered by a later one"},
    {{{"10.0.0.0/8", 1}, {"10.1.2.3", 2}}, 0, NULL, NULL, 0, 0, "inside, other rights"},
    {{{"10.0.0.0/8", 1}, {"10.1.2.3", 1}}, 1, NULL, NULL, 0, 0, "inside, same rights"},
    {{{"10.0.0.0/8", 0}, {"!10.1.2.3", 0}}, 0, NULL, NULL, 0, 0, "exceptions cover none"},
    {{{"10.0.0.0/8", 0}, {"!10.1.0.0/16", 0}, {"10.1.2.3", 0}},
     0,
     NULL,
     NULL,
     0,
     0,
     "not covered by the one around the one around"},
    {{{"10.1.2.3", 0}, {"!10.1.2.3", 0}}, 1, NULL, NULL, 0, 0, "overruled"},
    {{{"!10.1.2.3", 1}, {"!10.1.2.3", 2}},
     1,
     NULL,
     NULL,
     0,
     0,
     "exceptions have no rights to differ in"},
    {{{"!10.0.0.0/8", 1}, {"!10.1.2.3", 2}},
     1,
     NULL,
     NULL,
     0,
     0,
     "exceptions cover exceptions"},
    {{{"any", 0}, {"*", 0}}, 1, NULL, NULL, 0, 0, "all twice is one repeated"},
    {{{"any", 0}, {"!any", 0}}, 1, NULL, NULL, 0, 0, "all, and not all"},
    {{{"any", 0}, {"10.1.2.3", 0}, {"::1", 0}}, 2, NULL, NULL, 0, 0, "covered by all"},
    {{{"host:a.org", 0}, {"host:A.org.", 0}}, 1, NULL, NULL, 0, 0, "name repeated"},
    {{{"host:a.org", 0}, {".a.org", 0}}, 0, NULL, NULL, 0, 0, "name and subdomains"},
    {{{"host:a.org", 1}, {"!host:a.org", 0}}, 0, NULL, NULL, 0, 0, "name and exception"},
    {{{"192.0.2.1", 0}, {"192.0.2.1", 1}},
     0,
     "192.0.2.1",
     "192.0.2.1",
     1,
     2,
     "contradicting"},
    {{{"192.0.3.0/24", 5}, {"192.0.2.0/24", 1}, {"192.0.2.", 2}},
     0,
     "192.0.2.0/24",
     "192.0.2.0/24",
     2,
     3,
     "contradicting in other spellings"},
    {{{"192.0.2.1", 1}, {"!192.0.2.1", 0}, {"192.0.2.1", 2}},
     0,
     "192.0.2.1",
     "192.0.2.1",
     1,
     3,
     "contradicting beside an exception"},
    {{{"2001:db8::1", 0}, {"2001:db8:0::1", 1}},
     0,
     "2001:db8::1",
     "2001:db8::1",
     1,
     2,
     "contradicting, IPv6"},
    {{{"any", 0}, {"any", 1}}, 0, "any", "any", 1, 2, "contradicting about all"},
    {{{".a.org", 1}, {"10.", 0}, {".A.ORG", 2}},
     0,
     ".a.org",
     ".a.org",
     1,
     3,
     "contradicting, name"},
};

static void seals(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(seal_rows) / sizeof(seal_rows[0]); i++) {
		CLEANUP(host_list_freep) struct host_list *list = list_new();
		uint32_t n = 0;
		for (; n < MAX_ENTRIES && seal_rows[i].entries[n].text; n++)
			add(list, seal_rows[i].entries[n].text, n + 1,
			    seal_rows[i].entries[n].payload);
		assert_int_equal(host_list_count(list), n);

		size_t repeated = 12345;
		int r = host_list_seal(list, &repeated);
		if (r != (seal_rows[i].first ? -EEXIST : 0))
			fail_msg("%s: %d", seal_rows[i].why, r);
		if (!r && repeated != seal_rows[i].repeated)
			fail_msg("%s: %zu repeated", seal_rows[i].why, repeated);
		if (!r)
			continue;
		assert_int_equal(repeated, 12345);
		struct list_match first, second;
		host_list_conflict(list, &first, &second);
		if (strcmp(first.text, seal_rows[i].first) != 0 ||
		    strcmp(second.text, seal_rows[i].second) != 0 ||
		    first.where.line != seal_rows[i].first_line ||
		    second.where.line != seal_rows[i].second_line ||
		    strcmp(first.where.file, "hosts") != 0 ||
		    first.payload == second.payload)
			fail_msg(
			    "%s: %s line %u, %s line %u", seal_rows[i].why, first.text,
			    first.where.line, second.text, second.where.line);
	}
}

/* Of equal entries the first stays, wherever sorting puts them. */
static void first_stays(void **state)
{
	(void)state;
	CLEANUP(host_list_freep) struct host_list *list = list_new();
	const uint32_t distinct = 97;

	for (uint32_t line = 1; line <= 10 * distinct; line++) {
		char text[IP_TEXT_MAX];
		snprintf(text, sizeof(text), "192.0.2.%u", line * 31 % distinct);
		add(list, text, line, 0);
	}
	assert_int_equal(seal(list), 9 * distinct);
	for (uint32_t line = 1; line <= distinct; line++) {
		char text[IP_TEXT_MAX];
		struct list_match match;
		snprintf(text, sizeof(text), "192.0.2.%u", line * 31 % distinct);
		struct client client = client_of(text, "");
		assert_int_equal(host_list_match(list, &client, &match), HOST_MATCH);
		assert_int_equal(match.where.line, line);
	}
}

/* Every length at once around one address: the deepest nesting there is. */
static void nests_to_the_end(void **state)
{
	(void)state;
	const struct {
		const char *ip;
		unsigned bits;
	} rows[] = {
	    {"170.170.170.170", 32}, {"aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa:aaaa", 128}};

	for (size_t row = 0; row < 2; row++) {
		CLEANUP(host_list_freep) struct host_list *list = list_new();
		struct client client = client_of(rows[row].ip, "");
		for (unsigned length = 0; length <= rows[row].bits; length++) {
			struct ip_prefix prefix = {
			    .ip = ip_mask(client.ip, (uint8_t)length),
			    .length = (uint8_t)length,
			};
			char text[IP_TEXT_MAX];
			add(list, ip_prefix_print(&prefix, text), length + 1, length);
		}
		assert_int_equal(seal(list), 0);
		/* Turn one bit: the ranges that hold it all are the answer. */
		for (unsigned bit = 0; bit <= rows[row].bits; bit++) {
			struct client other = client;
			struct list_match match;
			if (bit < rows[row].bits)
				other.ip.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
			assert_int_equal(
			    host_list_match(list, &other, &match), HOST_MATCH);
			assert_int_equal(match.where.line, bit + 1);
			assert_int_equal(match.payload, bit);
		}
	}
}

/* Around the sizes at which the levels of the search fill up; every other address is an
 * entry, and so is the last of all. */
static void finds_in_any_size(void **state)
{
	(void)state;
	const uint32_t sizes[] = {1,   2,   15,  16,  17,   31,  33,
				  255, 256, 257, 272, 4096, 4097};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			CLEANUP(host_list_freep) struct host_list *list = list_new();
			struct client client = {.ip.family = v6 ? IP_V6 : IP_V4};
			uint8_t *bytes = client.ip.bytes, *last = bytes + (v6 ? 14 : 2);
			char text[IP_TEXT_MAX];
			struct list_match match;
			memset(bytes, 0xff, v6 ? 16 : 4);
			for (uint32_t n = 0; n < sizes[i]; n++) {
				uint32_t at = 0xffff - 2 * (n * 7 % sizes[i]);
				last[0] = (uint8_t)(at >> 8);
				last[1] = (uint8_t)at;
				add(list, ip_print(&client.ip, text), n + 1, 0);
			}
			assert_int_equal(seal(list), 0);
			for (uint32_t at = 0xffff - 2 * sizes[i] - 3; at <= 0xffff;
			     at++) {
				uint32_t n = (0xffff - at) / 2;
				bool want = at % 2 && n < sizes[i];
				last[0] = (uint8_t)(at >> 8);
				last[1] = (uint8_t)at;
				bool got =
				    host_list_match(list, &client, &match) == HOST_MATCH;
				ip_print(&client.ip, text);
				if (got != want || (got && strcmp(match.text, text) != 0))
					fail_msg("%u entries: %s", sizes[i], text);
			}
			memset(bytes, 0, 16);
			assert_int_equal(
			    host_list_match(list, &client, NULL), HOST_NO_MATCH);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_and_refuses),
	    cmocka_unit_test(matches),
	    cmocka_unit_test(without_a_list),
	    cmocka_unit_test(tells_where),
	    cmocka_unit_test(seals),
	    cmocka_unit_test(first_stays),
	    cmocka_unit_test(nests_to_the_end),
	    cmocka_unit_test(finds_in_any_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
