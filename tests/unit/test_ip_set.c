/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/ip_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A set from "10.0.0.0/8 192.0.2.1", in that order. */
static struct ip_set set_of(const char *text)
{
	struct ip_set set = {0};

	while (*text) {
		struct ip_set one;
		struct ip_prefix prefix;
		size_t n = strcspn(text, " ");
		assert_null(ip_prefix_parse(text, n, &prefix));
		assert_int_equal(ip_set_prefix(&prefix, &one), 0);
		assert_int_equal(ip_set_add(&set, &one), 0);
		ip_set_done(&one);
		text += n + (text[n] == ' ');
	}
	return set;
}

/* IPv4 alone: "10.0.0.0-10.0.0.255 ...". */
static const char *shown(const struct ip_set *set)
{
	static char text[1000];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < set->count; i++) {
		uint32_t first = (uint32_t)set->ranges[i].first;
		uint32_t last = (uint32_t)set->ranges[i].last;
		len += (size_t)snprintf(
		    text + len, sizeof(text) - len, "%s%u.%u.%u.%u-%u.%u.%u.%u",
		    i ? " " : "", first >> 24, first >> 16 & 255, first >> 8 & 255,
		    first & 255, last >> 24, last >> 16 & 255, last >> 8 & 255,
		    last & 255);
	}
	return text;
}

static void test_arithmetic(void **state)
{
	static const struct {
		const char *why, *a, *b, *both, *a_without_b;
	} rows[] = {
	    {"neighbours stay two networks", "10.0.0.0/25", "10.0.0.128/25",
	     "10.0.0.0-10.0.0.127 10.0.0.128-10.0.0.255", "10.0.0.0-10.0.0.127"},
	    {"a hole in the middle", "10.0.0.0/24", "10.0.0.8/29", "10.0.0.0-10.0.0.255",
	     "10.0.0.0-10.0.0.7 10.0.0.16-10.0.0.255"},
	    {"a hole at the start", "10.0.0.0/24", "10.0.0.0/25", "10.0.0.0-10.0.0.255",
	     "10.0.0.128-10.0.0.255"},
	    {"a hole at the end", "10.0.0.0/24", "10.0.0.255", "10.0.0.0-10.0.0.255",
	     "10.0.0.0-10.0.0.254"},
	    {"two holes", "10.0.0.0/30", "10.0.0.1 10.0.0.3", "10.0.0.0-10.0.0.3",
	     "10.0.0.0-10.0.0.0 10.0.0.2-10.0.0.2"},
	    {"what is inside adds its surroundings alone", "10.0.0.4", "10.0.0.0/29",
	     "10.0.0.0-10.0.0.3 10.0.0.4-10.0.0.4 10.0.0.5-10.0.0.7", ""},
	    {"one that covers several", "10.0.0.1 10.0.0.5 10.0.1.0", "10.0.0.0/24",
	     "10.0.0.0-10.0.0.0 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.4 10.0.0.5-10.0.0.5 "
	     "10.0.0.6-10.0.0.255 10.0.1.0-10.0.1.0",
	     "10.0.1.0-10.0.1.0"},
	    {"the same", "10.0.0.0/24", "10.0.0.0/24", "10.0.0.0-10.0.0.255", ""},
	    {"everything", "0.0.0.0/0", "255.255.255.255", "0.0.0.0-255.255.255.255",
	     "0.0.0.0-255.255.255.254"},
	    {"from nothing", "", "10.0.0.1", "10.0.0.1-10.0.0.1", ""},
	    {"nothing", "10.0.0.1", "", "10.0.0.1-10.0.0.1", "10.0.0.1-10.0.0.1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_set a = set_of(rows[i].a), b = set_of(rows[i].b), rest;
		assert_int_equal(ip_set_minus(&a, &b, &rest), 0);
		if (strcmp(shown(&rest), rows[i].a_without_b) != 0)
			fail_msg("%s: without: %s", rows[i].why, shown(&rest));
		assert_int_equal(ip_set_add(&a, &b), 0);
		if (strcmp(shown(&a), rows[i].both) != 0)
			fail_msg("%s: both: %s", rows[i].why, shown(&a));
		ip_set_done(&a);
		ip_set_done(&b);
		ip_set_done(&rest);
	}
}

static void test_missing(void **state)
{
	struct ip_set a = set_of("10.0.0.1 10.0.0.2 10.0.1.0/24");
	struct ip_set b = set_of("10.0.0.2 10.0.0.3 10.0.1.0/25 10.0.4.0/24");

	(void)state;
	assert_int_equal(ip_set_count_missing(&a, &b), 2);
	assert_int_equal(ip_set_count_missing(&b, &a), 3);
	assert_int_equal(ip_set_count_missing(&a, &a), 0);
	ip_set_done(&a);
	ip_set_done(&b);
}

/* Against a bitmap of 10.0.0.0/24: random sets, all operations, all look-ups. */
static void test_against_a_bitmap(void **state)
{
	unsigned seed = 20260105;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		struct ip_set sets[2] = {0}, rest;
		bool bits[2][256] = {{0}};
		for (unsigned i = 0; i < 12; i++) {
			unsigned which = (unsigned)rand_r(&seed) % 2;
			uint8_t length = (uint8_t)(24 + rand_r(&seed) % 9);
			struct ip ip = {IP_V4, {10, 0, 0, (uint8_t)rand_r(&seed)}};
			struct ip_prefix prefix = {ip_mask(ip, length), length};
			struct ip_set one;
			assert_int_equal(ip_set_prefix(&prefix, &one), 0);
			assert_int_equal(ip_set_add(&sets[which], &one), 0);
			ip_set_done(&one);
			for (unsigned j = 0; j < 1U << (32 - length); j++)
				bits[which][prefix.ip.bytes[3] + j] = true;
		}
		assert_int_equal(ip_set_minus(&sets[0], &sets[1], &rest), 0);
		for (unsigned i = 0; i < 256; i++) {
			struct ip ip = {IP_V4, {10, 0, 0, (uint8_t)i}};
			assert_true(!!ip_set_find(&sets[0], &ip) == bits[0][i]);
			assert_true(
			    !!ip_set_find(&rest, &ip) == (bits[0][i] && !bits[1][i]));
		}
		for (unsigned i = 0; i < 2; i++)
			ip_set_done(&sets[i]);
		ip_set_done(&rest);
	}
}

static void test_ipv6(void **state)
{
	struct ip_set all, one = set_of("2001:db8::/32"), rest;
	struct ip ip;

	(void)state;
	assert_int_equal(ip_set_all(IP_V6, &all), 0);
	assert_int_equal(ip_set_minus(&all, &one, &rest), 0);
	assert_int_equal(rest.count, 2);
	assert_true(ip_parse("2001:db8:ffff::1", 16, &ip));
	assert_non_null(ip_set_find(&one, &ip));
	assert_null(ip_set_find(&rest, &ip));
	assert_true(ip_parse("2001:db9::", 10, &ip));
	assert_null(ip_set_find(&one, &ip));
	assert_non_null(ip_set_find(&rest, &ip));
	ip_set_done(&all);
	ip_set_done(&one);
	ip_set_done(&rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_arithmetic),
	    cmocka_unit_test(test_missing),
	    cmocka_unit_test(test_against_a_bitmap),
	    cmocka_unit_test(test_ipv6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
