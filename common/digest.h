/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

/* SHA-256 (FIPS 180-4) for names that are too long to be stored as they are. */

#define DIGEST_HEX_LEN 64

/* Writes 64 hexadecimal digits and a NUL. */
void digest_hex(const char *data, size_t len, char buf[static DIGEST_HEX_LEN + 1]);
