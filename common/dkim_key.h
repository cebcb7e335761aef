/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * A DKIM private key: read once, parsed once, checked once. A key that could fail per
 * message is refused at load (encrypted, DER, EC, RSA under 1024 bits, truncated), each
 * with one sentence.
 *
 * Safe: a regular file (symlinks are followed to one), owned by root or the service user,
 * nothing for others; its folder not writable by group or others unless sticky.
 */

enum dkim_algorithm { DKIM_RSA_SHA256, DKIM_ED25519_SHA256 };
#define DKIM_ALGORITHMS 2

struct evp_pkey_st; /* OpenSSL's EVP_PKEY */

struct dkim_key {
	enum dkim_algorithm algorithm;
	unsigned bits;
	struct evp_pkey_st *pkey; /* for all threads, nobody changes it; wiped on free */
	char *public_base64;      /* what belongs into p= of the record */
};

/* The a= of signatures: "rsa-sha256". */
const char *dkim_algorithm_name(enum dkim_algorithm algorithm);

/*
 * Reads and checks @path. @service_uid: who besides root may own it. Returns 0 and *ret,
 * or -EINVAL with one sentence in @errbuf: what is wrong and the command or step that
 * mends it.
 */
int dkim_key_load(
    const char *path, uid_t service_uid, struct dkim_key **ret, char *errbuf,
    size_t errsize);

/* A new key; @bits of RSA, 1024 to 8192. 0, -EINVAL (@bits), or -ENOMEM. */
int dkim_key_generate(
    enum dkim_algorithm algorithm, unsigned bits, struct dkim_key **ret);

struct dkim_key *dkim_key_free(struct dkim_key *key);

/* The private key as PEM text (PKCS #8), for dkim_key_pem_free(). 0 or -ENOMEM. */
int dkim_key_pem(const struct dkim_key *key, char **ret);
char *dkim_key_pem_free(char *pem); /* wipes it; returns NULL */
