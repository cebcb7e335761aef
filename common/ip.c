/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/ip.h"

#include <arpa/inet.h>
#include <string.h>

const char ip_host_bits_set[] = "host bits set behind the prefix length";

static uint8_t width_of(enum ip_family family)
{
	return family == IP_V4 ? 32 : 128;
}

static bool is_mapped(const uint8_t bytes[static 16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(bytes, mapped, sizeof(mapped)) == 0;
}

static struct ip unmapped(const struct ip *ip)
{
	struct ip v4 = {.family = IP_V4};

	memcpy(v4.bytes, ip->bytes + 12, 4);
	return v4;
}

/* Four decimal parts of 0 to 255, none with a leading zero, nothing else. */
static bool parse_v4(const char *text, size_t len, uint8_t bytes[static 4])
{
	size_t at = 0;

	for (int part = 0; part < 4; part++) {
		if (part && (at == len || text[at++] != '.'))
			return false;
		size_t start = at;
		unsigned value = 0;
		while (at < len && at - start < 3 && text[at] >= '0' && text[at] <= '9')
			value = value * 10 + (unsigned)(text[at++] - '0');
		if (at == start || value > 255 || (at - start > 1 && text[start] == '0'))
			return false;
		bytes[part] = (uint8_t)value;
	}
	return at == len;
}

/* As written: a mapped address stays IPv6. */
static bool parse_raw(const char *text, size_t len, struct ip *ret)
{
	char copy[INET6_ADDRSTRLEN];

	*ret = (struct ip){0};
	if (parse_v4(text, len, ret->bytes)) {
		ret->family = IP_V4;
		return true;
	}
	*ret = (struct ip){0};
	if (len >= sizeof(copy) || !memchr(text, ':', len) || memchr(text, '\0', len))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET6, copy, ret->bytes) != 1) {
		*ret = (struct ip){0};
		return false;
	}
	ret->family = IP_V6;
	return true;
}

static bool parse_length(const char *text, size_t len, unsigned max, uint8_t *ret)
{
	unsigned value = 0;

	if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	if (value > max)
		return false;
	*ret = (uint8_t)value;
	return true;
}

bool ip_parse(const char *text, size_t len, struct ip *ret)
{
	if (!parse_raw(text, len, ret))
		return false;
	if (ret->family == IP_V6 && is_mapped(ret->bytes))
		*ret = unmapped(ret);
	return true;
}

const char *ip_prefix_parse(const char *text, size_t len, struct ip_prefix *ret)
{
	const char *slash = memchr(text, '/', len);
	size_t ip_len = slash ? (size_t)(slash - text) : len;
	struct ip_prefix prefix;

	if (memchr(text, '%', ip_len))
		return "an address with a zone, which means nothing to another host";
	if (!parse_raw(text, ip_len, &prefix.ip))
		return "not an IP address";
	prefix.length = width_of(prefix.ip.family);
	if (slash &&
	    !parse_length(slash + 1, len - ip_len - 1, prefix.length, &prefix.length))
		return prefix.ip.family == IP_V4 ? "prefix length is not 0 to 32"
						 : "prefix length is not 0 to 128";

	struct ip network = ip_mask(prefix.ip, prefix.length);
	bool host_bits = memcmp(network.bytes, prefix.ip.bytes, sizeof(network.bytes));
	prefix.ip = network;
	if (network.family == IP_V6 && prefix.length >= 96 && is_mapped(network.bytes)) {
		prefix.ip = unmapped(&network);
		prefix.length = (uint8_t)(prefix.length - 96);
	}
	*ret = prefix;
	return host_bits ? ip_host_bits_set : NULL;
}

/* 0 to 255. Returns behind it. */
static char *print_number(char *at, unsigned number)
{
	if (number >= 100)
		*at++ = (char)('0' + number / 100);
	if (number >= 10)
		*at++ = (char)('0' + number / 10 % 10);
	*at++ = (char)('0' + number % 10);
	return at;
}

/* Not by inet_ntop(3), which goes through printf(3): each logged line and each counter's
 * key has one. */
static void print_v4(const uint8_t bytes[static 4], char *at)
{
	for (int i = 0; i < 4; i++) {
		at = print_number(at, bytes[i]);
		*at++ = '.';
	}
	at[-1] = '\0';
}

const char *ip_print(const struct ip *ip, char buf[static IP_TEXT_MAX])
{
	switch (ip->family) {
	case IP_NONE:
		strcpy(buf, "unknown");
		break;
	case IP_V4:
		print_v4(ip->bytes, buf);
		break;
	case IP_V6:
		inet_ntop(AF_INET6, ip->bytes, buf, IP_TEXT_MAX);
		break;
	}
	return buf;
}

const char *ip_prefix_print(const struct ip_prefix *prefix, char buf[static IP_TEXT_MAX])
{
	ip_print(&prefix->ip, buf);
	if (prefix->ip.family != IP_NONE &&
	    prefix->length < width_of(prefix->ip.family)) {
		char *at = buf + strlen(buf);
		*at++ = '/';
		*print_number(at, prefix->length) = '\0';
	}
	return buf;
}

bool ip_is_loopback(const struct ip *ip)
{
	static const uint8_t loopback6[16] = {[15] = 1};

	switch (ip->family) {
	case IP_NONE:
		return false;
	case IP_V4:
		return ip->bytes[0] == 127;
	case IP_V6:
		return memcmp(ip->bytes, loopback6, sizeof(loopback6)) == 0;
	}
	return false;
}

static bool is_private_v4(const uint8_t bytes[static 4])
{
	return bytes[0] == 127 || bytes[0] == 10 ||
	       (bytes[0] == 172 && (bytes[1] & 0xf0) == 16) ||
	       (bytes[0] == 192 && bytes[1] == 168) ||
	       (bytes[0] == 169 && bytes[1] == 254);
}

bool ip_is_private(const struct ip *ip)
{
	switch (ip->family) {
	case IP_NONE:
		return false;
	case IP_V4:
		return is_private_v4(ip->bytes);
	case IP_V6:
		return ip_is_loopback(ip) || (ip->bytes[0] & 0xfe) == 0xfc ||
		       (ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80);
	}
	return false;
}

bool ip_in_prefix(const struct ip *ip, const struct ip_prefix *prefix)
{
	if (ip->family == IP_NONE || ip->family != prefix->ip.family)
		return false;

	struct ip masked = ip_mask(*ip, prefix->length);
	return memcmp(masked.bytes, prefix->ip.bytes, sizeof(masked.bytes)) == 0;
}

struct ip ip_mask(struct ip ip, uint8_t length)
{
	for (unsigned i = 0; i < sizeof(ip.bytes); i++) {
		if (i * 8 >= length)
			ip.bytes[i] = 0;
		else if (i * 8 + 8 > length)
			ip.bytes[i] &= (uint8_t)(0xff00 >> (length - i * 8));
	}
	return ip;
}
