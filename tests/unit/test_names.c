/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/names.h"

#include "common/host_dns.h"
#include "tests/unit/dns_server.h"
#include "tests/unit/told.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* The whole of it: lists, the thread, a name server that changes its mind. Times are a
 * daemon's divided by a thousand or so. */

static const struct name_times times = {
    .floor_ms = 40, .ceiling_ms = 400, .retry_ms = 20, .age_ms = 60000};

#define TIMEOUT_MS 250
static struct dns_server server;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- lists and who owns them ---- */

struct owner {
	struct host_list *list;
	struct names_list lists[1];
	atomic_bool *released;
};

static void release(void *context)
{
	struct owner *owner = context;

	if (owner->released)
		atomic_store(owner->released, true);
	host_list_free(owner->list);
	free(owner);
}

/* @entries: separated by blanks. The list is good as long as @names has it. */
static struct host_list *take(
    struct names *names, const char *entries, uint32_t wait_ms, atomic_bool *released)
{
	struct owner *owner = calloc(1, sizeof(*owner));
	size_t repeated;
	char errbuf[256];

	assert_int_equal(host_list_new(&owner->list), 0);
	for (uint32_t line = 1; *entries; line++) {
		size_t n = strcspn(entries, " ");
		struct list_entry entry = {.where = {.file = "hosts", .line = line}};
		assert_null(host_list_add(owner->list, entries, n, true, &entry, errbuf));
		entries += n + (entries[n] == ' ');
	}
	assert_int_equal(host_list_seal(owner->list, &repeated), 0);
	owner->released = released;
	struct names_work work = {
	    .dns =
		{.servers = server.servers, .servers_count = 1, .timeout_ms = TIMEOUT_MS},
	    .lists = owner->lists,
	    .owner = owner,
	    .release = release,
	};
	if (host_list_dns(owner->list)) {
		snprintf(
		    owner->lists[0].label, sizeof(owner->lists[0].label), "test.hosts");
		owner->lists[0].dns = host_list_dns(owner->list);
		work.lists_count = 1;
	}
	struct host_list *list = owner->list;
	assert_int_equal(names_take(names, &work, wait_ms), 0);
	return list;
}

static enum host_result match(const struct host_list *list, const char *ip)
{
	struct client client = {0};

	assert_true(ip_parse(ip, strlen(ip), &client.ip));
	return host_list_match(list, &client, NULL);
}

static void wait_for_match(
    const struct host_list *list, const char *ip, enum host_result wanted)
{
	static const struct timespec pause = {.tv_nsec = 1000000};
	int64_t until_ms = now_ms() + PATIENCE_MS;

	while (match(list, ip) != wanted) {
		if (now_ms() > until_ms)
			fail_msg("%s: %d, not %d", ip, (int)match(list, ip), (int)wanted);
		nanosleep(&pause, NULL);
	}
}

static struct names *new_names(void)
{
	struct names *names;

	assert_int_equal(names_new(&times, told_say, &names), 0);
	return names;
}

static int set_up(void **state)
{
	(void)state;
	dns_server_start(&server);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dns_server_stop(&server);
	return 0;
}

static int clear(void **state)
{
	(void)state;
	dns_server_say(&server, "clear");
	told_forget();
	return 0;
}

/* ---- tests ---- */

static void test_resolved_when_taken(void **state)
{
	struct names *names = new_names();

	(void)state;
	dns_server_say(&server, "add a.example A 60 192.0.2.1");
	dns_server_say(&server, "add a.example AAAA 60 2001:db8::1");
	dns_server_say(&server, "add d.example MX 60 10 mx.example");
	dns_server_say(&server, "add mx.example A 60 192.0.2.2");
	dns_server_say(&server, "add d.example TXT 60 v=spf1 include:_s.example -all");
	dns_server_say(
	    &server, "add _s.example TXT 60 v=spf1 ip4:198.51.100.0/24 mx:d.example");
	const struct host_list *list = take(
	    names, "a.example/a d.example/mx d.example/spf !a.example/aaaa", PATIENCE_MS,
	    NULL);
	assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	assert_int_equal(match(list, "192.0.2.2"), HOST_MATCH);
	assert_int_equal(match(list, "198.51.100.77"), HOST_MATCH);
	assert_int_equal(match(list, "2001:db8::1"), HOST_EXCEPTION);
	assert_int_equal(match(list, "192.0.2.3"), HOST_NO_MATCH);
	assert_int_equal(
	    told_times("test.hosts entry d.example/spf at hosts:3: +2 -0 networks\n"), 1);
	names_free(names);
}

static void test_changes_are_seen_and_told_once(void **state)
{
	struct names *names = new_names();

	(void)state;
	dns_server_say(&server, "add a.example A 0 192.0.2.1");
	const struct host_list *list = take(names, "a.example", PATIENCE_MS, NULL);
	assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	dns_server_say(&server, "add a.example A 0 192.0.2.2");
	wait_for_match(list, "192.0.2.2", HOST_MATCH);
	told_wait_for(
	    "+1 -0 networks\n2 test.hosts entry a.example at hosts:1: +1 -0 networks\n");
	int asked = dns_server_say(&server, "count a.example A");
	dns_server_say(&server, "del a.example");
	dns_server_say(&server, "add a.example A 0 192.0.2.2");
	told_wait_for("+0 -1 networks");
	wait_for_match(list, "192.0.2.1", HOST_NO_MATCH);
	assert_int_equal(match(list, "192.0.2.2"), HOST_MATCH);
	/* The floor holds for a TTL of nothing, and what stays the same is not told. */
	while (dns_server_say(&server, "count a.example A") < asked + 4)
		;
	assert_int_equal(told_times("networks"), 3);
	names_free(names);
}

static void test_last_good_answer_is_kept(void **state)
{
	static const char *const modes[] = {"servfail", "refused", "drop", "garbage"};
	struct names *names = new_names();

	(void)state;
	dns_server_say(&server, "add a.example A 0 192.0.2.1");
	const struct host_list *list = take(names, "a.example/a", PATIENCE_MS, NULL);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		told_forget();
		dns_server_say(&server, "mode * %s", modes[i]);
		told_wait_for("the last good answer is kept");
		assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
		dns_server_say(&server, "mode * normal");
		told_wait_for("DNS answers again");
		assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	}
	names_free(names);
}

static void test_gone_means_gone_twice(void **state)
{
	struct names *names = new_names();

	(void)state;
	dns_server_say(&server, "add a.example A 0 192.0.2.1");
	const struct host_list *list = take(names, "a.example/a", PATIENCE_MS, NULL);
	int asked = dns_server_say(&server, "count a.example A");
	dns_server_say(&server, "del a.example");
	told_wait_for("a.example does not exist: +0 -1 networks");
	assert_true(dns_server_say(&server, "count a.example A") >= asked + 2);
	wait_for_match(list, "192.0.2.1", HOST_NO_MATCH);
	names_free(names);
}

static void test_dns_down_at_start(void **state)
{
	struct names *names = new_names();

	(void)state;
	dns_server_say(&server, "mode * drop");
	dns_server_say(&server, "add a.example A 60 192.0.2.1");
	int64_t began_ms = now_ms();
	const struct host_list *list = take(names, "a.example/a 192.0.2.9", 100, NULL);
	/* It asked for 100 ms; the rest is a busy machine's. */
	if (now_ms() - began_ms > 5000)
		fail_msg("waited %lld ms", (long long)(now_ms() - began_ms));
	assert_int_equal(match(list, "192.0.2.1"), HOST_CANNOT_TELL);
	assert_int_equal(match(list, "192.0.2.9"), HOST_MATCH);
	told_wait_for("it matches nobody until DNS gives a good answer");
	dns_server_say(&server, "mode * normal");
	wait_for_match(list, "192.0.2.1", HOST_MATCH);
	assert_int_equal(match(list, "192.0.2.2"), HOST_NO_MATCH);
	names_free(names);
}

static void test_reload_takes_answers_over(void **state)
{
	atomic_bool released = false;
	struct names *names = new_names();

	(void)state;
	dns_server_say(&server, "add a.example A 3600 192.0.2.1");
	dns_server_say(&server, "add b.example A 3600 192.0.2.2");
	take(names, "a.example/a", PATIENCE_MS, &released);
	dns_server_say(&server, "mode * drop");
	assert_false(atomic_load(&released));
	/* Known, and known at once; the new one is waited for in vain. */
	const struct host_list *list = take(names, "b.example/a a.example/a", 50, NULL);
	assert_true(atomic_load(&released));
	assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	assert_int_equal(match(list, "192.0.2.2"), HOST_CANNOT_TELL);
	/* In the middle of its questions another reload comes. */
	list = take(names, "a.example/a", 0, NULL);
	assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	assert_int_equal(match(list, "192.0.2.2"), HOST_NO_MATCH);
	dns_server_say(&server, "mode * normal");
	list = take(names, "b.example/a", PATIENCE_MS, NULL);
	assert_int_equal(match(list, "192.0.2.1"), HOST_NO_MATCH);
	assert_int_equal(match(list, "192.0.2.2"), HOST_MATCH);
	/* No name at all is no reason to wait. */
	int64_t began_ms = now_ms();
	list = take(names, "192.0.2.7", PATIENCE_MS, NULL);
	assert_true(now_ms() - began_ms < PATIENCE_MS);
	assert_int_equal(match(list, "192.0.2.2"), HOST_NO_MATCH);
	names_free(names);
}

/* More names than are resolved side by side; a part of them never answers. */
static void test_many_names(void **state)
{
	char *entries = calloc(700, 20);
	size_t len = 0;
	struct names *names = new_names();

	(void)state;
	for (int i = 0; i < 600; i++) {
		dns_server_say(
		    &server, "add n%d.example A 3600 10.9.%d.%d", i, i / 250, i % 250);
		if (i % 100 == 7)
			dns_server_say(&server, "mode n%d.example drop", i);
		len += (size_t)sprintf(entries + len, "%sn%d.example/a", i ? " " : "", i);
	}
	const struct host_list *list = take(names, entries, PATIENCE_MS, NULL);
	assert_int_equal(match(list, "10.9.0.0"), HOST_MATCH);
	assert_int_equal(match(list, "10.9.2.99"), HOST_MATCH);
	assert_int_equal(match(list, "10.9.0.7"), HOST_CANNOT_TELL);
	assert_int_equal(told_times("+1 -0 networks"), 594);
	free(entries);
	names_free(names);
}

static void test_unusable_records(void **state)
{
	struct names *names = new_names();

	(void)state;
	dns_server_say(&server, "add a.example TXT 0 v=spf1 ip4:192.0.2.1 -all");
	dns_server_say(&server, "add loop.example A 0 192.0.2.2");
	const struct host_list *list =
	    take(names, "a.example/spf loop.example/a", PATIENCE_MS, NULL);
	dns_server_say(&server, "add a.example TXT 0 v=spf1 ip4:192.0.2.9 -all");
	told_wait_for("more than one record; the last good answer is kept");
	dns_server_say(&server, "del loop.example");
	dns_server_say(&server, "add loop.example CNAME 0 loop.example");
	told_wait_for(
	    "a CNAME chain that does not end for loop.example A; the last good");
	assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	assert_int_equal(match(list, "192.0.2.2"), HOST_MATCH);
	assert_int_equal(match(list, "192.0.2.9"), HOST_NO_MATCH);
	names_free(names);
}

/* ---- what is kept over a restart ---- */

static void test_kept_over_a_restart(void **state)
{
	static const char path[] = "/tmp/postern-test-names.json";
	struct names *names = new_names();

	(void)state;
	remove(path);
	assert_int_equal(names_keep(names, path, true), 0);
	dns_server_say(&server, "add a.example A 0 192.0.2.1");
	dns_server_say(&server, "add a.example AAAA 0 2001:db8::1");
	dns_server_say(&server, "add s.example TXT 0 v=spf1 ip4:198.51.100.0/24 -all");
	struct host_list *list =
	    take(names, "a.example s.example/spf gone.example", PATIENCE_MS, NULL);
	assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	names_free(names);

	dns_server_say(&server, "mode * servfail");
	names = new_names();
	assert_int_equal(names_keep(names, path, false), 0);
	list = take(names, "a.example s.example/spf new.example", PATIENCE_MS, NULL);
	assert_int_equal(match(list, "192.0.2.1"), HOST_MATCH);
	assert_int_equal(match(list, "2001:db8::1"), HOST_MATCH);
	assert_int_equal(match(list, "198.51.100.200"), HOST_MATCH);
	/* Of the new name nothing is known. */
	assert_int_equal(match(list, "192.0.2.2"), HOST_CANNOT_TELL);
	told_wait_for("the last good answer is kept");
	names_free(names);

	/* Who only reads writes nothing; and what is broken is said and not believed. */
	FILE *file = fopen(path, "w");
	fputs("{", file);
	fclose(file);
	names = new_names();
	assert_int_equal(names_keep(names, path, false), 0);
	list = take(names, "a.example", PATIENCE_MS, NULL);
	assert_int_equal(match(list, "192.0.2.1"), HOST_CANNOT_TELL);
	told_wait_for("is broken: line 1");
	names_free(names);
	assert_int_equal(remove(path), 0);
}

/* ---- readers while answers change ---- */

static atomic_bool stopping;
static atomic_ulong wrong;

static void *read_on(void *context)
{
	const struct host_list *list = context;

	while (!atomic_load(&stopping)) {
		enum host_result known = match(list, "198.51.100.1");
		if (known != HOST_MATCH || match(list, "203.0.113.1") != HOST_NO_MATCH)
			atomic_fetch_add(&wrong, 1);
		match(list, "192.0.2.1");
	}
	return NULL;
}

static void test_reading_while_it_changes(void **state)
{
	struct names *names = new_names();
	pthread_t readers[2];

	(void)state;
	dns_server_say(&server, "add fix.example A 0 198.51.100.1");
	dns_server_say(&server, "add a.example A 0 192.0.2.1");
	struct host_list *list = take(names, "fix.example a.example", PATIENCE_MS, NULL);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_on, list), 0);
	for (int i = 2; i < 12; i++) {
		char ip[20];
		dns_server_say(&server, "add a.example A 0 192.0.2.%d", i);
		snprintf(ip, sizeof(ip), "192.0.2.%d", i);
		wait_for_match(list, ip, HOST_MATCH);
	}
	atomic_store(&stopping, true);
	for (size_t i = 0; i < 2; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(atomic_load(&wrong), 0);
	names_free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_resolved_when_taken, clear),
	    cmocka_unit_test_setup(test_changes_are_seen_and_told_once, clear),
	    cmocka_unit_test_setup(test_last_good_answer_is_kept, clear),
	    cmocka_unit_test_setup(test_gone_means_gone_twice, clear),
	    cmocka_unit_test_setup(test_dns_down_at_start, clear),
	    cmocka_unit_test_setup(test_reload_takes_answers_over, clear),
	    cmocka_unit_test_setup(test_many_names, clear),
	    cmocka_unit_test_setup(test_unusable_records, clear),
	    cmocka_unit_test_setup(test_kept_over_a_restart, clear),
	    cmocka_unit_test_setup(test_reading_while_it_changes, clear),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
