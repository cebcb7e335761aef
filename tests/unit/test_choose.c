/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/choose.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct dkim_key rsa = {.algorithm = DKIM_RSA_SHA256};
static struct dkim_key ed25519 = {.algorithm = DKIM_ED25519_SHA256};

enum { RSA_1, RSA_2, ED_1, ED_2, RSA_FIXED, NOT_LOADED, KEYS };

static char none[] = "", fixed[] = "fixed.example", name[] = "example.org";
static struct dkim_key_config keys[KEYS] = {
    [RSA_1] = {.key = &rsa, .domain = none},
    [RSA_2] = {.key = &rsa, .domain = none},
    [ED_1] = {.key = &ed25519, .domain = none},
    [ED_2] = {.key = &ed25519, .domain = none},
    [RSA_FIXED] = {.key = &rsa, .domain = fixed},
    [NOT_LOADED] = {.key = NULL, .domain = none},
};
static const struct config config = {.milter.dkim = {.keys = keys, .keys_count = KEYS}};

#define END KEYS

static const struct {
	const char *why;
	size_t list[6];       /* of the domain, up to END */
	unsigned unpublished; /* bits of keys */
	size_t want[3];       /* up to END */
	const char *want_d;   /* of the first */
} rows[] = {
    {"no keys", {END}, 0, {END}, NULL},
    {"one", {RSA_1, END}, 0, {RSA_1, END}, "example.org"},
    {"one of Ed25519", {ED_1, END}, 0, {ED_1, END}, "example.org"},
    {"the first of an algorithm", {RSA_2, RSA_1, END}, 0, {RSA_2, END}, "example.org"},
    {"both algorithms", {RSA_1, ED_1, END}, 0, {RSA_1, ED_1, END}, "example.org"},
    {"the order between algorithms does not matter",
     {ED_2, RSA_2, ED_1, RSA_1, END},
     0,
     {RSA_2, ED_2, END},
     "example.org"},
    {"the next one where the first is not published",
     {RSA_1, RSA_2, ED_1, END},
     1U << RSA_1,
     {RSA_2, ED_1, END},
     "example.org"},
    {"one algorithm has none that is published",
     {RSA_1, ED_1, ED_2, END},
     1U << ED_1 | 1U << ED_2,
     {RSA_1, END},
     "example.org"},
    {"nothing is published", {RSA_1, ED_1, END}, 1U << RSA_1 | 1U << ED_1, {END}, NULL},
    {"a key with a domain of its own",
     {RSA_FIXED, END},
     0,
     {RSA_FIXED, END},
     "fixed.example"},
    {"and its next one keeps the domain's name",
     {RSA_FIXED, RSA_1, END},
     1U << RSA_FIXED,
     {RSA_1, END},
     "example.org"},
    {"one that is not loaded is none",
     {NOT_LOADED, RSA_1, END},
     0,
     {RSA_1, END},
     "example.org"},
};

/* Also holds the caller to the contract: loaded keys alone, by their place. */
static bool is_published(const void *context, const struct domain *domain, size_t place)
{
	const unsigned *unpublished = context;
	assert_true(place < domain->dkim_count);
	size_t key = domain->dkim[place];
	assert_true(key < KEYS && keys[key].key);
	return !(*unpublished & 1U << key);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct domain domain = {
		    .name = name, .dkim = (size_t *)(uintptr_t)rows[i].list};
		while (rows[i].list[domain.dkim_count] != END)
			domain.dkim_count++;
		struct key_filter filter = {is_published, &rows[i].unpublished};
		struct chosen_key got[CHOSEN_KEYS_MAX];
		/* Without a filter all are published. */
		const struct key_filter *with = rows[i].unpublished ? &filter : NULL;
		for (int round = 0; round < 2; round++, with = &filter) {
			size_t count = choose_keys(&config, &domain, with, got);
			for (size_t n = 0; n <= count; n++) {
				if (n == count ? rows[i].want[n] != END
					       : got[n].key != &keys[rows[i].want[n]])
					fail_msg("%s: number %zu", rows[i].why, n);
			}
			if (count > 0 && strcmp(got[0].domain, rows[i].want_d) != 0)
				fail_msg("%s: d=%s", rows[i].why, got[0].domain);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
