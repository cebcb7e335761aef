/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/lists.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Host lists against a scan of all their entries, on random lists and clients. */

DEFINE_CLEANUP(struct host_list, host_list_free)

static void add(struct host_list *list, const char *text, uint32_t line, uint32_t payload)
{
	char errbuf[256];
	struct list_entry entry = {
	    .where = {.file = "hosts", .line = line},
	    .payload = payload,
	};
	const char *error =
	    host_list_add(list, text, strlen(text), false, &entry, errbuf);

	if (error)
		fail_msg("%s: %s", text, error);
}

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)((random_state >> 32) * n >> 32);
}

struct naive {
	bool exception, v6;
	unsigned length;
	uint64_t net[2], mask[2];
	uint32_t payload;
	char name[64]; /* an entry by name when not empty */
};

#define NAIVE_MAX 400

static struct naive naive[NAIVE_MAX];
static uint32_t naive_count;

static void random_words(bool v6, uint64_t ret[static 2])
{
	/* Few networks, so that entries nest, repeat and touch. */
	ret[0] = v6 ? 0x20010db8U + random_below(3) : 10 + random_below(2);
	ret[0] = ret[0] << (v6 ? 32 : 56);
	uint64_t low = (uint64_t)random_below(UINT32_MAX) << 16 | random_below(1 << 16);
	if (v6) {
		ret[0] |= (uint64_t)random_below(4) << 30 | random_below(1 << 18);
		ret[1] = low << 16 | random_below(4);
	} else {
		ret[0] |= (uint64_t)random_below(3) << 48 |
			  (uint64_t)random_below(1 << 16) << 32;
		ret[1] = 0;
	}
}

static struct ip ip_from(bool v6, const uint64_t words[static 2])
{
	struct ip ip = {.family = v6 ? IP_V6 : IP_V4};

	for (unsigned i = 0; i < (v6 ? 16 : 4); i++)
		ip.bytes[i] = (uint8_t)(words[i / 8] >> (56 - 8 * (i % 8)));
	return ip;
}

static void random_name(char *buf, size_t size)
{
	static const char *const labels[] = {"a", "b", "mail", "x-1"};
	size_t n = 0;

	for (uint32_t depth = random_below(4); depth > 0; depth--)
		n += (size_t)snprintf(buf + n, size - n, "%s.", labels[random_below(4)]);
	snprintf(buf + n, size - n, "%s", random_below(2) ? "example.org" : "test");
}

static void random_entry(struct host_list *list, uint32_t line)
{
	struct naive *entry = &naive[naive_count++];
	char text[128], printed[IP_TEXT_MAX];

	*entry = (struct naive){.exception = random_below(4) == 0};
	if (random_below(8) == 0) {
		random_name(entry->name + 1, sizeof(entry->name) - 1);
		entry->name[0] = random_below(2) ? '.' : '=';
		snprintf(
		    text, sizeof(text), "%s%s%s", entry->exception ? "!" : "",
		    entry->name[0] == '.' ? "" : "host:",
		    entry->name + (entry->name[0] != '.'));
		add(list, text, line, 0);
		return;
	}
	entry->v6 = random_below(3) == 0;
	unsigned bits = entry->v6 ? 128 : 32;
	entry->length = random_below(3) ? 8 + random_below(bits - 7) : bits;
	entry->mask[0] =
	    entry->length >= 64 ? UINT64_MAX : ~(UINT64_MAX >> entry->length);
	entry->mask[1] = entry->length >= 128  ? UINT64_MAX
			 : entry->length <= 64 ? 0
					       : ~(UINT64_MAX >> (entry->length - 64));
	random_words(entry->v6, entry->net);
	entry->net[0] &= entry->mask[0];
	entry->net[1] &= entry->mask[1];
	entry->payload = (uint32_t)(entry->net[0] >> 40 ^ entry->length) % 3;
	struct ip_prefix prefix = {
	    .ip = ip_from(entry->v6, entry->net),
	    .length = (uint8_t)entry->length,
	};
	snprintf(
	    text, sizeof(text), "%s%s", entry->exception ? "!" : "",
	    ip_prefix_print(&prefix, printed));
	add(list, text, line, entry->payload);
}

static bool naive_name(const struct naive *entry, const char *name)
{
	size_t len = strlen(name), want = strlen(entry->name);

	if (entry->name[0] == '=')
		return strcmp(entry->name + 1, name) == 0;
	return len > want && strcmp(name + len - want, entry->name) == 0;
}

/* The line that wins, 0 for none. */
static uint32_t naive_match(
    bool v6, const uint64_t words[static 2], const char *name, enum host_result *ret)
{
	const struct naive *best = NULL;
	bool has_names = false;

	for (const struct naive *e = naive; e < naive + naive_count; e++) {
		has_names |= e->name[0] && !e->exception;
		if (e->name[0] || e->v6 != v6 || ((words[0] ^ e->net[0]) & e->mask[0]) ||
		    ((words[1] ^ e->net[1]) & e->mask[1]))
			continue;
		if (!best || e->length > best->length ||
		    (e->length == best->length && e->exception && !best->exception))
			best = e;
	}
	*ret = HOST_NO_MATCH;
	if (!best && has_names && !name[0])
		*ret = HOST_CANNOT_TELL;
	for (int exception = 1; !best && has_names && name[0] && exception >= 0;
	     exception--)
		for (const struct naive *e = naive; e < naive + naive_count; e++)
			if (e->name[0] && e->exception == exception &&
			    naive_name(e, name) &&
			    (!best || e->name[0] == '=' ||
			     (best->name[0] == '.' &&
			      strlen(e->name) > strlen(best->name)))) {
				if (best && strcmp(best->name, e->name) == 0)
					continue;
				best = e;
			}
	if (!best)
		return 0;
	*ret = best->exception ? HOST_EXCEPTION : HOST_MATCH;
	return (uint32_t)(best - naive) + 1;
}

static void random_client(struct client *ret, uint64_t words[static 2], bool *ret_v6)
{
	const struct naive *near = &naive[random_below(naive_count)];
	bool v6 = near->name[0] ? random_below(2) : near->v6;

	random_words(v6, words);
	if (!near->name[0] && random_below(4)) {
		/* In an entry, on its edges, beside it. */
		uint64_t at = v6 && near->length > 64;
		uint64_t one = v6 ? 1 : (uint64_t)1 << 32;
		for (int i = 0; i < 2; i++)
			words[i] = near->net[i] | (words[i] & ~near->mask[i]);
		switch (random_below(4)) {
		case 0:
			words[at] = near->net[at] - one;
			break;
		case 1:
			words[at] = (near->net[at] | ~near->mask[at]) + one;
			break;
		case 2:
			words[at] = near->net[at];
			break;
		default:
			break;
		}
	}
	if (!v6) {
		words[0] &= UINT64_MAX << 32;
		words[1] = 0;
	}
	*ret = (struct client){.ip = ip_from(v6, words)};
	if (random_below(8))
		random_name(ret->name, sizeof(ret->name));
	*ret_v6 = v6;
}

/* 2,000 pairs each; POSTERN_SCAN_ROUNDS=5000 makes ten million. */
static uint32_t rounds(void)
{
	const char *asked = getenv("POSTERN_SCAN_ROUNDS");
	unsigned long n = asked ? strtoul(asked, NULL, 10) : 0;

	return n > 0 ? (uint32_t)n : 100;
}

static void equals_a_scan(void **state)
{
	(void)state;
	size_t results[4] = {0};

	random_state = 42;
	for (uint32_t round = 0; round < rounds(); round++) {
		CLEANUP(host_list_freep) struct host_list *list = NULL;
		size_t repeated;
		assert_int_equal(host_list_new(&list), 0);
		naive_count = 0;
		for (uint32_t n = 1 + random_below(NAIVE_MAX); naive_count < n;)
			random_entry(list, naive_count + 1);
		assert_int_equal(host_list_seal(list, &repeated), 0);
		for (int i = 0; i < 2000; i++) {
			struct client client;
			uint64_t words[2];
			bool v6;
			enum host_result want;
			struct list_match match;
			random_client(&client, words, &v6);
			uint32_t line = naive_match(v6, words, client.name, &want);
			enum host_result got = host_list_match(list, &client, &match);
			results[want]++;
			if (got == want &&
			    (!line || (match.where.line == line &&
				       match.payload == naive[line - 1].payload)))
				continue;
			char text[IP_TEXT_MAX];
			fail_msg(
			    "round %u: %s \"%s\": %d line %u, wanted %d line %u", round,
			    ip_print(&client.ip, text), client.name, got,
			    match.where.line, want, line);
		}
	}
	/* A comparison of nothing but misses would prove little. */
	for (int i = 0; i < 4; i++)
		assert_true(results[i] > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equals_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
