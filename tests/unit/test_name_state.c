/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/name_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Stories of one name: what DNS says, and what the name makes of it. */

static const struct name_times times = {
    .floor_ms = 60000, .ceiling_ms = 3600000, .retry_ms = 5000, .age_ms = 86400000};

static char told[2000];

static void say(enum log_level level, const char *line)
{
	size_t len = strlen(told);

	snprintf(
	    told + len, sizeof(told) - len, "%s%s\n",
	    level == LOG_LEVEL_WARNING ? "warning: " : "", line);
}

/* @networks: "192.0.2.1 192.0.2.2". */
static void settle(
    struct name *name, int result, const char *networks, uint32_t ttl_s, int64_t now_ms)
{
	struct name_networks found = {.ttl_s = ttl_s};

	if (result == NAME_EMPTY)
		snprintf(found.error, sizeof(found.error), "no such name");
	else if (result != NAME_FOUND)
		snprintf(found.error, sizeof(found.error), "%s", networks);
	while (result == NAME_FOUND && *networks) {
		struct ip_set one;
		struct ip_prefix prefix;
		size_t n = strcspn(networks, " ");
		assert_null(ip_prefix_parse(networks, n, &prefix));
		assert_int_equal(ip_set_prefix(&prefix, &one), 0);
		assert_int_equal(ip_set_add(&found.v4, &one), 0);
		ip_set_done(&one);
		networks += n + (networks[n] == ' ');
	}
	name_settle(name, result, &found, now_ms, &times, say);
	name_networks_done(&found);
}

#define AT     "relay.hosts entry example.org/spf at /etc/postern/hosts:7: "
#define MINUTE 60000
#define HOUR   3600000
#define DAY    86400000

static void test_stories(void **state)
{
	static const struct {
		const char *why;
		struct step {
			int64_t at_ms;
			int result;
			const char *networks;
			uint32_t ttl_s;
			/* After it: */
			bool resolved, changed;
			size_t count;
			int64_t due_in_ms;
			const char *told;
		} steps[6];
	} stories[] = {
	    {"a good answer, the same, another",
	     {{0, NAME_FOUND, "192.0.2.1 192.0.2.2", 300, true, true, 2, 300000,
	       AT "+2 -0 networks\n"},
	      {300000, NAME_FOUND, "192.0.2.1 192.0.2.2", 300, true, false, 2, 300000,
	       ""},
	      {600000, NAME_FOUND, "192.0.2.3 192.0.2.2", 300, true, true, 2, 300000,
	       AT "+1 -1 networks\n"}}},
	    {"a TTL of nothing is a minute, one of a week an hour",
	     {{0, NAME_FOUND, "192.0.2.1", 0, true, true, 1, MINUTE,
	       AT "+1 -0 networks\n"},
	      {MINUTE, NAME_FOUND, "192.0.2.1", 604800, true, false, 1, HOUR, ""}}},
	    {"DNS fails: the last good answer is kept, told once, and its return too",
	     {{0, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "+1 -0 networks\n"},
	      {300000, NAME_TEMPORARY, "SERVFAIL", 0, true, false, 1, 5000,
	       "warning: " AT "SERVFAIL; the last good answer is kept\n"},
	      {305000, NAME_TEMPORARY, "SERVFAIL", 0, true, false, 1, 10000, ""},
	      {315000, NAME_FOUND, "192.0.2.1", 300, true, false, 1, 300000,
	       AT "DNS answers again\n"}}},
	    {"a day later it is withdrawn",
	     {{0, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "+1 -0 networks\n"},
	      {DAY - 1, NAME_TEMPORARY, "SERVFAIL", 0, true, false, 1, 5000,
	       "warning: " AT "SERVFAIL; the last good answer is kept\n"},
	      {DAY, NAME_TEMPORARY, "SERVFAIL", 0, false, true, 0, 10000,
	       "warning: " AT "SERVFAIL; the last good answer is 1440 minutes old and "
	       "withdrawn: -1 networks\n"},
	      {DAY + 10000, NAME_TEMPORARY, "SERVFAIL", 0, false, false, 0, 20000, ""},
	      {DAY + 30000, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "+1 -0 networks\n"}}},
	    {"DNS fails from the beginning",
	     {{0, NAME_TEMPORARY, "no answer in time", 0, false, false, 0, 5000,
	       "warning: " AT
	       "no answer in time; it matches nobody until DNS gives a good "
	       "answer, whom it would let in is deferred\n"},
	      {5000, NAME_TEMPORARY, "SERVFAIL", 0, false, false, 0, 10000, ""},
	      {15000, NAME_TEMPORARY, "SERVFAIL", 0, false, false, 0, 20000, ""},
	      {35000, NAME_TEMPORARY, "SERVFAIL", 0, false, false, 0, 40000, ""},
	      {75000, NAME_TEMPORARY, "SERVFAIL", 0, false, false, 0, MINUTE, ""},
	      {135000, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "+1 -0 networks\n"}}},
	    {"a name is gone: believed the second time",
	     {{0, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "+1 -0 networks\n"},
	      {300000, NAME_EMPTY, "", 0, true, false, 1, MINUTE, ""},
	      {360000, NAME_EMPTY, "", 0, true, true, 0, MINUTE,
	       "warning: " AT "no such name: +0 -1 networks\n"},
	      {420000, NAME_EMPTY, "", 0, true, false, 0, MINUTE, ""},
	      {480000, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "DNS answers again\n" AT "+1 -0 networks\n"}}},
	    {"a name was gone for a moment",
	     {{0, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "+1 -0 networks\n"},
	      {300000, NAME_EMPTY, "", 0, true, false, 1, MINUTE, ""},
	      {360000, NAME_FOUND, "192.0.2.1", 300, true, false, 1, 300000, ""},
	      {660000, NAME_EMPTY, "", 0, true, false, 1, MINUTE, ""}}},
	    {"there never was such a name",
	     {{0, NAME_EMPTY, "", 0, false, false, 0, 5000, ""},
	      {5000, NAME_EMPTY, "", 0, true, true, 0, MINUTE,
	       "warning: " AT "no such name: +0 -0 networks\n"},
	      {65000, NAME_EMPTY, "", 0, true, false, 0, MINUTE, ""}}},
	    {"a record becomes an error: the last good answer is kept",
	     {{0, NAME_FOUND, "192.0.2.1", 300, true, true, 1, 300000,
	       AT "+1 -0 networks\n"},
	      {300000, NAME_PERMANENT, "SPF: +all", 0, true, false, 1, 5000,
	       "warning: " AT "SPF: +all; the last good answer is kept\n"},
	      {305000, NAME_PERMANENT, "SPF: +all", 0, true, false, 1, 10000, ""},
	      {315000, NAME_TEMPORARY, "SERVFAIL", 0, true, false, 1, 20000,
	       "warning: " AT "SERVFAIL; the last good answer is kept\n"}}},
	    {"no memory is trouble like any other",
	     {{0, -12, "", 0, false, false, 0, 5000,
	       "warning: " AT "out of memory; it matches nobody until DNS gives a good "
	       "answer, whom it would let in is deferred\n"}}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++) {
		struct name *name;
		assert_int_equal(
		    name_new("example.org/spf", "example.org", HOST_DNS_SPF, &name), 0);
		name->label = "relay.hosts";
		name->where = (struct where){.file = "/etc/postern/hosts", .line = 7};
		for (size_t j = 0; j < 6 && stories[i].steps[j].networks; j++) {
			const struct step *step = &stories[i].steps[j];
			told[0] = '\0';
			name->changed = false;
			settle(
			    name, step->result, step->networks, step->ttl_s, step->at_ms);
			size_t count = name->networks.v4.count;
			if (name->resolved != step->resolved ||
			    name->changed != step->changed || count != step->count ||
			    name->due_ms - step->at_ms != step->due_in_ms ||
			    strcmp(told, step->told) != 0)
				fail_msg(
				    "%s, step %zu: resolved %d, changed %d, %zu "
				    "networks, "
				    "due in %lld ms, told:\n%s",
				    stories[i].why, j + 1, name->resolved, name->changed,
				    count, (long long)(name->due_ms - step->at_ms), told);
			assert_true(name->tried);
		}
		name_free(name);
	}
}

static void test_hostile_text_is_escaped(void **state)
{
	struct name *name;

	(void)state;
	assert_int_equal(name_new("a.example", "a.example", HOST_DNS_BOTH, &name), 0);
	name->label = "relay.hosts";
	name->where = (struct where){.file = "hosts", .line = 1};
	told[0] = '\0';
	settle(name, NAME_TEMPORARY, "a\nforged line \x1b[2J", 0, 0);
	assert_ptr_equal(strchr(told, '\n'), told + strlen(told) - 1);
	assert_null(strchr(told, '\x1b'));
	assert_non_null(strstr(told, "forged line"));
	name_free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stories),
	    cmocka_unit_test(test_hostile_text_is_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
