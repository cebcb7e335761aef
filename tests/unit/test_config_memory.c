/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that ends at the n-th allocation, for every n: a load fails as a whole, frees
 * everything (the sanitizer's leak check is the witness) and never half succeeds.
 * Linked with --wrap for the allocating functions; those inside libraries are not
 * touched.
 */
#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

#include <errno.h>

static long left = -1; /* allocations until one fails; negative: none does */
static bool failed;

static bool fails(void)
{
	if (left < 0 || left-- > 0)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

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

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return fails() ? NULL : __real_strndup(text, len);
}

/* Loads c.json with the n-th allocation failing, from the first on until none does. */
static void with_every_failure(int result)
{
	for (long n = 0;; n++) {
		struct config *config = NULL;
		struct config_errors errors;

		failed = false;
		left = n;
		int r = config_load("c.json", 0, &config, &errors);
		left = -1;
		if (!failed) {
			assert_int_equal(r, result);
			config_errors_done(&errors);
			config_unref(config);
			assert_true(n > 100);
			return;
		}
		/* Spare room that could not be given back is no failure. */
		if (r != -ENOMEM && (r != -EINVAL || errors.lines.count == 0) &&
		    (r != 0 || result != 0))
			fail_msg("allocation %ld: %d", n, r);
		if (r)
			assert_null(config);
		else
			assert_int_equal(host_list_count(config->relay.hosts), 4);
		config_errors_done(&errors);
		config_unref(config);
	}
}

static void a_good_one(void **state)
{
	(void)state;
	write_file("list", "192.0.2.1 reason\n192.0.2.0/24\nhost:mail.example.org\n");
	write_file("logins", "a@example.org ada,bob\nexample.org @example.org\n");
	write_file(
	    "i.json",
	    "{\"domains\": {\"example.com\": {}}, \"block\": {\"users\": [\"eve\"]}}");
	write_file(
	    "c.json",
	    "{\"include\": [\"i.*\"], \"defaults\": {\"dkim\": [\"k\"]},\n"
	    "\"domains\": {\"example.org\": {\"limits\": {\"l\": 5}}, \"b.example\": "
	    "{\"dkim\": "
	    "[\"k\"]}},\n\"relay\": {\"hosts\": [\"file:list\", {\"host\": "
	    "\"198.51.100.1\", "
	    "\"senders\": [\"@example.org\"], \"reason\": \"x\"}], \"users\": [\"ada\"], "
	    "\"anyone_to\": [\"x.org\"]},\n"
	    "\"auth\": {\"sender_logins\": [\"file:logins\"]}, \"block\": {\"senders\": "
	    "[\"user@\"]},\n\"limits\": [{\"name\": \"l\", \"per\": \"user\", \"count\": "
	    "\"messages\", \"max\": 1, \"window\": \"1h\", \"over\": \"filter:a:b\", "
	    "\"when\": "
	    "{\"hosts\": [\"any\"], \"users\": [\"ada\"], \"sender_domains\": "
	    "[\"x.org\"]}, "
	    "\"override\": {\"ada\": null}}], \"shadow\": [\"relay\", \"limits/l\"],\n"
	    "\"milter\": {\"dkim\": {\"require_dns\": false, \"keys\": {\"k\": "
	    "{\"selector\": "
	    "\"s\", \"file\": \"k.pem\"}}}}, \"log\": {\"decisions\": \"x\"}}");
	with_every_failure(0);
}

static void a_broken_one(void **state)
{
	(void)state;
	write_file(
	    "c.json", "{\"nodes\": 0, \"nodes\": 1, \"nods\": 2, \"domains\": {\"x y\": "
		      "{}, \"a.org\": "
		      "{\"dkim\": [\"n\"], \"limits\": {\"n\": 1}}},\n"
		      "\"relay\": {\"hosts\": [\"192.0.2.1\", {\"host\": \"192.0.2.1\", "
		      "\"senders\": [\"@@\"]}, "
		      "\"file:none\"]}, \"include\": [\"none\"], \"limits\": [{}], "
		      "\"shadow\": [\"n\"]}");
	with_every_failure(-EINVAL);
}

static void a_slot(void **state)
{
	(void)state;
	struct config_slot *slot = NULL;
	struct config *config = load_good("{}");

	left = 0;
	assert_int_equal(config_slot_new(config, &slot), -ENOMEM);
	left = -1;
	assert_null(slot);
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_good_one),
	    cmocka_unit_test(a_broken_one),
	    cmocka_unit_test(a_slot),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
