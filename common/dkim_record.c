/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dkim_record.h"

#include "common/cleanup.h"
#include "common/printable.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Tags of one record; RFC 6376 knows eight. */
#define TAGS_MAX 32

/* RFC 1035, 3.3: one character-string. */
#define STRING_MAX 255

struct span {
	const char *at;
	size_t len;
};

struct tag {
	struct span name, value;
};

struct tags {
	struct tag items[TAGS_MAX];
	size_t count;
};

static void pkey_freep(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

static void bytes_freep(unsigned char **bytes)
{
	free(*bytes);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct span stripped(const char *at, size_t len)
{
	while (len && is_blank(at[0])) {
		at++;
		len--;
	}
	while (len && is_blank(at[len - 1]))
		len--;
	return (struct span){at, len};
}

static bool span_is(struct span span, const char *text)
{
	return span.len == strlen(text) && strncasecmp(span.at, text, span.len) == 0;
}

static const struct tag *find_tag(const struct tags *tags, struct span name)
{
	/* Tag names are case-sensitive (3.2). */
	for (size_t i = 0; i < tags->count; i++)
		if (tags->items[i].name.len == name.len &&
		    memcmp(tags->items[i].name.at, name.at, name.len) == 0)
			return &tags->items[i];
	return NULL;
}

static const struct span *value_of(const struct tags *tags, const char *name)
{
	const struct tag *tag = find_tag(tags, (struct span){name, strlen(name)});
	return tag ? &tag->value : NULL;
}

/* NULL, or what is wrong with the list as such: then it is invalid as a whole (3.2). */
static const char *split_tags(const char *text, size_t len, struct tags *ret)
{
	ret->count = 0;
	while (len) {
		const char *end = memchr(text, ';', len);
		size_t n = end ? (size_t)(end - text) : len;
		struct span part = stripped(text, n);
		text += n + (end ? 1 : 0);
		len -= n + (end ? 1 : 0);
		if (!part.len)
			continue;
		const char *equals = memchr(part.at, '=', part.len);
		if (!equals)
			return "a part without \"=\"";
		struct tag tag = {
		    .name = stripped(part.at, (size_t)(equals - part.at)),
		    .value =
			stripped(equals + 1, part.len - (size_t)(equals - part.at) - 1)};
		if (!tag.name.len)
			return "a tag without a name";
		if (find_tag(ret, tag.name))
			return "a tag twice";
		if (ret->count == TAGS_MAX)
			return "too many tags";
		ret->items[ret->count++] = tag;
	}
	return NULL;
}

/* True when @list, divided by colons, holds one of @words (NULL ends them). */
static bool list_has(struct span list, const char *const *words)
{
	while (true) {
		const char *end = memchr(list.at, ':', list.len);
		size_t n = end ? (size_t)(end - list.at) : list.len;
		struct span word = stripped(list.at, n);
		for (size_t i = 0; words[i]; i++)
			if (span_is(word, words[i]))
				return true;
		if (!end)
			return false;
		list.at += n + 1;
		list.len -= n + 1;
	}
}

/* Base64 with white space anywhere (3.2). NULL: it is none, or no memory. */
static unsigned char *decode(struct span text, size_t *ret_len)
{
	CLEANUP(bytes_freep) unsigned char *packed = malloc(text.len + 1);
	size_t len = 0, padding = 0;
	if (!packed)
		return NULL;
	for (size_t i = 0; i < text.len; i++)
		if (!is_blank(text.at[i]))
			packed[len++] = (unsigned char)text.at[i];
	if (len == 0 || len % 4 != 0)
		return NULL;
	while (padding < 2 && packed[len - 1 - padding] == '=')
		padding++;
	unsigned char *bytes = malloc(len / 4 * 3 + 1);
	if (!bytes)
		return NULL;
	int n = EVP_DecodeBlock(bytes, packed, (int)len);
	if (n < (int)padding) {
		free(bytes);
		return NULL;
	}
	*ret_len = (size_t)n - padding;
	return bytes;
}

static EVP_PKEY *parse_rsa(const unsigned char *der, size_t len)
{
	EVP_PKEY *pkey = d2i_PUBKEY(NULL, &der, (long)len);
	ERR_clear_error();
	return pkey;
}

/* The bytes, and where they differ the keys: DER is not always written the same way. */
static bool same_key(const struct dkim_key *key, const unsigned char *found, size_t len)
{
	size_t own_len;
	struct span text = {key->public_base64, strlen(key->public_base64)};
	CLEANUP(bytes_freep) unsigned char *own = decode(text, &own_len);
	if (!own)
		return false;
	if (own_len == len && memcmp(own, found, len) == 0)
		return true;
	if (key->algorithm != DKIM_RSA_SHA256)
		return false;
	CLEANUP(pkey_freep) EVP_PKEY *a = parse_rsa(own, own_len);
	CLEANUP(pkey_freep) EVP_PKEY *b = parse_rsa(found, len);
	bool same = a && b && EVP_PKEY_eq(a, b) == 1;
	ERR_clear_error();
	return same;
}

__attribute__((format(printf, 2, 3))) static void say(char *buf, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(buf, DKIM_RECORD_TEXT_MAX, format, args);
	va_end(args);
}

static const char *key_type(enum dkim_algorithm algorithm)
{
	switch (algorithm) {
	case DKIM_RSA_SHA256:
		return "rsa";
	case DKIM_ED25519_SHA256:
		return "ed25519";
	}
	assert(0);
	return "";
}

/* False: verifiers refuse it, and @buf says why. */
static bool is_usable(const struct dkim_key *key, const struct tags *tags, char *buf)
{
	static const char *const sha256[] = {"sha256", NULL};
	static const char *const mail[] = {"*", "email", NULL};
	const char *type = key_type(key->algorithm);
	const struct span *v = value_of(tags, "v"), *k = value_of(tags, "k"),
			  *h = value_of(tags, "h"), *s = value_of(tags, "s");
	char shown[48];

	/* v= may be missing; when it is there it is the first and DKIM1 (3.6.1). */
	if (v && (v->len != 5 || memcmp(v->at, "DKIM1", 5) != 0)) {
		printable_ascii(shown, sizeof(shown), v->at, v->len);
		say(buf, "a record that verifiers refuse: v=%s, not v=DKIM1", shown);
		return false;
	}
	if (v && &tags->items[0].value != v) {
		say(buf, "a record that verifiers refuse: v= is not its first tag");
		return false;
	}
	if (k ? !span_is(*k, type) : key->algorithm != DKIM_RSA_SHA256) {
		printable_ascii(shown, sizeof(shown), k ? k->at : "rsa", k ? k->len : 3);
		say(buf, "a record for another kind of key: k=%s, not k=%s", shown, type);
		return false;
	}
	if (h && !list_has(*h, sha256)) {
		printable_ascii(shown, sizeof(shown), h->at, h->len);
		say(buf, "a record that refuses SHA-256: h=%s", shown);
		return false;
	}
	if (s && !list_has(*s, mail)) {
		printable_ascii(shown, sizeof(shown), s->at, s->len);
		say(buf, "a record that is not for mail: s=%s", shown);
		return false;
	}
	return true;
}

enum dkim_record_match dkim_record_compare(
    const struct dkim_key *key, const char *text, size_t len,
    char buf[static DKIM_RECORD_TEXT_MAX])
{
	static const char *const testing[] = {"y", NULL};
	struct tags tags;
	char shown[64];

	buf[0] = '\0';
	const char *wrong = split_tags(text, len, &tags);
	const struct span *p = value_of(&tags, "p"), *t = value_of(&tags, "t");
	if (!p && (!wrong || !value_of(&tags, "v"))) {
		printable_ascii(shown, sizeof(shown), text, len < 40 ? len : 40);
		say(buf, "a TXT record that is no DKIM key: \"%s\"", shown);
		return DKIM_RECORD_NONE;
	}
	if (wrong) {
		say(buf, "a record that verifiers refuse: it has %s", wrong);
		return DKIM_RECORD_UNUSABLE;
	}
	if (!is_usable(key, &tags, buf))
		return DKIM_RECORD_UNUSABLE;
	if (!p->len) {
		say(buf, "a revoked key (p= is empty)");
		return DKIM_RECORD_REVOKED;
	}
	size_t found_len;
	CLEANUP(bytes_freep) unsigned char *found = decode(*p, &found_len);
	if (!found) {
		say(buf, "a record that verifiers refuse: its p= is no base64");
		return DKIM_RECORD_UNUSABLE;
	}
	if (!same_key(key, found, found_len)) {
		/* The beginning of an RSA key is the same for all. */
		size_t from = p->len > 20 ? p->len - 20 : 0;
		printable_ascii(shown, sizeof(shown), p->at + from, p->len - from);
		say(buf, "another key (its p= ends in %s)", shown);
		return DKIM_RECORD_OTHER_KEY;
	}
	if (t && list_has(*t, testing))
		say(buf, "t=y in it, so verifiers may ignore the signatures");
	return DKIM_RECORD_MATCHES;
}

enum dkim_record_match dkim_record_judge(
    const struct dkim_key *key, const struct dns_answer *answer,
    char buf[static DKIM_RECORD_TEXT_MAX])
{
	enum dkim_record_match best = DKIM_RECORD_NONE;
	char text[DKIM_RECORD_TEXT_MAX];

	buf[0] = '\0';
	for (size_t i = 0; i < answer->count; i++) {
		enum dkim_record_match match = dkim_record_compare(
		    key, answer->records[i].text, answer->records[i].len, text);
		if (i > 0 && match >= best)
			continue;
		best = match;
		memcpy(buf, text, sizeof(text));
	}
	if (best == DKIM_RECORD_MATCHES && answer->count > 1)
		say(buf,
		    "%zu further TXT records beside it, of which verifiers may take any: "
		    "leave the key's alone",
		    answer->count - 1);
	return best;
}

char *dkim_record_text(const struct dkim_key *key)
{
	char *text;
	if (asprintf(
		&text, "v=DKIM1; k=%s; p=%s", key_type(key->algorithm),
		key->public_base64) < 0)
		return NULL;
	return text;
}

char *dkim_record_zone_line(const char *name, const char *text)
{
	char *line = NULL;
	size_t size, len = strlen(text);
	FILE *to = open_memstream(&line, &size);
	if (!to)
		return NULL;
	fprintf(to, "%s. IN TXT (", name);
	for (size_t at = 0; at < len; at += STRING_MAX)
		fprintf(to, " \"%.*s\"", STRING_MAX, text + at);
	fputs(" )", to);
	if (fclose(to) != 0) {
		free(line);
		return NULL;
	}
	return line;
}

char *dkim_record_name(const char *selector, const char *domain)
{
	char *name;
	return asprintf(&name, "%s._domainkey.%s", selector, domain) < 0 ? NULL : name;
}
