/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/address.h"
#include "common/cleanup.h"
#include "common/utf8.h"

#include <idn2.h>
#include <string.h>

#define LABEL_MAX 63

/* Longer than any UTF-8 spelling of a domain that fits once it is in A-labels. */
#define DOMAIN_INPUT_MAX 1024

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_utf8(const char *text, size_t len)
{
	while (len) {
		uint32_t c;
		size_t n = utf8_decode(text, len, &c);
		if (!n)
			return false;
		text += n;
		len -= n;
	}
	return true;
}

/* ---- domains ---- */

/*
 * Letters, digits, hyphens, and the underscore that host names in the wild have: what
 * Postfix takes for a domain (valid_hostname.c); anything else it refuses as syntax.
 * Returns it in lower case, NUL: it is none of them.
 */
static char domain_byte(char c)
{
	char letter = (char)(c | 0x20);

	if (letter >= 'a' && letter <= 'z')
		return letter;
	return (c >= '0' && c <= '9') || c == '-' || c == '_' ? c : '\0';
}

static bool has_prefix_xn(const char *label, size_t len)
{
	return len >= 4 && lower(label[0]) == 'x' && lower(label[1]) == 'n' &&
	       label[2] == '-' && label[3] == '-';
}

/* An ASCII domain without xn-- labels. Returns its length, 0: not such a domain. */
static size_t plain_domain(const char *text, size_t len, char *buf)
{
	size_t i = 0;

	if (len > ADDRESS_DOMAIN_MAX)
		return 0;
	for (;; i++) {
		size_t label = i;
		for (; i < len && (buf[i] = domain_byte(text[i])) != '\0'; i++)
			;
		if (i == label || i - label > LABEL_MAX ||
		    has_prefix_xn(text + label, i - label))
			return 0;
		if (i == len)
			return len;
		if (text[i] != '.')
			return 0;
		buf[i] = '.';
	}
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]": any printable ASCII inside. */
static size_t literal_domain(const char *text, size_t len, char *buf)
{
	if (len < 3 || len > ADDRESS_DOMAIN_MAX || text[len - 1] != ']')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '\\' ||
		    text[i] == '@' ||
		    (i && i < len - 1 && (text[i] == '[' || text[i] == ']')))
			return 0;
		buf[i] = lower(text[i]);
	}
	return len;
}

/* A non-ASCII or xn-- label as its one A-label. Returns its length in @buf, 0: invalid.
 */
static size_t idn_label(
    const char *label, size_t label_len, char buf[static LABEL_MAX + 1])
{
	uint8_t from[DOMAIN_INPUT_MAX + 1], *to = NULL;

	memcpy(from, label, label_len);
	from[label_len] = '\0';
	if (idn2_lookup_u8(from, &to, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return 0;
	size_t len = strlen((char *)to);
	if (len > LABEL_MAX)
		len = 0;
	memcpy(buf, to, len);
	buf[len] = '\0';
	idn2_free(to);
	/* UTS #46 can map to what no domain holds ("℀" to "a/c"), even to a dot. */
	for (size_t i = 0; i < len; i++)
		if (domain_byte(buf[i]) != buf[i] || buf[i] == '\0')
			return 0;
	return len;
}

/* Replaces the full stops of other scripts, as UTS #46 does, by dots. */
static size_t ascii_dots(const char *text, size_t len, char *buf)
{
	static const char dots[][4] = {"\u3002", "\uff0e", "\uff61"};
	size_t written = 0;

	for (size_t i = 0; i < len; i++) {
		buf[written++] = text[i];
		if (written < 3)
			continue;
		for (size_t dot = 0; dot < sizeof(dots) / sizeof(dots[0]); dot++) {
			if (memcmp(buf + written - 3, dots[dot], 3) == 0) {
				written -= 3;
				buf[written++] = '.';
				break;
			}
		}
	}
	return written;
}

/*
 * Label by label, and not the domain in one call: libidn2 would refuse an ASCII label
 * like "r3---sn" next to a non-ASCII one.
 */
static size_t idn_domain(const char *text, size_t len, char *buf)
{
	char dotted[DOMAIN_INPUT_MAX];
	size_t written = 0;

	if (len > sizeof(dotted) || memchr(text, '\0', len) || !is_utf8(text, len))
		return 0;
	len = ascii_dots(text, len, dotted);
	if (len && dotted[len - 1] == '.')
		len--;
	for (size_t at = 0; at <= len;) {
		char label[LABEL_MAX + 1];
		const char *dot = memchr(dotted + at, '.', len - at);
		size_t n = dot ? (size_t)(dot - dotted) - at : len - at;
		size_t label_len =
		    n <= LABEL_MAX ? plain_domain(dotted + at, n, label) : 0;
		if (!label_len)
			label_len = idn_label(dotted + at, n, label);
		if (!label_len || written + label_len + 1 > ADDRESS_DOMAIN_MAX + 1)
			return 0;
		memcpy(buf + written, label, label_len);
		written += label_len;
		buf[written++] = '.';
		at += n + 1;
	}
	return written - 1;
}

static bool needs_idn(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] >= 0x80)
			return true;
		if ((i == 0 || text[i - 1] == '.') && has_prefix_xn(text + i, len - i))
			return true;
	}
	return false;
}

size_t domain_canonical(
    const char *text, size_t len, char buf[static ADDRESS_DOMAIN_MAX + 1])
{
	size_t n = 0;

	buf[0] = '\0';
	if (len && text[0] == '[')
		n = literal_domain(text, len, buf);
	else if (len)
		n = plain_domain(text, text[len - 1] == '.' ? len - 1 : len, buf);
	if (!n && needs_idn(text, len))
		n = idn_domain(text, len, buf);
	buf[n] = '\0';
	return n;
}

bool domain_is_within(const char *name, const char *parent)
{
	size_t name_len = strlen(name), parent_len = strlen(parent);

	if (name_len < parent_len)
		return false;
	if (memcmp(name + name_len - parent_len, parent, parent_len) != 0)
		return false;
	return name_len == parent_len || name[name_len - parent_len - 1] == '.';
}

/* ---- local parts ---- */

/*
 * Undoes quotes and backslashes. A local part whose quotes do not pair is not in the
 * quoted form: Postfix hands on `a"b`, unquoted already, and then the bytes stand for
 * themselves. Returns the length in @buf (ADDRESS_LOCAL_MAX bytes), 0: empty or too long.
 */
static size_t unquote(const char *text, size_t len, char *buf)
{
	bool quoted = false, escaped = false;
	size_t written = 0;

	for (size_t i = 0; i < len; i++) {
		if (!escaped && text[i] == '\\') {
			escaped = true;
		} else if (!escaped && text[i] == '"') {
			quoted = !quoted;
		} else {
			if (written == ADDRESS_LOCAL_MAX)
				return 0;
			buf[written++] = text[i];
			escaped = false;
		}
	}
	if (!quoted && !escaped)
		return written;
	if (len > ADDRESS_LOCAL_MAX)
		return 0;
	memcpy(buf, text, len);
	return len;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(text, word, len) == 0;
}

/* Where Postfix's split_addr(3) would cut the extension off; @len: nowhere. @local is
 * lower case. */
static size_t without_extension(const char *local, size_t len, const char *delimiters)
{
	if (is_word(local, len, "postmaster") || is_word(local, len, "mailer-daemon") ||
	    is_word(local, len, "double-bounce"))
		return len;
	/* owner_request_special */
	if (strchr(delimiters, '-') &&
	    ((len >= 6 && memcmp(local, "owner-", 6) == 0) ||
	     (len > 8 && memcmp(local + len - 8, "-request", 8) == 0)))
		return len;
	size_t first = len;
	for (; *delimiters; delimiters++) {
		const char *found = memchr(local, *delimiters, first);
		first = found ? (size_t)(found - local) : first;
	}
	return first ? first : len;
}

/* The usual local part: ASCII with nothing to undo, lowered on the way. Returns how many
 * bytes of @text are such. */
static size_t plain_local(const char *text, size_t len, char *buf)
{
	size_t i = 0;

	for (; i < len && text[i] != '"' && text[i] != '\\' && (text[i] & 0x80) == 0; i++)
		buf[i] = lower(text[i]);
	return i;
}

/* In lower case; false: neither ASCII nor UTF-8. */
static bool lower_local(char *local, size_t len)
{
	bool ascii = true;

	for (size_t i = 0; i < len; i++) {
		local[i] = lower(local[i]);
		ascii &= (unsigned char)local[i] < 0x80;
	}
	return ascii || is_utf8(local, len);
}

/* The canonical local part but for its extension. 0: it is none. */
static size_t canonical_local(const char *text, size_t len, char *buf)
{
	if (len <= ADDRESS_LOCAL_MAX && plain_local(text, len, buf) == len)
		return len;
	size_t local_len = unquote(text, len, buf);
	return lower_local(buf, local_len) ? local_len : 0;
}

/* Puts "@domain" behind the local part that stands in ret->text already. */
static void finish(
    struct address *ret, size_t local_len, const char *at, const char *domain,
    size_t domain_len)
{
	size_t len = local_len;

	if (at) {
		ret->text[len++] = '@';
		memcpy(ret->text + len, domain, domain_len);
		len += domain_len;
	}
	ret->text[len] = '\0';
	ret->kind = ADDRESS_OK;
	ret->len = (uint16_t)len;
	ret->local_len = (uint16_t)local_len;
	ret->domain_len = (uint16_t)(at ? domain_len : 0);
}

static void set_empty(struct address *ret, enum address_kind kind)
{
	ret->kind = kind;
	ret->len = ret->local_len = ret->domain_len = 0;
	ret->text[0] = '\0';
}

/* Splits at the last @. False: the domain is none, or there is a NUL. */
static bool split(
    const char *text, size_t len, const char **ret_at,
    char domain[static ADDRESS_DOMAIN_MAX + 1], size_t *ret_domain_len)
{
	const char *at = memrchr(text, '@', len);

	*ret_at = at;
	*ret_domain_len = 0;
	if (memchr(text, '\0', len))
		return false;
	if (!at)
		return true;
	*ret_domain_len = domain_canonical(at + 1, len - (size_t)(at + 1 - text), domain);
	return *ret_domain_len > 0;
}

void address_canonical(
    const char *text, size_t len, const char *delimiters, struct address *ret)
{
	char domain[ADDRESS_DOMAIN_MAX + 1] UNINITIALIZED;
	size_t domain_len;
	const char *at;

	set_empty(ret, len ? ADDRESS_BAD : ADDRESS_NULL);
	if (!len || !split(text, len, &at, domain, &domain_len))
		return;
	size_t local_len =
	    canonical_local(text, at ? (size_t)(at - text) : len, ret->text);
	if (!local_len) {
		set_empty(ret, ADDRESS_BAD);
		return;
	}
	local_len = without_extension(ret->text, local_len, delimiters);
	finish(ret, local_len, at, domain, domain_len);
}

void user_canonical(const char *text, size_t len, struct address *ret)
{
	static const char blanks[] = " \t\r\n\v\f";
	char domain[ADDRESS_DOMAIN_MAX + 1] UNINITIALIZED;
	size_t domain_len;
	const char *at;

	while (len && text[0] && strchr(blanks, text[0])) {
		text++;
		len--;
	}
	while (len && text[len - 1] && strchr(blanks, text[len - 1]))
		len--;
	set_empty(ret, len ? ADDRESS_BAD : ADDRESS_ABSENT);
	if (!len || !split(text, len, &at, domain, &domain_len))
		return;
	size_t local_len = at ? (size_t)(at - text) : len;
	if (!local_len || local_len > ADDRESS_LOCAL_MAX)
		return;
	memcpy(ret->text, text, local_len);
	if (!lower_local(ret->text, local_len)) {
		set_empty(ret, ADDRESS_BAD);
		return;
	}
	finish(ret, local_len, at, domain, domain_len);
}
