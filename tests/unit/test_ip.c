/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *text;
	const char *printed; /* NULL: refused */
	enum ip_family family;
	const char *why;
} address_rows[] = {
    {"192.0.2.1", "192.0.2.1", IP_V4, "IPv4"},
    {"0.0.0.0", "0.0.0.0", IP_V4, "the first IPv4 address"},
    {"255.255.255.255", "255.255.255.255", IP_V4, "the last IPv4 address"},
    {"2001:db8::1", "2001:db8::1", IP_V6, "IPv6"},
    {"2001:DB8:0:0:0:0:0:1", "2001:db8::1", IP_V6, "upper case, not shortened"},
    {"::", "::", IP_V6, "the first IPv6 address"},
    {"::1", "::1", IP_V6, "loopback"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     IP_V6, "the last IPv6 address"},
    {"::ffff:192.0.2.1", "192.0.2.1", IP_V4, "mapped, dotted"},
    {"::FFFF:c000:0201", "192.0.2.1", IP_V4, "mapped, hexadecimal"},
    {"0:0:0:0:0:ffff:c000:201", "192.0.2.1", IP_V4, "mapped, not shortened"},
    {"::192.0.2.1", "::192.0.2.1", IP_V6, "IPv4-compatible is not mapped"},
    {"64:ff9b::192.0.2.1", "64:ff9b::c000:201", IP_V6, "NAT64 is not mapped"},
    {"2002:c000:201::", "2002:c000:201::", IP_V6, "6to4 is not mapped"},
    {"", NULL, IP_NONE, "nothing"},
    {"unknown", NULL, IP_NONE, "what Postfix says without an address"},
    {"192.0.2", NULL, IP_NONE, "three parts"},
    {"192.0.2.1.5", NULL, IP_NONE, "five parts"},
    {"3221225985", NULL, IP_NONE, "one number"},
    {"192.0.2.256", NULL, IP_NONE, "part over 255"},
    {"192.0.2.0001", NULL, IP_NONE, "four digits"},
    {"192.0.2.01", NULL, IP_NONE, "a leading zero: octal to some"},
    {"0300.0.2.1", NULL, IP_NONE, "octal"},
    {"0xc0.0.2.1", NULL, IP_NONE, "hexadecimal"},
    {"192.0..1", NULL, IP_NONE, "an empty part"},
    {"192.0.2.", NULL, IP_NONE, "an empty last part"},
    {".192.0.2.1", NULL, IP_NONE, "a dot in front"},
    {"192.0.2.1 ", NULL, IP_NONE, "a blank behind"},
    {" 192.0.2.1", NULL, IP_NONE, "a blank in front"},
    {"192.0.2.1\n", NULL, IP_NONE, "a newline behind"},
    {"192.0.2.-1", NULL, IP_NONE, "a sign"},
    {"192.0.2.1/32", NULL, IP_NONE, "a range"},
    {"fe80::1%eth0", NULL, IP_NONE, "a zone"},
    {"fe80::1%", NULL, IP_NONE, "an empty zone"},
    {"[::1]", NULL, IP_NONE, "brackets"},
    {"IPv6:2001:db8::1", NULL, IP_NONE, "the mail literal's prefix"},
    {"2001:db8::1::2", NULL, IP_NONE, "two gaps"},
    {"2001:db8:0:0:0:0:0:0:1", NULL, IP_NONE, "nine groups"},
    {"2001:db8:0:0:0:0:1", NULL, IP_NONE, "seven groups"},
    {"2001:0db80::1", NULL, IP_NONE, "five digits"},
    {":::", NULL, IP_NONE, "three colons"},
    {":", NULL, IP_NONE, "one colon"},
    {"::ffff:192.0.2.01", NULL, IP_NONE, "mapped with a leading zero"},
    {"::g", NULL, IP_NONE, "not hexadecimal"},
    {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL, IP_NONE, "too long"},
};

static void parses_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(address_rows) / sizeof(address_rows[0]); i++) {
		const char *text = address_rows[i].text, *want = address_rows[i].printed;
		struct ip ip = {.family = IP_V6, .bytes = {1}};
		char buf[IP_TEXT_MAX];
		bool good = ip_parse(text, strlen(text), &ip);
		if (good != !!want || ip.family != address_rows[i].family ||
		    strcmp(ip_print(&ip, buf), want ? want : "unknown") != 0)
			fail_msg("%s: \"%s\" became %s", address_rows[i].why, text, buf);
	}
}

static void reads_only_its_bytes(void **state)
{
	(void)state;
	struct ip ip;
	char buf[IP_TEXT_MAX];

	assert_true(ip_parse("192.0.2.123", 9, &ip));
	assert_string_equal(ip_print(&ip, buf), "192.0.2.1");
	assert_true(ip_parse("2001:db8::1:2", 11, &ip));
	assert_string_equal(ip_print(&ip, buf), "2001:db8::1");
	assert_false(ip_parse("::1\0", 4, &ip));
	assert_false(ip_parse("1.2.3.4\0", 8, &ip));
}

static const struct {
	const char *text;
	const char *printed; /* NULL: refused */
	const char *network; /* refused for host bits: the network meant */
	const char *why;
} prefix_rows[] = {
    {"192.0.2.0/24", "192.0.2.0/24", NULL, "IPv4 range"},
    {"192.0.2.1", "192.0.2.1", NULL, "an address is its own range"},
    {"192.0.2.1/32", "192.0.2.1", NULL, "full length prints as an address"},
    {"0.0.0.0/0", "0.0.0.0/0", NULL, "all of IPv4"},
    {"128.0.0.0/1", "128.0.0.0/1", NULL, "half of IPv4"},
    {"192.0.2.254/31", "192.0.2.254/31", NULL, "two addresses"},
    {"2001:db8::/32", "2001:db8::/32", NULL, "IPv6 range"},
    {"2001:db8::1/128", "2001:db8::1", NULL, "IPv6, full length"},
    {"::/0", "::/0", NULL, "all of IPv6"},
    {"0:0::0/0", "::/0", NULL, "all of IPv6, spelled out"},
    {"::ffff:192.0.2.0/120", "192.0.2.0/24", NULL, "a mapped range is IPv4"},
    {"::ffff:0:0/96", "0.0.0.0/0", NULL, "all of IPv4, mapped"},
    {"::ffff:0.0.0.0/96", "0.0.0.0/0", NULL, "all of IPv4, mapped and dotted"},
    {"::ffff:192.0.2.1", "192.0.2.1", NULL, "a mapped address"},
    {"::/64", "::/64", NULL, "a range around the mapped ones is IPv6"},
    {"192.0.2.1/24", NULL, "192.0.2.0/24", "host bits"},
    {"192.0.2.255/31", NULL, "192.0.2.254/31", "one host bit"},
    {"192.0.2.1/0", NULL, "0.0.0.0/0", "host bits, length 0"},
    {"2001:db8::1/32", NULL, "2001:db8::/32", "host bits, IPv6"},
    {"2001:db8:8000::/32", NULL, "2001:db8::/32", "the first host bit"},
    {"::ffff:192.0.2.1/120", NULL, "192.0.2.0/24", "host bits, mapped"},
    {"::ffff:0:0/95", NULL, "::fffe:0:0/95", "shorter than the mapped prefix"},
    {"192.0.2.0/33", NULL, NULL, "length over 32"},
    {"2001:db8::/129", NULL, NULL, "length over 128"},
    {"::ffff:192.0.2.0/24", NULL, "::/24", "a mapped range with an IPv4 length"},
    {"192.0.2.0/", NULL, NULL, "no length"},
    {"192.0.2.0/024", NULL, NULL, "length with a leading zero"},
    {"192.0.2.0/+24", NULL, NULL, "length with a sign"},
    {"192.0.2.0/ 24", NULL, NULL, "length with a blank"},
    {"192.0.2.0/24/24", NULL, NULL, "two lengths"},
    {"192.0.2.0/255.255.255.0", NULL, NULL, "a netmask"},
    {"192.0.2.0/4294967320", NULL, NULL, "a length that overflows"},
    {"/24", NULL, NULL, "no address"},
    {"192.0.2/24", NULL, NULL, "a short form"},
    {"fe80::%eth0/64", NULL, NULL, "a zone"},
    {"", NULL, NULL, "nothing"},
};

static void parses_prefixes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(prefix_rows) / sizeof(prefix_rows[0]); i++) {
		const char *text = prefix_rows[i].text, *want = prefix_rows[i].printed;
		struct ip_prefix prefix = {0};
		char buf[IP_TEXT_MAX];
		const char *error = ip_prefix_parse(text, strlen(text), &prefix);
		if (!!error == !!want ||
		    (want && strcmp(ip_prefix_print(&prefix, buf), want) != 0))
			fail_msg("%s: \"%s\": %s", prefix_rows[i].why, text, error);
		bool host_bits = error == ip_host_bits_set;
		if (host_bits != !!prefix_rows[i].network)
			fail_msg("%s: \"%s\": %s", prefix_rows[i].why, text, error);
		if (host_bits &&
		    strcmp(ip_prefix_print(&prefix, buf), prefix_rows[i].network) != 0)
			fail_msg("%s: the network is %s", prefix_rows[i].why, buf);
	}
}

static const struct {
	const char *ip, *prefix;
	bool inside;
	const char *why;
} inside_rows[] = {
    {"192.0.2.0", "192.0.2.0/24", true, "the first"},
    {"192.0.2.255", "192.0.2.0/24", true, "the last"},
    {"192.0.3.0", "192.0.2.0/24", false, "behind the last"},
    {"192.0.1.255", "192.0.2.0/24", false, "before the first"},
    {"192.0.2.129", "192.0.2.128/25", true, "a length inside a byte"},
    {"192.0.2.127", "192.0.2.128/25", false, "a length inside a byte, outside"},
    {"8.8.8.8", "0.0.0.0/0", true, "all"},
    {"::1", "0.0.0.0/0", false, "the other family"},
    {"192.0.2.1", "::/0", false, "the other family, the other way"},
    {"2001:db8:ffff::", "2001:db8::/32", true, "IPv6"},
    {"2001:db9::", "2001:db8::/32", false, "IPv6, outside"},
    {"2001:db8::1", "2001:db8::1", true, "itself"},
    {"2001:db8::2", "2001:db8::1", false, "its neighbour"},
    {"::ffff:192.0.2.7", "192.0.2.0/24", true, "mapped"},
    {"unknown", "0.0.0.0/0", false, "no address is in no range"},
};

static void tells_inside(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(inside_rows) / sizeof(inside_rows[0]); i++) {
		struct ip ip;
		struct ip_prefix prefix;
		ip_parse(inside_rows[i].ip, strlen(inside_rows[i].ip), &ip);
		assert_null(ip_prefix_parse(
		    inside_rows[i].prefix, strlen(inside_rows[i].prefix), &prefix));
		if (ip_in_prefix(&ip, &prefix) != inside_rows[i].inside)
			fail_msg(
			    "%s: %s in %s", inside_rows[i].why, inside_rows[i].ip,
			    inside_rows[i].prefix);
	}
}

static const struct {
	const char *text;
	bool loopback;
} loopback_rows[] = {
    {"127.0.0.1", true},  {"127.255.255.255", true},
    {"::1", true},        {"::ffff:127.0.0.1", true},
    {"128.0.0.1", false}, {"::", false},
    {"::2", false},       {"::127.0.0.1", false},
    {"unknown", false},
};

static void knows_loopback(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(loopback_rows) / sizeof(loopback_rows[0]); i++) {
		struct ip ip;
		ip_parse(loopback_rows[i].text, strlen(loopback_rows[i].text), &ip);
		if (ip_is_loopback(&ip) != loopback_rows[i].loopback)
			fail_msg("%s", loopback_rows[i].text);
	}
}

static const struct {
	const char *text;
	bool private;
} private_rows[] = {
    {"127.0.0.1", true},
    {"127.255.255.255", true},
    {"10.0.0.0", true},
    {"10.255.255.255", true},
    {"11.0.0.0", false},
    {"9.255.255.255", false},
    {"172.15.255.255", false},
    {"172.16.0.0", true},
    {"172.31.255.255", true},
    {"172.32.0.0", false},
    {"192.167.255.255", false},
    {"192.168.0.1", true},
    {"192.169.0.0", false},
    {"169.254.1.1", true},
    {"169.253.1.1", false},
    {"100.64.0.1", false},
    {"0.0.0.0", false},
    {"8.8.8.8", false},
    {"::ffff:10.1.2.3", true},
    {"::ffff:8.8.8.8", false},
    {"::1", true},
    {"::2", false},
    {"fbff::1", false},
    {"fc00::1", true},
    {"fdff::1", true},
    {"fe00::1", false},
    {"fe80::1", true},
    {"febf::1", true},
    {"fec0::1", false},
    {"2001:db8::1", false},
    {"no address", false},
};

static void knows_private(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(private_rows) / sizeof(private_rows[0]); i++) {
		struct ip ip;
		ip_parse(private_rows[i].text, strlen(private_rows[i].text), &ip);
		if (ip_is_private(&ip) != private_rows[i].private)
			fail_msg("%s", private_rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parses_addresses), cmocka_unit_test(reads_only_its_bytes),
	    cmocka_unit_test(parses_prefixes),  cmocka_unit_test(tells_inside),
	    cmocka_unit_test(knows_loopback),   cmocka_unit_test(knows_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
