/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "config_files.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void the_defaults(void **state)
{
	(void)state;
	struct config *config = load_good("{\"redis\": {}}");
	assert_true(config->has_redis);
	assert_int_equal(config->redis.servers_count, 1);
	assert_string_equal(config->redis.servers[0].host, "127.0.0.1");
	assert_string_equal(config->redis.servers[0].port, "6379");
	assert_int_equal(config->redis.mode, REDIS_STANDALONE);
	assert_string_equal(config->redis.master, "mymaster");
	assert_string_equal(config->redis.username, "");
	assert_string_equal(config->redis.password_file, "");
	assert_null(config->redis.password);
	assert_int_equal(config->redis.db, 0);
	assert_string_equal(config->redis.prefix, "postern:");
	assert_int_equal(config->redis.timeout_ms, 100);
	assert_int_equal(config->redis.on_failure, STORE_FAILURE_LOCAL);
	config_unref(config);

	config = load_good("{}");
	assert_false(config->has_redis);
	config_unref(config);
}

static void expect_everything(const struct config *config)
{
	assert_true(config->has_redis);
	assert_int_equal(config->redis.servers_count, 2);
	assert_string_equal(config->redis.servers[0].path, "/run/s1");
	assert_string_equal(config->redis.servers[1].host, "::1");
	assert_int_equal(config->redis.mode, REDIS_SENTINEL);
	assert_string_equal(config->redis.master, "relay");
	assert_string_equal(config->redis.username, "postern");
	assert_int_equal(config->redis.password_file[0], '/');
	assert_null(config->redis.password); /* nobody asked to read it */
	assert_int_equal(config->redis.db, 3);
	assert_string_equal(config->redis.prefix, "gw:");
	assert_int_equal(config->redis.timeout_ms, 10000);
	assert_int_equal(config->redis.on_failure, STORE_FAILURE_DEFER);
}

/* A copy of the section holds it when the configuration is gone. */
static void everything_said(void **state)
{
	(void)state;
	struct config *config = load_good(
	    "{\"redis\": {\"servers\": [\"unix:/run/s1\", \"[::1]:26379\"], \"mode\": "
	    "\"sentinel\", \"master\": \"relay\", \"username\": \"postern\", "
	    "\"password_file\": \"secret\", \"db\": 3, \"prefix\": \"gw:\", "
	    "\"timeout\": \"10s\", \"on_failure\": \"defer\"}}");
	struct config *copy;
	expect_everything(config);
	assert_int_equal(config_copy_redis(config, &copy), 0);
	config_unref(config);
	expect_everything(copy);
	config_unref(copy);
}

static void what_does_not_fit_together(void **state)
{
	(void)state;
	static const struct broken rows[] = {
	    {"no server", "{\"redis\": {\"servers\": []}}",
	     "c.json:1:23: redis.servers: no server, expected at least one; leave "
	     "\"redis\" out to count in the daemon\n"},
	    {"several without a mode for them",
	     "{\"redis\": {\"servers\": [\"a:1\", \"b:1\"]}}",
	     "c.json:1:23: redis.servers: 2 servers, expected one; for several see "
	     "redis.mode\n"},
	    {"sentinels are not guessed", "{\"redis\": {\"mode\": \"sentinel\"}}",
	     "c.json:1:11: redis: \"servers\" is missing: name the sentinels (their port "
	     "is 26379)\n"},
	    {"nor are a cluster's nodes", "{\n \"redis\": {\"mode\": \"cluster\"}}",
	     "c.json:2:11: redis: \"servers\" is missing: name some nodes of the "
	     "cluster\n"},
	    {"a cluster has addresses",
	     "{\"redis\": {\"servers\": [\"unix:/run/r\"], \"mode\": \"cluster\"}}",
	     "c.json:1:23: redis.servers: unix:/run/r: the nodes of a cluster are "
	     "reached over TCP alone, expected HOST:PORT\n"},
	    {"a cluster has one database",
	     "{\"redis\": {\"servers\": [\"a:1\"], \"mode\": \"cluster\", \"db\": 1}}",
	     "c.json:1:57: redis.db: the number 1, expected 0: a cluster has one "
	     "database, tell installations apart by redis.prefix\n"},
	    {"a user needs a password", "{\"redis\": {\"username\": \"postern\"}}",
	     "c.json:1:24: redis.username: a user without a password, expected "
	     "redis.password_file too\n"},
	    {"braces would make hash tags", "{\"redis\": {\"prefix\": \"{gw}:\"}}",
	     "c.json:1:22: redis.prefix: the string \"{gw}:\", expected at most 64 "
	     "printable ASCII characters without blanks, { and }\n"},
	    {"names are one word", "{\"redis\": {\"master\": \"my master\"}}",
	     "c.json:1:22: redis.master: the string \"my master\", expected a name of at "
	     "most 128 printable ASCII characters without blanks\n"},
	    {"a timeout has bounds", "{\"redis\": {\"timeout\": \"0s\"}, \"nodes\": 2}",
	     "c.json:1:23: redis.timeout: the string \"0s\", expected a time with its "
	     "unit from \"1ms\" to \"10s\"\n"},
	};
	expect_lines(rows, COUNT(rows));
}

static void the_password(void **state)
{
	(void)state;
	static const struct {
		const char *why, *bytes;
		mode_t mode;
		const char *password, *error; /* one of them; @error: a part */
	} rows[] = {
	    {"one line", "s3cret\n", 0600, "s3cret", NULL},
	    {"no newline, blanks belong to it", " s3 cret ", 0400, " s3 cret ", NULL},
	    {"a line of another system", "s3cret\r\n", 0640, "s3cret", NULL},
	    {"empty", "\n", 0600, NULL, "does not hold one line with the password"},
	    {"two lines", "a\nb\n", 0600, NULL, "does not hold one line"},
	    {"readable by everybody", "s3cret\n", 0644, NULL, "run: chmod o= "},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *config = NULL;
		struct config_errors errors;
		write_file("password", rows[i].bytes);
		assert_int_equal(chmod("password", rows[i].mode), 0);
		write_file("c.json", "{\"redis\": {\"password_file\": \"password\"}}");

		int r = config_load("c.json", CONFIG_LOAD_REDIS, &config, &errors);
		const char *line = r ? errors.lines.items[0] : "";
		if (rows[i].password
			? r || strcmp(config->redis.password, rows[i].password) != 0
			: !r || !strstr(line, rows[i].error) || strstr(line, "s3cret"))
			fail_msg("%s: %d %s", rows[i].why, r, line);
		config_errors_done(&errors);
		config_unref(config);
	}
}

static void a_missing_password_file_is_an_error(void **state)
{
	(void)state;
	write_file("c.json", "{\"redis\": {\"password_file\": \"nowhere\"}}");
	char *lines = errors_of("c.json", CONFIG_LOAD_REDIS);
	assert_non_null(
	    strstr(lines, "c.json:1:29: redis.password_file: password file "));
	assert_non_null(strstr(lines, "No such file"));
	free(lines);
	/* The milter reads the same file, as another user. */
	lines = errors_of("c.json", 0);
	assert_string_equal(lines, "loaded without an error\n");
	free(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_defaults),
	    cmocka_unit_test(everything_said),
	    cmocka_unit_test(what_does_not_fit_together),
	    cmocka_unit_test(the_password),
	    cmocka_unit_test(a_missing_password_file_is_an_error),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
