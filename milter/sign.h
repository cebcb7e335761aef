/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "milter/body.h"
#include "milter/choose.h"
#include "milter/headers.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * DKIM signatures; the one place that knows libopendkim.
 *
 * The library is used for what it does right and fed nothing that it gets wrong: only
 * headers that are to be signed (it trips over a broken DKIM-Signature that came along),
 * at most so many of them (it cuts their names at 4,096 bytes without a word), bodies
 * with CRLF line ends that never fall between two calls, no bare CR (it loses it), no
 * header with a control character (it takes \v and \f for blanks). What would come out as
 * a signature that nobody can verify is SIGN_UNSIGNABLE, with a reason for the sender.
 *
 * Keys go to it as tickets for parsed ones (key_hook.h), the body as a ticket for a hash
 * that is made once for all signatures (body.h, hash_hook.h), and its memory comes from
 * an arena that goes with the message, because it forgets some of it.
 */

#define SIGN_HEADERS_MAX    200
#define SIGN_NAMES_MAX      3000 /* bytes of h=; the library's buffer has 4,096 */
#define SIGN_UNSIGNABLE     1
#define SIGN_ERROR_TEXT_MAX 256

/* One per configuration; shared by all threads, changes nothing after signer_new(). */
struct signer;

/* 0, or -ENOMEM. @config must outlive the signer. */
int signer_new(const struct config *config, struct signer **ret);
struct signer *signer_free(struct signer *signer);

/* False: each signature parses its key and hashes the body anew, because the hooks are
 * not reached; four times as slow. Known once there is a signer. */
bool sign_is_fast(void);

/* The signatures of one message, one for each key; not for two threads at once. */
struct signature;

struct signature_params {
	const struct signer *signer;
	const struct chosen_key *keys; /* of different algorithms; copied */
	size_t keys_count;             /* 1 to CHOSEN_KEYS_MAX */
	const char *id;                /* names the message in the library's errors */
	bool masked;                   /* leave out what masking removes */
};

/* Values of DKIM-Signature headers, in the order of the keys: leading space, LF folds. */
struct signed_values {
	char *items[CHOSEN_KEYS_MAX];
	size_t count;
};
void signed_values_done(struct signed_values *values);

/*
 * Begins signatures over @headers. All three return 0, SIGN_UNSIGNABLE with a reason in
 * @errbuf that concerns the message, or a negative errno with one that concerns
 * ourselves. After anything but 0 the signature can only be freed.
 */
int signature_new(
    const struct signature_params *params, const struct headers *headers,
    struct signature **ret, char errbuf[static SIGN_ERROR_TEXT_MAX]);
int signature_body(
    struct signature *signature, const unsigned char *bytes, size_t len,
    char errbuf[static SIGN_ERROR_TEXT_MAX]);
/* @ret: all of them or none. */
int signature_finish(
    struct signature *signature, struct signed_values *ret,
    char errbuf[static SIGN_ERROR_TEXT_MAX]);
struct signature *signature_free(struct signature *signature);

/* Lines over BODY_LONG_LINE bytes so far, of the body and of headers that are signed. */
size_t signature_long_lines(const struct signature *signature);

/* True when headers of this name are signed: those of RFC 6376, 5.4.1, those about MIME,
 * lists and feedback, and the oversigned ones. */
bool sign_covers(const struct config *config, const char *name);
