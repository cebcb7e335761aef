/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/hook.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD        "-----POSTERN "
#define PREFIX_LEN  (sizeof(WORD) - 1 + 32 + 1)
#define POINTER_LEN 16
#define TICKET_LEN  (PREFIX_LEN + POINTER_LEN)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char prefix[PREFIX_LEN + 1]; /* "": no random bytes, no tickets */

static void make_prefix(void)
{
	uint64_t secret[2];
	if (RAND_bytes((unsigned char *)secret, sizeof(secret)) == 1)
		snprintf(
		    prefix, sizeof(prefix), WORD "%016" PRIx64 "%016" PRIx64 " ",
		    secret[0], secret[1]);
}

void hook_write_ticket(const void *object, char *buf, size_t size)
{
	pthread_once(&once, make_prefix);
	snprintf(buf, size, "%s%016" PRIxPTR, prefix, (uintptr_t)object);
}

void *hook_read_ticket(const void *text, size_t len)
{
	char digits[POINTER_LEN + 1];
	/* Most calls have nothing to do with us: this decides without more ado. */
	if (len < TICKET_LEN || memcmp(text, WORD, sizeof(WORD) - 1) != 0)
		return NULL;
	pthread_once(&once, make_prefix);
	if (prefix[0] == '\0' || memcmp(text, prefix, PREFIX_LEN) != 0)
		return NULL;
	memcpy(digits, (const char *)text + PREFIX_LEN, POINTER_LEN);
	digits[POINTER_LEN] = '\0';
	return (void *)(uintptr_t)strtoull(digits, NULL, 16);
}

void *hook_next(const char *symbol)
{
	return dlsym(RTLD_NEXT, symbol);
}
