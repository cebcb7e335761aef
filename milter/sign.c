/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/sign.h"

#include "common/cleanup.h"
#include "common/dkim_key.h"
#include "milter/plan.h"

#include <errno.h>
#include <opendkim/dkim.h>
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

struct signature {
	DKIM *dkim;
	size_t line_len; /* of the line under way, without its end */
	size_t long_lines;
	bool held_cr; /* a CR that waits for its LF */
	bool any;     /* the body is not empty */
};

DEFINE_CLEANUP(struct signer, signer_free)
DEFINE_CLEANUP(struct signature, signature_free)

static void string_freep(char **string)
{
	free(*string);
}

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

int signer_new(const struct config *config, struct signer **ret)
{
	CLEANUP(signer_freep) struct signer *signer = calloc(1, sizeof(*signer));
	if (!signer)
		return -ENOMEM;
	signer->config = config;
	signer->lib = dkim_init(NULL, NULL);
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
    const struct signature *signature, const char *step, DKIM_STAT status,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	const char *detail = signature->dkim ? dkim_geterror(signature->dkim) : NULL;
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

/*
 * "Name:value" with CRLF folds, as it stands in the message. NULL: no memory. *ret_sound
 * is false when it has a control character other than tabs and folds.
 */
static char *canonical_header(
    const struct headers *headers, size_t i, size_t *ret_len, bool *ret_sound)
{
	const struct header *header = &headers->items[i];
	const char *value = header_value(headers, i);
	char *text = malloc(header->name_len + 1 + 2 * (size_t)header->value_len + 1);
	if (!text)
		return NULL;
	char *to = text;
	memcpy(to, header_name(headers, i), header->name_len);
	to += header->name_len;
	*to++ = ':';
	*ret_sound = true;
	for (const char *from = value; *from; from++) {
		unsigned char c = (unsigned char)*from;
		if (c == '\r' && from[1] == '\n')
			continue;
		if (c == '\n') {
			/* Anything but a fold would end the header. */
			if (from[1] != ' ' && from[1] != '\t')
				*ret_sound = false;
			*to++ = '\r';
		} else if ((c < 0x20 && c != '\t') || c == 0x7f) {
			*ret_sound = false;
		}
		*to++ = (char)c;
	}
	*to = '\0';
	*ret_len = (size_t)(to - text);
	return text;
}

static int feed_header(
    struct signature *signature, const struct headers *headers, size_t i,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	size_t len;
	bool sound;
	CLEANUP(string_freep) char *text = canonical_header(headers, i, &len, &sound);
	if (!text)
		return library_fault(
		    signature, "dkim_header", DKIM_STAT_NORESOURCE, errbuf);
	if (!sound)
		return unsignable(
		    errbuf, "control character in header ", header_name(headers, i));
	DKIM_STAT status = dkim_header(signature->dkim, (unsigned char *)text, len);
	if (status != DKIM_STAT_OK)
		return library_fault(signature, "dkim_header", status, errbuf);
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

int signature_new(
    const struct signature_params *params, const struct headers *headers,
    struct signature **ret, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	CLEANUP(signature_freep)
	struct signature *signature = calloc(1, sizeof(*signature));
	if (!signature) {
		snprintf(errbuf, SIGN_ERROR_TEXT_MAX, "out of memory");
		return -ENOMEM;
	}
	const struct config *config = params->signer->config;
	DKIM_STAT status;
	signature->dkim = dkim_sign(
	    params->signer->lib, (const unsigned char *)params->id, NULL,
	    (dkim_sigkey_t)params->key->key->pem,
	    (const unsigned char *)params->key->selector,
	    (const unsigned char *)params->domain,
	    canon_of(config->milter.dkim.header_canon),
	    canon_of(config->milter.dkim.body_canon), DKIM_SIGN_RSASHA256, -1, &status);
	if (!signature->dkim)
		return library_fault(signature, "dkim_sign", status, errbuf);
	int r = feed_headers(signature, params, headers, errbuf);
	if (r != 0)
		return r;
	status = dkim_eoh(signature->dkim);
	if (status != DKIM_STAT_OK)
		return library_fault(signature, "dkim_eoh", status, errbuf);
	*ret = TAKE(signature);
	return 0;
}

static int feed_body(
    struct signature *signature, const unsigned char *bytes, size_t len,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	if (len == 0)
		return 0;
	/* The library takes it unconst and does not write to it. */
	DKIM_STAT status =
	    dkim_body(signature->dkim, (unsigned char *)(uintptr_t)bytes, len);
	if (status != DKIM_STAT_OK)
		return library_fault(signature, "dkim_body", status, errbuf);
	return 0;
}

static void end_line(struct signature *signature)
{
	if (signature->line_len > SIGN_LONG_LINE)
		signature->long_lines++;
	signature->line_len = 0;
}

static int feed_line_end(
    struct signature *signature, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	end_line(signature);
	signature->held_cr = false;
	return feed_body(signature, (const unsigned char *)"\r\n", 2, errbuf);
}

/*
 * Complete lines go to the library as they lie, in one piece as long as they end in CRLF.
 * A bare LF is made CRLF, which is what Postfix would send.
 */
int signature_body(
    struct signature *signature, const unsigned char *bytes, size_t len,
    char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	const unsigned char *end = bytes + len;
	const unsigned char *run = bytes; /* not yet fed */
	int r = 0;
	if (len == 0)
		return 0;
	signature->any = true;

	if (signature->held_cr) {
		if (*bytes != '\n')
			return unsignable(errbuf, "bare CR in the body", "");
		r = feed_line_end(signature, errbuf);
		run = ++bytes;
	}
	while (r == 0 && bytes < end) {
		const unsigned char *lf = memchr(bytes, '\n', (size_t)(end - bytes));
		const unsigned char *stop = lf ? lf : end;
		const unsigned char *cr = memchr(bytes, '\r', (size_t)(stop - bytes));
		if (cr && cr + 1 < stop)
			return unsignable(errbuf, "bare CR in the body", "");
		signature->line_len += (size_t)((cr ? cr : stop) - bytes);
		if (signature->line_len > SIGN_LINE_MAX)
			return unsignable(errbuf, "a body line of more than 1 MiB", "");
		if (!lf) {
			signature->held_cr = cr != NULL;
			end = cr ? cr : end;
			break;
		}
		bytes = lf + 1;
		if (cr) {
			end_line(signature);
			continue;
		}
		r = feed_body(signature, run, (size_t)(lf - run), errbuf);
		if (r == 0)
			r = feed_line_end(signature, errbuf);
		run = bytes;
	}
	if (r == 0)
		r = feed_body(signature, run, (size_t)(end - run), errbuf);
	return r;
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

int signature_finish(
    struct signature *signature, char **ret, char errbuf[static SIGN_ERROR_TEXT_MAX])
{
	if (signature->held_cr)
		return unsignable(errbuf, "bare CR in the body", "");
	/* RFC 6376, 3.4.3 and 3.4.4: a body that is not empty ends in CRLF. */
	if (signature->any && signature->line_len > 0) {
		int r = feed_line_end(signature, errbuf);
		if (r != 0)
			return r;
	}
	DKIM_STAT status = dkim_eom(signature->dkim, NULL);
	if (status != DKIM_STAT_OK)
		return library_fault(signature, "dkim_eom", status, errbuf);
	unsigned char *text;
	size_t len;
	/* The width that dkim_eom() hashed with; simple canonicalization minds. */
	status =
	    dkim_getsighdr_d(signature->dkim, strlen(DKIM_SIGNHEADER ": "), &text, &len);
	if (status != DKIM_STAT_OK)
		return library_fault(signature, "dkim_getsighdr", status, errbuf);
	char *value = header_from(text, len);
	if (!value) {
		snprintf(errbuf, SIGN_ERROR_TEXT_MAX, "out of memory");
		return -ENOMEM;
	}
	*ret = value;
	return 0;
}

struct signature *signature_free(struct signature *signature)
{
	if (!signature)
		return NULL;
	if (signature->dkim)
		dkim_free(signature->dkim);
	free(signature);
	return NULL;
}

size_t signature_long_lines(const struct signature *signature)
{
	return signature->long_lines;
}
