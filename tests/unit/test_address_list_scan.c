/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/lists.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Address lists against a scan of all their entries, on random lists and addresses in
 * random spellings. */

DEFINE_CLEANUP(struct address_list, address_list_free)

static void add(struct address_list *list, const char *text, uint32_t line)
{
	char errbuf[256];
	struct list_entry entry = {.where = {.file = "senders", .line = line}};
	const char *error =
	    address_list_add(list, text, strlen(text), "+", &entry, errbuf);

	if (error)
		fail_msg("%s: %s", text, error);
}

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)((random_state >> 32) * n >> 32);
}

#define DOMAINS   62
#define LOCALS    40
#define NAIVE_MAX 400

/* Canonical by construction. */
static char domains[DOMAINS][48];
static bool below[DOMAINS][DOMAINS]; /* the first is a subdomain of the second */

/* In the order in which they win. */
enum form { FORM_NULL, FORM_ADDRESS, FORM_USER, FORM_DOMAIN, FORM_PARENT };

struct naive {
	enum form form;
	uint32_t local, domain;
};

static struct naive naive[NAIVE_MAX];
static uint32_t naive_count;

static void make_domains(void)
{
	static const char *const labels[] = {"a", "b", "mail", "r3---sn", "x-1"};
	static const char *const roots[] = {"example.org", "test"};
	size_t n = 0;

	for (int root = 0; root < 2; root++) {
		strcpy(domains[n++], roots[root]);
		for (int i = 0; i < 5; i++) {
			snprintf(
			    domains[n++], sizeof(domains[0]), "%s.%s", labels[i],
			    roots[root]);
			for (int j = 0; j < 5; j++)
				snprintf(
				    domains[n++], sizeof(domains[0]), "%s.%s.%s",
				    labels[j], labels[i], roots[root]);
		}
	}
	assert_int_equal(n, DOMAINS);
	for (size_t i = 0; i < DOMAINS; i++) {
		for (size_t j = 0; j < DOMAINS; j++) {
			size_t child = strlen(domains[i]), parent = strlen(domains[j]);
			const char *tail = domains[i] + child - parent;
			below[i][j] = child > parent && tail[-1] == '.' &&
				      strcmp(tail, domains[j]) == 0;
		}
	}
}

static const char *print(const struct naive *entry, char buf[static 96])
{
	const char *domain = domains[entry->domain];

	switch (entry->form) {
	case FORM_NULL:
		strcpy(buf, "<>");
		break;
	case FORM_ADDRESS:
		snprintf(buf, 96, "user%u@%s", entry->local, domain);
		break;
	case FORM_USER:
		snprintf(buf, 96, "user%u@", entry->local);
		break;
	case FORM_DOMAIN:
		snprintf(buf, 96, "@%s", domain);
		break;
	case FORM_PARENT:
		snprintf(buf, 96, ".%s", domain);
		break;
	}
	return buf;
}

/* Another spelling of a canonical text. */
static void disguise(const char *canonical, char *buf, size_t size)
{
	const char *at = strrchr(canonical, '@');
	size_t local_len = at && at != canonical ? (size_t)(at - canonical) : 0;
	char local[64] = "";

	memcpy(local, canonical, local_len);
	switch (local_len ? random_below(6) : 5) {
	case 0:
		snprintf(buf, size, "\"%s\"%s", local, canonical + local_len);
		break;
	case 1:
		snprintf(buf, size, "%s+tag%s", local, canonical + local_len);
		break;
	case 2:
		snprintf(buf, size, "\\%s%s", local, canonical + local_len);
		break;
	default:
		snprintf(buf, size, "%s", canonical);
		break;
	}
	for (char *c = buf; *c; c++)
		if (random_below(3) == 0)
			*c = (char)toupper((unsigned char)*c);
	if (at && at[1] && random_below(4) == 0)
		strcat(buf, ".");
}

static void random_entry(struct address_list *list, uint32_t line)
{
	static const enum form forms[] = {
	    FORM_NULL,
	    FORM_USER,
	    FORM_DOMAIN,
	    FORM_PARENT,
	};
	struct naive *entry = &naive[naive_count++];
	uint32_t form = random_below(16);
	char canonical[96], text[128];

	*entry = (struct naive){
	    .form = form < 4 ? forms[form] : FORM_ADDRESS,
	    .local = random_below(LOCALS),
	    .domain = random_below(DOMAINS),
	};
	disguise(print(entry, canonical), text, sizeof(text));
	add(list, text, line);
}

static bool fits(const struct naive *entry, const struct naive *address)
{
	if (address->form == FORM_NULL || entry->form == FORM_NULL)
		return address->form == entry->form;
	switch (entry->form) {
	case FORM_NULL:
		break;
	case FORM_ADDRESS:
		return entry->local == address->local && entry->domain == address->domain;
	case FORM_USER:
		return entry->local == address->local;
	case FORM_DOMAIN:
		return entry->domain == address->domain;
	case FORM_PARENT:
		return below[address->domain][entry->domain];
	}
	return false;
}

/* The line that wins, 0 for none. */
static uint32_t naive_match(const struct naive *address)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < naive_count; i++) {
		if (!fits(&naive[i], address))
			continue;
		const struct naive *other = &naive[best ? best - 1 : 0];
		if (!best || naive[i].form < other->form ||
		    (naive[i].form == FORM_PARENT && other->form == FORM_PARENT &&
		     below[naive[i].domain][other->domain]))
			best = i + 1;
	}
	return best;
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
	size_t hits = 0, misses = 0;

	random_state = 42;
	make_domains();
	for (uint32_t round = 0; round < rounds(); round++) {
		CLEANUP(address_list_freep) struct address_list *list = NULL;
		size_t repeated;
		assert_int_equal(address_list_new(&list), 0);
		naive_count = 0;
		for (uint32_t n = 1 + random_below(NAIVE_MAX); naive_count < n;)
			random_entry(list, naive_count + 1);
		assert_int_equal(address_list_seal(list, &repeated), 0);
		for (int i = 0; i < 2000; i++) {
			struct naive wanted = {
			    .form = random_below(50) ? FORM_ADDRESS : FORM_NULL,
			    .local = random_below(LOCALS),
			    .domain = random_below(DOMAINS),
			};
			char text[96], spelled[128] = "";
			struct address address;
			struct list_match match;
			if (wanted.form != FORM_NULL)
				disguise(print(&wanted, text), spelled, sizeof(spelled));
			address_canonical(spelled, strlen(spelled), "+", &address);
			uint32_t line = naive_match(&wanted);
			bool found = address_list_match(list, &address, &match);
			*(found ? &hits : &misses) += 1;
			if (found != (line > 0) ||
			    (line &&
			     (match.where.line != line ||
			      strcmp(match.text, print(&naive[line - 1], text)) != 0)))
				fail_msg(
				    "round %u: %s: %d line %u, wanted line %u", round,
				    spelled, found, match.where.line, line);
		}
	}
	assert_true(hits > 20000 && misses > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equals_a_scan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
