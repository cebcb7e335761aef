/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dns.h"

#include "tests/unit/dns_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct dns_server server;

#define TIMEOUT_MS 300

static struct dns *new_dns(void)
{
	struct dns_settings settings = {
	    .servers = server.servers, .servers_count = 1, .timeout_ms = TIMEOUT_MS};
	struct dns *dns;

	assert_int_equal(dns_new(&settings, &dns), 0);
	return dns;
}

static void keep(void *context, struct dns_answer *answer)
{
	struct dns_answer **slot = context;

	assert_null(*slot);
	*slot = answer;
}

static struct dns_answer *ask(const char *name, enum dns_type type)
{
	struct dns *dns = new_dns();
	struct dns_answer *answer = NULL;

	dns_ask(dns, name, type, keep, &answer);
	while (dns_open(dns))
		dns_wait(dns, -1, -1);
	dns_free(dns);
	assert_non_null(answer);
	return answer;
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
	return 0;
}

/* The records of an answer as one text, in their order. */
static const char *shown(const struct dns_answer *answer)
{
	static char text[400];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < answer->count && len < sizeof(text); i++) {
		const struct dns_record *record = &answer->records[i];
		char ip[IP_TEXT_MAX];
		if (record->text)
			len += (size_t)snprintf(
			    text + len, sizeof(text) - len, "%s%u:%s", i ? " " : "",
			    record->preference, record->text);
		else
			len += (size_t)snprintf(
			    text + len, sizeof(text) - len, "%s%s", i ? " " : "",
			    ip_print(&record->ip, ip));
	}
	return text;
}

static void test_answers(void **state)
{
	static const struct {
		const char *why, *name;
		enum dns_type type;
		const char *add[4], *mode;
		enum dns_status status;
		const char *records;
		uint32_t ttl_s;
	} rows[] = {
	    {"all addresses of a name",
	     "a.example",
	     DNS_A,
	     {"a.example A 600 192.0.2.1", "a.example A 300 192.0.2.2"},
	     NULL,
	     DNS_FOUND,
	     "192.0.2.1 192.0.2.2",
	     300},
	    {"the other family is not mixed in",
	     "b.example",
	     DNS_AAAA,
	     {"b.example A 600 192.0.2.1", "b.example AAAA 600 2001:db8::1"},
	     NULL,
	     DNS_FOUND,
	     "2001:db8::1",
	     600},
	    {"a mapped address is the IPv4 address",
	     "m.example",
	     DNS_AAAA,
	     {"m.example AAAA 600 ::ffff:192.0.2.9"},
	     NULL,
	     DNS_FOUND,
	     "192.0.2.9",
	     600},
	    {"exchangers, lower case",
	     "mx.example",
	     DNS_MX,
	     {"mx.example MX 600 10 Mail.Example", "mx.example MX 600 20 b.example"},
	     NULL,
	     DNS_FOUND,
	     "10:mail.example 20:b.example",
	     600},
	    {"null MX",
	     "null.example",
	     DNS_MX,
	     {"null.example MX 600 0 ."},
	     NULL,
	     DNS_FOUND,
	     "0:",
	     600},
	    {"text",
	     "t.example",
	     DNS_TXT,
	     {"t.example TXT 60 v=spf1 -all"},
	     NULL,
	     DNS_FOUND,
	     "0:v=spf1 -all",
	     60},
	    {"a chain, and its lowest TTL",
	     "c1.example",
	     DNS_A,
	     {"c1.example CNAME 20 c2.example", "c2.example CNAME 600 c3.example",
	      "c3.example A 600 192.0.2.3"},
	     NULL,
	     DNS_FOUND,
	     "192.0.2.3",
	     20},
	    {"a chain that ends in nothing",
	     "c4.example",
	     DNS_A,
	     {"c4.example CNAME 20 c5.example", "c5.example AAAA 600 2001:db8::1"},
	     NULL,
	     DNS_NO_DATA,
	     "",
	     0},
	    {"a chain that does not end",
	     "l1.example",
	     DNS_A,
	     {"l1.example CNAME 20 l2.example", "l2.example CNAME 20 l1.example"},
	     NULL,
	     DNS_FAILED,
	     "",
	     0},
	    {"a name that is its own alias",
	     "l3.example",
	     DNS_A,
	     {"l3.example CNAME 20 l3.example"},
	     NULL,
	     DNS_FAILED,
	     "",
	     0},
	    {"no such name", "nx.example", DNS_A, {NULL}, NULL, DNS_NO_NAME, "", 0},
	    {"no such record",
	     "nd.example",
	     DNS_A,
	     {"nd.example AAAA 600 2001:db8::1"},
	     NULL,
	     DNS_NO_DATA,
	     "",
	     0},
	    {"not a name that DNS is asked for",
	     "a\\046b.example",
	     DNS_A,
	     {NULL},
	     NULL,
	     DNS_NO_NAME,
	     "",
	     0},
	    {"SERVFAIL",
	     "s.example",
	     DNS_A,
	     {"s.example A 600 192.0.2.1"},
	     "servfail",
	     DNS_FAILED,
	     "",
	     0},
	    {"REFUSED",
	     "r.example",
	     DNS_A,
	     {"r.example A 600 192.0.2.1"},
	     "refused",
	     DNS_FAILED,
	     "",
	     0},
	    {"an answer that ends in the middle",
	     "g.example",
	     DNS_A,
	     {"g.example A 600 192.0.2.1"},
	     "garbage",
	     DNS_FAILED,
	     "",
	     0},
	    {"no answer at all",
	     "d.example",
	     DNS_A,
	     {"d.example A 600 192.0.2.1"},
	     "drop",
	     DNS_FAILED,
	     "",
	     0},
	    {"a late answer, of the first question",
	     "late.example",
	     DNS_A,
	     {"late.example A 600 192.0.2.1"},
	     "delay:400",
	     DNS_FOUND,
	     "192.0.2.1",
	     600},
	    {"cut short: TCP",
	     "tc.example",
	     DNS_A,
	     {"tc.example A 600 192.0.2.1"},
	     "truncate",
	     DNS_FOUND,
	     "192.0.2.1",
	     600},
	    {"an answer under another id is not noticed",
	     "id.example",
	     DNS_A,
	     {"id.example A 600 192.0.2.1"},
	     "wrongid",
	     DNS_FOUND,
	     "192.0.2.1",
	     600},
	    {"an answer to another question is not noticed",
	     "q.example",
	     DNS_A,
	     {"q.example A 600 192.0.2.1"},
	     "forged",
	     DNS_FOUND,
	     "192.0.2.1",
	     600},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t j = 0; j < 4 && rows[i].add[j]; j++)
			dns_server_say(&server, "add %s", rows[i].add[j]);
		if (rows[i].mode)
			dns_server_say(&server, "mode %s %s", rows[i].name, rows[i].mode);
		struct dns_answer *answer = ask(rows[i].name, rows[i].type);
		if (answer->status != rows[i].status ||
		    strcmp(shown(answer), rows[i].records) != 0 ||
		    answer->ttl_s != rows[i].ttl_s)
			fail_msg(
			    "%s: status %d, \"%s\", TTL %u (%s)", rows[i].why,
			    (int)answer->status, shown(answer), answer->ttl_s,
			    answer->error ? answer->error : "");
		assert_true(!!answer->error == (answer->status == DNS_FAILED));
		if (strcmp(rows[i].why, "SERVFAIL") == 0 ||
		    strcmp(rows[i].why, "REFUSED") == 0)
			assert_non_null(strstr(answer->error, rows[i].why));
		dns_answer_free(answer);
	}
}

/* More than 8 KB, over TCP as it should be and over UDP as it should not. */
static void test_large_answers(void **state)
{
	static const char *const modes[] = {"normal", "oversize"};

	(void)state;
	for (int i = 0; i < 400; i++)
		dns_server_say(
		    &server, "add big.example A 600 198.51.%d.%d", 100 + i / 250,
		    i % 250);
	dns_server_say(&server, "add text.example TXT 600 %09000d", 7);
	for (size_t i = 0; i < 2; i++) {
		dns_server_say(&server, "mode * %s", modes[i]);
		struct dns_answer *answer = ask("big.example", DNS_A);
		assert_int_equal(answer->status, DNS_FOUND);
		assert_int_equal(answer->count, 400);
		dns_answer_free(answer);
		answer = ask("text.example", DNS_TXT);
		assert_int_equal(answer->status, DNS_FOUND);
		assert_int_equal(answer->count, 1);
		assert_int_equal(answer->records[0].len, 9000);
		assert_int_equal(strlen(answer->records[0].text), 9000);
		dns_answer_free(answer);
	}
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_bounded_and_side_by_side(void **state)
{
	struct dns_answer *answers[20] = {0};
	struct dns *dns = new_dns();
	int64_t began_ms = now_ms();

	(void)state;
	dns_server_say(&server, "mode * drop");
	for (size_t i = 0; i < 20; i++)
		dns_ask(dns, "slow.example", DNS_A, keep, &answers[i]);
	assert_int_equal(dns_open(dns), 20);
	while (dns_open(dns))
		dns_wait(dns, -1, -1);
	/* Three times the timeout; the rest is a busy machine's. */
	int64_t took_ms = now_ms() - began_ms;
	if (took_ms < 2 * TIMEOUT_MS || took_ms > 8 * TIMEOUT_MS)
		fail_msg("given up after %lld ms", (long long)took_ms);
	for (size_t i = 0; i < 20; i++) {
		assert_int_equal(answers[i]->status, DNS_FAILED);
		assert_string_equal(answers[i]->error, "no answer in time");
		dns_answer_free(answers[i]);
	}
	dns_free(dns);
}

static void test_free_answers_what_is_open(void **state)
{
	struct dns_answer *answer = NULL;
	struct dns *dns = new_dns();

	(void)state;
	dns_server_say(&server, "mode * drop");
	dns_ask(dns, "slow.example", DNS_A, keep, &answer);
	assert_null(answer);
	dns_free(dns);
	assert_non_null(answer);
	assert_int_equal(answer->status, DNS_FAILED);
	dns_answer_free(answer);
}

static void test_nobody_listens(void **state)
{
	char refusing[] = "127.0.0.1:1", bad[] = "not an address",
	     *servers[] = {refusing};
	struct dns_settings settings = {
	    .servers = servers, .servers_count = 1, .timeout_ms = TIMEOUT_MS};
	struct dns_answer *answer = NULL;
	struct dns *dns;

	(void)state;
	assert_int_equal(dns_new(&settings, &dns), 0);
	dns_ask(dns, "a.example", DNS_A, keep, &answer);
	while (dns_open(dns))
		dns_wait(dns, -1, -1);
	assert_int_equal(answer->status, DNS_FAILED);
	dns_answer_free(answer);
	dns_free(dns);

	servers[0] = bad;
	assert_int_equal(dns_new(&settings, &dns), -22);
}

/* Every cut of a good message, and every byte of it changed: no report of a sanitizer. */
static void test_mangled_messages(void **state)
{
	static const unsigned char good[] =
	    "\x12\x34\x81\x80\0\1\0\2\0\0\0\0"
	    "\1a\7example\0\0\x0f\0\1"
	    "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1b\xc0\x0e"
	    "\1b\xc0\x0e\0\x0f\0\1\0\0\0\x3c\0\x06\0\x0a\1m\xc0\x0e";
	const size_t len = sizeof(good) - 1;

	(void)state;
	struct dns_answer *answer = dns_answer_parse(good, len, "A.example", DNS_MX);
	assert_int_equal(answer->status, DNS_FOUND);
	assert_string_equal(shown(answer), "10:m.example");
	assert_int_equal(answer->ttl_s, 60);
	dns_answer_free(answer);
	for (size_t cut = 0; cut < len; cut++) {
		/* Of its own size, so that a byte too far is seen. */
		unsigned char *copy = malloc(cut + !cut);
		memcpy(copy, good, cut);
		answer = dns_answer_parse(copy, cut, "a.example", DNS_MX);
		assert_int_not_equal(answer->status, DNS_FOUND);
		dns_answer_free(answer);
		free(copy);
	}
	for (size_t at = 0; at < len; at++) {
		for (unsigned value = 0; value < 256; value++) {
			unsigned char *copy = malloc(len);
			memcpy(copy, good, len);
			copy[at] = (unsigned char)value;
			answer = dns_answer_parse(copy, len, "a.example", DNS_MX);
			assert_non_null(answer);
			dns_answer_free(answer);
			free(copy);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_answers, clear),
	    cmocka_unit_test_setup(test_large_answers, clear),
	    cmocka_unit_test_setup(test_bounded_and_side_by_side, clear),
	    cmocka_unit_test_setup(test_free_answers_what_is_open, clear),
	    cmocka_unit_test(test_nobody_listens),
	    cmocka_unit_test(test_mangled_messages),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
