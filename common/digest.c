/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/digest.h"

#include <openssl/sha.h>
#include <stdio.h>

void digest_hex(const char *data, size_t len, char buf[static DIGEST_HEX_LEN + 1])
{
	unsigned char hash[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)data, len, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		snprintf(buf + 2 * i, 3, "%02x", hash[i]);
}
