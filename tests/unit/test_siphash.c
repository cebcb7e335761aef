/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The published vectors of SipHash-2-4: key 00..0f, messages 00, 01, ... */
static void hashes_as_published(void **state)
{
	(void)state;
	static const struct {
		size_t len;
		uint64_t want;
	} rows[] = {
	    {0, 0x726fdb47dd0e0e31U},  {1, 0x74f839c593dc67fdU},
	    {7, 0xab0200f58b01d137U},  {8, 0x93f5f5799a932462U},
	    {15, 0xa129ca6149be45e5U}, {63, 0x958a324ceb064572U},
	};
	const uint64_t key[2] = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
	unsigned char message[64];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (siphash(message, rows[i].len, key, 2, 4) != rows[i].want)
			fail_msg("message of %zu bytes", rows[i].len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hashes_as_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
