/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions that libopendkim hashes with, deprecated or not. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "milter/hash_hook.h"

#include "milter/hook.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef int update_function(SHA256_CTX *state, const void *bytes, size_t len);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static update_function *next;

static void find_next(void)
{
	void *symbol = hook_next("SHA256_Update");
	memcpy(&next, &symbol, sizeof(next));
}

void hash_ticket_init(struct hash_ticket *ticket, const struct SHA256state_st *state)
{
	ticket->state = state;
	ticket->taken = 0;
	hook_write_ticket(ticket, ticket->text, sizeof(ticket->text) - 2);
	strcat(ticket->text, "\r\n");
}

/* In place of OpenSSL's, for libopendkim, which looks it up in the program first. */
__attribute__((visibility("default"))) int SHA256_Update(
    SHA256_CTX *state, const void *bytes, size_t len)
{
	struct hash_ticket *ticket = hook_read_ticket(bytes, len);
	if (ticket) {
		*state = *ticket->state;
		ticket->taken++;
		return 1;
	}
	pthread_once(&once, find_next);
	return next ? next(state, bytes, len) : 0;
}
