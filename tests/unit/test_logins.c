/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/logins.h"

#include "policyd/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW_S INT64_C(1767600000)

static int64_t wall_s, steady_s;

static void test_clock(struct moment *ret)
{
	ret->wall_ms = wall_s * 1000;
	ret->steady_ms = steady_s * 1000;
}

static struct logins *fresh(size_t max)
{
	struct logins *logins;

	wall_s = NOW_S;
	steady_s = 100000;
	assert_int_equal(logins_new(max, &logins), 0);
	ledger_set_clock(logins_ledger(logins), test_clock);
	return logins;
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_true(ip_parse(text, strlen(text), &ip));
	return ip;
}

static void put(struct logins *logins, const char *ip, int64_t at_s)
{
	struct login login = {.ip = ip_of(ip), .at_s = at_s, .user = "ada"};

	assert_int_equal(logins_put(logins, &login), 0);
}

static enum login_state look(struct logins *logins, const char *text, uint32_t grace_s)
{
	struct ip ip = ip_of(text);

	return logins_look(logins, &ip, wall_s, grace_s);
}

static void counts_for_its_grace(void **state)
{
	struct logins *logins = fresh(10);
	(void)state;

	put(logins, "192.0.2.7", wall_s);
	wall_s += 599;
	steady_s += 599;
	assert_int_equal(look(logins, "192.0.2.7", 600), LOGIN_RECENT);
	assert_int_equal(look(logins, "::ffff:192.0.2.7", 600), LOGIN_RECENT);
	assert_int_equal(look(logins, "192.0.2.8", 600), LOGIN_NONE);
	assert_int_equal(look(logins, "192.0.2.7", 599), LOGIN_NONE);
	wall_s++;
	steady_s++;
	assert_int_equal(look(logins, "192.0.2.7", 600), LOGIN_NONE);
	/* The next login counts anew; an older one that is told late changes nothing. */
	put(logins, "192.0.2.7", wall_s);
	put(logins, "192.0.2.7", wall_s - 500);
	wall_s += 500;
	steady_s += 500;
	assert_int_equal(look(logins, "192.0.2.7", 600), LOGIN_RECENT);
	logins_free(logins);
}

static void a_clock_set_back_prolongs_nothing(void **state)
{
	struct logins *logins = fresh(10);
	(void)state;

	put(logins, "192.0.2.7", wall_s);
	wall_s -= 86400;
	steady_s += 599;
	assert_int_equal(look(logins, "192.0.2.7", 600), LOGIN_RECENT);
	steady_s++;
	assert_int_equal(look(logins, "192.0.2.7", 600), LOGIN_NONE);
	logins_free(logins);
}

static void cannot_tell_is_not_none(void **state)
{
	struct logins *logins = fresh(10);
	(void)state;

	put(logins, "192.0.2.7", wall_s);
	logins_set_complete(logins, false);
	assert_int_equal(look(logins, "192.0.2.7", 600), LOGIN_RECENT);
	assert_int_equal(look(logins, "192.0.2.8", 600), LOGIN_CANNOT_TELL);
	logins_set_complete(logins, true);
	assert_int_equal(look(logins, "192.0.2.8", 600), LOGIN_NONE);
	logins_free(logins);
}

static void the_oldest_go_first(void **state)
{
	struct logins *logins = fresh(100);
	char ip[32];
	(void)state;

	for (int i = 0; i < 1000; i++) {
		sprintf(ip, "10.0.%d.%d", i / 250, i % 250);
		put(logins, ip, wall_s);
		put(logins, "192.0.2.1", wall_s); /* keeps coming back */
	}
	for (int i = 0; i < 1000; i++) {
		sprintf(ip, "10.0.%d.%d", i / 250, i % 250);
		if ((look(logins, ip, 600) == LOGIN_RECENT) != (i > 900))
			fail_msg("%d", i);
	}
	assert_int_equal(look(logins, "192.0.2.1", 600), LOGIN_RECENT);
	logins_free(logins);
}

static void see(void *context, const struct login *login)
{
	char ip[IP_TEXT_MAX], *text = context;

	sprintf(
	    text + strlen(text), "%s %d %s\n", ip_print(&login->ip, ip),
	    (int)(login->at_s - NOW_S), login->user);
}

static void listed_since(void **state)
{
	struct logins *logins = fresh(10);
	char text[256] = "";
	(void)state;

	put(logins, "192.0.2.1", wall_s - 700);
	put(logins, "2001:db8::1", wall_s - 100);
	logins_each(logins, wall_s - 600, see, text);
	assert_string_equal(text, "2001:db8::1 -100 ada\n");
	logins_free(logins);
}

static void foreign_records(void **state)
{
	static const struct {
		const char *key, *text;
		bool good;
	} rows[] = {
	    {"192.0.2.1", "ada", true},
	    {"192.0.2.1", "", true},
	    {"2001:db8::1", "ada", true},
	    {"2001:DB8::1", "ada", false},
	    {"::ffff:192.0.2.1", "ada", false},
	    {"192.0.2.0/24", "ada", false},
	    {"", "ada", false},
	    {"192.0.2.1", "a\nb", false},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct record record = {
		    .key = rows[i].key,
		    .key_len = strlen(rows[i].key),
		    .text = rows[i].text,
		    .text_len = strlen(rows[i].text),
		};
		if (logins_accept(&record) != rows[i].good)
			fail_msg("%s", rows[i].key);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(counts_for_its_grace),
	    cmocka_unit_test(a_clock_set_back_prolongs_nothing),
	    cmocka_unit_test(cannot_tell_is_not_none),
	    cmocka_unit_test(the_oldest_go_first),
	    cmocka_unit_test(listed_since),
	    cmocka_unit_test(foreign_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
