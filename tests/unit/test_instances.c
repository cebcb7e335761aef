/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/instances.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct slice name(unsigned n, char buf[static 128])
{
	/* Every third one is longer than what the table keeps as it is. */
	int len = n % 3 ? snprintf(buf, 128, "%x.6740f1b2.%u.0", n * 7, n)
			: snprintf(buf, 128, "%090u", n);
	return (struct slice){buf, (size_t)len};
}

/* The newest @max are known, everything older and everything else is not. */
static void bounded_and_exact(void **state)
{
	enum { MAX = 100, ALL = 5000 };
	struct instances *table;
	char buf[128];
	(void)state;

	assert_int_equal(instances_new(MAX, &table), 0);
	for (unsigned n = 0; n < ALL; n++) {
		assert_false(instances_was_granted(table, name(n, buf)));
		instances_set_granted(table, name(n, buf));
		instances_set_granted(table, name(n, buf));
		for (unsigned back = 0; back < 2 * MAX && back <= n; back += 13)
			if (instances_was_granted(table, name(n - back, buf)) !=
			    (back < MAX))
				fail_msg("after %u: %u back", n, back);
	}
	instances_free(table);
}

static void nameless_is_never_granted(void **state)
{
	struct instances *table;
	(void)state;

	assert_int_equal(instances_new(4, &table), 0);
	instances_set_granted(table, (struct slice){"", 0});
	instances_set_granted(table, (struct slice){NULL, 0});
	assert_false(instances_was_granted(table, (struct slice){"", 0}));
	assert_false(instances_was_granted(table, (struct slice){NULL, 0}));
	instances_free(table);
}

static struct slice text(const char *text)
{
	return (struct slice){text, strlen(text)};
}

static void recipients_are_kept_in_order(void **state)
{
	static const struct {
		const char *why;
		struct slice add;
		const char *all;
		size_t len;
	} rows[] = {
	    {"the first", {"a@example.org", 13}, "a@example.org", 14},
	    {"another", {"b@example.org", 13}, "a@example.org\0b@example.org", 28},
	    {"asked twice by two hooks",
	     {"a@example.org", 13},
	     "a@example.org\0b@example.org",
	     28},
	    {"the end of another is another",
	     {"example.org", 11},
	     "a@example.org\0b@example.org\0example.org",
	     40},
	    {"empty is none", {"", 0}, "a@example.org\0b@example.org\0example.org", 40},
	    {"absent is none",
	     {NULL, 0},
	     "a@example.org\0b@example.org\0example.org",
	     40},
	    {"a NUL would split it",
	     {"c\0d", 3},
	     "a@example.org\0b@example.org\0example.org",
	     40},
	};
	struct instances *table;
	char buf[INSTANCE_RECIPIENTS_BYTES];
	(void)state;

	assert_int_equal(instances_new(4, &table), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		instances_add_recipient(table, text("1.2.3"), rows[i].add);
		size_t len = instances_recipients(table, text("1.2.3"), buf);
		if (len != rows[i].len || memcmp(buf, rows[i].all, len) != 0)
			fail_msg("%s: %zu bytes", rows[i].why, len);
	}
	assert_false(instances_was_granted(table, text("1.2.3")));
	instances_set_granted(table, text("1.2.3"));
	assert_true(instances_was_granted(table, text("1.2.3")));
	assert_int_equal(instances_recipients(table, text("1.2.3"), buf), 40);
	assert_int_equal(instances_recipients(table, text("1.2.4"), buf), 0);
	assert_int_equal(instances_recipients(table, text(""), buf), 0);
	instances_free(table);
}

static void recipients_of_one_instance_are_bounded(void **state)
{
	struct instances *table;
	char buf[INSTANCE_RECIPIENTS_BYTES], address[64];
	size_t before = 0;
	(void)state;

	assert_int_equal(instances_new(4, &table), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(address, sizeof(address), "user%04d@example.org", i);
		instances_add_recipient(table, text("1"), text(address));
		size_t len = instances_recipients(table, text("1"), buf);
		assert_true(len >= before && len <= sizeof(buf));
		assert_true(len == before || len == before + 21);
		before = len;
	}
	assert_true(before > sizeof(buf) - 21);
	assert_string_equal(buf, "user0000@example.org");
	instances_free(table);
}

/* New ones cost the oldest their recipients, never their grant, and never themselves. */
static void recipients_of_all_are_bounded(void **state)
{
	enum { MAX = 20000 };
	struct instances *table;
	static char long_one[INSTANCE_RECIPIENTS_BYTES - 1],
	    buf[INSTANCE_RECIPIENTS_BYTES];
	char named[128];
	size_t all = 0, kept = 0;
	(void)state;

	memset(long_one, 'x', sizeof(long_one));
	assert_int_equal(instances_new(MAX, &table), 0);
	for (unsigned n = 0; n < MAX; n++) {
		struct slice instance = name(n, named);
		instances_set_granted(table, instance);
		instances_add_recipient(
		    table, instance, (struct slice){long_one, sizeof(long_one)});
		if (instances_recipients(table, instance, buf) != sizeof(buf))
			fail_msg("%u has not its own", n);
	}
	for (unsigned n = 0; n < MAX; n++) {
		size_t len = instances_recipients(table, name(n, named), buf);
		all += len;
		kept += len > 0;
		if (len == 0 && kept > 0)
			fail_msg("%u went before an older one", n);
		assert_true(instances_was_granted(table, name(n, named)));
	}
	assert_in_range(all, 8 << 20, 16 << 20);
	instances_free(table);
}

/* A large table is several shards: whatever their luck, the newest are there. */
static void shards(void **state)
{
	enum { MAX = 70000, ALL = 200000, NEWEST = 40000 };
	struct instances *table;
	char named[128];
	unsigned old = 0;
	(void)state;

	assert_int_equal(instances_new(MAX, &table), 0);
	for (unsigned n = 0; n < ALL; n++)
		instances_set_granted(table, name(n, named));
	for (unsigned n = ALL - NEWEST; n < ALL; n++)
		if (!instances_was_granted(table, name(n, named)))
			fail_msg("%u of %u is forgotten", n, ALL);
	for (unsigned n = 0; n < ALL - NEWEST; n++)
		old += instances_was_granted(table, name(n, named));
	assert_in_range(old, 1, MAX - NEWEST);
	instances_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bounded_and_exact),
	    cmocka_unit_test(nameless_is_never_granted),
	    cmocka_unit_test(recipients_are_kept_in_order),
	    cmocka_unit_test(recipients_of_one_instance_are_bounded),
	    cmocka_unit_test(recipients_of_all_are_bounded),
	    cmocka_unit_test(shards),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
