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

/* Those of SipHash-2-4-128, as 16 bytes. */
static void hashes_128_bits_as_published(void **state)
{
	(void)state;
	static const struct {
		size_t len;
		unsigned char want[17];
	} rows[] = {
	    {0, "\xa3\x81\x7f\x04\xba\x25\xa8\xe6\x6d\xf6\x72\x14\xc7\x55\x02\x93"},
	    {1, "\xda\x87\xc1\xd8\x6b\x99\xaf\x44\x34\x76\x59\x11\x9b\x22\xfc\x45"},
	};
	const uint64_t key[2] = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t got[2];
		siphash128("\0", rows[i].len, key, 2, 4, got);
		got[0] = htole64(got[0]);
		got[1] = htole64(got[1]);
		if (memcmp(got, rows[i].want, sizeof(got)) != 0)
			fail_msg("message of %zu bytes", rows[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hashes_as_published),
	    cmocka_unit_test(hashes_128_bits_as_published),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
