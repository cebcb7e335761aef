/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/spf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/*
 * Records against a zone in a table. A zone is lines "NAME TYPE DATA"; a name without a
 * line does not exist. TYPE! with FAIL or WAIT for DATA: DNS fails, or has not answered.
 */

#define ANSWERS_MAX 400

struct zone {
	const char *lines;
	struct dns_answer *answers[ANSWERS_MAX]; /* handed out */
	size_t count;
};

static const char *type_names[] = {
    [DNS_A] = "A", [DNS_AAAA] = "AAAA", [DNS_MX] = "MX", [DNS_TXT] = "TXT"};

static bool word_is(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && strncmp(text, word, len) == 0;
}

static void add_record(
    struct dns_answer *answer, enum dns_type type, const char *data, size_t len)
{
	struct dns_record *record = &answer->records[answer->count++];

	if (type == DNS_A || type == DNS_AAAA) {
		assert_true(ip_parse(data, len, &record->ip));
		return;
	}
	record->text = strndup(data, len);
	record->len = len;
}

static const struct dns_answer *look_up(
    void *context, const char *name, enum dns_type type)
{
	struct zone *zone = context;
	struct dns_answer *answer = calloc(1, sizeof(*answer));
	bool exists = false, waits = false;

	assert_true(zone->count < ANSWERS_MAX);
	zone->answers[zone->count++] = answer;
	answer->records = calloc(100, sizeof(*answer->records));
	answer->ttl_s = 600;
	for (const char *line = zone->lines; *line;) {
		size_t len = strcspn(line, "\n"), n = strcspn(line, " ");
		const char *kind = line + n + 1;
		size_t kind_len = strcspn(kind, " ");
		const char *data = kind + kind_len + 1;
		size_t data_len = len - (size_t)(data - line);
		if (word_is(line, n, name)) {
			exists = true;
			if (!word_is(kind, kind_len, type_names[type])) {
			} else if (word_is(data, data_len, "FAIL")) {
				answer->status = DNS_FAILED;
				answer->error = "SERVFAIL";
				return answer;
			} else if (word_is(data, data_len, "WAIT")) {
				waits = true;
			} else {
				add_record(answer, type, data, data_len);
			}
		}
		line += len + (line[len] == '\n');
	}
	answer->status = answer->count ? DNS_FOUND : exists ? DNS_NO_DATA : DNS_NO_NAME;
	return waits ? NULL : answer;
}

static void zone_done(struct zone *zone)
{
	for (size_t i = 0; i < zone->count; i++)
		dns_answer_free(zone->answers[i]);
}

/* Ranges as the prefixes that they are, or FIRST-LAST. */
static void show(const struct ip_set *set, enum ip_family family, char *text, size_t size)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < set->count; i++) {
		char buf[2][IP_TEXT_MAX];
		struct ip ends[2] = {{.family = family}, {.family = family}};
		unsigned bytes = family == IP_V4 ? 4 : 16, bits = bytes * 8;
		ip_number first = set->ranges[i].first, last = set->ranges[i].last;
		for (unsigned j = 0; j < bytes; j++) {
			ends[0].bytes[j] = (uint8_t)(first >> (bits - 8 - 8 * j));
			ends[1].bytes[j] = (uint8_t)(last >> (bits - 8 - 8 * j));
		}
		unsigned length = 0;
		while (length < bits && last - first != ip_number_hosts(bits - length))
			length++;
		struct ip_prefix prefix = {ends[0], (uint8_t)length};
		bool whole = last - first == ip_number_hosts(bits - length) &&
			     (first & ip_number_hosts(bits - length)) == 0;
		len += (size_t)snprintf(
		    text + len, size - len, "%s%s%s%s", len ? " " : "",
		    whole ? ip_prefix_print(&prefix, buf[0]) : ip_print(&ends[0], buf[0]),
		    whole ? "" : "-", whole ? "" : ip_print(&ends[1], buf[1]));
	}
}

#define D "example.org TXT v=spf1 "

static const struct {
	const char *why, *zone;
	int result;
	const char *shown; /* networks, or a part of the error */
} rows[] = {
    {"networks of both families", D "ip4:192.0.2.0/24 ip6:2001:db8::/48 -all", NAME_FOUND,
     "192.0.2.0/24 2001:db8::/48"},
    {"a single address", D "ip4:192.0.2.1 ip6:2001:db8::1", NAME_FOUND,
     "192.0.2.1 2001:db8::1"},
    {"host bits are cut off", D "ip4:192.0.2.77/24", NAME_FOUND, "192.0.2.0/24"},
    {"an explicit + is the same", D "+ip4:192.0.2.1 ~all", NAME_FOUND, "192.0.2.1"},
    {"upper case", "example.org TXT V=SPF1 IP4:192.0.2.1 -ALL", NAME_FOUND, "192.0.2.1"},
    {"several spaces, and one at the end", D "  ip4:192.0.2.1   -all ", NAME_FOUND,
     "192.0.2.1"},
    {"-, ~ and ? grant nothing",
     D "-ip4:192.0.2.1 ~ip4:192.0.2.2 ?ip4:192.0.2.3 ip4:192.0.2.4", NAME_FOUND,
     "192.0.2.4"},
    {"the first match wins: an exception before", D "-ip4:192.0.2.4 ip4:192.0.2.0/29",
     NAME_FOUND, "192.0.2.0/30 192.0.2.5-192.0.2.7"},
    {"the first match wins: an exception too late", D "ip4:192.0.2.0/29 -ip4:192.0.2.4",
     NAME_FOUND, "192.0.2.0/29"},
    {"neutral decides too", D "?ip4:192.0.2.0/30 ip4:192.0.2.0/29", NAME_FOUND,
     "192.0.2.4/30"},
    {"what stands behind all does not count", D "ip4:192.0.2.1 -all ip4:192.0.2.2",
     NAME_FOUND, "192.0.2.1"},
    {"a syntax error behind all does", D "ip4:192.0.2.1 -all ip4:192.0.2.256",
     NAME_PERMANENT, "malformed: \"ip4:192.0.2.256\""},
    {"+all", D "ip4:192.0.2.1 +all", NAME_PERMANENT, "+all"},
    {"all without a sign", D "all", NAME_PERMANENT, "+all"},
    {"?all grants nothing", D "ip4:192.0.2.1 ?all", NAME_FOUND, "192.0.2.1"},
    {"only -all", D "-all", NAME_EMPTY, "passes no address"},
    {"/16 is the shortest", D "ip4:10.1.0.0/16", NAME_FOUND, "10.1.0.0/16"},
    {"/15", D "ip4:10.2.0.0/15", NAME_PERMANENT, "ip4/15"},
    {"/0", D "ip4:0.0.0.0/0", NAME_PERMANENT, "ip4/0"},
    {"IPv6 /32 is the shortest", D "ip6:2001:db8::/32", NAME_FOUND, "2001:db8::/32"},
    {"IPv6 /31", D "ip6:2001:db8::/31", NAME_PERMANENT, "ip6/31"},
    {"a short exception only takes away", D "-ip4:0.0.0.0/1 ip4:192.0.2.1 ip4:10.0.0.1",
     NAME_FOUND, "192.0.2.1"},
    {"all IPv4 as mapped IPv6 is no IPv4", D "ip6:::ffff:0.0.0.0/96 ip4:192.0.2.1",
     NAME_FOUND, "192.0.2.1"},
    {"a, of the domain itself",
     D "a\nexample.org A 192.0.2.1\nexample.org A 192.0.2.2\n"
       "example.org AAAA 2001:db8::1",
     NAME_FOUND, "192.0.2.1 192.0.2.2 2001:db8::1"},
    {"a with a name and lengths",
     D "a:w.example.org/24//64\nw.example.org A 192.0.2.1\n"
       "w.example.org AAAA 2001:db8::1",
     NAME_FOUND, "192.0.2.0/24 2001:db8::/64"},
    {"a with an IPv6 length alone",
     D "a//64\nexample.org A 192.0.2.1\n"
       "example.org AAAA 2001:db8::1",
     NAME_FOUND, "192.0.2.1 2001:db8::/64"},
    {"a/8", D "a/8\nexample.org A 192.0.2.1", NAME_PERMANENT, "a/8"},
    {"mx",
     D "mx/31\nexample.org MX m1.example.org\nexample.org MX m2.example.org\n"
       "m1.example.org A 192.0.2.1\nm2.example.org A 192.0.2.9\n"
       "m2.example.org AAAA 2001:db8::2",
     NAME_FOUND, "192.0.2.0/31 192.0.2.8/31 2001:db8::2"},
    {"mx whose exchanger has no address",
     D "mx ip4:192.0.2.1\nexample.org MX m1.example.org", NAME_FOUND, "192.0.2.1"},
    {"null MX", D "mx ip4:192.0.2.1\nexample.org MX \n", NAME_FOUND, "192.0.2.1"},
    {"eleven exchangers",
     D "mx\nexample.org MX a\nexample.org MX a\nexample.org MX a\nexample.org MX a\n"
       "example.org MX a\nexample.org MX a\nexample.org MX a\nexample.org MX a\n"
       "example.org MX a\nexample.org MX a\nexample.org MX a",
     NAME_PERMANENT, "more than 10 MX"},
    {"include",
     D "include:i.example.org ip4:192.0.2.9 -all\n"
       "i.example.org TXT v=spf1 ip4:192.0.2.1 -all",
     NAME_FOUND, "192.0.2.1 192.0.2.9"},
    {"an include that fails is no match, and what follows counts",
     D "include:i.example.org ip4:192.0.2.0/30\n"
       "i.example.org TXT v=spf1 -ip4:192.0.2.1 -all",
     NAME_FOUND, "192.0.2.0/30"},
    {"a - include takes away what the other passes",
     D "-include:i.example.org ip4:192.0.2.0/30\n"
       "i.example.org TXT v=spf1 -ip4:192.0.2.1 ip4:192.0.2.0/31 ?all",
     NAME_FOUND, "192.0.2.1-192.0.2.3"},
    {"+all behind include", D "include:i.example.org\ni.example.org TXT v=spf1 +all",
     NAME_PERMANENT, "+all"},
    {"+all behind -include takes everything away",
     D
     "ip4:192.0.2.1 -include:i.example.org ip4:192.0.2.2\ni.example.org TXT v=spf1 +all",
     NAME_FOUND, "192.0.2.1"},
    {"include without a record", D "ip4:192.0.2.1 include:i.example.org", NAME_PERMANENT,
     "has none"},
    {"include of itself", D "include:example.org", NAME_PERMANENT,
     "more than 10 look-ups"},
    {"redirect",
     D "ip4:192.0.2.1 redirect=r.example.org\n"
       "r.example.org TXT v=spf1 a -all\nr.example.org A 192.0.2.2",
     NAME_FOUND, "192.0.2.1 192.0.2.2"},
    {"redirect does not undo",
     D "-ip4:192.0.2.0/31 redirect=r.example.org\n"
       "r.example.org TXT v=spf1 ip4:192.0.2.0/30",
     NAME_FOUND, "192.0.2.2/31"},
    {"redirect next to all is ignored", D "redirect=r.example.org ip4:192.0.2.1 -all",
     NAME_FOUND, "192.0.2.1"},
    {"redirect to no record", D "redirect=r.example.org", NAME_PERMANENT, "has none"},
    {"redirect twice", D "redirect=r.example.org redirect=r.example.org", NAME_PERMANENT,
     "redirect= twice"},
    {"a record of its own size: ten look-ups",
     D "a a a a a a a a a a ip4:192.0.2.9\nexample.org A 192.0.2.1\n"
       "example.org AAAA 2001:db8::1",
     NAME_FOUND, "192.0.2.1 192.0.2.9 2001:db8::1"},
    {"eleven look-ups",
     D "a a a a a a a a a a a\nexample.org A 192.0.2.1\nexample.org AAAA 2001:db8::1",
     NAME_PERMANENT, "more than 10 look-ups"},
    {"look-ups add up over includes",
     D "a a a a a include:i.example.org\ni.example.org TXT v=spf1 a:example.org "
       "a:example.org a:example.org a:example.org a:example.org\n"
       "example.org A 192.0.2.1\nexample.org AAAA 2001:db8::1",
     NAME_PERMANENT, "more than 10 look-ups"},
    {"two void look-ups", D "a:x.example.org mx:y.example.org ip4:192.0.2.1", NAME_FOUND,
     "192.0.2.1"},
    {"three void look-ups",
     D "a:x.example.org mx:y.example.org a:z.example.org ip4:192.0.2.1", NAME_PERMANENT,
     "more than 2 terms"},
    {"three void look-ups of one family stop that family",
     D "ip6:2001:db8::1 a:v.example.org a:v.example.org a:v.example.org ip4:192.0.2.1 "
       "ip6:2001:db8::2\nv.example.org A 192.0.2.7",
     NAME_FOUND, "192.0.2.7 192.0.2.1 2001:db8::1"},
    {"in an include too, which keeps what it passed",
     D "include:i.example.org ip6:2001:db8::9\n"
       "i.example.org TXT v=spf1 ip6:2001:db8::1 a:v.example.org a:v.example.org "
       "a:v.example.org\nv.example.org A 192.0.2.7",
     NAME_FOUND, "192.0.2.7 2001:db8::1"},
    {"macros make a + mechanism go", D "exists:%{i}.x.example.org ip4:192.0.2.1 -all",
     NAME_FOUND, "192.0.2.1"},
    {"a with a macro", D "a:%{d}/24 ip4:192.0.2.1 -all", NAME_FOUND, "192.0.2.1"},
    {"include with a macro", D "include:%{ir}.x.example.org ip4:192.0.2.1", NAME_FOUND,
     "192.0.2.1"},
    {"redirect with a macro", D "ip4:192.0.2.1 redirect=%{d}.x.example.org", NAME_FOUND,
     "192.0.2.1"},
    {"ptr", D "ptr ip4:192.0.2.1", NAME_FOUND, "192.0.2.1"},
    {"-exists would have taken away", D "-exists:%{i}.x.example.org ip4:192.0.2.1",
     NAME_PERMANENT, "not supported"},
    {"?ptr too", D "?ptr:example.org ip4:192.0.2.1", NAME_PERMANENT, "not supported"},
    {"a + exists below -include too",
     D "-include:i.example.org ip4:192.0.2.1\ni.example.org TXT v=spf1 "
       "exists:%{i}.example.org",
     NAME_PERMANENT, "not supported"},
    {"a malformed macro", D "exists:%{q}.example.org", NAME_PERMANENT, "malformed"},
    {"exp= does not matter", D "ip4:192.0.2.1 exp=e.%{d} -all", NAME_FOUND, "192.0.2.1"},
    {"exp= twice", D "ip4:192.0.2.1 exp=e.%{d} exp=e", NAME_PERMANENT, "exp= twice"},
    {"an unknown modifier", D "ra=postmaster ip4:192.0.2.1", NAME_FOUND, "192.0.2.1"},
    {"an unknown mechanism", D "ip4:192.0.2.1 foo:bar", NAME_PERMANENT,
     "not a mechanism: \"foo:bar\""},
    {"ip4 without an address", D "ip4", NAME_PERMANENT, "malformed"},
    {"ip4 with an IPv6 address", D "ip4:2001:db8::1", NAME_PERMANENT, "malformed"},
    {"ip6 with an IPv4 address", D "ip6:192.0.2.1", NAME_PERMANENT, "malformed"},
    {"a length with a leading zero", D "ip4:192.0.2.0/024", NAME_PERMANENT, "malformed"},
    {"a length too long", D "ip4:192.0.2.0/33", NAME_PERMANENT, "malformed"},
    {"an empty length", D "ip4:192.0.2.0/", NAME_PERMANENT, "malformed"},
    {"include without a domain", D "include", NAME_PERMANENT, "malformed"},
    {"all with an argument", D "-all:example.org", NAME_PERMANENT, "malformed"},
    {"a domain without a dot", D "a:localhost", NAME_PERMANENT, "malformed"},
    {"a numeric top label", D "a:192.0.2.1", NAME_PERMANENT, "malformed"},
    {"an empty label", D "a:x..example.org", NAME_PERMANENT, "malformed"},
    {"a sign alone", D "- ip4:192.0.2.1", NAME_PERMANENT, "not a mechanism"},
    {"a tab", D "ip4:192.0.2.1\t-all", NAME_PERMANENT, "not printable"},
    {"two records", D "ip4:192.0.2.1\n" D "ip4:192.0.2.2", NAME_PERMANENT,
     "more than one record"},
    {"other texts do not count",
     "example.org TXT v=spf10 +all\nexample.org TXT google-site=1\n" D "ip4:192.0.2.1",
     NAME_FOUND, "192.0.2.1"},
    {"no SPF record", "example.org TXT something", NAME_EMPTY, "no SPF record"},
    {"no text", "example.org A 192.0.2.1", NAME_EMPTY, "no TXT record"},
    {"no name", "", NAME_EMPTY, "does not exist"},
    {"DNS fails for the record", "example.org TXT FAIL", NAME_TEMPORARY, "SERVFAIL"},
    {"DNS fails for a part of it",
     D "ip4:192.0.2.1 a:w.example.org\nw.example.org A FAIL", NAME_TEMPORARY, "SERVFAIL"},
    {"DNS fails for one exchanger",
     D "mx\nexample.org MX m.example.org\nm.example.org AAAA FAIL", NAME_TEMPORARY,
     "SERVFAIL"},
    {"an answer is missing", D "ip4:192.0.2.1 a:w.example.org\nw.example.org A WAIT",
     NAME_PENDING, ""},
    {"while one is missing nothing else is judged",
     D "a:w.example.org +all\nw.example.org A WAIT\nw.example.org AAAA WAIT",
     NAME_PENDING, ""},
};

static void test_records(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct zone zone = {.lines = rows[i].zone};
		struct name_source source = {.look_up = look_up, .context = &zone};
		struct name_networks found;
		char text[1000] = "";
		int r = name_networks_find(HOST_DNS_SPF, "example.org", &source, &found);

		if (r == NAME_FOUND) {
			show(&found.v4, IP_V4, text, sizeof(text));
			show(&found.v6, IP_V6, text, sizeof(text));
		}
		bool good = r == rows[i].result;
		if (r == NAME_FOUND) /* in the order of the ranges */
			good &= strlen(text) == strlen(rows[i].shown);
		else if (r != NAME_PENDING)
			good &= strstr(found.error, rows[i].shown) != NULL;
		for (const char *word = rows[i].shown;
		     good && r == NAME_FOUND && *word;) {
			char one[100];
			size_t n = strcspn(word, " ");
			snprintf(one, sizeof(one), "%.*s", (int)n, word);
			good &= strstr(text, one) != NULL;
			word += n + (word[n] == ' ');
		}
		if (!good)
			fail_msg(
			    "%s: result %d, \"%s\", error \"%s\"", rows[i].why, r, text,
			    found.error);
		name_networks_done(&found);
		zone_done(&zone);
	}
}

static void test_notes(void **state)
{
	static const struct {
		const char *why, *zone, *note;
	} notes[] = {
	    {"nothing to say", D "ip4:192.0.2.1 -all", ""},
	    {"one left out", D "ip4:192.0.2.1 exists:%{i}.example.org -all",
	     "SPF: +exists with a macro in the record of example.org is not supported "
	     "and "
	     "left out"},
	    {"two left out", D "ip4:192.0.2.1 ptr a:%{d} -all",
	     "SPF: +a with a macro in the record of example.org is not supported and "
	     "left "
	     "out, and 1 more like it"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(notes) / sizeof(notes[0]); i++) {
		struct zone zone = {.lines = notes[i].zone};
		struct name_source source = {.look_up = look_up, .context = &zone};
		struct name_networks found;
		assert_int_equal(
		    name_networks_find(HOST_DNS_SPF, "example.org", &source, &found),
		    NAME_FOUND);
		if (strcmp(found.note, notes[i].note) != 0)
			fail_msg("%s: \"%s\"", notes[i].why, found.note);
		name_networks_done(&found);
		zone_done(&zone);
	}
}

/* More networks than one entry may have, from records that keep all other limits. */
static void test_size(void **state)
{
	size_t room = 4200 * 24, len = 0;
	char *text = malloc(room);
	struct zone zone = {.lines = text};
	struct name_source source = {.look_up = look_up, .context = &zone};
	struct name_networks found;

	(void)state;
	len += (size_t)snprintf(text, room, D);
	for (unsigned i = 0; i < NAME_NETWORKS_MAX; i++)
		len += (size_t)snprintf(
		    text + len, room - len, " ip4:10.%u.%u.1", i >> 8, i & 255);
	assert_int_equal(
	    name_networks_find(HOST_DNS_SPF, "example.org", &source, &found), NAME_FOUND);
	assert_int_equal(found.v4.count, NAME_NETWORKS_MAX);
	name_networks_done(&found);
	snprintf(text + len, room - len, " ip4:192.0.2.1");
	assert_int_equal(
	    name_networks_find(HOST_DNS_SPF, "example.org", &source, &found),
	    NAME_PERMANENT);
	assert_non_null(strstr(found.error, "more than 4096 networks"));
	name_networks_done(&found);
	zone_done(&zone);
	free(text);
}

static void test_other_kinds(void **state)
{
	static const char lines[] =
	    "example.org A 192.0.2.1\nexample.org AAAA 2001:db8::1\n"
	    "example.org MX m.example.org\nexample.org MX n.example.org\n"
	    "m.example.org A 192.0.2.2\nn.example.org AAAA 2001:db8::2\n"
	    "v4.example.org A 192.0.2.3\nnull.example.org MX \n"
	    "void.example.org MX nothing.example.org\nbad.example.org A 192.0.2.4\n"
	    "bad.example.org AAAA FAIL\nslow.example.org A FAIL\n"
	    "slow.example.org AAAA WAIT";
	static const struct {
		const char *why, *domain;
		enum host_dns_kind kind;
		int result;
		const char *shown;
	} kinds[] = {
	    {"both", "example.org", HOST_DNS_BOTH, NAME_FOUND, "192.0.2.1 2001:db8::1"},
	    {"a", "example.org", HOST_DNS_A, NAME_FOUND, "192.0.2.1"},
	    {"aaaa", "example.org", HOST_DNS_AAAA, NAME_FOUND, "2001:db8::1"},
	    {"mx", "example.org", HOST_DNS_MX, NAME_FOUND, "192.0.2.2 2001:db8::2"},
	    {"one family is enough", "v4.example.org", HOST_DNS_BOTH, NAME_FOUND,
	     "192.0.2.3"},
	    {"the other alone is not", "v4.example.org", HOST_DNS_AAAA, NAME_EMPTY, ""},
	    {"no name", "no.example.org", HOST_DNS_BOTH, NAME_EMPTY, ""},
	    {"no MX record: not its address instead", "v4.example.org", HOST_DNS_MX,
	     NAME_EMPTY, ""},
	    {"null MX", "null.example.org", HOST_DNS_MX, NAME_EMPTY, ""},
	    {"exchangers without address", "void.example.org", HOST_DNS_MX, NAME_EMPTY,
	     ""},
	    {"one family fails: all of it does", "bad.example.org", HOST_DNS_BOTH,
	     NAME_TEMPORARY, ""},
	    {"a failure need not be waited for", "slow.example.org", HOST_DNS_BOTH,
	     NAME_TEMPORARY, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct zone zone = {.lines = lines};
		struct name_source source = {.look_up = look_up, .context = &zone};
		struct name_networks found;
		char text[200] = "";
		int r =
		    name_networks_find(kinds[i].kind, kinds[i].domain, &source, &found);
		show(&found.v4, IP_V4, text, sizeof(text));
		show(&found.v6, IP_V6, text, sizeof(text));
		if (r != kinds[i].result ||
		    (r == NAME_FOUND && strcmp(text, kinds[i].shown) != 0))
			fail_msg(
			    "%s: result %d, \"%s\", error \"%s\"", kinds[i].why, r, text,
			    found.error);
		assert_true(r != NAME_FOUND || found.ttl_s == 600);
		name_networks_done(&found);
		zone_done(&zone);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records),
	    cmocka_unit_test(test_notes),
	    cmocka_unit_test(test_size),
	    cmocka_unit_test(test_other_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
