/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configurations of several files, and files that are none.
 */
#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static void files_that_are_none(void **state)
{
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(symlink("gone", "dangling"), 0);
	assert_int_equal(symlink("loop", "loop"), 0);
	assert_int_equal(mkdir("folder", 0700), 0);
	write_file("secret", "{}");
	assert_int_equal(chmod("secret", 0), 0);
	write_file("large", "{}");
	assert_int_equal(truncate("large", (64 << 20) + 1), 0);

	static const char *const rows[][2] = {
	    {"none", "none: cannot be opened: No such file or directory\n"},
	    {"folder", "folder: is a directory, expected a regular file\n"},
	    {"fifo", "fifo: is a FIFO, expected a regular file\n"},
	    {"socket", "socket: is a socket or device, expected a regular file\n"},
	    {"dangling",
	     "dangling: is a symbolic link to \"gone\", which does not exist\n"},
	    {"loop", "loop: cannot be opened: Too many levels of symbolic links\n"},
	    {"/dev/zero", "/dev/zero: is a device, expected a regular file\n"},
	    {"secret", "secret: cannot be opened: Permission denied\n"},
	    {"large",
	     "large: is larger than 64 MB, expected long lists in files of their own "
	     "(\"file:PATH\")\n"},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		/* Root may read everything. */
		if (geteuid() == 0 && strcmp(rows[i][0], "secret") == 0)
			continue;
		char *lines = errors_of(rows[i][0], 0);
		if (strcmp(lines, rows[i][1]) != 0)
			fail_msg("got %s want %s", lines, rows[i][1]);
		free(lines);
	}
	close(fd);
}

static void includes(void **state)
{
	(void)state;
	assert_int_equal(mkdir("d", 0700), 0);
	write_file(
	    "d/b.json", "{\"relay\": {\"hosts\": [\"192.0.2.2\", \"file:list\"]}}");
	write_file("d/a.json", "{\"nodes\": 2, \"relay\": {\"hosts\": [\"192.0.2.3\"]}}");
	write_file("d/.c.json", "{]");
	write_file("d/a.json~", "{]");
	write_file("d/list", "192.0.2.4\n");
	struct config *config =
	    load_good("{\"include\": [\"d/*.json\", \"d/a.json\", \"no/*.json\"],\n"
		      "\"relay\": {\"hosts\": [\"192.0.2.1\"]}}");
	assert_int_equal(host_list_count(config->relay.hosts), 4);
	assert_int_equal(config->nodes, 2);

	/* The list's file is below the folder of the file that names it. */
	struct client client = {0};
	struct list_match match;
	assert_true(ip_parse("192.0.2.4", 9, &client.ip));
	assert_int_equal(
	    host_list_match(config->relay.hosts, &client, &match), HOST_MATCH);
	assert_string_equal(match.where.file, "d/list");
	assert_int_equal(match.where.line, 1);
	config_unref(config);

	write_file(
	    "d/a.json",
	    "{\n \"nodes\": 2, \"include\": [], \"domains\": {\"x.org\": {}},\n"
	    "\"limits\": [{\"name\": \"l\", \"per\": \"message\", \"count\": "
	    "\"bytes\", \"max\": 1, \"over\": \"warn\"}]}");
	write_file(
	    "d/b.json",
	    "{\"auth\": {\"tls_exempt\": [\"192.0.2.1\"]}, \"domains\": {\"X.org\": "
	    "{}},\n\"milter\": {\"dkim\": {\"keys\": {\"k\": {\"selector\": \"s\", "
	    "\"file\": \"k\", \"require_dns\": false}}}},\n"
	    "\"limits\": [{\"name\": \"l\", \"per\": \"message\", \"count\": \"bytes\", "
	    "\"max\": 1, \"over\": \"warn\"}]}");
	write_file("d/s.json", "{\"a\": }");
	const struct broken rows[] = {
	    {"everything in two files is named with both places",
	     "{\"include\": [\"d/*.json\"], \"nodes\": 1, \"relay\": {\"users\": true},\n"
	     "\"auth\": {\"tls_exempt\": []}, \"milter\": {\"dkim\": {\"keys\": {\"k\": "
	     "{\"selector\": \"s\", \"file\": \"k\", \"require_dns\": false}}}}}",
	     "d/a.json:2:2: nodes: duplicate: first set at c.json:1:36, expected it in "
	     "one file\n"
	     "d/a.json:2:14: include: stands in an included file, expected it in the "
	     "main file alone\n"
	     "d/b.json:1:11: auth.tls_exempt: duplicate: first set at c.json:2:24, "
	     "expected it in one file\n"
	     "d/b.json:1:53: domains.X.org: duplicate: first set at d/a.json:2:41, "
	     "expected it once\n"
	     "d/b.json:2:30: milter.dkim.keys.k: duplicate: first set at c.json:2:58, "
	     "expected it once\n"
	     "d/b.json:3:21: limits[0].name: \"l\" is another limit's name too, at "
	     "d/a.json:3:12\n"
	     "d/s.json:1:7: \"}\", expected a value\n"},
	    {"a plain name must exist",
	     "{\"include\": [\"none.json\", \"d\", \"\", 7, \"c.json\", \"c.*\"]}",
	     "c.json:1:14: include[0]: none.json: cannot be opened: No such file or "
	     "directory\n"
	     "c.json:1:27: include[1]: d: is a directory, expected a regular file\n"
	     "c.json:1:32: include[2]: the string \"\", expected something in it\n"
	     "c.json:1:36: include[3]: the number 7, expected a string\n"
	     "c.json:1:39: include[4]: the string \"c.json\" includes this file itself\n"
	     "c.json:1:49: include[5]: the string \"c.*\" includes this file itself\n"},
	    {"a syntax error ends its file, the others are checked",
	     "{\"include\": [\"d/s.json\"], \"nodes\": 0}",
	     "c.json:1:36: nodes: the number 0, expected a whole number from 1 to 1000\n"
	     "d/s.json:1:7: \"}\", expected a value\n"},
	    {"include of another type", "{\"include\": \"d/*.json\"}",
	     "c.json:1:13: include: the string \"d/*.json\", expected an array of file "
	     "names "
	     "and patterns\n"},
	};
	expect_lines(rows, COUNT(rows));

	write_file(
	    "d/a.json", "{\"relay\": {\"users\": [\"ada\"]}, \"block\": {\"users\": "
			"[\"eve\"]}}");
	write_file(
	    "d/b.json",
	    "{\"relay\": {\"users\": true}, \"block\": {\"users\": [\"eve\"]}}");
	const struct broken mixed[] = {
	    {"users: a list here, a truth there", "{\"include\": [\"d/[ab].json\"]}",
	     "d/b.json:1:12: relay.users: duplicate: first set at d/a.json:1:21, "
	     "expected it "
	     "in one "
	     "file\n"},
	};
	expect_lines(mixed, COUNT(mixed));
}

static void a_hundred_errors(void **state)
{
	(void)state;
	FILE *list = fopen("bad", "w");
	for (int i = 0; i < 250; i++)
		fprintf(list, "10.0.0.%d/8\n", i + 1);
	assert_int_equal(fclose(list), 0);
	write_file("c.json", "{\"block\": {\"hosts\": [\"file:bad\"]}, \"nodes\": 0}");

	struct config *config = NULL;
	struct config_errors errors;
	assert_int_equal(config_load("c.json", 0, &config, &errors), -EINVAL);
	assert_int_equal(errors.lines.count, 100);
	assert_int_equal(errors.more, 151);
	assert_string_equal(
	    errors.lines.items[99], "bad:100:1: block.hosts[0]: \"10.0.0.100/8\": host "
				    "bits set behind the prefix "
				    "length: the network is 10.0.0.0/8");
	config_errors_done(&errors);
}

static void long_lines(void **state)
{
	(void)state;
	FILE *list = fopen("long", "w");
	for (int i = 0; i < 200000; i++)
		fputc('x', list);
	fputs("\n192.0.2.0/33\n", list);
	for (int i = 0; i < 5000; i++)
		fputc('y', list);
	assert_int_equal(fclose(list), 0);
	static const struct broken rows[] = {
	    {"lines that fit no buffer", "{\"block\": {\"hosts\": [\"file:long\"]}}",
	     "long:1:1: block.hosts[0]: a line of more than 4096 bytes\n"
	     "long:2:1: block.hosts[0]: \"192.0.2.0/33\": prefix length is not 0 to 32\n"
	     "long:3:1: block.hosts[0]: a line of more than 4096 bytes\n"},
	};
	expect_lines(rows, COUNT(rows));
}

static void keys_are_loaded(void **state)
{
	(void)state;
	write_file("k.pem", "no key\n");
	assert_int_equal(chmod("k.pem", 0600), 0);
	write_file(
	    "c.json", "{\"milter\": {\"dkim\": {\"require_dns\": false, \"keys\": {\n"
		      "\"a\": {\"selector\": \"s\", \"file\": \"k.pem\"},\n"
		      "\"b\": {\"selector\": \"s\", \"file\": \"none.pem\"}}}}}");
	char *lines = errors_of("c.json", 0);
	assert_string_equal(lines, "loaded without an error\n");
	free(lines);
	lines = errors_of("c.json", CONFIG_LOAD_KEYS);
	if (!strstr(lines, "c.json:2:6: milter.dkim.keys.a: ") ||
	    !strstr(lines, "c.json:3:6: milter.dkim.keys.b: ") ||
	    !strstr(lines, "none.pem"))
		fail_msg("got %s", lines);
	free(lines);
	/* The key of RFC 8410, 10.3. */
	write_file(
	    "k.pem", "-----BEGIN PRIVATE KEY-----\n"
		     "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
		     "-----END PRIVATE KEY-----\n");
	write_file(
	    "c.json", "{\"milter\": {\"dkim\": {\"require_dns\": false, \"keys\": "
		      "{\"a\": {\"selector\": \"s\", \"file\": \"k.pem\"}}}}}");
	lines = errors_of("c.json", CONFIG_LOAD_KEYS);
	assert_string_equal(lines, "loaded without an error\n");
	free(lines);
	write_file(
	    "c.json", "{\"milter\": {\"user\": \"no-such-user\",\n\"dkim\": "
		      "{\"require_dns\": false, "
		      "\"keys\": {\"a\": {\"selector\": \"s\", \"file\": \"k.pem\"}}}}}");
	lines = errors_of("c.json", CONFIG_LOAD_KEYS);
	assert_string_equal(
	    lines, "c.json:1:21: milter.user: there is no user \"no-such-user\" on this "
		   "system, expected one that may read its secrets\n");
	free(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(files_that_are_none), cmocka_unit_test(includes),
	    cmocka_unit_test(a_hundred_errors),    cmocka_unit_test(long_lines),
	    cmocka_unit_test(keys_are_loaded),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
