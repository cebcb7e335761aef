/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The vectors of the paper's reference code: key 00..0f, message 00..len-1. */
static const struct {
	size_t len;
	uint64_t hash;
	const char *why;
} rows[] = {
    {0, 0x726fdb47dd0e0e31, "nothing but the length"},
    {1, 0x74f839c593dc67fd, "one byte"},
    {7, 0xab0200f58b01d137, "one byte short of a word"},
    {8, 0x93f5f5799a932462, "one word"},
    {15, 0xa129ca6149be45e5, "the paper's example"},
    {63, 0x958a324ceb064572, "seven words and seven bytes"},
};

static void test_vectors(void **state)
{
	(void)state;
	unsigned char message[64];
	for (unsigned i = 0; i < sizeof(message); i++)
		message[i] = (unsigned char)i;
	static const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t hash = siphash(message, rows[i].len, key, 2, 4);
		if (hash != rows[i].hash)
			fail_msg("%s: %016jx", rows[i].why, (uintmax_t)hash);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
