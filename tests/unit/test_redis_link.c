/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The link over reloads: whose configuration it keeps. What it says to servers is
 * tests/e2e's.
 */

#include "policyd/redis_link.h"

#include "common/config_build.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

static unsigned long references(struct config *config)
{
	return ((struct config_snapshot *)config)->references;
}

/* The lists of an old configuration may be large: of it nothing is held that goes on. */
static void an_old_configuration_is_let_go(void **state)
{
	static const char *const modes[] = {
	    "{\"redis\": {\"servers\": [\"127.0.0.1:1\"]}}",
	    "{\"redis\": {\"servers\": [\"127.0.0.1:1\"], \"mode\": \"sentinel\"}}",
	    "{\"redis\": {\"servers\": [\"127.0.0.1:1\"], \"mode\": \"cluster\"}}",
	};
	(void)state;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct event_base *base = event_base_new();
		struct redis_link *link;
		struct config *old = load_good(modes[i]), *next = load_good(modes[i]);
		assert_int_equal(redis_link_new(base, "test", &link), 0);
		redis_link_set(link, old);
		assert_true(references(old) > 1);
		redis_link_set(link, next);
		assert_int_equal(references(old), 1);
		config_unref(old);
		event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		redis_link_free(link);
		assert_int_equal(references(next), 1);
		config_unref(next);
		event_base_free(base);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_old_configuration_is_let_go),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
