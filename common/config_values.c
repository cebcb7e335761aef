/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_values.h"

#include "common/address.h"
#include "common/ip.h"
#include "common/sockets.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Bytes of a reason: it must fit a reply under 400 bytes with the rest of it. */
#define REASON_MAX 200

/* Decimal digits at @text. Returns what follows them, or NULL: none, or beyond 64 bits.
 */
static const char *digits(const char *text, uint64_t *ret)
{
	uint64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return NULL;
	}
	*ret = value;
	return p == text ? NULL : p;
}

bool time_parse(const char *text, bool with_ms, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
	    {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"ms", 1}};
	uint64_t value;

	const char *unit = digits(text, &value);
	if (!unit)
		return false;
	for (size_t i = 0; i < (with_ms ? 5 : 4); i++)
		if (strcmp(unit, units[i].name) == 0)
			return !__builtin_mul_overflow(value, units[i].ms, ret_ms);
	return false;
}

const char *time_print(uint64_t ms, char buf[static 32])
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
	    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

	for (size_t i = 0; ms && i < 5; i++) {
		if (ms % units[i].ms == 0) {
			snprintf(
			    buf, 32, "%llu%s", (unsigned long long)(ms / units[i].ms),
			    units[i].name);
			return buf;
		}
	}
	return strcpy(buf, "0s");
}

bool size_parse(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMG";
	uint64_t value;

	const char *unit = digits(text, &value);
	if (!unit)
		return false;
	unsigned shift = 0;
	if (*unit) {
		const char *known = strchr(units, *unit == 'k' ? 'K' : *unit);
		if (!known || unit[1])
			return false;
		shift = 10 * (unsigned)(known - units + 1);
	}
	return !__builtin_mul_overflow(value, UINT64_C(1) << shift, ret_bytes);
}

bool mode_parse(const char *text, mode_t *ret)
{
	size_t len = strlen(text);
	if (len < 3 || len > 4 || strspn(text, "01234567") != len)
		return false;
	if (len == 4 && text[0] != '0')
		return false;
	mode_t mode = 0;
	for (const char *p = text; *p; p++)
		mode = mode * 8 + (mode_t)(*p - '0');
	*ret = mode;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

bool text_is_clean(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
			return false;
	return !len || (!is_blank(text[0]) && !is_blank(text[len - 1]));
}

const char *check_hostname(const char *text)
{
	char canonical[ADDRESS_DOMAIN_MAX + 1];
	if (text[0] == '[' || !domain_canonical(text, strlen(text), canonical))
		return "a host name such as \"gw.example.org\"";
	return NULL;
}

const char *check_delimiter(const char *text)
{
	for (const char *p = text; *p; p++) {
		bool name = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
			    (*p >= 'A' && *p <= 'Z');
		if (*p <= 0x20 || *p >= 0x7F || name || strchr("@\"\\<>", *p))
			return "punctuation such as \"+\" or \"+-\", or \"\" for none";
	}
	return strlen(text) > 8 ? "at most 8 characters" : NULL;
}

const char *check_reason(const char *text)
{
	return strlen(text) > REASON_MAX ? "at most 200 bytes" : NULL;
}

const char *check_country_code(const char *text)
{
	bool good = strlen(text) == 2;
	for (const char *p = text; *p; p++)
		good = good && *p >= 'A' && *p <= 'Z';
	return good ? NULL : "a country code of two capital letters such as \"DE\"";
}

const char *check_limit_name(const char *text)
{
	bool good = strlen(text) <= 64;
	for (const char *p = text; *p; p++) {
		bool alnum = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
			     (*p >= 'A' && *p <= 'Z');
		good = good && (alnum || strchr("-_.", *p));
	}
	return good ? NULL : "a name of 1 to 64 letters, digits, \"-\", \"_\" and \".\"";
}

const char *check_domain_entry(const char *text)
{
	const char *at = strchr(text, '@');
	if ((at && at != text) || strcmp(text, "<>") == 0)
		return "a domain: \"example.org\", \"@example.org\" or \".example.org\"";
	return NULL;
}

static bool is_word(const char *text)
{
	for (const char *p = text; *p; p++)
		if (*p <= 0x20 || *p >= 0x7F)
			return false;
	return true;
}

const char *check_redis_name(const char *text)
{
	return is_word(text) && strlen(text) <= 128
		   ? NULL
		   : "a name of at most 128 printable ASCII characters without blanks";
}

/* Braces would make hash tags of their own: keys of one subject must share ours. */
const char *check_redis_prefix(const char *text)
{
	return is_word(text) && strlen(text) <= 64 && !strpbrk(text, "{}")
		   ? NULL
		   : "at most 64 printable ASCII characters without blanks, { and }";
}

const char *check_dns_server(const char *text)
{
	struct endpoint endpoint;
	struct ip ip;
	if (ip_parse(text, strlen(text), &ip))
		return NULL;
	if (!endpoint_parse(text, &endpoint) && endpoint.kind == ENDPOINT_INET &&
	    ip_parse(endpoint.host, strlen(endpoint.host), &ip))
		return NULL;
	return "an IP address, perhaps with a port: \"127.0.0.1:5353\"";
}

const char *check_local(const char *text)
{
	struct endpoint endpoint;
	/* What cannot be parsed is said by who keeps the address. */
	if (!endpoint_parse(text, &endpoint) && endpoint.kind != ENDPOINT_UNIX)
		return "a socket of this machine: unix:PATH";
	return NULL;
}

const char *check_account(const char *text)
{
	size_t len = strlen(text);
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789._-$";
	if (len > 64 || text[0] == '-' || strspn(text, letters) != len)
		return "the name of an account";
	return NULL;
}

const char *check_file_name(const char *text)
{
	return text[0] == '\0' ? "the name of a file" : NULL;
}

const char *check_selector(const char *text)
{
	char canonical[ADDRESS_DOMAIN_MAX + 1];
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789-_.";
	size_t len = strlen(text);
	if (len > 63 || strspn(text, letters) != len || text[len - 1] == '.' ||
	    !domain_canonical(text, len, canonical))
		return "a selector such as \"s2026\": letters, digits and -, dots "
		       "between them";
	return NULL;
}

static bool is_header_name(const char *text)
{
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++)
		if (text[i] <= 0x20 || text[i] >= 0x7F || text[i] == ':')
			return false;
	return len > 0 && len <= 76;
}

const char *check_signed_header(const char *text)
{
	if (!is_header_name(text))
		return "a header name without its colon";
	if (strcasecmp(text, "received") == 0 || strcasecmp(text, "return-path") == 0 ||
	    strcasecmp(text, "dkim-signature") == 0)
		return "a header that stays as it is on the way";
	return NULL;
}

const char *check_removed_header(const char *text)
{
	static const char *const needed[] = {
	    "received", "from", "date", "dkim-signature"};
	if (!is_header_name(text))
		return "a header name without its colon";
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (strcasecmp(text, needed[i]) == 0)
			return "a header that mail can do without (for Received see "
			       "milter.mask.upstream)";
	return NULL;
}
