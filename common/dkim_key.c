/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dkim_key.h"

#include "common/cleanup.h"
#include "common/secret_file.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An RSA key of 8192 bits takes 6.4 KB of PEM; certificates may stand beside it. */
#define FILE_MAX_BYTES (64 * 1024)

/* RFC 8301, 3.2: verifiers must not accept less. */
#define RSA_BITS_MIN 1024
/* Bounds the time of one signature (RSA-8192: about 10 ms). */
#define RSA_BITS_MAX 8192

static void pkey_freep(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

static void bio_freep(BIO **bio)
{
	/* Everything that passes here is secret or may be. */
	BIO_free(*bio);
}

static void decoder_freep(OSSL_DECODER_CTX **decoder)
{
	OSSL_DECODER_CTX_free(*decoder);
}

static void md_freep(EVP_MD_CTX **md)
{
	EVP_MD_CTX_free(*md);
}

DEFINE_CLEANUP(struct dkim_key, dkim_key_free)

const char *dkim_algorithm_name(enum dkim_algorithm algorithm)
{
	switch (algorithm) {
	case DKIM_RSA_SHA256:
		return "rsa-sha256";
	case DKIM_ED25519_SHA256:
		return "ed25519-sha256";
	}
	return "unknown";
}

/* Where to complain: the file's name stands before every sentence. */
struct complaint {
	const char *path;
	char *buf;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static int refuse(
    const struct complaint *to, const char *format, ...)
{
	char text[PATH_MAX + 512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(to->buf, to->size, "key file %s %s", to->path, text);
	return -EINVAL;
}

/* OpenSSL's own default asks for the pass phrase on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return 0;
}

/* What stands in the file instead of a key, told by its look. */
static int refuse_unparsable(
    const struct secret_text *text, bool encrypted, const struct complaint *to)
{
	if (text->len == 0)
		return refuse(
		    to, "is empty; create the key with: openssl genrsa -out %s 2048",
		    to->path);
	if (encrypted || strstr(text->bytes, "-----BEGIN ENCRYPTED PRIVATE KEY-----") ||
	    strstr(text->bytes, "Proc-Type: 4,ENCRYPTED"))
		return refuse(
		    to,
		    "is encrypted, and nobody can be asked for its pass phrase; write it "
		    "without one: openssl pkey -in %s -out NEW.pem",
		    to->path);
	if (text->bytes[0] == 0x30)
		return refuse(
		    to,
		    "is in DER form; write it as PEM: openssl pkey -inform DER -in %s "
		    "-out NEW.pem",
		    to->path);
	if (strstr(text->bytes, "-----BEGIN OPENSSH PRIVATE KEY-----"))
		return refuse(
		    to,
		    "is an OpenSSH key; write it as PEM: ssh-keygen -p -m PEM -f COPY");
	/* openssl ecparam -genkey puts them before the key, and the decoder stops there.
	 */
	if (strstr(text->bytes, "-----BEGIN EC PARAMETERS-----"))
		return refuse(
		    to,
		    "is of type EC, which DKIM has not; RSA (2048 bits) or Ed25519 is "
		    "expected");
	if (strstr(text->bytes, "PRIVATE KEY-----"))
		return refuse(
		    to,
		    "is damaged or cut short: its PEM block does not parse; restore it "
		    "from a copy");
	if (strstr(text->bytes, "-----BEGIN PUBLIC KEY-----") ||
	    strstr(text->bytes, "-----BEGIN RSA PUBLIC KEY-----"))
		return refuse(
		    to, "holds a public key; name the file with the private key");
	return refuse(
	    to, "holds no PEM private key (no \"-----BEGIN PRIVATE KEY-----\")");
}

/*
 * OSSL_DECODER, not PEM_read_bio_PrivateKey(): that one is the door through which
 * libopendkim takes its keys.
 */
static EVP_PKEY *parse_private(const struct secret_text *text, bool *ret_encrypted)
{
	EVP_PKEY *pkey = NULL;
	CLEANUP(bio_freep) BIO *bio = BIO_new_mem_buf(text->bytes, (int)text->len);
	CLEANUP(decoder_freep)
	OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
	    &pkey, "PEM", NULL, NULL, EVP_PKEY_KEYPAIR, NULL, NULL);
	*ret_encrypted = false;
	if (bio && decoder &&
	    OSSL_DECODER_CTX_set_pem_password_cb(decoder, no_passphrase, ret_encrypted) &&
	    !OSSL_DECODER_from_bio(decoder, bio)) {
		EVP_PKEY_free(pkey);
		pkey = NULL;
	}
	ERR_clear_error();
	return pkey;
}

static int check_type(EVP_PKEY *pkey, const struct complaint *to, struct dkim_key *key)
{
	key->bits = (unsigned)EVP_PKEY_get_bits(pkey);
	if (EVP_PKEY_is_a(pkey, "ED25519")) {
		key->algorithm = DKIM_ED25519_SHA256;
		return 0;
	}
	if (!EVP_PKEY_is_a(pkey, "RSA")) {
		const char *type = EVP_PKEY_get0_type_name(pkey);
		return refuse(
		    to,
		    "is of type %s, which DKIM has not; RSA (2048 bits) or Ed25519 is "
		    "expected",
		    type ? type : "unknown");
	}
	key->algorithm = DKIM_RSA_SHA256;
	if (key->bits < RSA_BITS_MIN)
		return refuse(
		    to,
		    "has %u bits; verifiers refuse RSA keys under %d (RFC 8301), 2048 is "
		    "right",
		    key->bits, RSA_BITS_MIN);
	if (key->bits > RSA_BITS_MAX)
		return refuse(
		    to, "has %u bits, at most %d are taken; 2048 is right", key->bits,
		    RSA_BITS_MAX);
	return 0;
}

/* Signs and verifies once: halves that do not belong together show here, not per mail. */
static bool signs_and_verifies(EVP_PKEY *pkey, enum dkim_algorithm algorithm)
{
	static const unsigned char probe[] = "postern";
	unsigned char signature[RSA_BITS_MAX / 8];
	size_t len = sizeof(signature);
	const EVP_MD *md = algorithm == DKIM_RSA_SHA256 ? EVP_sha256() : NULL;
	CLEANUP(md_freep) EVP_MD_CTX *sign = EVP_MD_CTX_new();
	CLEANUP(md_freep) EVP_MD_CTX *verify = EVP_MD_CTX_new();

	bool good = sign && verify &&
		    EVP_DigestSignInit(sign, NULL, md, NULL, pkey) == 1 &&
		    EVP_DigestSign(sign, signature, &len, probe, sizeof(probe)) == 1 &&
		    EVP_DigestVerifyInit(verify, NULL, md, NULL, pkey) == 1 &&
		    EVP_DigestVerify(verify, signature, len, probe, sizeof(probe)) == 1;
	ERR_clear_error();
	return good;
}

/* p=: RFC 6376, 3.6.1 (SubjectPublicKeyInfo) for RSA, RFC 8463 (32 raw bytes) else. */
static bool keep_public(EVP_PKEY *pkey, struct dkim_key *key)
{
	unsigned char raw[32];
	unsigned char *der = NULL;
	const unsigned char *from;
	int len;
	if (key->algorithm == DKIM_ED25519_SHA256) {
		size_t raw_len = sizeof(raw);
		if (!EVP_PKEY_get_raw_public_key(pkey, raw, &raw_len))
			return false;
		from = raw;
		len = (int)raw_len;
	} else {
		len = i2d_PUBKEY(pkey, &der);
		from = der;
	}
	if (len > 0)
		key->public_base64 = malloc((size_t)(len + 2) / 3 * 4 + 1);
	if (key->public_base64)
		EVP_EncodeBlock((unsigned char *)key->public_base64, from, len);
	OPENSSL_free(der);
	return key->public_base64 != NULL;
}

int dkim_key_generate(enum dkim_algorithm algorithm, unsigned bits, struct dkim_key **ret)
{
	if (algorithm == DKIM_RSA_SHA256 && (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX))
		return -EINVAL;
	CLEANUP(dkim_key_freep) struct dkim_key *key = calloc(1, sizeof(*key));
	if (!key)
		return -ENOMEM;
	key->algorithm = algorithm;
	key->pkey = algorithm == DKIM_RSA_SHA256
			? EVP_RSA_gen(bits)
			: EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!key->pkey || !keep_public(key->pkey, key)) {
		ERR_clear_error();
		return -ENOMEM;
	}
	key->bits = (unsigned)EVP_PKEY_get_bits(key->pkey);
	*ret = TAKE(key);
	return 0;
}

int dkim_key_load(
    const char *path, uid_t service_uid, struct dkim_key **ret, char *errbuf,
    size_t errsize)
{
	const struct complaint to = {path, errbuf, errsize};
	CLEANUP(secret_text_done) struct secret_text text = {NULL, 0};
	int r = secret_file_read(
	    "key file", path, service_uid, FILE_MAX_BYTES, &text, errbuf, errsize);
	if (r < 0)
		return r;

	bool encrypted;
	CLEANUP(pkey_freep) EVP_PKEY *pkey = parse_private(&text, &encrypted);
	if (!pkey)
		return refuse_unparsable(&text, encrypted, &to);

	CLEANUP(dkim_key_freep) struct dkim_key *key = calloc(1, sizeof(*key));
	if (!key)
		return refuse(&to, "cannot be kept: out of memory");
	r = check_type(pkey, &to, key);
	if (r < 0)
		return r;
	if (!signs_and_verifies(pkey, key->algorithm))
		return refuse(
		    &to,
		    "is damaged: what it signs does not verify; restore it from a copy");
	if (!keep_public(pkey, key)) {
		ERR_clear_error();
		return refuse(
		    &to, "cannot be kept: OpenSSL refused to write its public half");
	}
	key->pkey = TAKE(pkey);
	*ret = TAKE(key);
	return 0;
}

struct dkim_key *dkim_key_free(struct dkim_key *key)
{
	if (!key)
		return NULL;
	EVP_PKEY_free(key->pkey);
	free(key->public_base64);
	free(key);
	return NULL;
}

int dkim_key_pem(const struct dkim_key *key, char **ret)
{
	CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
	char *bytes, *pem = NULL;
	if (bio &&
	    PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL)) {
		long len = BIO_get_mem_data(bio, &bytes);
		pem = strndup(bytes, (size_t)len);
	}
	ERR_clear_error();
	if (!pem)
		return -ENOMEM;
	*ret = pem;
	return 0;
}

char *dkim_key_pem_free(char *pem)
{
	if (pem)
		OPENSSL_cleanse(pem, strlen(pem));
	free(pem);
	return NULL;
}
