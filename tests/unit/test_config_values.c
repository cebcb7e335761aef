/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static void times(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool with_ms, good;
		uint64_t ms;
	} rows[] = {
	    {"90s", false, true, 90000},
	    {"10m", false, true, 600000},
	    {"1h", false, true, 3600000},
	    {"1d", false, true, 86400000},
	    {"0s", false, true, 0},
	    {"100ms", true, true, 100},
	    {"2s", true, true, 2000},
	    {"100ms", false, false, 0},
	    {"90", false, false, 0},
	    {"", false, false, 0},
	    {"s", false, false, 0},
	    {"1 h", false, false, 0},
	    {"1h ", false, false, 0},
	    {" 1h", false, false, 0},
	    {"1H", false, false, 0},
	    {"1h30m", false, false, 0},
	    {"-1s", false, false, 0},
	    {"+1s", false, false, 0},
	    {"1.5h", false, false, 0},
	    {"1w", false, false, 0},
	    {"99999999999999999999s", false, false, 0},
	    {"18446744073709551615d", false, false, 0},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t ms = 0;
		bool good = time_parse(rows[i].text, rows[i].with_ms, &ms);
		if (good != rows[i].good || (good && ms != rows[i].ms))
			fail_msg(
			    "time \"%s\": %d, %llu ms", rows[i].text, good,
			    (unsigned long long)ms);
	}
}

static void times_are_printed_exactly(void **state)
{
	(void)state;
	static const struct {
		uint64_t ms;
		const char *text;
	} rows[] = {{0, "0s"},      {1, "1ms"},      {1500, "1500ms"}, {1000, "1s"},
		    {90000, "90s"}, {600000, "10m"}, {3600000, "1h"},  {86400000, "1d"}};
	for (size_t i = 0; i < COUNT(rows); i++) {
		char buf[32];
		assert_string_equal(time_print(rows[i].ms, buf), rows[i].text);
	}
}

static void sizes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		uint64_t bytes;
	} rows[] = {
	    {"25M", true, 26214400},
	    {"64K", true, 65536},
	    {"64k", true, 65536},
	    {"1G", true, 1073741824},
	    {"1000", true, 1000},
	    {"0", true, 0},
	    {"25MB", false, 0},
	    {"25m", false, 0},
	    {"25 M", false, 0},
	    {"M", false, 0},
	    {"", false, 0},
	    {"-1", false, 0},
	    {"1.5M", false, 0},
	    {"18446744073709551615", true, UINT64_MAX},
	    {"18446744073709551616", false, 0},
	    {"18446744073709551615K", false, 0},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t bytes = 0;
		bool good = size_parse(rows[i].text, &bytes);
		if (good != rows[i].good || (good && bytes != rows[i].bytes))
			fail_msg(
			    "size \"%s\": %d, %llu", rows[i].text, good,
			    (unsigned long long)bytes);
	}
}

static void modes(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool good;
		mode_t mode;
	} rows[] = {{"0660", true, 0660}, {"660", true, 0660}, {"0000", true, 0},
		    {"0999", false, 0},   {"1660", false, 0},  {"66", false, 0},
		    {"00660", false, 0},  {"0x1b", false, 0},  {"", false, 0}};
	for (size_t i = 0; i < COUNT(rows); i++) {
		mode_t mode = 0;
		bool good = mode_parse(rows[i].text, &mode);
		if (good != rows[i].good || mode != rows[i].mode)
			fail_msg("mode \"%s\": %d, %o", rows[i].text, good, mode);
	}
}

static void clean_text(void **state)
{
	(void)state;
	assert_true(text_is_clean("", 0));
	assert_true(text_is_clean("a b", 3));
	assert_false(text_is_clean("a ", 2));
	assert_false(text_is_clean(" a", 2));
	assert_false(text_is_clean("a\tb", 3));
	assert_false(text_is_clean("a\n", 2));
	assert_false(text_is_clean("a\x7f", 2));
}

static void checks(void **state)
{
	(void)state;
	static const struct {
		const char *(*check)(const char *);
		const char *text;
		bool good;
	} rows[] = {
	    {check_hostname, "gw.example.org", true},
	    {check_hostname, "gw", true},
	    {check_hostname, "gw example", false},
	    {check_hostname, "[192.0.2.1]", false},
	    {check_delimiter, "+", true},
	    {check_delimiter, "+-", true},
	    {check_delimiter, "", true},
	    {check_delimiter, "@", false},
	    {check_delimiter, "x", false},
	    {check_delimiter, "+++++++++", false},
	    {check_country_code, "DE", true},
	    {check_country_code, "de", false},
	    {check_country_code, "DEU", false},
	    {check_limit_name, "user-hour", true},
	    {check_limit_name, "User_hour.2", true},
	    {check_limit_name, "a/b", false},
	    {check_limit_name, "a:b", false},
	    {check_limit_name, "a b", false},
	    {check_domain_entry, "example.org", true},
	    {check_domain_entry, "@example.org", true},
	    {check_domain_entry, ".example.org", true},
	    {check_domain_entry, "a@example.org", false},
	    {check_domain_entry, "a@", false},
	    {check_domain_entry, "<>", false},
	    {check_redis_name, "mymaster", true},
	    {check_redis_name, "my master", false},
	    {check_redis_prefix, "postern:", true},
	    {check_redis_prefix, "", true},
	    {check_redis_prefix, "a{b", false},
	    {check_redis_prefix, "a}b", false},
	    {check_redis_prefix, "a\nb", false},
	    {check_dns_server, "127.0.0.1", true},
	    {check_dns_server, "::1", true},
	    {check_dns_server, "127.0.0.1:5353", true},
	    {check_dns_server, "[::1]:53", true},
	    {check_dns_server, "dns.example.org", false},
	    {check_dns_server, "dns.example.org:53", false},
	    {check_account, "postern", true},
	    {check_account, "_opendkim", true},
	    {check_account, "-x", false},
	    {check_account, "a b", false},
	    {check_selector, "s2026", true},
	    {check_selector, "a.b", true},
	    {check_selector, "a..b", false},
	    {check_selector, "a.", false},
	    {check_selector, ".", false},
	    {check_selector, "a b", false},
	    {check_signed_header, "Subject", true},
	    {check_signed_header, "Subject:", false},
	    {check_signed_header, "Received", false},
	    {check_signed_header, "X Y", false},
	    {check_removed_header, "X-Originating-IP", true},
	    {check_removed_header, "received", false},
	    {check_removed_header, "From", false},
	};
	for (size_t i = 0; i < COUNT(rows); i++)
		if (!rows[i].check(rows[i].text) != rows[i].good)
			fail_msg(
			    "row %zu, \"%s\", should be %s", i, rows[i].text,
			    rows[i].good ? "good" : "wrong");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times),      cmocka_unit_test(times_are_printed_exactly),
	    cmocka_unit_test(sizes),      cmocka_unit_test(modes),
	    cmocka_unit_test(clean_text), cmocka_unit_test(checks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
