/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/name_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/postern-name-file-XXXXXX";

static const struct name_times times = {.age_ms = 60 * 1000};

static void write_text(const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static struct name *name_of(const char *text)
{
	struct name *name;
	assert_int_equal(name_new(text, text, HOST_DNS_A, &name), 0);
	return name;
}

static void add(struct name *name, const char *prefix)
{
	struct ip_prefix parsed;
	struct ip_set set = {0};
	bool v6 = strchr(prefix, ':') != NULL;
	assert_null(ip_prefix_parse(prefix, strlen(prefix), &parsed));
	assert_int_equal(ip_set_prefix(&parsed, &set), 0);
	assert_int_equal(
	    ip_set_add(v6 ? &name->networks.v6 : &name->networks.v4, &set), 0);
	ip_set_done(&set);
}

static bool has(const struct name *name, const char *text)
{
	struct ip ip;
	assert_true(ip_parse(text, strlen(text), &ip));
	return ip_set_find(
		   ip.family == IP_V6 ? &name->networks.v6 : &name->networks.v4, &ip) !=
	       NULL;
}

static void test_back_again(void **state)
{
	char errbuf[STATE_FILE_ERROR_MAX];
	struct name *names[] = {name_of("a/a"), name_of("b/spf"), name_of("c/a")};
	struct name *back[] = {name_of("c/a"), name_of("b/spf"), name_of("a/a")};
	struct stat st;
	(void)state;
	names[0]->resolved = names[1]->resolved = true;
	names[0]->good_ms = 500000;
	names[1]->good_ms = 430000; /* 70 s old: more than what may be */
	add(names[0], "192.0.2.7");
	add(names[0], "198.51.100.0/24");
	add(names[0], "255.255.255.255");
	add(names[0], "2001:db8::/32");
	add(names[0], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	add(names[1], "203.0.113.1");
	assert_int_equal(name_file_save(path, names, 3, 500000, 10000, errbuf), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	/* Five seconds later, on a clock that began anew. */
	assert_int_equal(name_file_load(path, back, 3, &times, 1000, 10005, errbuf), 0);
	assert_true(back[2]->resolved && back[2]->changed);
	assert_int_equal(back[2]->good_ms, 1000 - 5000);
	assert_int_equal(back[2]->networks.v4.count, 3);
	assert_int_equal(back[2]->networks.v6.count, 2);
	assert_true(has(back[2], "192.0.2.7") && has(back[2], "198.51.100.255"));
	assert_true(has(back[2], "255.255.255.255") && has(back[2], "2001:db8:ffff::"));
	assert_true(has(back[2], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
	assert_false(has(back[2], "192.0.2.8") || has(back[2], "2001:db9::"));
	assert_false(back[0]->resolved); /* was not */
	assert_false(back[1]->resolved); /* too old */

	/* What is resolved already is better than the file. */
	assert_int_equal(name_file_load(path, names, 1, &times, 1000, 10005, errbuf), 0);
	assert_int_equal(names[0]->good_ms, 500000);
	for (size_t i = 0; i < 3; i++) {
		name_free(names[i]);
		name_free(back[i]);
	}
}

#define ZERO "00000000000000000000000000000000"
#define ONE  "00000000000000000000000000000001"
#define BIG  "00000000000000000000000100000000"

#define WITH(v4)                                                                         \
	"{\"version\": 1, \"names\": [{\"name\": \"a/a\", \"good\": 1, \"v4\": [\"" ZERO \
	"-" ZERO "\"], \"v6\": []}, {\"name\": \"a/a\", \"good\": 1, \"v4\": [" v4       \
	"], \"v6\": []}]}"

static void test_broken(void **state)
{
	static const struct {
		const char *why, *text;
	} rows[] = {
	    {"empty", ""},
	    {"cut short", "{\"version\": 1, \"names\": [{\"na"},
	    {"another version", "{\"version\": 2, \"names\": []}"},
	    {"no list", "{\"version\": 1}"},
	    {"no text", WITH("1")},
	    {"no range", WITH("\"" ZERO "\"")},
	    {"no digits", WITH("\"g0000000000000000000000000000000-" ONE "\"")},
	    {"backwards", WITH("\"" ONE "-" ZERO "\"")},
	    {"too large for its family", WITH("\"" ZERO "-" BIG "\"")},
	    {"not apart", WITH("\"" ZERO "-" ONE "\", \"" ONE "-" ONE "\"")},
	    {"no time", "{\"version\": 1, \"names\": [{\"name\": \"a/a\", \"v4\": [], "
			"\"v6\": []}]}"},
	    {"one family",
	     "{\"version\": 1, \"names\": [{\"name\": \"a/a\", \"good\": 1, "
	     "\"v4\": []}]}"},
	};
	char errbuf[STATE_FILE_ERROR_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct name *name = name_of("a/a");
		write_text(rows[i].text);
		errbuf[0] = '\0';
		if (name_file_load(path, &name, 1, &times, 1000, 1, errbuf) != -1 ||
		    !strstr(errbuf, "is broken") || name->resolved)
			fail_msg("%s: %s", rows[i].why, errbuf);
		name_free(name);
	}
	/* The good half alone. */
	struct name *name = name_of("a/a");
	write_text(WITH("\"" ZERO "-" ONE "\""));
	assert_int_equal(name_file_load(path, &name, 1, &times, 1000, 1, errbuf), 0);
	assert_true(name->resolved);
	name_free(name);
}

static void test_no_file(void **state)
{
	char errbuf[STATE_FILE_ERROR_MAX];
	struct name *name = name_of("a/a");
	(void)state;
	unlink(path);
	assert_int_equal(name_file_load(path, &name, 1, &times, 1000, 1, errbuf), 0);
	assert_false(name->resolved);
	assert_int_equal(name_file_load("/", &name, 1, &times, 1000, 1, errbuf), -1);
	assert_non_null(strstr(errbuf, "no regular file"));
	assert_int_equal(name_file_save("/none/x", &name, 1, 1000, 1, errbuf), -1);
	assert_non_null(strstr(errbuf, "cannot be written: No such file"));
	name_free(name);
}

static int set_up(void **state)
{
	(void)state;
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_back_again),
	    cmocka_unit_test(test_broken),
	    cmocka_unit_test(test_no_file),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
