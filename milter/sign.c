/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA256_Init() and its like: libopendkim's way to hash, see hash_hook.h. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "milter/sign.h"

#include "common/cleanup.h"
#include "common/dkim_key.h"
#include "milter/arena.h"
#include "milter/hash_hook.h"
#include "milter/key_hook.h"
#include "milter/plan.h"

#include <errno.h>
#include <opendkim/dkim.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* RFC 6376, 5.4.1, then those that change what a reader sees or how he unsubscribes. */
static const char *const covered[] = {
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Sender",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Message-ID",
    "Feedback-ID",
};

/* List-Id, List-Unsubscribe, List-Unsubscribe-Post and their like. */
#define LIST_PREFIX "List-"

struct signer {
	const struct config *config;
	DKIM_LIB *lib;
};

/* One of the message's signatures. */
struct one {
	struct chosen_key chosen;
	struct key_ticket ticket;
	DKIM *dkim;
};

struct signature {
	struct arena arena; /* all that the library holds */
	struct one items[CHOSEN_KEYS_MAX];
	size_t count;
	char *text; /* one header, as it goes to the library */
	size_t text_size;
	size_t long_lines; /* of signed headers; the body has its own count */

	struct body body;
	SHA256_CTX hash; /* of the canonical body */
	struct hash_ticket hash_ticket;
	char *errbuf; /* of the call under way, for the body's sink */
};

DEFINE_CLEANUP(struct signer, signer_free)
DEFINE_CLEANUP(struct signature, signature_free)

bool sign_covers(const struct config *config, const char *name)
{
	for (size_t i = 0; i < sizeof(covered) / sizeof(covered[0]); i++) {
		if (strcasecmp(name, covered[i]) == 0)
			return true;
	}
	/* Oversigning promises one more than there are, so those there are count too. */
	const struct string_list *oversign = &config->milter.dkim.oversign;
	for (size_t i = 0; i < oversign->count; i++) {
		if (strcasecmp(name, oversign->items[i]) == 0)
			return true;
	}
	return strncasecmp(name, LIST_PREFIX, strlen(LIST_PREFIX)) == 0;
}

/* ---- the library ---- */

/* Its handles of messages allocate from their arena, the rest as ever. */
static void *library_alloc(void *closure, size_t size)
{
	return closure ? arena_alloc(closure, size) : malloc(size);
}

static void library_free(void *closure, void *memory)
{
	if (!closure)
		free(memory);
}

static int set_oversigned(struct signer *signer)
{
	const struct string_list *names = &signer->config->milter.dkim.oversign;
	const char **list = calloc(names->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < names->count; i++)
		list[i] = names->items[i];
	DKIM_STAT status = dkim_options(
	    signer->lib, DKIM_OP_SETOPT, DKIM_OPTS_OVERSIGNHDRS, list, sizeof(list));
	free(list);
	return status == DKIM_STAT_OK ? 0 : -ENOMEM;
}

static dkim_canon_t canon_of(enum canonicalization canon)
{
	switch (canon) {
	case CANON_SIMPLE:
		return DKIM_CANON_SIMPLE;
	case CANON_RELAXED:
		return DKIM_CANON_RELAXED;
	}
	return DKIM_CANON_RELAXED;
}

static DKIM *library_sign(
    const struct config *config, enum canonicalization header_canon, DKIM_LIB *lib,
    struct arena *arena, const char *id, const char *key, const struct chosen_key *chosen,
    DKIM_STAT *ret_status)
{
	dkim_alg_t algorithm = DKIM_SIGN_UNKNOWN;
	switch (chosen->key->key->algorithm) {
	case DKIM_RSA_SHA256:
		algorithm = DKIM_SIGN_RSASHA256;
		break;
	case DKIM_ED25519_SHA256:
		algorithm = DKIM_SIGN_ED25519SHA256;
		break;
	}
	/* It takes much unconst that it does not write to. */
	return dkim_sign(
	    lib, (const unsigned char *)id, arena, (dkim_sigkey_t)(uintptr_t)key,
	    (const unsigned char *)chosen->key->selector,
	    (const unsigned char *)chosen->domain, canon_of(header_canon),
	    canon_of(config->milter.dkim.body_canon), algorithm, -1, ret_status);
}

/* The base64 text behind "bh=" in a signature's header, folded or not. */
static bool has_body_hash(const unsigned char *header, size_t len, const char *want)
{
	const unsigned char *at = memmem(header, len, "bh=", 3);
	const unsigned char *end = header + len;
	for (at = at ? at + 3 : end; at < end && *want; at++) {
		if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')
			continue;
		if (*at != (unsigned char)*want++)
			return false;
	}
	return *want == '\0';
}

static bool shares_hashes;

/* For key_hook_prove(). What fails shows as a ticket that nobody took. */
static void sign_probe(struct key_ticket *ticket, void *context)
{
	static const struct config config;
	static char selector[] = "probe", header[] = "From: probe@invalid";
	struct dkim_key key = *ticket->key;
	struct dkim_key_config key_config = {.selector = selector, .key = &key};
	struct chosen_key chosen = {.key = &key_config, .domain = "invalid"};
	struct arena arena = {0};
	struct hash_ticket hash_ticket;
	SHA256_CTX hash;
	unsigned char digest[SHA256_DIGEST_LENGTH], *text;
	char base64[64];
	DKIM_STAT status;
	size_t len;

	SHA256_Init(&hash);
	SHA256_Update(&hash, header, strlen(header));
	hash_ticket_init(&hash_ticket, &hash);
	DKIM *dkim = library_sign(
	    &config, CANON_RELAXED, context, &arena, "probe", ticket->text, &chosen,
	    &status);
	if (dkim &&
	    dkim_header(dkim, (unsigned char *)header, strlen(header)) == DKIM_STAT_OK &&
	    dkim_eoh(dkim) == DKIM_STAT_OK &&
	    dkim_body(
		dkim, (unsigned char *)hash_ticket.text, strlen(hash_ticket.text)) ==
		DKIM_STAT_OK &&
	    dkim_eom(dkim, NULL) == DKIM_STAT_OK &&
	    dkim_getsighdr_d(dkim, 0, &text, &len) == DKIM_STAT_OK) {
		SHA256_Final(digest, &hash);
		EVP_EncodeBlock((unsigned char *)base64, digest, sizeof(digest));
		shares_hashes =
		    hash_ticket.taken == 1 && has_body_hash(text, len, base64);
	}
	if (dkim)
		dkim_free(dkim);
	arena_done(&arena, false);
}

static void prove_hooks(void)
{
	DKIM_LIB *lib = dkim_init(library_alloc, library_free);
	if (!lib)
		return;
	key_hook_prove(sign_probe, lib);
	dkim_close(lib);
}

bool sign_is_fast(void)
{
	return key_hook_works() && shares_hashes;
}

int signer_new(const struct config *config, struct signer **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, prove_hooks);
	CLEANUP(signer_freep) struct signer *signer = calloc(1, sizeof(*signer));
	if (!signer)
		return -ENOMEM;
	signer->config = config;
	signer->lib = dkim_init(library_alloc, library_free);
	if (!signer->lib)
		return -ENOMEM;
	int r = set_oversigned(signer);
	if (r < 0)
		return r;
	*ret = TAKE(signer);
	return 0;
}

struct signer *signer_free(struct signer *signer)
{
	if (!signer)
		return NULL;
	if (signer->lib)
		dkim_close(signer->lib);
	free(signer);
	return NULL;
}

/* What the library says of a failure. Codes that it can only give for our own faults. */
static int library_fault(
    DKIM *dkim, const char *step, DKIM_STAT status,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	const char *detail = dkim ? dkim_geterror(dkim) : NULL;
	snprintf(
	    errbuf, SIGN_ERROR_TEXT_MAX, "libopendkim failed in %s: %s%s%.150s", step,
	    dkim_getresultstr(status), detail ? ": " : "", detail ? detail : "");
	return status == DKIM_STAT_NORESOURCE ? -ENOMEM : -EIO;
}

static int unsignable(
    char errbuf[static SIGN_ERROR_TEXT_MAX], const char *text, const char *name)
{
	snprintf(errbuf, SIGN_ERROR_TEXT_MAX, "%s%.40s", text, name);
	return SIGN_UNSIGNABLE;
}

static int out_of_memory(char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	snprintf(errbuf, SIGN_ERROR_TEXT_MAX, "out of memory");
	return -ENOMEM;
}

/* ---- headers ---- */

static int make_room(struct signature *signature, size_t size)
{
	if (size <= signature->text_size)
		return 0;
	free(signature->text);
	signature->text_size = 0;
	signature->text = malloc(size);
	if (!signature->text)
		return -ENOMEM;
	signature->text_size = size;
	return 0;
}

/*
 * "Name:value" with CRLF folds, as it stands in the message, to signature->text. False
 * when it has a control character other than tabs and folds.
 */
static bool canonical_header(
    const struct headers *headers, size_t i, char *text, size_t *ret_len)
{
	const struct header *header = &headers->items[i];
	char *to = text;
	bool sound = true;
	memcpy(to, header_name(headers, i), header->name_len);
	to += header->name_len;
	*to++ = ':';
	for (const char *from = header_value(headers, i); *from; from++) {
		unsigned char c = (unsigned char)*from;
		if (c == '\r' && from[1] == '\n')
			continue;
		if (c == '\n') {
			/* Anything but a fold would end the header. */
			if (from[1] != ' ' && from[1] != '\t')
				sound = false;
			*to++ = '\r';
		} else if ((c < 0x20 && c != '\t') || c == 0x7f) {
			sound = false;
		}
		*to++ = (char)c;
	}
	*to = '\0';
	*ret_len = (size_t)(to - text);
	return sound;
}

static size_t count_long_lines(const char *text)
{
	size_t count = 0;
	for (size_t len; *text; text += len + (text[len] != '\0')) {
		len = strcspn(text, "\n"); /* with the CR of a fold */
		count += len - (len > 0 && text[len - 1] == '\r') > BODY_LONG_LINE;
	}
	return count;
}

static int feed_header(
    struct signature *signature, const struct headers *headers, size_t i,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	const struct header *header = &headers->items[i];
	size_t len;
	if (make_room(
		signature, header->name_len + 1 + 2 * (size_t)header->value_len + 1) < 0)
		return out_of_memory(errbuf);
	if (!canonical_header(headers, i, signature->text, &len))
		return unsignable(
		    errbuf, "control character in header ", header_name(headers, i));
	if (len > BODY_LONG_LINE)
		signature->long_lines += count_long_lines(signature->text);
	for (size_t n = 0; n < signature->count; n++) {
		DKIM *dkim = signature->items[n].dkim;
		DKIM_STAT status =
		    dkim_header(dkim, (unsigned char *)signature->text, len);
		if (status != DKIM_STAT_OK)
			return library_fault(dkim, "dkim_header", status, errbuf);
	}
	return 0;
}

static int feed_headers(
    struct signature *signature, const struct signature_params *params,
    const struct headers *headers, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	const struct config *config = params->signer->config;
	size_t count = 0, names = 0;
	for (size_t i = 0; i < headers->count; i++) {
		const char *name = header_name(headers, i);
		if (!sign_covers(config, name) ||
		    (params->masked && plan_removes(config, name)))
			continue;
		names += headers->items[i].name_len + 1;
		if (++count > SIGN_HEADERS_MAX || names > SIGN_NAMES_MAX)
			return unsignable(errbuf, "too many headers to be signed", "");
		int r = feed_header(signature, headers, i, errbuf);
		if (r != 0)
			return r;
	}
	return 0;
}

/* ---- begin ---- */

static int library_body(
    struct signature *signature, const unsigned char *bytes, size_t len,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	for (size_t i = 0; i < signature->count; i++) {
		DKIM *dkim = signature->items[i].dkim;
		DKIM_STAT status =
		    dkim_body(dkim, (unsigned char *)(uintptr_t)bytes, len);
		if (status != DKIM_STAT_OK)
			return library_fault(dkim, "dkim_body", status, errbuf);
	}
	return 0;
}

/* What is canonical stays so when the library makes it canonical once more. */
static int sink_to_library(void *context, const unsigned char *bytes, size_t len)
{
	struct signature *signature = context;
	return library_body(signature, bytes, len, signature->errbuf);
}

static int sink_to_hash(void *context, const unsigned char *bytes, size_t len)
{
	struct signature *signature = context;
	SHA256_Update(&signature->hash, bytes, len);
	return 0;
}

static void begin_body(struct signature *signature, const struct config *config)
{
	SHA256_Init(&signature->hash);
	body_init(
	    &signature->body, config->milter.dkim.body_canon,
	    shares_hashes ? sink_to_hash : sink_to_library, signature);
}

/* At most so long is the signature's header: its tags, b= included, and their values. */
static size_t header_room(
    const struct signature_params *params, const struct headers *headers,
    const struct chosen_key *chosen)
{
	const struct config *config = params->signer->config;
	const struct string_list *oversign = &config->milter.dkim.oversign;
	size_t room = 300 + strlen(chosen->domain) + strlen(chosen->key->selector);
	for (size_t i = 0; i < headers->count; i++)
		if (sign_covers(config, header_name(headers, i)))
			room += headers->items[i].name_len + 1;
	for (size_t i = 0; i < oversign->count; i++)
		room += strlen(oversign->items[i]) + 1;
	return room;
}

/*
 * What libopendkim hashes of its own header is folded as if an Ed25519 signature had no
 * length, so not as the header that it returns; simple canonicalization minds. Where one
 * line is enough it is not folded at all; where it is not, relaxed has to do.
 */
static enum canonicalization header_canon_of(
    const struct signature_params *params, const struct headers *headers,
    const struct chosen_key *chosen, bool *ret_one_line)
{
	enum canonicalization canon = params->signer->config->milter.dkim.header_canon;
	bool folds_wrong =
	    canon == CANON_SIMPLE && chosen->key->key->algorithm == DKIM_ED25519_SHA256;
	*ret_one_line =
	    folds_wrong && header_room(params, headers, chosen) <= BODY_LONG_LINE;
	return folds_wrong && !*ret_one_line ? CANON_RELAXED : canon;
}

static int begin_one(
    struct signature *signature, const struct signature_params *params,
    const struct headers *headers, const struct chosen_key *chosen,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	struct one *one = &signature->items[signature->count];
	const char *text = one->ticket.text;
	char *pem = NULL;
	DKIM_STAT status;
	one->chosen = *chosen;
	key_ticket_init(&one->ticket, chosen->key->key);
	if (!key_hook_works()) {
		if (dkim_key_pem(chosen->key->key, &pem) < 0)
			return out_of_memory(errbuf);
		text = pem;
	}
	bool one_line;
	enum canonicalization canon = header_canon_of(params, headers, chosen, &one_line);
	one->dkim = library_sign(
	    params->signer->config, canon, params->signer->lib, &signature->arena,
	    params->id, text, chosen, &status);
	dkim_key_pem_free(pem);
	if (!one->dkim)
		return library_fault(NULL, "dkim_sign", status, errbuf);
	if (one_line)
		dkim_set_margin(one->dkim, BODY_LONG_LINE);
	signature->count++;
	return 0;
}

int signature_new(
    const struct signature_params *params, const struct headers *headers,
    struct signature **ret, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	CLEANUP(signature_freep)
	struct signature *signature = calloc(1, sizeof(*signature));
	if (!signature)
		return out_of_memory(errbuf);
	int r = 0;
	for (size_t i = 0; r == 0 && i < params->keys_count; i++)
		r = begin_one(signature, params, headers, &params->keys[i], errbuf);
	if (r == 0)
		r = feed_headers(signature, params, headers, errbuf);
	if (r != 0)
		return r;
	begin_body(signature, params->signer->config);
	for (size_t i = 0; i < signature->count; i++) {
		DKIM *dkim = signature->items[i].dkim;
		DKIM_STAT status = dkim_eoh(dkim);
		if (status != DKIM_STAT_OK)
			return library_fault(dkim, "dkim_eoh", status, errbuf);
	}
	*ret = TAKE(signature);
	return 0;
}

/* ---- body and end ---- */

/* @r: from body_add() or body_end(). */
static int body_outcome(int r, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	if (r < 0)
		return r;
	switch ((enum body_result)r) {
	case BODY_GOOD:
		return 0;
	case BODY_BARE_CR:
		return unsignable(errbuf, "bare CR in the body", "");
	case BODY_LINE_TOO_LONG:
		break;
	}
	return unsignable(errbuf, "a body line of more than 1 MiB", "");
}

int signature_body(
    struct signature *signature, const unsigned char *bytes, size_t len,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	signature->errbuf = errbuf;
	return body_outcome(body_add(&signature->body, bytes, len), errbuf);
}

static int end_body(struct signature *signature, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	signature->errbuf = errbuf;
	int r = body_outcome(body_end(&signature->body), errbuf);
	if (r != 0 || !shares_hashes)
		return r;
	hash_ticket_init(&signature->hash_ticket, &signature->hash);
	return library_body(
	    signature, (const unsigned char *)signature->hash_ticket.text,
	    strlen(signature->hash_ticket.text), errbuf);
}

/* The library folds with CRLF; a milter says LF. */
static char *header_from(const unsigned char *text, size_t len)
{
	char *value = malloc(len + 2);
	if (!value)
		return NULL;
	char *to = value;
	*to++ = ' ';
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\r')
			*to++ = (char)text[i];
	}
	*to = '\0';
	return value;
}

static int finish_one(
    struct one *one, char **ret, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	DKIM_STAT status = dkim_eom(one->dkim, NULL);
	if (status == DKIM_STAT_INTERNAL)
		key_ticket_failed(&one->ticket);
	if (status != DKIM_STAT_OK)
		return library_fault(one->dkim, "dkim_eom", status, errbuf);
	unsigned char *text;
	size_t len;
	/* The width that dkim_eom() hashed with; simple canonicalization minds. */
	status = dkim_getsighdr_d(one->dkim, strlen(DKIM_SIGNHEADER ": "), &text, &len);
	if (status != DKIM_STAT_OK)
		return library_fault(one->dkim, "dkim_getsighdr", status, errbuf);
	*ret = header_from(text, len);
	return *ret ? 0 : out_of_memory(errbuf);
}

int signature_finish(
    struct signature *signature, struct signed_values *ret,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	CLEANUP(signed_values_done) struct signed_values values = {0};
	int r = end_body(signature, errbuf);
	for (; r == 0 && values.count < signature->count; values.count++)
		r = finish_one(
		    &signature->items[values.count], &values.items[values.count], errbuf);
	if (r == 0 && shares_hashes && signature->hash_ticket.taken != signature->count) {
		snprintf(errbuf, SIGN_ERROR_TEXT_MAX, "libopendkim took no body hash");
		r = -EIO;
	}
	if (r != 0)
		return r;
	*ret = values;
	values = (struct signed_values){0};
	return 0;
}

void signed_values_done(struct signed_values *values)
{
	for (size_t i = 0; i < CHOSEN_KEYS_MAX; i++)
		free(values->items[i]);
	*values = (struct signed_values){0};
}

struct signature *signature_free(struct signature *signature)
{
	if (!signature)
		return NULL;
	for (size_t i = 0; i < signature->count; i++)
		dkim_free(signature->items[i].dkim);
	for (size_t i = 0; i < signature->count; i++)
		key_ticket_done(&signature->items[i].ticket);
	/* In the plain way the library has the key's text there. */
	arena_done(&signature->arena, !key_hook_works());
	free(signature->text);
	free(signature);
	return NULL;
}

size_t signature_long_lines(const struct signature *signature)
{
	return signature->long_lines + signature->body.long_lines;
}
