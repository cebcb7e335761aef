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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bounded_and_exact),
	    cmocka_unit_test(nameless_is_never_granted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
