/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/address.h"
#include "common/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The token in a masked Received header: who handed the message in, sealed so that only
 * those who hold the key can read it, and nobody can make or change one.
 *
 * Layout: version 1, four bytes that tell the key, a random nonce of 12 bytes,
 * AES-256-GCM over what is sealed, its tag; all of it as base64url. What is sealed is
 * padded, so that the length tells little of the login. Random nonces bound a key to 2^32
 * messages; a key a year is far below.
 */

#define TOKEN_KEYS_MAX  16
#define TOKEN_LOGIN_MAX 320
#define TOKEN_TEXT_MAX  540

struct token_subject {
	struct ip client;                /* IP_NONE: not known */
	int64_t time_s;                  /* wall clock */
	char login[TOKEN_LOGIN_MAX + 1]; /* as it was given, "" for none; longer is cut */
};

/* Keys in order: the first seals, all open. Immutable; any thread. */
struct token_keys;

/*
 * Adds the key that @path holds: 64 hexadecimal digits (openssl rand -hex 32), in a file
 * that is safe by secret_file.h. *keys is NULL at first. Returns 0; -EINVAL with one
 * sentence in @errbuf; -ENOMEM.
 */
int token_keys_add(
    struct token_keys **keys, const char *path, uid_t service_uid, char *errbuf,
    size_t errsize);
struct token_keys *token_keys_free(struct token_keys *keys); /* wiped; NULL is fine */

/* 0, or -EIO: no randomness, or OpenSSL failed. */
int token_seal(
    const struct token_keys *keys, const struct token_subject *subject,
    char ret[static TOKEN_TEXT_MAX]);

enum token_result {
	TOKEN_OPENED,
	TOKEN_MALFORMED, /* it cannot be one */
	TOKEN_NO_KEY,    /* none of these keys sealed it */
	TOKEN_FORGED,    /* changed on the way, or made by somebody else */
};

/* @ret_key: the file of the key that opened it; lives as long as @keys. */
enum token_result token_open(
    const struct token_keys *keys, const char *text, size_t len,
    struct token_subject *ret, const char **ret_key);
