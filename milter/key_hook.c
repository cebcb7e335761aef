/* SPDX-License-Identifier: BSD-2-Clause */
/* EVP_PKEY_get1_RSA(), by which libopendkim gets at an RSA key. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "milter/key_hook.h"

#include "milter/hook.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

static bool works;
/* The library keeps its reference to an Ed25519 key for good (2.11 up to Beta2). */
static bool keeps_ed25519;

void key_ticket_init(struct key_ticket *ticket, const struct dkim_key *key)
{
	ticket->key = key;
	ticket->taken = false;
	hook_write_ticket(ticket, ticket->text, sizeof(ticket->text));
}

void key_ticket_failed(struct key_ticket *ticket)
{
	/* Never given back by ourselves. */
	if (ticket->taken && ticket->key->algorithm == DKIM_RSA_SHA256)
		(void)EVP_PKEY_get1_RSA(ticket->key->pkey);
}

void key_ticket_done(struct key_ticket *ticket)
{
	if (ticket->taken && keeps_ed25519 &&
	    ticket->key->algorithm == DKIM_ED25519_SHA256)
		EVP_PKEY_free(ticket->key->pkey);
	ticket->taken = false;
}

/* The ticket in @bio, or NULL. */
static struct key_ticket *find_ticket(BIO *bio)
{
	char *bytes;
	if (!bio || BIO_method_type(bio) != BIO_TYPE_MEM)
		return NULL;
	long len = BIO_get_mem_data(bio, &bytes);
	return len > 0 ? hook_read_ticket(bytes, (size_t)len) : NULL;
}

/*
 * In place of OpenSSL's, for libopendkim, which looks it up in the program first. Ours
 * reads no key through it: see dkim_key.c.
 */
__attribute__((visibility("default"))) EVP_PKEY *PEM_read_bio_PrivateKey(
    BIO *bio, EVP_PKEY **ret, pem_password_cb *callback, void *argument)
{
	struct key_ticket *ticket = find_ticket(bio);
	if (ticket) {
		EVP_PKEY *key = ticket->key->pkey;
		if (!EVP_PKEY_up_ref(key))
			return NULL;
		ticket->taken = true;
		if (ret)
			*ret = key;
		return key;
	}
	EVP_PKEY *(*next)(BIO *, EVP_PKEY **, pem_password_cb *, void *);
	void *symbol = hook_next("PEM_read_bio_PrivateKey");
	memcpy(&next, &symbol, sizeof(next));
	return next ? next(bio, ret, callback, argument) : NULL;
}

/* ---- proof ---- */

static void note_free(
    void *parent, void *data, CRYPTO_EX_DATA *all, int index, long argument,
    void *argument_pointer)
{
	(void)parent;
	(void)all;
	(void)index;
	(void)argument;
	(void)argument_pointer;
	if (data)
		*(bool *)data = true;
}

void key_hook_prove(void (*sign)(struct key_ticket *ticket, void *context), void *context)
{
	struct dkim_key key = {
	    .algorithm = DKIM_ED25519_SHA256,
	    .bits = 256,
	    .pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
	};
	struct key_ticket ticket;
	bool freed = false;
	int index = EVP_PKEY_get_ex_new_index(0, NULL, NULL, NULL, note_free);
	works = keeps_ed25519 = false;
	if (!key.pkey || index < 0 || !EVP_PKEY_set_ex_data(key.pkey, index, &freed)) {
		EVP_PKEY_free(key.pkey);
		ERR_clear_error();
		return;
	}
	key_ticket_init(&ticket, &key);
	sign(&ticket, context);
	works = ticket.taken;
	EVP_PKEY_free(key.pkey);
	/* Ours was the last, unless the library has not given back its own. */
	keeps_ed25519 = ticket.taken && !freed;
	if (keeps_ed25519)
		EVP_PKEY_free(key.pkey);
	CRYPTO_free_ex_index(CRYPTO_EX_INDEX_EVP_PKEY, index);
	ERR_clear_error();
}

bool key_hook_works(void)
{
	return works;
}
