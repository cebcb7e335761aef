/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * IP addresses and ranges in one canonical form: an IPv4-mapped IPv6 address is the IPv4
 * address, everywhere. Zones ("fe80::1%eth0") are refused, and so are the spellings of
 * inet_aton(3): octal and hexadecimal parts, leading zeros, fewer than four parts.
 */

enum ip_family { IP_NONE, IP_V4, IP_V6 };

struct ip {
	enum ip_family family;
	uint8_t bytes[16]; /* network order; IPv4 uses the first four, the rest is zero */
};

struct ip_prefix {
	struct ip ip;
	uint8_t length; /* 0 to 32 or 128 */
};

#define IP_TEXT_MAX 50 /* a prefix with its length, and the final NUL */

/* Parses @text (@len bytes, no NUL needed). False, and *ret is IP_NONE: no address. */
bool ip_parse(const char *text, size_t len, struct ip *ret);

/*
 * Parses an address or ADDRESS/LENGTH. Returns NULL and sets *ret, or what is wrong with
 * it (static text). Mapped prefixes of /96 and longer become IPv4.
 *
 * The one error that knows what was meant is ip_host_bits_set (compare the pointer):
 * *ret is then the network that the address lies in.
 */
const char *ip_prefix_parse(const char *text, size_t len, struct ip_prefix *ret);
extern const char ip_host_bits_set[];

/* Prints into @buf (IP_TEXT_MAX bytes); returns @buf. IP_NONE prints "unknown". A prefix
 * of full length prints as the address alone. */
const char *ip_print(const struct ip *ip, char buf[static IP_TEXT_MAX]);
const char *ip_prefix_print(const struct ip_prefix *prefix, char buf[static IP_TEXT_MAX]);

bool ip_is_loopback(const struct ip *ip);
/*
 * True for addresses that lie in no country: loopback, RFC 1918, link-local, unique local
 * (RFC 4193). Shared address space (RFC 6598) is a provider's and does not belong here.
 */
bool ip_is_private(const struct ip *ip);
bool ip_in_prefix(const struct ip *ip, const struct ip_prefix *prefix);

/* Zeroes all bits after @length. */
struct ip ip_mask(struct ip ip, uint8_t length);
