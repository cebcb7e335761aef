/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/lists.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Lists built with the n-th allocation failing, for every n: refused in words or by an
 * error number, or whole; never short of an entry. */

DEFINE_CLEANUP(struct host_list, host_list_free)
DEFINE_CLEANUP(struct address_list, address_list_free)

#define ENTRIES 300

static long left = -1; /* allocations until one fails; negative: none does */
static bool failed;

static bool fails(void)
{
	if (left < 0 || left-- > 0)
		return false;
	failed = true;
	return true;
}

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
int __real_posix_memalign(void **ret, size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return fails() ? NULL : __real_reallocarray(old, count, size);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t size)
{
	return fails() ? ENOMEM : __real_posix_memalign(ret, alignment, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

static bool add_host(struct host_list *list, const char *text, int i)
{
	struct list_entry entry = {
	    .reason = i % 3 ? "because" : NULL,
	    .where = {.file = i % 2 ? "hosts" : "more_hosts", .line = (uint32_t)i},
	    .payload = (uint32_t)i % 2,
	};
	char errbuf[256];
	const char *error = host_list_add(list, text, strlen(text), true, &entry, errbuf);

	if (error)
		assert_string_equal(error, "out of memory");
	return !error;
}

/* Returns 0, or what failed. */
static int build_hosts(struct host_list **ret)
{
	CLEANUP(host_list_freep) struct host_list *list = NULL;
	size_t repeated;
	int r = host_list_new(&list);

	for (int i = 0; !r && i < ENTRIES; i++) {
		char text[64];
		/* Not in order, so that they must be sorted. */
		int n = i * 37 % ENTRIES;
		snprintf(text, sizeof(text), "10.0.%d.%d", n / 250, n % 250);
		r = add_host(list, text, n) ? 0 : -ENOMEM;
		snprintf(text, sizeof(text), "2001:db8:%x::/48", (unsigned)n);
		r = r || add_host(list, text, n) ? r : -ENOMEM;
		snprintf(text, sizeof(text), "%s.h%d.example.org", n % 5 ? "" : "!", n);
		r = r || add_host(list, text, n) ? r : -ENOMEM;
	}
	if (!r)
		r = host_list_seal(list, &repeated);
	if (!r)
		*ret = TAKE(list);
	return r;
}

static void has_all_hosts(const struct host_list *list)
{
	for (int i = 0; i < ENTRIES; i++) {
		struct client client = {.ip.family = IP_V4};
		struct list_match match;
		client.ip.bytes[0] = 10;
		client.ip.bytes[2] = (uint8_t)(i / 250);
		client.ip.bytes[3] = (uint8_t)(i % 250);
		assert_int_equal(host_list_match(list, &client, &match), HOST_MATCH);
		assert_int_equal(match.where.line, i);
		assert_int_equal(match.payload, i % 2);
		assert_int_equal(!match.reason, i % 3 == 0);
		client.ip = (struct ip){.family = IP_V6, .bytes = {0x20, 1, 0x0d, 0xb8}};
		client.ip.bytes[4] = (uint8_t)(i >> 8);
		client.ip.bytes[5] = (uint8_t)i;
		assert_int_equal(host_list_match(list, &client, &match), HOST_MATCH);
		assert_int_equal(match.where.line, i);
		client.ip.bytes[0] = 0x30;
		snprintf(client.name, sizeof(client.name), "a.h%d.example.org", i);
		assert_int_equal(
		    host_list_match(list, &client, &match),
		    i % 5 ? HOST_MATCH : HOST_EXCEPTION);
		assert_int_equal(match.where.line, i);
	}
}

static void hosts(void **state)
{
	(void)state;
	for (long n = 0;; n++) {
		CLEANUP(host_list_freep) struct host_list *list = NULL;
		failed = false;
		left = n;
		int r = build_hosts(&list);
		left = -1;
		if (r && (r != -ENOMEM || !failed))
			fail_msg("allocation %ld: %d", n, r);
		if (!r)
			has_all_hosts(list);
		if (!failed) {
			assert_true(n > 30);
			return;
		}
	}
}

static int build_addresses(struct address_list **ret)
{
	CLEANUP(address_list_freep) struct address_list *list = NULL;
	size_t repeated;
	int r = address_list_new(&list);

	for (int i = 0; !r && i < ENTRIES; i++) {
		struct list_entry entry = {.where = {.file = "a", .line = (uint32_t)i}};
		char text[64], errbuf[256];
		snprintf(text, sizeof(text), "user%d@example.org", i);
		const char *error =
		    address_list_add(list, text, strlen(text), "+", &entry, errbuf);
		if (error)
			assert_string_equal(error, "out of memory");
		r = error ? -ENOMEM : 0;
	}
	if (!r)
		r = address_list_seal(list, &repeated);
	if (!r)
		*ret = TAKE(list);
	return r;
}

static void addresses(void **state)
{
	(void)state;
	for (long n = 0;; n++) {
		CLEANUP(address_list_freep) struct address_list *list = NULL;
		failed = false;
		left = n;
		int r = build_addresses(&list);
		left = -1;
		if (r && (r != -ENOMEM || !failed))
			fail_msg("allocation %ld: %d", n, r);
		for (int i = 0; !r && i < ENTRIES; i++) {
			struct address address;
			struct list_match match;
			char text[64];
			snprintf(text, sizeof(text), "user%d@example.org", i);
			address_canonical(text, strlen(text), "+", &address);
			assert_true(address_list_match(list, &address, &match));
			assert_int_equal(match.where.line, i);
		}
		if (!failed) {
			assert_true(n > 10);
			return;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hosts),
	    cmocka_unit_test(addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
