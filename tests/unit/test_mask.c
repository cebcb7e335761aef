/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define ARRIVED      1767225600 /* 2026-01-01T00:00:00Z */
#define ARRIVED_TEXT "Thu, 1 Jan 2026 00:00:00 +0000"

static const struct mask_client client = {
    .address = "192.0.2.55",
    .name = "dsl-55.isp.example",
    .helo = "laptop.lan",
    .login = "ada@example.org",
};

static const struct mask_hop hop = {.hostname = "gw.example.org", .time = ARRIVED};

static const struct {
	const char *why;
	const char *value;
	const char *want;
} upstream[] = {
    {"as Postfix writes them",
     " from laptop.lan (dsl-55.isp.example [192.0.2.55])\n\tby mx.example.org (Postfix) "
     "with ESMTPSA id 4XyZ12\n\tfor <bob@example.net>; Fri, 21 Nov 2025 01:03:00 +0100 "
     "(CET)",
     " by mx.example.org with ESMTPSA id 4XyZ12;\n\tFri, 21 Nov 2025 01:03:00 +0100"},
    {"Exim",
     " from [10.1.2.3] (helo=pc)\n\tby mx.example.org with esmtp (Exim 4.96)\n\t"
     "(envelope-from <ada@example.org>)\n\tid 1vMAbc-000000012Xy-3abc\n\t"
     "for bob@example.net;\n\tFri, 21 Nov 2025 01:03:00 +0000",
     " by mx.example.org with esmtp id 1vMAbc-000000012Xy-3abc;\n\tFri, 21 Nov 2025 "
     "01:03:00 +0000"},
    {"Microsoft: an address in the by clause's comment, an id that looks like one",
     " from AM1.eu.example (2603:10a6:20b::16) by AM2.eu.example\n (2603:10a6:20b::17) "
     "with Microsoft SMTP Server (version=TLS1_2) id\n 15.20.10.22; Fri, 21 Nov 2025 "
     "01:03:00 +0000",
     " by AM2.eu.example with Microsoft;\n\tFri, 21 Nov 2025 01:03:00 +0000"},
    {"a HELO of \"by\" is not the keyword",
     " from by (unknown [192.0.2.55]) by mx.example.org with SMTP id 1; 1 Nov 2025 "
     "01:03:00 GMT",
     " by mx.example.org with SMTP id 1;\n\t1 Nov 2025 01:03:00 +0000"},
    {"keywords in comments",
     " (from x by 192.0.2.1 id 9) by mx.example.org (by b.example); "
     "Fri, 21 Nov 2025 01:03 -0330",
     " by mx.example.org;\n\tFri, 21 Nov 2025 01:03:00 -0330"},
    {"nested comments and quoted pairs",
     " from a (b (c\\) by 10.1.1.1) d) by mx.example.org; Fri, 21 Nov 2025 01:03:00 "
     "+0000",
     " by mx.example.org;\n\tFri, 21 Nov 2025 01:03:00 +0000"},
    {"words in capitals",
     " FROM x BY mx.example.org WITH SMTP ID 7; Fri,21 Nov 2025 "
     "01:03:00 +0000",
     " by mx.example.org with SMTP id 7;\n\t" ARRIVED_TEXT},
    {"by an IPv4 address", " by 10.2.3.4 with SMTP; Fri, 21 Nov 2025 01:03:00 +0000",
     " by unknown with SMTP;\n\tFri, 21 Nov 2025 01:03:00 +0000"},
    {"by an address literal",
     " by [IPv6:2001:db8::1] with SMTP; Fri, 21 Nov 2025 "
     "01:03:00 +0000",
     " by unknown with SMTP;\n\tFri, 21 Nov 2025 01:03:00 +0000"},
    {"by a number (qmail)", " by 0 with SMTP; 21 Nov 2025 01:03:00 -0000",
     " by unknown with SMTP;\n\t21 Nov 2025 01:03:00 +0000"},
    {"by an address in hex", " by 0x0a020304 with SMTP; 21 Nov 2025 01:03:00 -0000",
     " by unknown with SMTP;\n\t21 Nov 2025 01:03:00 +0000"},
    {"by the client's name", " by DSL-55.isp.example with SMTP; 21 Nov 2025 01:03:00 GMT",
     " by unknown with SMTP;\n\t21 Nov 2025 01:03:00 +0000"},
    {"by the client's HELO", " by laptop.lan; 21 Nov 2025 01:03:00 GMT",
     " by unknown;\n\t21 Nov 2025 01:03:00 +0000"},
    {"the login in the id",
     " by mx.example.org id x.ada@example.org.7; 21 Nov 2025 "
     "01:03:00 GMT",
     " by mx.example.org;\n\t21 Nov 2025 01:03:00 +0000"},
    {"the client's address in the id",
     " by mx.example.org id q-192.0.2.55-1; 21 Nov "
     "2025 01:03:00 GMT",
     " by mx.example.org;\n\t21 Nov 2025 01:03:00 +0000"},
    {"the client's address in the by name",
     " by host-192.0.2.55.isp.example; 21 Nov "
     "2025 01:03:00 GMT",
     " by unknown;\n\t21 Nov 2025 01:03:00 +0000"},
    {"a message id as id", " by mx.example.org id <1@laptop>; 21 Nov 2025 01:03:00 GMT",
     " by mx.example.org;\n\t21 Nov 2025 01:03:00 +0000"},
    {"control characters",
     " by mx\001.example.org\r id a\x7f"
     "b; 21 Nov 2025 01:03:00 GMT",
     " by mx id a;\n\t21 Nov 2025 01:03:00 +0000"},
    {"8-bit",
     " by mx.b\xc3\xbc"
     "cher.example; 21 Nov 2025 01:03:00 GMT",
     " by unknown;\n\t21 Nov 2025 01:03:00 +0000"},
    {"a newline that is no fold", " by mx.example.org\nEvil: x; 21 Nov 2025 01:03:00 GMT",
     " by mx.example.org;\n\t21 Nov 2025 01:03:00 +0000"},
    {"empty", "", " by unknown;\n\t" ARRIVED_TEXT},
    {"garbage", " 192.0.2.55 %s%n <script>", " by unknown;\n\t" ARRIVED_TEXT},
    {"an open comment hides all", " (from x by mx.example.org; 21 Nov 2025 01:03:00 GMT",
     " by unknown;\n\t" ARRIVED_TEXT},
    {"an open quote", " by \"mx.example.org; 21 Nov 2025 01:03:00 GMT",
     " by unknown;\n\t" ARRIVED_TEXT},
    {"keywords without words", " by with id ; 21 Nov 2025 01:03:00 GMT",
     " by with;\n\t21 Nov 2025 01:03:00 +0000"},
    {"no date", " by mx.example.org", " by mx.example.org;\n\t" ARRIVED_TEXT},
    {"an address for a date", " by mx.example.org; 192.0.2.55",
     " by mx.example.org;\n\t" ARRIVED_TEXT},
    {"text after the date", " by mx.example.org; 21 Nov 2025 01:03:00 GMT 192.0.2.55",
     " by mx.example.org;\n\t" ARRIVED_TEXT},
    {"an impossible time", " by mx.example.org; 21 Nov 2025 25:03:00 GMT",
     " by mx.example.org;\n\t" ARRIVED_TEXT},
    {"an impossible zone", " by mx.example.org; 21 Nov 2025 01:03:00 +9999",
     " by mx.example.org;\n\t" ARRIVED_TEXT},
    {"a leap second", " by mx.example.org; Sat, 31 Dec 2016 23:59:60 GMT",
     " by mx.example.org;\n\tSat, 31 Dec 2016 23:59:60 +0000"},
};

static void test_upstream(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(upstream) / sizeof(upstream[0]); i++) {
		char got[MASK_VALUE_MAX];
		size_t len = strlen(upstream[i].value);
		char *value = malloc(len + 1);
		memcpy(value, upstream[i].value, len);
		mask_upstream(value, len, &client, &hop, got);
		free(value);
		if (strcmp(got, upstream[i].want) != 0)
			fail_msg(
			    "%s:\n got \"%s\"\nwant \"%s\"", upstream[i].why, got,
			    upstream[i].want);
	}
}

/* Whatever comes in: printable ASCII and one fold go out, and never the client. */
static void test_random(void **state)
{
	(void)state;
	static const char *const pieces[] = {
	    " from ",
	    " by ",
	    " with ",
	    " id ",
	    " for ",
	    ";",
	    "(",
	    ")",
	    "\"",
	    "\\",
	    "192.0.2.55",
	    "laptop.lan",
	    "dsl-55.isp.example",
	    "ada@example.org",
	    "\n\t",
	    "\r",
	    "\001",
	    "\xff",
	    " 21 Nov 2025 01:03:00 +0000",
	    "mx.example.org",
	    "SMTP",
	    "4XyZ",
	    " ",
	    "[",
	    "]",
	    "<",
	    ">",
	    ",",
	    "-",
	    "."};
	srandom(20260101);
	for (int round = 0; round < 20000; round++) {
		char value[512] = "", got[MASK_VALUE_MAX];
		for (int i = 0; i < 16; i++)
			strcat(
			    value, pieces
				       [(size_t)random() %
					(sizeof(pieces) / sizeof(pieces[0]))]);
		mask_upstream(value, strlen(value), &client, &hop, got);
		int newlines = 0;
		for (const char *at = got; *at; at++) {
			newlines += *at == '\n';
			if (*at == '\n' && at[1] != '\t')
				fail_msg("no fold in \"%s\"", got);
			if (*at != '\n' && *at != '\t' && (*at < ' ' || *at > '~'))
				fail_msg("byte %d from \"%s\"", *at, value);
		}
		assert_int_equal(newlines, 1);
		if (strstr(got, "192.0.2.55") || strstr(got, "ada@") ||
		    strstr(got, "laptop.lan") || strstr(got, "dsl-55.isp.example"))
			fail_msg("\"%s\" shows the client of \"%s\"", got, value);
	}
}

static const struct {
	const char *why;
	struct mask_hop hop;
	const char *want;
} own[] = {
    {"submission",
     {"gw.example.org", "4XyZ12", false, true, true, true, ARRIVED, NULL},
     " \n\tby gw.example.org (Postfix) with ESMTPSA id 4XyZ12;\n\t" ARRIVED_TEXT},
    {"SMTPUTF8",
     {"gw.example.org", "4XyZ12", true, true, true, true, ARRIVED, NULL},
     " \n\tby gw.example.org (Postfix) with UTF8SMTPSA id 4XyZ12;\n\t" ARRIVED_TEXT},
    {"no queue id",
     {"gw.example.org", NULL, false, true, false, false, ARRIVED, NULL},
     " \n\tby gw.example.org (Postfix) with ESMTP;\n\t" ARRIVED_TEXT},
    {"a queue id of another MTA",
     {.hostname = "gw.example.org",
      .queue_id = "1vMAbc-000000012Xy-3abc",
      .time = ARRIVED},
     " \n\tby gw.example.org (Postfix) with SMTP id "
     "1vMAbc-000000012Xy-3abc;\n\t" ARRIVED_TEXT},
    {"a queue id that is none",
     {"gw.example.org", "a\nb", false, true, false, false, ARRIVED, NULL},
     " \n\tby gw.example.org (Postfix) with ESMTP;\n\t" ARRIVED_TEXT},
    {"no host name",
     {NULL, "1", false, false, false, false, ARRIVED, NULL},
     " \n\tby unknown (Postfix) with SMTP id 1;\n\t" ARRIVED_TEXT},
    {"a token",
     {"gw.example.org", "4XyZ12", false, true, true, true, ARRIVED, "AbC-_9"},
     " \n\tby gw.example.org (Postfix) with ESMTPSA id 4XyZ12\n\t(Postern t=AbC-_9);"
     "\n\t" ARRIVED_TEXT},
    {"no token",
     {"gw.example.org", "4XyZ12", false, true, true, true, ARRIVED, ""},
     " \n\tby gw.example.org (Postfix) with ESMTPSA id 4XyZ12;\n\t" ARRIVED_TEXT},
    {"a host name with a newline",
     {"gw\nX: y", "1", false, false, false, false, ARRIVED, NULL},
     " \n\tby unknown (Postfix) with SMTP id 1;\n\t" ARRIVED_TEXT},
};

static void test_own(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		char got[MASK_VALUE_MAX];
		mask_own(&own[i].hop, got);
		if (strcmp(got, own[i].want) != 0)
			fail_msg(
			    "%s:\n got \"%s\"\nwant \"%s\"", own[i].why, got,
			    own[i].want);
	}
}

static void test_protocol(void **state)
{
	(void)state;
	static const char *const names[2][2][2] = {
	    {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
	    {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}}};
	for (int i = 0; i < 8; i++) {
		struct mask_hop at = {
		    .esmtp = true,
		    .smtputf8 = i & 4,
		    .tls = i & 2,
		    .authenticated = i & 1,
		};
		assert_string_equal(
		    mask_protocol(&at), names[i >> 2][(i >> 1) & 1][i & 1]);
	}
}

static int set_zone(void **state)
{
	(void)state;
	return setenv("TZ", "UTC", 1);
}

static void test_date_zone(void **state)
{
	(void)state;
	char date[MASK_DATE_MAX];
	setenv("TZ", "<-0330>3:30", 1);
	tzset();
	mask_date(ARRIVED, date);
	assert_string_equal(date, "Wed, 31 Dec 2025 20:30:00 -0330");
	setenv("TZ", "UTC", 1);
	tzset();
	mask_date(ARRIVED, date);
	assert_string_equal(date, ARRIVED_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_upstream),  cmocka_unit_test(test_random),
	    cmocka_unit_test(test_own),       cmocka_unit_test(test_protocol),
	    cmocka_unit_test(test_date_zone),
	};
	return cmocka_run_group_tests(tests, set_zone, NULL);
}
