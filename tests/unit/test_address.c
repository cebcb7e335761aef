/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S(text) (text), sizeof(text) - 1

#define TEN  "aaaaaaaaaa"
#define L60  TEN TEN TEN TEN TEN TEN
#define L63  L60 "aaa"
#define D192 L63 "." L63 "." L63 "."

#define UE       "xn--tda."
#define SEVEN_UE UE UE UE UE UE UE UE

static const struct {
	const char *text;
	size_t len;
	const char *want; /* NULL: no domain */
	const char *why;
} domain_rows[] = {
    {S("example.org"), "example.org", "plain"},
    {S("EXAMPLE.Org"), "example.org", "case"},
    {S("example.org."), "example.org", "final dot"},
    {S("localhost"), "localhost", "one label"},
    {S("a_b.-x-.example"), "a_b.-x-.example", "what the wild has"},
    {S("r3---sn.example"), "r3---sn.example", "hyphens at three and four"},
    {S("192.0.2.1"), "192.0.2.1", "digits"},
    {S("[192.0.2.1]"), "[192.0.2.1]", "address literal"},
    {S("[IPv6:2001:DB8::1]"), "[ipv6:2001:db8::1]", "address literal, lower-cased"},
    {S("bücher.example"), "xn--bcher-kva.example", "U-label"},
    {S("BÜCHER.example"), "xn--bcher-kva.example", "U-label, case"},
    {S("bu\u0308cher.example"), "xn--bcher-kva.example", "U-label, not composed"},
    {S("xn--bcher-kva.example"), "xn--bcher-kva.example", "A-label"},
    {S("XN--BCHER-KVA.EXAMPLE."), "xn--bcher-kva.example", "A-label, case, dot"},
    {S("faß.de"), "xn--fa-hia.de", "non-transitional: not fass.de"},
    {S("ｅｘａｍｐｌｅ.org"), "example.org", "full-width letters are the same domain"},
    {S("ｘｎ－－bcher-kva.de"), "xn--bcher-kva.de", "full-width A-label"},
    {S("bücher。example"), "xn--bcher-kva.example", "ideographic full stop"},
    {S("bücher．example｡"), "xn--bcher-kva.example", "other full stops, final too"},
    {S("exam\u00adple.org"), "example.org", "soft hyphen maps to nothing"},
    {S("r3---sn.bücher.de"), "r3---sn.xn--bcher-kva.de", "ASCII label left alone"},
    {S("a_b.bücher.de"), "a_b.xn--bcher-kva.de", "underscore beside a U-label"},
    {S("еxample.org"), "xn--xample-2of.org", "Cyrillic letter is not ASCII"},
    {S(L63 ".org"), L63 ".org", "label of 63"},
    {S(D192 L60 "a"), D192 L60 "a", "253 bytes"},
    {S(D192 L60 "a."), D192 L60 "a", "253 bytes and the final dot"},
    {S(D192 "ü.ü.ü.ü.ü.ü.ü.aaaaa"), D192 SEVEN_UE "aaaaa", "253 bytes in A-labels"},
    {S(""), NULL, "nothing"},
    {S("."), NULL, "a dot"},
    {S(".."), NULL, "dots"},
    {S(".example.org"), NULL, "empty first label"},
    {S("example..org"), NULL, "empty label"},
    {S("example.org.."), NULL, "two final dots"},
    {S("bücher..org"), NULL, "empty label beside a U-label"},
    {S("bücher.org.."), NULL, "two final dots behind a U-label"},
    {S("\u00ad.org"), NULL, "a label that maps to nothing"},
    {S(L63 "a.org"), NULL, "label of 64"},
    {S(D192 L60 "aa"), NULL, "254 bytes"},
    {S(D192 "ü.ü.ü.ü.ü.ü.ü.aaaaaa"), NULL, "too long once in A-labels"},
    {S(D192 L60 "ü"), NULL, "too long a label once it is an A-label"},
    {S("exa mple.org"), NULL, "blank"},
    {S(" example.org"), NULL, "blank in front"},
    {S("exa\001mple.org"), NULL, "control character"},
    {S("exa\0mple.org"), NULL, "NUL"},
    {S("bücher\0.org"), NULL, "NUL beside a U-label"},
    {S("a/b.org"), NULL, "slash"},
    {S("a@b.org"), NULL, "at"},
    {S("℀.de"), NULL, "maps to a/c"},
    {S("b\xfc"
       "cher.example"),
     NULL, "Latin-1"},
    {S("b\xc0\xafr.example"), NULL, "overlong UTF-8"},
    {S("xn--a.example"), NULL, "A-label of nothing valid"},
    {S("xn--.example"), NULL, "A-label of nothing"},
    {S("xn--abc-.example"), NULL, "A-label that needs none"},
    {S("ｘｎ－－abc-.example"), NULL, "A-label that needs none, full-width"},
    {S("x\u00adn--a.example"), NULL, "A-label of nothing valid, hidden"},
    {S("xn--zzzzzzzz.example"), NULL, "no punycode"},
    {S("\u202e"
       "abc.example"),
     NULL, "bidirectional override"},
    {S("-bücher.de"), NULL, "hyphen in front of a U-label"},
    {S("[192.0.2.1"), NULL, "open literal"},
    {S("[]"), NULL, "empty literal"},
    {S("[a b]"), NULL, "literal with a blank"},
    {S("[a]b]"), NULL, "literal closed twice"},
    {S("[192.0.2.1]."), NULL, "literal with a dot"},
};

static void canonical_domains(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(domain_rows) / sizeof(domain_rows[0]); i++) {
		char buf[ADDRESS_DOMAIN_MAX + 1], again[ADDRESS_DOMAIN_MAX + 1];
		const char *want = domain_rows[i].want ? domain_rows[i].want : "";
		/* Exactly its size, so that the sanitizer sees one byte too many. */
		char *copy = malloc(domain_rows[i].len + !domain_rows[i].len);
		memcpy(copy, domain_rows[i].text, domain_rows[i].len);
		size_t n = domain_canonical(copy, domain_rows[i].len, buf);
		free(copy);
		if (n != strlen(want) || strcmp(buf, want) != 0)
			fail_msg(
			    "%s: \"%s\" became \"%s\", wanted \"%s\"", domain_rows[i].why,
			    domain_rows[i].text, buf, want);
		if (n && (domain_canonical(buf, n, again) != n || strcmp(buf, again)))
			fail_msg("%s: \"%s\" is not canonical", domain_rows[i].why, buf);
	}
}

static const struct {
	const char *text;
	size_t len;
	const char *delimiters;
	enum address_kind kind;
	const char *want;
	size_t local_len, domain_len;
	const char *why;
} address_rows[] = {
    {S("user@example.org"), "+", ADDRESS_OK, "user@example.org", 4, 11, "plain"},
    {S("USER@EXAMPLE.ORG."), "+", ADDRESS_OK, "user@example.org", 4, 11, "case, dot"},
    {S("user+tag@example.org"), "+", ADDRESS_OK, "user@example.org", 4, 11, "extension"},
    {S("user+a+b@example.org"), "+", ADDRESS_OK, "user@example.org", 4, 11, "the first"},
    {S("user-a+b@example.org"), "+-", ADDRESS_OK, "user@example.org", 4, 11, "of a set"},
    {S("user+@example.org"), "+", ADDRESS_OK, "user@example.org", 4, 11, "an empty one"},
    {S("user+tag@example.org"), "", ADDRESS_OK, "user+tag@example.org", 8, 11,
     "no delimiter"},
    {S("+tag@example.org"), "+", ADDRESS_OK, "+tag@example.org", 4, 11,
     "never to an empty local part"},
    {S("postmaster+a@x.org"), "+", ADDRESS_OK, "postmaster@x.org", 10, 5,
     "postmaster alone is special"},
    {S("mailer-daemon@x.org"), "-", ADDRESS_OK, "mailer-daemon@x.org", 13, 5, "reserved"},
    {S("Double-Bounce@x.org"), "-", ADDRESS_OK, "double-bounce@x.org", 13, 5,
     "reserved, case"},
    {S("owner-list@x.org"), "-", ADDRESS_OK, "owner-list@x.org", 10, 5, "owner-"},
    {S("list-request@x.org"), "-", ADDRESS_OK, "list-request@x.org", 12, 5, "-request"},
    {S("-request@x.org"), "-", ADDRESS_OK, "-request@x.org", 8, 5, "-request alone"},
    {S("\"a b\"@x.org"), "+", ADDRESS_OK, "a b@x.org", 3, 5, "quoted"},
    {S("\"user\"@x.org"), "+", ADDRESS_OK, "user@x.org", 4, 5, "quoted without need"},
    {S("us\\er@x.org"), "+", ADDRESS_OK, "user@x.org", 4, 5, "backslash"},
    {S("\"a\\\"b\"@x.org"), "+", ADDRESS_OK, "a\"b@x.org", 3, 5, "quoted quote"},
    {S("\"user+tag\"@x.org"), "+", ADDRESS_OK, "user@x.org", 4, 5, "quoted extension"},
    {S("us\"er\"@x.org"), "+", ADDRESS_OK, "user@x.org", 4, 5, "quoted in part"},
    {S("a\"b@x.org"), "+", ADDRESS_OK, "a\"b@x.org", 3, 5, "a lone quote is data"},
    {S("ab\\@x.org"), "+", ADDRESS_OK, "ab\\@x.org", 3, 5, "a lone backslash is data"},
    {S("user@c.example@d.example"), "+", ADDRESS_OK, "user@c.example@d.example", 14, 9,
     "the last @ splits"},
    {S("\"user@c.example\"@d.example"), "+", ADDRESS_OK, "user@c.example@d.example", 14,
     9, "the last @ splits, quoted"},
    {S("user%c.example@d.example"), "+", ADDRESS_OK, "user%c.example@d.example", 14, 9,
     "percent hack"},
    {S("c.example!user@d.example"), "+", ADDRESS_OK, "c.example!user@d.example", 14, 9,
     "bang path"},
    {S("us\001er@x.org"), "+", ADDRESS_OK, "us\001er@x.org", 5, 5, "control character"},
    {S("us er@x.org"), "+", ADDRESS_OK, "us er@x.org", 5, 5, "blank"},
    {S("user@bücher.example"), "+", ADDRESS_OK, "user@xn--bcher-kva.example", 4, 21,
     "U-label"},
    {S("jürgen@x.org"), "+", ADDRESS_OK, "jürgen@x.org", 7, 5, "UTF-8 local part"},
    {S("user@[192.0.2.1]"), "+", ADDRESS_OK, "user@[192.0.2.1]", 4, 11, "literal"},
    {S("Root"), "+", ADDRESS_OK, "root", 4, 0, "no domain"},
    {S("root+x"), "+", ADDRESS_OK, "root", 4, 0, "no domain, extension"},
    {S(""), "+", ADDRESS_NULL, "", 0, 0, "null sender"},
    {S("<>"), "+", ADDRESS_OK, "<>", 2, 0, "brackets are data here, not the null sender"},
    {S("@example.org"), "+", ADDRESS_BAD, "", 0, 0, "empty local part"},
    {S("\"\"@example.org"), "+", ADDRESS_BAD, "", 0, 0, "empty quoted local part"},
    {S("user@"), "+", ADDRESS_BAD, "", 0, 0, "empty domain"},
    {S("@"), "+", ADDRESS_BAD, "", 0, 0, "nothing at all"},
    {S("user@."), "+", ADDRESS_BAD, "", 0, 0, "a dot for a domain"},
    {S("user@a..b"), "+", ADDRESS_BAD, "", 0, 0, "empty label"},
    {S("us\0er@x.org"), "+", ADDRESS_BAD, "", 0, 0, "NUL in the local part"},
    {S("user@x.org\0"), "+", ADDRESS_BAD, "", 0, 0, "NUL behind"},
    {S("\0"), "+", ADDRESS_BAD, "", 0, 0, "NUL alone"},
    {S("j\xfcrgen@x.org"), "+", ADDRESS_BAD, "", 0, 0, "Latin-1 local part"},
    {S("j\xed\xa0\x80@x.org"), "+", ADDRESS_BAD, "", 0, 0, "surrogate"},
    {S("user@xn--a.example"), "+", ADDRESS_BAD, "", 0, 0, "invalid A-label"},
    {S("user@x.org "), "+", ADDRESS_BAD, "", 0, 0, "blank behind"},
    {S("user@x.org>"), "+", ADDRESS_BAD, "", 0, 0, "bracket behind"},
};

static void canonical_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(address_rows) / sizeof(address_rows[0]); i++) {
		struct address address;
		char *copy = malloc(address_rows[i].len + !address_rows[i].len);
		memcpy(copy, address_rows[i].text, address_rows[i].len);
		address_canonical(
		    copy, address_rows[i].len, address_rows[i].delimiters, &address);
		free(copy);
		if (address.kind != address_rows[i].kind ||
		    strcmp(address.text, address_rows[i].want) != 0 ||
		    address.len != strlen(address_rows[i].want) ||
		    address.local_len != address_rows[i].local_len ||
		    address.domain_len != address_rows[i].domain_len)
			fail_msg(
			    "%s: \"%s\" became kind %d \"%s\" (%u, %u)",
			    address_rows[i].why, address_rows[i].text, address.kind,
			    address.text, address.local_len, address.domain_len);
		const char *domain = address_domain(&address);
		if (strlen(domain) != address.domain_len)
			fail_msg("%s: domain \"%s\"", address_rows[i].why, domain);
	}
}

static void long_local_parts(void **state)
{
	(void)state;
	static const struct {
		char fill;
		size_t n;
		enum address_kind kind;
		size_t local_len;
		const char *why;
	} rows[] = {
	    {'a', 900, ADDRESS_OK, 900, "what Postfix lets through"},
	    {'a', ADDRESS_LOCAL_MAX, ADDRESS_OK, ADDRESS_LOCAL_MAX, "the longest"},
	    {'a', ADDRESS_LOCAL_MAX + 1, ADDRESS_BAD, 0, "one more"},
	    {'a', 65000, ADDRESS_BAD, 0, "a whole request"},
	    {'\\', 2 * ADDRESS_LOCAL_MAX, ADDRESS_OK, ADDRESS_LOCAL_MAX, "escaped"},
	    {'\\', 2 * ADDRESS_LOCAL_MAX + 2, ADDRESS_BAD, 0, "escaped, one more"},
	    {'\\', 2 * ADDRESS_LOCAL_MAX + 1, ADDRESS_BAD, 0, "escaped, and a lone one"},
	    {'+', 1000, ADDRESS_OK, 1000, "delimiters alone"},
	};
	static char text[70000];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct address address;
		memset(text, rows[i].fill, rows[i].n);
		memcpy(text + rows[i].n, "@example.org", 12);
		address_canonical(text, rows[i].n + 12, "+", &address);
		if (address.kind != rows[i].kind ||
		    address.local_len != rows[i].local_len)
			fail_msg(
			    "%s: kind %d, %u", rows[i].why, address.kind,
			    address.local_len);
	}
}

static const struct {
	const char *text;
	size_t len;
	enum address_kind kind;
	const char *want;
	const char *why;
} user_rows[] = {
    {S("ada"), ADDRESS_OK, "ada", "a name"},
    {S("Ada@Example.ORG."), ADDRESS_OK, "ada@example.org", "case and dot"},
    {S(" \tada@x.org \n"), ADDRESS_OK, "ada@x.org", "blanks around"},
    {S("ada+tag@x.org"), ADDRESS_OK, "ada+tag@x.org", "an extension is part of it"},
    {S("\"ada\"@x.org"), ADDRESS_OK, "\"ada\"@x.org", "quotes are part of it"},
    {S("a b"), ADDRESS_OK, "a b", "a blank inside"},
    {S("a{b}:c"), ADDRESS_OK, "a{b}:c", "store key punctuation"},
    {S("a@b@x.org"), ADDRESS_OK, "a@b@x.org", "the last @ splits"},
    {S("jürgen"), ADDRESS_OK, "jürgen", "UTF-8"},
    {S("ada@bücher.example"), ADDRESS_OK, "ada@xn--bcher-kva.example", "U-label realm"},
    {S(""), ADDRESS_ABSENT, "", "nothing"},
    {S("  "), ADDRESS_ABSENT, "", "blanks"},
    {S("@x.org"), ADDRESS_BAD, "", "no name"},
    {S("ada@"), ADDRESS_BAD, "", "no realm behind the @"},
    {S("ada@a..b"), ADDRESS_BAD, "", "no domain"},
    {S("a\0b"), ADDRESS_BAD, "", "NUL"},
    {S("\0"), ADDRESS_BAD, "", "NUL alone"},
    {S("j\xfcrgen"), ADDRESS_BAD, "", "Latin-1"},
};

static void canonical_users(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(user_rows) / sizeof(user_rows[0]); i++) {
		struct address user;
		user_canonical(user_rows[i].text, user_rows[i].len, &user);
		if (user.kind != user_rows[i].kind ||
		    strcmp(user.text, user_rows[i].want) != 0 ||
		    user.len != strlen(user.text))
			fail_msg(
			    "%s: \"%s\" became kind %d \"%s\"", user_rows[i].why,
			    user_rows[i].text, user.kind, user.text);
	}
}

static const struct {
	const char *name, *parent;
	bool within;
} within_rows[] = {
    {"example.org", "example.org", true},
    {"a.example.org", "example.org", true},
    {"a.b.example.org", "example.org", true},
    {"badexample.org", "example.org", false},
    {"example.org", "a.example.org", false},
    {"org", "example.org", false},
    {"example.org.evil.net", "example.org", false},
};

static void knows_subdomains(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(within_rows) / sizeof(within_rows[0]); i++)
		if (domain_is_within(within_rows[i].name, within_rows[i].parent) !=
		    within_rows[i].within)
			fail_msg(
			    "%s within %s", within_rows[i].name, within_rows[i].parent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(canonical_domains), cmocka_unit_test(canonical_addresses),
	    cmocka_unit_test(long_local_parts),  cmocka_unit_test(canonical_users),
	    cmocka_unit_test(knows_subdomains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
