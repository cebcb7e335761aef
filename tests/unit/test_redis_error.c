/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As Redis 7.0.15 writes them, unless marked; tests/e2e provokes them. */
static const struct {
	const char *why, *text;
	enum redis_result result;
	enum redis_action action;
	bool lasting;
} rows[] = {
    {"a script is gone", "NOSCRIPT No matching script. Please use EVAL.", REDIS_NO_SCRIPT,
     REDIS_ACTION_ANSWER, false},
    {"a replica", "READONLY You can't write against a read only replica.",
     REDIS_UNAVAILABLE, REDIS_ACTION_RESOLVE, true},
    {"a replica, said by a script",
     "READONLY You can't write against a read only replica. script: 0f4e, on "
     "@user_script:1.",
     REDIS_UNAVAILABLE, REDIS_ACTION_RESOLVE, true},
    {"a replica, said by a script of Redis 6",
     "ERR Error running script (call to f_0f4e): @user_script:1: @user_script: 1: "
     "-READONLY You can't write against a read only replica.",
     REDIS_UNAVAILABLE, REDIS_ACTION_RESOLVE, true},
    {"its master is gone",
     "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
     REDIS_UNAVAILABLE, REDIS_ACTION_RESOLVE, true},
    {"starting", "LOADING Redis is loading the dataset in memory", REDIS_UNAVAILABLE,
     REDIS_ACTION_ANSWER, true},
    {"full", "OOM command not allowed when used memory > 'maxmemory'.", REDIS_UNAVAILABLE,
     REDIS_ACTION_ANSWER, true},
    {"full, said by a script of Redis 6",
     "ERR Error running script (call to f_0f4e): @user_script:1: -OOM command not "
     "allowed when used memory > 'maxmemory'.",
     REDIS_UNAVAILABLE, REDIS_ACTION_ANSWER, true},
    {"disk full", "MISCONF Redis is configured to save RDB snapshots, but ...",
     REDIS_UNAVAILABLE, REDIS_ACTION_ANSWER, true},
    {"alone", "NOREPLICAS Not enough good replicas to write.", REDIS_UNAVAILABLE,
     REDIS_ACTION_ANSWER, true},
    {"busy", "BUSY Redis is busy running a script. You can only call SCRIPT KILL ...",
     REDIS_UNAVAILABLE, REDIS_ACTION_ANSWER, true},
    {"busy for good", "UNKILLABLE Sorry the script already executed write commands",
     REDIS_UNAVAILABLE, REDIS_ACTION_ANSWER, true},
    {"crowded", "ERR max number of clients reached", REDIS_UNAVAILABLE,
     REDIS_ACTION_ANSWER, true},
    {"another type", "WRONGTYPE Operation against a key holding the wrong kind of value",
     REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false},
    {"no number", "ERR value is not an integer or out of range", REDIS_BAD_KEY,
     REDIS_ACTION_ANSWER, false},
    {"no number in a hash", "ERR hash value is not an integer", REDIS_BAD_KEY,
     REDIS_ACTION_ANSWER, false},
    {"a script stumbled",
     "ERR user_script:1: attempt to perform arithmetic on a nil value script: 0f4e, on "
     "@user_script:1.",
     REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false},
    {"a script of Redis 6 stumbled",
     "ERR Error running script (call to f_0f4e): @user_script:1: user_script:1: attempt "
     "to compare nil with number",
     REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false},
    {"two slots", "CROSSSLOT Keys in request don't hash to the same slot", REDIS_BAD_KEY,
     REDIS_ACTION_ANSWER, false},
    {"no password", "NOAUTH Authentication required.", REDIS_CONFIGURATION,
     REDIS_ACTION_ANSWER, true},
    {"a wrong one", "WRONGPASS invalid username-password pair or user is disabled.",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"no right", "NOPERM this user has no permissions to run the 'evalsha' command",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"no right to the key",
     "NOPERM this user has no permissions to access one of the keys used as arguments",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"no right to what a script calls",
     "ERR The user executing the script can't run this command or subcommand script: "
     "0f4e, on @user_script:1.",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"the same of Redis 6",
     "ERR Error running script (call to f_0f4e): @user_script:1: @user_script: 1: The "
     "user executing the script can't run this command or subcommand",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"the same of Redis 7.2",
     "ERR ACL failure in script: User postern has no permissions to run the 'time' "
     "command",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"protected", "DENIED Redis is running in protected mode because ...",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"a password too many",
     "ERR AUTH <password> called without any password configured for the default "
     "user. Are you sure your configuration is correct?",
     REDIS_CONFIGURATION, REDIS_ACTION_ANSWER, true},
    {"no such database", "ERR DB index is out of range", REDIS_CONFIGURATION,
     REDIS_ACTION_ANSWER, true},
    {"a cluster is down", "CLUSTERDOWN The cluster is down", REDIS_UNAVAILABLE,
     REDIS_ACTION_REFRESH, true},
    {"a slot is", "CLUSTERDOWN Hash slot not served", REDIS_UNAVAILABLE,
     REDIS_ACTION_REFRESH, true},
    {"moved", "MOVED 3999 127.0.0.1:6381", REDIS_UNAVAILABLE, REDIS_ACTION_MOVED, false},
    {"moving", "ASK 3999 127.0.0.1:6381", REDIS_UNAVAILABLE, REDIS_ACTION_ASK, false},
    {"half moved", "TRYAGAIN Multiple keys request during rehashing of slot",
     REDIS_UNAVAILABLE, REDIS_ACTION_AGAIN, false},
    {"never heard of", "ERR something new", REDIS_UNAVAILABLE, REDIS_ACTION_ANSWER, true},
    {"nothing", "", REDIS_UNAVAILABLE, REDIS_ACTION_ANSWER, true},
    {"a beginning alone", "READ", REDIS_UNAVAILABLE, REDIS_ACTION_ANSWER, true},
};

static void each_reply_has_its_class(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct redis_error *error =
		    redis_error_find(rows[i].text, strlen(rows[i].text));
		if (error->result != rows[i].result || error->action != rows[i].action ||
		    error->lasting != rows[i].lasting)
			fail_msg(
			    "%s: \"%s\" is %d, %d, %d", rows[i].why, rows[i].text,
			    error->result, error->action, error->lasting);
		assert_true(redis_error_index(error) < REDIS_ERRORS_MAX);
	}
}

static void redirections(void **state)
{
	(void)state;
	static const struct {
		const char *why, *text;
		bool good;
		unsigned slot;
		const char *host, *port;
	} cases[] = {
	    {"moved", "MOVED 3999 127.0.0.1:6381", true, 3999, "127.0.0.1", "6381"},
	    {"moving", "ASK 16383 10.0.0.1:1", true, 16383, "10.0.0.1", "1"},
	    {"a name", "MOVED 0 n1.example.org:6381", true, 0, "n1.example.org", "6381"},
	    {"IPv6 has no brackets", "MOVED 5 ::1:6381", true, 5, "::1", "6381"},
	    {"an empty host", "MOVED 5 :6381", true, 5, "", "6381"},
	    {"no such slot", "MOVED 16384 127.0.0.1:6381", false, 0, "", ""},
	    {"a negative slot", "MOVED -1 127.0.0.1:6381", false, 0, "", ""},
	    {"no port", "MOVED 1 127.0.0.1", false, 0, "", ""},
	    {"port 0", "MOVED 1 127.0.0.1:0", false, 0, "", ""},
	    {"a port too big", "MOVED 1 127.0.0.1:65536", false, 0, "", ""},
	    {"more behind it", "MOVED 1 127.0.0.1:6381 x", false, 0, "", ""},
	    {"nothing", "MOVED", false, 0, "", ""},
	    {"no slot", "MOVED 127.0.0.1:6381", false, 0, "", ""},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct redis_redirect where;
		bool good =
		    redis_redirect_parse(cases[i].text, strlen(cases[i].text), &where);
		if (good != cases[i].good)
			fail_msg("%s: %d", cases[i].why, good);
		if (good && (where.slot != cases[i].slot ||
			     strcmp(where.host, cases[i].host) != 0 ||
			     strcmp(where.port, cases[i].port) != 0))
			fail_msg(
			    "%s: %u %s %s", cases[i].why, where.slot, where.host,
			    where.port);
	}
	char endless[1000];
	struct redis_redirect where;
	memset(endless, 'x', sizeof(endless));
	memcpy(endless, "MOVED 1 ", 8);
	assert_false(redis_redirect_parse(endless, sizeof(endless), &where));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_reply_has_its_class),
	    cmocka_unit_test(redirections),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
