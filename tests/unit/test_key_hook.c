/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/key_hook.h"

#include <opendkim/dkim.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct dkim_key rsa = {.algorithm = DKIM_RSA_SHA256};
static struct dkim_key ed25519 = {.algorithm = DKIM_ED25519_SHA256};
static DKIM_LIB *lib;

/* What libopendkim forgets of an Ed25519 signature besides the key, when it has no arena
 * to forget it in. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:dkim_privkey_load\n";
}

static int set_up(void **state)
{
	(void)state;
	rsa.pkey = EVP_RSA_gen(1024);
	ed25519.pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	lib = dkim_init(NULL, NULL);
	return rsa.pkey && ed25519.pkey && lib ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	dkim_close(lib);
	EVP_PKEY_free(rsa.pkey);
	EVP_PKEY_free(ed25519.pkey);
	return 0;
}

/* Reads @text as libopendkim does. */
static EVP_PKEY *read_key(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	return key;
}

static void test_tickets(void **state)
{
	(void)state;
	struct key_ticket ticket, other;
	key_ticket_init(&ticket, &rsa);
	key_ticket_init(&other, &ed25519);
	assert_memory_equal(ticket.text, "-----", 5);
	assert_string_not_equal(ticket.text, other.text);
	assert_false(ticket.taken);

	EVP_PKEY *key = read_key(ticket.text);
	assert_ptr_equal(key, rsa.pkey);
	assert_true(ticket.taken);
	assert_false(other.taken);
	EVP_PKEY_free(key);
	key_ticket_done(&ticket);

	key = read_key(other.text);
	assert_ptr_equal(key, ed25519.pkey);
	EVP_PKEY_free(key);
	key_ticket_done(&other);
}

static void test_everything_else_goes_to_openssl(void **state)
{
	(void)state;
	BIO *bio = BIO_new(BIO_s_mem());
	assert_true(
	    PEM_write_bio_PKCS8PrivateKey(bio, rsa.pkey, NULL, NULL, 0, NULL, NULL));
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	assert_non_null(key);
	assert_ptr_not_equal(key, rsa.pkey);
	assert_int_equal(EVP_PKEY_eq(key, rsa.pkey), 1);
	EVP_PKEY_free(key);
	BIO_free(bio);

	struct key_ticket ticket;
	key_ticket_init(&ticket, &rsa);
	char text[sizeof(ticket.text)];
	/* No ticket of this process: the secret word differs, or the rest is missing. */
	strcpy(text, ticket.text);
	text[strlen("-----POSTERN ")] ^= 1;
	assert_null(read_key(text));
	text[strlen("-----POSTERN ")] ^= 1;
	*strrchr(text, ' ') = '\0';
	assert_null(read_key(text));
	assert_null(read_key("-----POSTERN "));
	assert_null(read_key(""));
	assert_false(ticket.taken);

	BIO *null = BIO_new(BIO_s_null());
	assert_null(PEM_read_bio_PrivateKey(null, NULL, NULL, NULL));
	BIO_free(null);
}

static void sign(struct key_ticket *ticket, void *context)
{
	static char header[] = "From: a@example.org";
	DKIM_STAT status;
	DKIM *dkim = dkim_sign(
	    lib, (const unsigned char *)"id", NULL, (dkim_sigkey_t)ticket->text,
	    (const unsigned char *)"s", (const unsigned char *)"example.org",
	    DKIM_CANON_RELAXED, DKIM_CANON_RELAXED,
	    ticket->key->algorithm == DKIM_RSA_SHA256 ? DKIM_SIGN_RSASHA256
						      : DKIM_SIGN_ED25519SHA256,
	    -1, &status);
	assert_non_null(dkim);
	assert_int_equal(
	    dkim_header(dkim, (unsigned char *)header, strlen(header)), DKIM_STAT_OK);
	assert_int_equal(dkim_eoh(dkim), DKIM_STAT_OK);
	assert_int_equal(dkim_eom(dkim, NULL), DKIM_STAT_OK);
	dkim_free(dkim);
	++*(int *)context;
}

static void do_nothing(struct key_ticket *ticket, void *context)
{
	(void)ticket;
	++*(int *)context;
}

static void note_free(
    void *parent, void *data, CRYPTO_EX_DATA *all, int index, long argument, void *more)
{
	(void)parent;
	(void)all;
	(void)index;
	(void)argument;
	(void)more;
	if (data)
		*(bool *)data = true;
}

/*
 * libopendkim comes for its keys, and whatever it forgets, a key's last reference is
 * ours: it goes, wiped, when its configuration goes.
 */
static void test_proof(void **state)
{
	(void)state;
	int calls = 0;
	key_hook_prove(do_nothing, &calls);
	assert_false(key_hook_works());
	key_hook_prove(sign, &calls);
	assert_true(key_hook_works());
	assert_int_equal(calls, 2);

	int index = EVP_PKEY_get_ex_new_index(0, NULL, NULL, NULL, note_free);
	for (int i = 0; i < 2; i++) {
		struct dkim_key key = {
		    .algorithm = i ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256,
		    .pkey =
			i ? EVP_RSA_gen(1024) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
		};
		bool freed = false;
		assert_true(EVP_PKEY_set_ex_data(key.pkey, index, &freed));
		for (int round = 0; round < 3; round++) {
			struct key_ticket ticket;
			key_ticket_init(&ticket, &key);
			sign(&ticket, &calls);
			assert_true(ticket.taken);
			key_ticket_done(&ticket);
			assert_false(freed);
		}
		EVP_PKEY_free(key.pkey);
		assert_true(freed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tickets),
	    cmocka_unit_test(test_everything_else_goes_to_openssl),
	    cmocka_unit_test(test_proof),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
