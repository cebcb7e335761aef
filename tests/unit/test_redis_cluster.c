/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_cluster.h"
#include "policyd/redis_sentinel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As CLUSTER KEYSLOT of Redis 7.0.15 says. */
static void slots(void **state)
{
	(void)state;
	static const struct {
		const char *why, *key;
		unsigned slot;
	} rows[] = {
	    {"the check value of CRC16-XMODEM, 0x31C3", "123456789", 0x31C3},
	    {"nothing", "", 0},
	    {"a word", "foo", 12182},
	    {"a hash tag alone counts", "{foo}.a", 12182},
	    {"wherever it stands", "a.{foo}", 12182},
	    {"the first one", "{foo}{bar}", 12182},
	    {"an empty one is none", "{}foo", 9500},
	    {"the first brace opens it", "{{foo}}", 13308},
	    {"never closed", "{foo", 13308},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		unsigned slot = redis_key_slot(rows[i].key, strlen(rows[i].key));
		if (slot != rows[i].slot)
			fail_msg("%s: %s is %u", rows[i].why, rows[i].key, slot);
	}
	/* Bytes, not text. */
	assert_int_not_equal(redis_key_slot("a\0b", 3), redis_key_slot("a\0c", 3));
	assert_true(redis_key_slot("\xff\xff", 2) < REDIS_SLOTS);
}

static void what_sentinels_say_of_a_switch(void **state)
{
	(void)state;
	static const struct {
		const char *why, *text, *host, *port; /* NULL: not for us */
	} rows[] = {
	    {"ours", "mymaster 10.0.0.1 6379 10.0.0.2 6380", "10.0.0.2", "6380"},
	    {"IPv6", "mymaster ::1 6379 ::2 6380", "::2", "6380"},
	    {"another master", "other 10.0.0.1 6379 10.0.0.2 6380", NULL, NULL},
	    {"cut short", "mymaster 10.0.0.1 6379 10.0.0.2", NULL, NULL},
	    {"too long", "mymaster 10.0.0.1 6379 10.0.0.2 6380 x", NULL, NULL},
	    {"no port", "mymaster 10.0.0.1 6379 10.0.0.2 port", NULL, NULL},
	    {"a port too long", "mymaster 10.0.0.1 6379 10.0.0.2 1234567", NULL, NULL},
	    {"no host", "mymaster 10.0.0.1 6379  6380", NULL, NULL},
	    {"nothing", "", NULL, NULL},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct endpoint master;
		bool good = redis_switch_parse(
		    rows[i].text, strlen(rows[i].text), "mymaster", &master);
		if (good != (rows[i].host != NULL))
			fail_msg("%s: %d", rows[i].why, good);
		if (good && (strcmp(master.host, rows[i].host) != 0 ||
			     strcmp(master.port, rows[i].port) != 0))
			fail_msg("%s: %s %s", rows[i].why, master.host, master.port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(slots),
	    cmocka_unit_test(what_sentinels_say_of_a_switch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
