/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/name_networks.h"

#include "common/cleanup.h"
#include "common/spf.h"

#include <errno.h>
#include <stdio.h>

static const char *type_name(enum dns_type type)
{
	switch (type) {
	case DNS_A:
		return "A";
	case DNS_AAAA:
		return "AAAA";
	case DNS_MX:
		return "MX";
	case DNS_TXT:
		return "TXT";
	}
	return "?";
}

void name_networks_done(struct name_networks *networks)
{
	ip_set_done(&networks->v4);
	ip_set_done(&networks->v6);
}

int name_answer_result(
    const struct dns_answer *answer, const char *name, enum dns_type type,
    struct name_networks *about)
{
	if (!answer)
		return NAME_PENDING;
	switch (answer->status) {
	case DNS_FOUND:
		if (answer->ttl_s < about->ttl_s)
			about->ttl_s = answer->ttl_s;
		return NAME_FOUND;
	case DNS_NO_DATA:
		snprintf(
		    about->error, sizeof(about->error), "%.200s has no %s record", name,
		    type_name(type));
		return NAME_EMPTY;
	case DNS_NO_NAME:
		snprintf(
		    about->error, sizeof(about->error), "%.200s does not exist", name);
		return NAME_EMPTY;
	case DNS_FAILED:
		break;
	}
	snprintf(
	    about->error, sizeof(about->error), "%s for %.160s %s", answer->error, name,
	    type_name(type));
	return NAME_TEMPORARY;
}

int name_addresses_find(
    const struct name_source *source, const char *name, enum ip_family family,
    uint8_t length, struct ip_set *set, struct name_networks *about)
{
	enum dns_type type = family == IP_V4 ? DNS_A : DNS_AAAA;
	const struct dns_answer *answer = source->look_up(source->context, name, type);
	int result = name_answer_result(answer, name, type, about);

	if (result != NAME_FOUND)
		return result;
	for (size_t i = 0; i < answer->count; i++) {
		CLEANUP(ip_set_done) struct ip_set one = {0};
		struct ip_prefix prefix = {.ip = answer->records[i].ip, .length = length};
		/* An AAAA record can hold an IPv4-mapped address, which no IPv6 client
		 * has. */
		if (prefix.ip.family != family)
			continue;
		if (ip_set_prefix(&prefix, &one) < 0 || ip_set_add(set, &one) < 0)
			return -ENOMEM;
	}
	return NAME_FOUND;
}

int name_exchanges_find(
    const struct name_source *source, const char *name, enum ip_family family,
    uint8_t length, struct ip_set *set, struct name_networks *about)
{
	const struct dns_answer *answer = source->look_up(source->context, name, DNS_MX);
	int result = name_answer_result(answer, name, DNS_MX, about);

	if (result != NAME_FOUND)
		return result;
	if (answer->count > NAME_EXCHANGES_MAX) {
		snprintf(
		    about->error, sizeof(about->error),
		    "%.200s has more than %d MX records", name, NAME_EXCHANGES_MAX);
		return NAME_PERMANENT;
	}
	for (size_t i = 0; i < answer->count; i++) {
		const char *exchange = answer->records[i].text;
		if (!exchange[0]) /* RFC 7505: takes no mail */
			continue;
		int r = name_addresses_find(source, exchange, family, length, set, about);
		if (r < 0 || r == NAME_TEMPORARY)
			return r;
		if (r == NAME_PENDING)
			result = NAME_PENDING;
	}
	return result;
}

/* The stricter of two families' results; NAME_EMPTY only if both are. */
static int worse(int a, int b)
{
	static const int order[] = {
	    [NAME_EMPTY] = 0,     [NAME_FOUND] = 1,     [NAME_PENDING] = 2,
	    [NAME_TEMPORARY] = 3, [NAME_PERMANENT] = 4,
	};

	if (a < 0 || b < 0)
		return a < 0 ? a : b;
	return order[a] > order[b] ? a : b;
}

typedef int find_family(
    const struct name_source *source, const char *name, enum ip_family family,
    uint8_t length, struct ip_set *set, struct name_networks *about);

static int find_both(
    find_family *find, const char *domain, const struct name_source *source,
    struct name_networks *ret)
{
	int v4 = find(source, domain, IP_V4, 32, &ret->v4, ret);
	int v6 = find(source, domain, IP_V6, 128, &ret->v6, ret);
	int result = worse(v4, v6);

	/* Exchangers without an address. */
	if (result == NAME_FOUND && ret->v4.count + ret->v6.count == 0) {
		snprintf(ret->error, sizeof(ret->error), "%.200s has no address", domain);
		return NAME_EMPTY;
	}
	return result;
}

int name_networks_find(
    enum host_dns_kind kind, const char *domain, const struct name_source *source,
    struct name_networks *ret)
{
	int result = -EINVAL;

	*ret = (struct name_networks){.ttl_s = UINT32_MAX};
	switch (kind) {
	case HOST_DNS_BOTH:
		result = find_both(name_addresses_find, domain, source, ret);
		break;
	case HOST_DNS_A:
		result = name_addresses_find(source, domain, IP_V4, 32, &ret->v4, ret);
		break;
	case HOST_DNS_AAAA:
		result = name_addresses_find(source, domain, IP_V6, 128, &ret->v6, ret);
		break;
	case HOST_DNS_MX:
		result = find_both(name_exchanges_find, domain, source, ret);
		break;
	case HOST_DNS_SPF:
		return spf_find(domain, source, ret);
	}
	if (result == NAME_FOUND && ret->v4.count + ret->v6.count > NAME_NETWORKS_MAX) {
		snprintf(
		    ret->error, sizeof(ret->error), "more than %d addresses",
		    NAME_NETWORKS_MAX);
		return NAME_PERMANENT;
	}
	return result;
}
