/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>

/*
 * One body hash for all signatures of a message.
 *
 * libopendkim makes the body canonical, byte by byte, and hashes it, for every signature
 * anew: ten times the work of the hash itself. It hashes with OpenSSL's SHA256_Update(),
 * an ordinary dynamic symbol, so the one defined here, in the program, is called in its
 * place. A body that is nothing but a ticket's line names a hash under way: that one
 * takes the place of the library's, which then ends and encodes it as ever. Every other
 * call goes on to OpenSSL.
 *
 * As with key_hook.h, whether the library's call arrives here must be proved before
 * tickets are used; without proof the body itself goes to the library.
 */

struct SHA256state_st; /* OpenSSL's SHA256_CTX */

struct hash_ticket {
	const struct SHA256state_st *state; /* of the canonical body, not yet ended */
	unsigned taken;                     /* how often the library came for it */
	char text[100];                     /* a line with its CRLF, NUL-terminated */
};

/* The ticket stays where it is, and @state unchanged, until the library is done. */
void hash_ticket_init(struct hash_ticket *ticket, const struct SHA256state_st *state);
