/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions that libopendkim signs with, deprecated or not. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * To be preloaded into postern-milter: while the file that FAILING_SIGNATURE names with
 * ".rsa" or ".ed25519" behind it is there, that kind of signature fails, as OpenSSL says
 * so. Nothing else changes.
 */

static bool fails(const char *kind)
{
	char path[4096];
	const char *stem = getenv("FAILING_SIGNATURE");
	if (!stem || strlen(stem) + strlen(kind) >= sizeof(path))
		abort();
	strcpy(path, stem);
	strcat(path, kind);
	return access(path, F_OK) == 0;
}

static void find_next(const char *name, void *ret_function)
{
	void *symbol = dlsym(RTLD_NEXT, name);
	if (!symbol)
		abort();
	memcpy(ret_function, &symbol, sizeof(symbol));
}

int RSA_sign(
    int type, const unsigned char *digest, unsigned int digest_len,
    unsigned char *signature, unsigned int *signature_len, RSA *key)
{
	int (*next)(
	    int, const unsigned char *, unsigned int, unsigned char *, unsigned int *,
	    RSA *);
	find_next("RSA_sign", &next);
	return fails(".rsa")
		   ? 0
		   : next(type, digest, digest_len, signature, signature_len, key);
}

int EVP_DigestSign(
    EVP_MD_CTX *context, unsigned char *signature, size_t *signature_len,
    const unsigned char *bytes, size_t len)
{
	int (*next)(
	    EVP_MD_CTX *, unsigned char *, size_t *, const unsigned char *, size_t);
	find_next("EVP_DigestSign", &next);
	return fails(".ed25519") ? 0
				 : next(context, signature, signature_len, bytes, len);
}
