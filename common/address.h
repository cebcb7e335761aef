/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Mail addresses, domains and SASL user names in one canonical form, used on both sides
 * of every comparison: lists, limits, logs, store keys.
 *
 * Domain: lower case, no final dot, IDN as A-labels (libidn2, UTS #46 non-transitional),
 * at most 253 bytes of letters, digits, hyphens, underscores and dots, as Postfix takes
 * it. Local part: unquoted (RFC 5321 quoted-string undone; quotes that do not pair are
 * data, as Postfix hands them on), ASCII lower case, extension stripped at the first
 * recipient_delimiter as Postfix's recipient_delimiter(5) does it (not for postmaster,
 * mailer-daemon, double-bounce; never to an empty local part; with "-" not for owner-NAME
 * and NAME-request). Letters outside ASCII keep their case and composition in a local
 * part: no standard says which of them a mail system takes for equal. The last @ splits.
 * What cannot be brought to this form is ADDRESS_BAD: it matches no grant, and the
 * callers say so. Empty is the null sender.
 *
 * A caller owns the buffer; nothing is allocated on the way of an ASCII address.
 */

#define ADDRESS_LOCAL_MAX  1024
#define ADDRESS_DOMAIN_MAX 253
#define ADDRESS_TEXT_MAX   (ADDRESS_LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX + 1)

enum address_kind {
	ADDRESS_ABSENT, /* not known (yet): matches nothing */
	ADDRESS_NULL,   /* <> */
	ADDRESS_OK,
	ADDRESS_BAD, /* cannot be parsed: matches no grant */
};

struct address {
	enum address_kind kind;
	uint16_t len;       /* of text */
	uint16_t local_len; /* text[0..local_len) is the local part */
	/* The domain begins at local_len + 1; domain_len 0: an address without a domain,
	 * in which case text is the local part alone. */
	uint16_t domain_len;
	char text[ADDRESS_TEXT_MAX]; /* canonical, NUL-terminated; "" unless ADDRESS_OK */
};

/* @delimiters: the set of recipient_delimiter characters, "" for none. */
void address_canonical(
    const char *text, size_t len, const char *delimiters, struct address *ret);

/*
 * A SASL user name: blanks around stripped; with an @ the domain is canonical as above
 * and the local part is lower-cased, without one the name is lower-cased. No extension is
 * stripped: a login is an account, not an address. ADDRESS_ABSENT when empty.
 */
void user_canonical(const char *text, size_t len, struct address *ret);

/*
 * A domain alone. Writes the canonical form to @buf (ADDRESS_DOMAIN_MAX + 1 bytes) and
 * returns its length, 0 when it is no domain. Address literals ("[192.0.2.1]") are kept
 * as they are, lower-cased.
 */
size_t domain_canonical(
    const char *text, size_t len, char buf[static ADDRESS_DOMAIN_MAX + 1]);

static inline const char *address_domain(const struct address *address)
{
	return address->domain_len ? address->text + address->local_len + 1 : "";
}

/* True when @name is @parent or one of its subdomains; both canonical, neither empty. */
bool domain_is_within(const char *name, const char *parent);
