/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/token.h"

#include "common/cleanup.h"
#include "common/secret_file.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION   1
#define KEY_BYTES 32
#define ID_BYTES  4
#define IV_BYTES  12
#define TAG_BYTES 16

/* Before what is sealed: version, key, nonce. Authenticated with it. */
#define HEAD_BYTES (1 + ID_BYTES + IV_BYTES)

/* Sealed: time, family, address, length of the login, login, zeros. */
#define FIXED_BYTES 27
#define PAD_TO      32
#define SEALED_MAX  ((FIXED_BYTES + TOKEN_LOGIN_MAX + PAD_TO - 1) / PAD_TO * PAD_TO)
#define TOKEN_BYTES (HEAD_BYTES + SEALED_MAX + TAG_BYTES)

static_assert(TOKEN_TEXT_MAX > (TOKEN_BYTES + 2) / 3 * 4, "a token fits");

#define KEY_FILE_MAX 1024

struct token_key {
	unsigned char bytes[KEY_BYTES];
	unsigned char id[ID_BYTES];
	char *file;
};

struct token_keys {
	size_t count;
	struct token_key keys[TOKEN_KEYS_MAX];
};

static void cipher_freep(EVP_CIPHER_CTX **cipher)
{
	EVP_CIPHER_CTX_free(*cipher);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(const struct secret_text *text, unsigned char ret[static KEY_BYTES])
{
	size_t len = text->len, digits = (size_t)2 * KEY_BYTES;
	while (len > 0 && strchr(" \t\r\n", text->bytes[len - 1]))
		len--;
	if (len != digits)
		return false;
	for (size_t i = 0; i < KEY_BYTES; i++) {
		int high = hex_digit(text->bytes[2 * i]);
		int low = hex_digit(text->bytes[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		ret[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

/* A digest of the key with a word before it: tells keys apart and nothing about them. */
static void set_id(struct token_key *key)
{
	static const char word[] = "postern token key";
	unsigned char text[sizeof(word) + KEY_BYTES], digest[SHA256_DIGEST_LENGTH];
	memcpy(text, word, sizeof(word));
	memcpy(text + sizeof(word), key->bytes, KEY_BYTES);
	SHA256(text, sizeof(text), digest);
	memcpy(key->id, digest, ID_BYTES);
	OPENSSL_cleanse(text, sizeof(text));
}

static const struct token_key *find_key(
    const struct token_keys *keys, const unsigned char id[static ID_BYTES])
{
	for (size_t i = 0; keys && i < keys->count; i++)
		if (memcmp(keys->keys[i].id, id, ID_BYTES) == 0)
			return &keys->keys[i];
	return NULL;
}

static int key_read(
    struct token_key *key, const char *path, uid_t service_uid, char *errbuf,
    size_t errsize)
{
	CLEANUP(secret_text_done) struct secret_text text = {0};
	int r = secret_file_read(
	    "token key", path, service_uid, KEY_FILE_MAX, &text, errbuf, errsize);
	if (r < 0)
		return r;
	if (!read_hex(&text, key->bytes)) {
		snprintf(
		    errbuf, errsize,
		    "token key %s does not hold 64 hexadecimal digits; make one with: "
		    "openssl rand -hex 32 > %s",
		    path, path);
		return -EINVAL;
	}
	set_id(key);
	key->file = strdup(path);
	return key->file ? 0 : -ENOMEM;
}

int token_keys_add(
    struct token_keys **keys, const char *path, uid_t service_uid, char *errbuf,
    size_t errsize)
{
	if (!*keys)
		*keys = calloc(1, sizeof(**keys));
	if (!*keys)
		return -ENOMEM;
	if ((*keys)->count == TOKEN_KEYS_MAX) {
		snprintf(
		    errbuf, errsize, "there are more than %d token keys", TOKEN_KEYS_MAX);
		return -EINVAL;
	}
	struct token_key *key = &(*keys)->keys[(*keys)->count];
	int r = key_read(key, path, service_uid, errbuf, errsize);
	const struct token_key *same = r == 0 ? find_key(*keys, key->id) : NULL;
	if (same) {
		snprintf(
		    errbuf, errsize, "token key %s is the same as %s", path, same->file);
		r = -EINVAL;
	}
	if (r < 0) {
		OPENSSL_cleanse(key->bytes, KEY_BYTES);
		free(TAKE(key->file));
		return r;
	}
	(*keys)->count++;
	return 0;
}

struct token_keys *token_keys_free(struct token_keys *keys)
{
	if (!keys)
		return NULL;
	for (size_t i = 0; i < keys->count; i++)
		free(keys->keys[i].file);
	OPENSSL_cleanse(keys, sizeof(*keys));
	free(keys);
	return NULL;
}

/* ---- what is sealed ---- */

/* Returns the padded length. */
static size_t pack(
    const struct token_subject *subject, unsigned char ret[static SEALED_MAX])
{
	size_t len = strnlen(subject->login, TOKEN_LOGIN_MAX);
	uint64_t time = (uint64_t)subject->time_s;

	memset(ret, 0, SEALED_MAX);
	for (size_t i = 0; i < 8; i++)
		ret[i] = (unsigned char)(time >> (56 - 8 * i));
	ret[8] = subject->client.family == IP_V4   ? 4
		 : subject->client.family == IP_V6 ? 6
						   : 0;
	if (ret[8])
		memcpy(ret + 9, subject->client.bytes, 16);
	ret[25] = (unsigned char)(len >> 8);
	ret[26] = (unsigned char)len;
	memcpy(ret + FIXED_BYTES, subject->login, len);
	return (FIXED_BYTES + len + PAD_TO - 1) / PAD_TO * PAD_TO;
}

/* False: sealed with our key, and yet not ours. */
static bool unpack(const unsigned char *text, size_t len, struct token_subject *ret)
{
	uint64_t time = 0;
	size_t login = (size_t)text[25] << 8 | text[26];

	if (login > TOKEN_LOGIN_MAX || FIXED_BYTES + login > len ||
	    (text[8] != 0 && text[8] != 4 && text[8] != 6))
		return false;
	*ret = (struct token_subject){0};
	for (size_t i = 0; i < 8; i++)
		time = time << 8 | text[i];
	ret->time_s = (int64_t)time;
	ret->client.family = text[8] == 4 ? IP_V4 : text[8] == 6 ? IP_V6 : IP_NONE;
	if (text[8])
		memcpy(ret->client.bytes, text + 9, 16);
	memcpy(ret->login, text + FIXED_BYTES, login);
	return true;
}

/* ---- base64url, without padding (RFC 4648, 5) ---- */

static void print_base64(
    const unsigned char *bytes, size_t len, char ret[static TOKEN_TEXT_MAX])
{
	int n = EVP_EncodeBlock((unsigned char *)ret, bytes, (int)len);
	while (n > 0 && ret[n - 1] == '=')
		n--;
	ret[n] = '\0';
	for (int i = 0; i < n; i++)
		ret[i] = ret[i] == '+' ? '-' : ret[i] == '/' ? '_' : ret[i];
}

/* Returns the bytes, or 0. @ret has room for three more than TOKEN_BYTES. */
static size_t read_base64(
    const char *text, size_t len, unsigned char ret[static TOKEN_BYTES + 3])
{
	unsigned char plain[TOKEN_TEXT_MAX];
	size_t padded = (len + 3) / 4 * 4;

	if (len % 4 == 1 || padded > (TOKEN_BYTES + 2) / 3 * 4)
		return 0;
	for (size_t i = 0; i < padded; i++) {
		char c = i < len ? text[i] : '=';
		if (c == '+' || c == '/' || (i < len && (c == '=' || c <= ' ')))
			return 0;
		plain[i] = (unsigned char)(c == '-' ? '+' : c == '_' ? '/' : c);
	}
	int n = EVP_DecodeBlock(ret, plain, (int)padded);
	return n < 0 ? 0 : (size_t)n - (padded - len);
}

/* ---- sealing and opening ---- */

int token_seal(
    const struct token_keys *keys, const struct token_subject *subject,
    char ret[static TOKEN_TEXT_MAX])
{
	const struct token_key *key = &keys->keys[0];
	unsigned char sealed[SEALED_MAX], token[TOKEN_BYTES];
	size_t len = pack(subject, sealed);
	int n;

	token[0] = VERSION;
	memcpy(token + 1, key->id, ID_BYTES);
	CLEANUP(cipher_freep) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	bool good =
	    cipher && RAND_bytes(token + 1 + ID_BYTES, IV_BYTES) == 1 &&
	    EVP_EncryptInit_ex(
		cipher, EVP_aes_256_gcm(), NULL, key->bytes, token + 1 + ID_BYTES) == 1 &&
	    EVP_EncryptUpdate(cipher, NULL, &n, token, HEAD_BYTES) == 1 &&
	    EVP_EncryptUpdate(cipher, token + HEAD_BYTES, &n, sealed, (int)len) == 1 &&
	    EVP_EncryptFinal_ex(cipher, token + HEAD_BYTES + len, &n) == 1 &&
	    EVP_CIPHER_CTX_ctrl(
		cipher, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, token + HEAD_BYTES + len) == 1;
	OPENSSL_cleanse(sealed, sizeof(sealed));
	ERR_clear_error();
	if (!good)
		return -EIO;
	print_base64(token, HEAD_BYTES + len + TAG_BYTES, ret);
	return 0;
}

static bool decrypt(
    const struct token_key *key, unsigned char *token, size_t len,
    unsigned char ret[static SEALED_MAX])
{
	size_t sealed = len - HEAD_BYTES - TAG_BYTES;
	int n;
	CLEANUP(cipher_freep) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	bool good =
	    cipher &&
	    EVP_DecryptInit_ex(
		cipher, EVP_aes_256_gcm(), NULL, key->bytes, token + 1 + ID_BYTES) == 1 &&
	    EVP_DecryptUpdate(cipher, NULL, &n, token, HEAD_BYTES) == 1 &&
	    EVP_DecryptUpdate(cipher, ret, &n, token + HEAD_BYTES, (int)sealed) == 1 &&
	    EVP_CIPHER_CTX_ctrl(
		cipher, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, token + HEAD_BYTES + sealed) ==
		1 &&
	    EVP_DecryptFinal_ex(cipher, ret + sealed, &n) == 1;
	ERR_clear_error();
	return good;
}

enum token_result token_open(
    const struct token_keys *keys, const char *text, size_t len,
    struct token_subject *ret, const char **ret_key)
{
	unsigned char token[TOKEN_BYTES + 3], sealed[SEALED_MAX];
	size_t bytes = read_base64(text, len, token);

	if (bytes < HEAD_BYTES + PAD_TO + TAG_BYTES || bytes > TOKEN_BYTES ||
	    (bytes - HEAD_BYTES - TAG_BYTES) % PAD_TO != 0 || token[0] != VERSION)
		return TOKEN_MALFORMED;
	const struct token_key *key = find_key(keys, token + 1);
	if (!key)
		return TOKEN_NO_KEY;
	if (!decrypt(key, token, bytes, sealed) ||
	    !unpack(sealed, bytes - HEAD_BYTES - TAG_BYTES, ret))
		return TOKEN_FORGED;
	*ret_key = key->file;
	return TOKEN_OPENED;
}
