/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/subject.h"

#include "common/cleanup.h"
#include "common/digest.h"

#include <string.h>

/* Longer ones stand as "#" and their SHA-256. */
#define SUBJECT_MAX 192

/* What is not known or cannot be parsed: counted, in one place. */
static const char nameless[] = "?";

const char *subject_client(const struct facts *facts, char buf[static IP_TEXT_MAX])
{
	struct ip_prefix prefix = {facts->client.ip, 64};

	switch (facts->client.ip.family) {
	case IP_NONE:
		break;
	case IP_V4:
		return ip_print(&facts->client.ip, buf);
	case IP_V6:
		prefix.ip = ip_mask(prefix.ip, 64);
		return ip_prefix_print(&prefix, buf);
	}
	return nameless;
}

const char *subject_address(const struct address *address)
{
	switch (address->kind) {
	case ADDRESS_NULL:
		return "<>";
	case ADDRESS_OK:
		return address->text;
	case ADDRESS_ABSENT:
	case ADDRESS_BAD:
		break;
	}
	return nameless;
}

static void set_text(const char *text, struct subject_part *part)
{
	part->text = text;
	part->domain = "";
	part->ip = NULL;
	part->user = NULL;
}

static void set_client(const struct facts *facts, struct subject_part *part)
{
	set_text(subject_client(facts, part->buf), part);
	part->ip = &facts->client.ip;
}

static void set_address(const struct address *address, struct subject_part *part)
{
	set_text(subject_address(address), part);
	if (address->kind == ADDRESS_OK)
		part->domain = address_domain(address);
}

static void set_address_domain(const struct address *address, struct subject_part *part)
{
	set_address(address, part);
	if (address->kind == ADDRESS_OK)
		part->text = address->domain_len ? part->domain : nameless;
}

/* Behind RCPT Postfix names the recipient only when there is one. */
static bool has_recipient(const struct facts *facts, bool is_refusal)
{
	return facts->recipient.kind != ADDRESS_ABSENT ||
	       (facts->state == STATE_RCPT && !is_refusal);
}

bool subject_parts(
    unsigned per, const struct facts *facts, bool is_refusal, struct subject_part *ret,
    size_t *ret_count)
{
	size_t n = 0;

	if ((per & PER_USER) && !facts->authenticated)
		return false;
	if ((per & (PER_SENDER | PER_SENDER_DOMAIN)) && is_refusal &&
	    facts->sender.kind == ADDRESS_ABSENT)
		return false;
	if ((per & (PER_RECIPIENT | PER_RECIPIENT_DOMAIN)) &&
	    !has_recipient(facts, is_refusal))
		return false;
	if (per & PER_CLIENT)
		set_client(facts, &ret[n++]);
	if (per & PER_USER) {
		set_address(&facts->user, &ret[n]);
		ret[n++].user = &facts->user;
	}
	if (per & PER_SENDER)
		set_address(&facts->sender, &ret[n++]);
	if (per & PER_SENDER_DOMAIN)
		set_address_domain(&facts->sender, &ret[n++]);
	if (per & PER_RECIPIENT)
		set_address(&facts->recipient, &ret[n++]);
	if (per & PER_RECIPIENT_DOMAIN)
		set_address_domain(&facts->recipient, &ret[n++]);
	if (per & PER_EVERYONE)
		set_text("*", &ret[n++]);
	*ret_count = n;
	return true;
}

/* An entry without a realm and a login with the default one are the same account. */
static bool is_bare_user(
    const struct config *config, const char *subject, const struct subject_part *part)
{
	const char *realm = config->auth.default_realm;

	return part->user && part->domain[0] != '\0' && realm &&
	       strcmp(part->domain, realm) == 0 &&
	       strlen(subject) == part->user->local_len &&
	       memcmp(subject, part->user->text, part->user->local_len) == 0;
}

/* How well @override fits @part: 0 not, more for closer. */
static unsigned override_fit(
    const struct config *config, const struct limit_override *override,
    const struct subject_part *part)
{
	if (override->prefix.ip.family != IP_NONE)
		return part->ip && ip_in_prefix(part->ip, &override->prefix)
			   ? 2U + override->prefix.length
			   : 0;
	if (strcmp(override->subject, part->text) == 0 ||
	    is_bare_user(config, override->subject, part))
		return 1000;
	if (override->subject[0] == '@' && part->domain[0] != '\0' &&
	    strcmp(override->subject + 1, part->domain) == 0)
		return 1;
	return 0;
}

static const struct limit_override *best_override(
    const struct config *config, const struct limit *limit,
    const struct subject_part *parts, size_t count)
{
	const struct limit_override *best = NULL;
	unsigned best_fit = 0;

	for (size_t i = 0; i < limit->overrides_count; i++)
		for (size_t p = 0; p < count; p++) {
			unsigned fit =
			    override_fit(config, &limit->overrides[i], &parts[p]);
			if (fit > best_fit) {
				best = &limit->overrides[i];
				best_fit = fit;
			}
		}
	return best;
}

bool subject_max(
    const struct config *config, size_t index, const struct subject_part *parts,
    size_t count, uint64_t *ret)
{
	const struct limit *limit = &config->limits[index];
	const struct limit_override *best = best_override(config, limit, parts, count);

	if (best) {
		*ret = best->max;
		return !best->unlimited;
	}
	for (size_t p = 0; limit->has_domain_max && p < count; p++) {
		const struct domain *domain =
		    parts[p].domain[0] ? config_domain_find(config, parts[p].domain)
				       : NULL;
		for (size_t i = 0; domain && i < domain->limits_count; i++)
			if (domain->limits[i].limit == index) {
				*ret = domain->limits[i].max;
				return !domain->limits[i].unlimited;
			}
	}
	*ret = limit->max;
	return true;
}

/* What separates parts, what a store's key syntax takes for its own, and all that is not
 * printable ASCII. */
static bool is_plain(unsigned char c)
{
	return c > ' ' && c < 0x7f && c != '|' && c != '%' && c != '{' && c != '}';
}

/* Appends @text, escaped, as far as it fits. Returns the length; above @size: it did not.
 */
static size_t append_escaped(char *buf, size_t len, size_t size, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		size_t need = is_plain(c) ? 1 : 3;
		if (len + need > size)
			return size + 1;
		if (need == 1) {
			buf[len++] = (char)c;
			continue;
		}
		buf[len++] = '%';
		buf[len++] = hex[c >> 4];
		buf[len++] = hex[c & 15];
	}
	return len;
}

static size_t append_parts(
    char *buf, size_t len, size_t size, const struct subject_part *parts, size_t count)
{
	for (size_t i = 0; i < count && len <= size; i++) {
		if (i > 0) {
			if (len == size)
				return size + 1;
			buf[len++] = '|';
		}
		len = append_escaped(buf, len, size, parts[i].text);
	}
	return len;
}

/* "#" and the digest of what is too long. */
static size_t append_digest(char *buf, size_t len, const char *text, size_t text_len)
{
	char hex[DIGEST_HEX_LEN + 1];

	digest_hex(text, text_len, hex);
	buf[len++] = '#';
	memcpy(buf + len, hex, DIGEST_HEX_LEN);
	return len + DIGEST_HEX_LEN;
}

static size_t append_parts_digest(
    char *buf, size_t len, const struct subject_part *parts, size_t count)
{
	char whole[SUBJECT_PARTS_MAX * (3 * ADDRESS_TEXT_MAX + 1)] UNINITIALIZED;
	size_t whole_len = append_parts(whole, 0, sizeof(whole), parts, count);

	return append_digest(buf, len, whole, whole_len);
}

void subject_key(
    const char *limit, const struct subject_part *parts, size_t count, struct charge *ret)
{
	size_t name_len = strnlen(limit, LIMIT_NAME_MAX);

	memcpy(ret->key, limit, name_len);
	ret->key[name_len++] = ':';
	ret->subject_at = (uint16_t)name_len;
	size_t len =
	    append_parts(ret->key, name_len, name_len + SUBJECT_MAX, parts, count);
	if (len > name_len + SUBJECT_MAX)
		len = append_parts_digest(ret->key, name_len, parts, count);
	ret->key[len] = '\0';
	ret->key_len = (uint16_t)len;
}

void subject_member(const char *text, struct charge *ret)
{
	size_t len = append_escaped(ret->member, 0, sizeof(ret->member), text);

	if (len > sizeof(ret->member))
		len = append_digest(ret->member, 0, text, strlen(text));
	ret->member_len = (uint16_t)len;
}
