/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/block_subject.h"

#include "common/ip.h"

#include <string.h>

static const char *client_subject(const char *text, size_t len, char *ret)
{
	struct ip_prefix prefix;
	const char *wrong = ip_prefix_parse(text, len, &prefix);

	if (wrong == ip_host_bits_set)
		return "has bits set behind its length, expected a network, such as "
		       "192.0.2.0/24";
	if (wrong)
		return "is no client, expected an IP address or a CIDR range, such as "
		       "192.0.2.7 or 2001:db8:0:1::/64";
	if (prefix.length == 0)
		return "is everybody, expected an IP address or a CIDR range";
	ip_prefix_print(&prefix, ret);
	return NULL;
}

/* As facts_read() completes a login. */
static bool add_realm(const struct config *config, struct address *user)
{
	const char *realm = config->auth.default_realm;
	size_t len = realm ? strlen(realm) : 0;

	if (user->domain_len > 0 || len == 0)
		return true;
	if (user->len + 1 + len >= sizeof(user->text))
		return false;
	user->text[user->len] = '@';
	memcpy(user->text + user->len + 1, realm, len + 1);
	return true;
}

/* "@domain", ".domain". */
static bool domain_subject(const char *text, size_t len, char *ret)
{
	ret[0] = text[0];
	return len > 1 && domain_canonical(text + 1, len - 1, ret + 1) > 0;
}

static const char *user_subject(
    const struct config *config, const char *text, size_t len, char *ret)
{
	static const char expected[] =
	    "is no SASL user, expected a name such as ada@example.org, or @example.org";
	struct address user;

	if (len > 0 && text[0] == '@')
		return domain_subject(text, len, ret) ? NULL : expected;
	user_canonical(text, len, &user);
	if (user.kind != ADDRESS_OK || !add_realm(config, &user))
		return expected;
	strcpy(ret, user.text);
	return NULL;
}

static const char *address_subject(
    const struct config *config, bool null_too, const char *text, size_t len, char *ret)
{
	static const char with_null[] =
	    "is no sender, expected ada@example.org, @example.org (the domain), "
	    ".example.org (its subdomains) or <>";
	static const char without[] =
	    "is no recipient, expected ada@example.org, @example.org (the domain) or "
	    ".example.org (its subdomains)";
	const char *expected = null_too ? with_null : without;
	struct address address;

	if (len > 0 && (text[0] == '@' || text[0] == '.'))
		return domain_subject(text, len, ret) ? NULL : expected;
	if (len == 2 && memcmp(text, "<>", 2) == 0) {
		strcpy(ret, "<>");
		return null_too ? NULL : expected;
	}
	/* As in an address list; one label is rather half an address. */
	if (len < ADDRESS_TEXT_MAX && !memchr(text, '@', len) && memchr(text, '.', len)) {
		ret[0] = '@';
		return domain_canonical(text, len, ret + 1) > 0 ? NULL : expected;
	}
	address_canonical(text, len, config->recipient_delimiter, &address);
	if (address.kind != ADDRESS_OK || address.domain_len == 0)
		return expected;
	strcpy(ret, address.text);
	return NULL;
}

const char *block_subject(
    const struct config *config, enum block_kind kind, const char *text, size_t len,
    char ret[static ADDRESS_TEXT_MAX + 1])
{
	/* Blanks around are nobody's. */
	for (; len > 0 && (*text == ' ' || *text == '\t'); len--)
		text++;
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	switch (kind) {
	case BLOCK_CLIENT:
		return client_subject(text, len, ret);
	case BLOCK_USER:
		return user_subject(config, text, len, ret);
	case BLOCK_SENDER:
		return address_subject(config, true, text, len, ret);
	case BLOCK_RECIPIENT:
		return address_subject(config, false, text, len, ret);
	case BLOCK_KINDS:
		break;
	}
	return "is of no kind, expected client, user, sender or recipient";
}

static bool is_canonical_domain(const char *text, size_t len)
{
	char domain[ADDRESS_DOMAIN_MAX + 1];
	size_t got = domain_canonical(text, len, domain);

	return got > 0 && got == len && memcmp(domain, text, len) == 0;
}

bool block_subject_is_canonical(enum block_kind kind, const char *subject, size_t len)
{
	struct ip_prefix prefix;
	struct address address;
	char text[IP_TEXT_MAX];

	if (len == 0 || len > ADDRESS_TEXT_MAX || memchr(subject, '\0', len))
		return false;
	if (kind == BLOCK_CLIENT)
		return !ip_prefix_parse(subject, len, &prefix) && prefix.length > 0 &&
		       strlen(ip_prefix_print(&prefix, text)) == len &&
		       memcmp(text, subject, len) == 0;
	if (subject[0] == '@' || (subject[0] == '.' && kind != BLOCK_USER))
		return is_canonical_domain(subject + 1, len - 1);
	if (len == 2 && memcmp(subject, "<>", 2) == 0)
		return kind == BLOCK_SENDER;
	if (kind == BLOCK_USER)
		user_canonical(subject, len, &address);
	else
		address_canonical(subject, len, "", &address);
	return address.kind == ADDRESS_OK && address.len == len &&
	       memcmp(address.text, subject, len) == 0;
}
