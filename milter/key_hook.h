/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/dkim_key.h"

#include <stdbool.h>

/*
 * Keys that are parsed once, for a library that wants to parse them for every signature.
 *
 * libopendkim takes a private key as PEM text and parses it anew each time, by OpenSSL's
 * PEM_read_bio_PrivateKey(): three times the work of the RSA-2048 signature itself, ten
 * times that of an Ed25519 one. That function is an ordinary dynamic symbol, so the one
 * defined here, in the program, is called in its place. It knows tickets, which look like
 * the beginning of a PEM text and name a parsed key; everything else goes on to OpenSSL.
 *
 * Whether the library's call arrives here depends on how the program was linked: it must
 * export the symbol (a version script or a hidden visibility undoes it). Therefore it is
 * proved once, by a signature; without proof tickets must not be used, and PEM text does
 * the same work, slowly.
 */

struct key_ticket {
	const struct dkim_key *key;
	bool taken;     /* the library came for it */
	char text[100]; /* NUL-terminated, to be handed over as the PEM text */
};

/* The ticket stays where it is until key_ticket_done(); @key outlives it. */
void key_ticket_init(struct key_ticket *ticket, const struct dkim_key *key);
/*
 * To be called at once when the library's dkim_eom() said DKIM_STAT_INTERNAL. It has
 * given back its reference to an RSA key then, and will do so again with the handle (2.11
 * up to Beta2): another one is taken for that, or the key would be gone for everybody.
 */
void key_ticket_failed(struct key_ticket *ticket);
/* After the library's handle is gone: takes back the reference that it forgets. */
void key_ticket_done(struct key_ticket *ticket);

/*
 * Makes one signature with a key of its own by @sign, which hands the ticket's text to
 * the library and frees its handle again. Once, before other threads ask.
 */
void key_hook_prove(
    void (*sign)(struct key_ticket *ticket, void *context), void *context);
/* True: proved. */
bool key_hook_works(void);
