/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/limits.h"

#include "common/cleanup.h"
#include "common/digest.h"
#include "policyd/core/identity.h"

#include <stdio.h>
#include <string.h>

/* One part of a subject: the client, the SASL user, the sender, ... */
struct part {
	const char *text;
	const char *domain;  /* "" where it has none */
	const struct ip *ip; /* client only */
	char buf[IP_TEXT_MAX];
};

#define PARTS_MAX   8
#define SUBJECT_MAX 192

/* What a subject is called that is not known or cannot be parsed: counted, in one place.
 */
static const char nameless[] = "?";

static void set_client(const struct facts *facts, struct part *part)
{
	struct ip_prefix prefix = {facts->client.ip, 64};

	part->domain = "";
	part->ip = &facts->client.ip;
	if (facts->client.ip.family == IP_V6) {
		prefix.ip = ip_mask(prefix.ip, 64);
		part->text = ip_prefix_print(&prefix, part->buf);
	} else if (facts->client.ip.family == IP_V4) {
		part->text = ip_print(&facts->client.ip, part->buf);
	} else {
		part->text = nameless;
	}
}

static void set_address(const struct address *address, struct part *part)
{
	part->ip = NULL;
	part->domain = "";
	part->text = nameless;
	if (address->kind == ADDRESS_NULL)
		part->text = "<>";
	if (address->kind != ADDRESS_OK)
		return;
	part->text = address->text;
	part->domain = address_domain(address);
}

static void set_address_domain(const struct address *address, struct part *part)
{
	set_address(address, part);
	if (address->kind == ADDRESS_OK)
		part->text = address->domain_len ? part->domain : nameless;
}

static void set_everyone(struct part *part)
{
	part->text = "*";
	part->domain = "";
	part->ip = NULL;
}

/* The parts that @per names, in a fixed order. False: one of them does not exist here. */
static bool subject_parts(
    unsigned per, const struct facts *facts, struct part *parts, size_t *ret_count)
{
	size_t n = 0;

	if (per & PER_CLIENT)
		set_client(facts, &parts[n++]);
	if (per & PER_USER) {
		if (!facts->authenticated)
			return false;
		set_address(&facts->user, &parts[n++]);
	}
	if (per & PER_SENDER)
		set_address(&facts->sender, &parts[n++]);
	if (per & PER_SENDER_DOMAIN)
		set_address_domain(&facts->sender, &parts[n++]);
	if (per & PER_RECIPIENT)
		set_address(&facts->recipient, &parts[n++]);
	if (per & PER_RECIPIENT_DOMAIN)
		set_address_domain(&facts->recipient, &parts[n++]);
	if (per & PER_EVERYONE)
		set_everyone(&parts[n++]);
	*ret_count = n;
	return true;
}

static bool holds(enum ternary asked, bool is)
{
	return asked == EITHER || (asked == YES) == is;
}

static bool when_holds(
    const struct config *config, const struct limit_when *when, const struct facts *facts,
    bool relayed)
{
	if (!holds(when->authenticated, facts->authenticated) ||
	    !holds(when->relayed, relayed))
		return false;
	if (when->trusted != EITHER &&
	    !holds(when->trusted, client_is_trusted(config, facts)))
		return false;
	if (when->ports.count > 0 && !port_list_has(&when->ports, facts->server_port))
		return false;
	if (when->hosts &&
	    host_list_match(when->hosts, &facts->client, NULL) != HOST_MATCH)
		return false;
	if (when->users && !user_is_listed(config, when->users, &facts->user, NULL))
		return false;
	return !when->sender_domains ||
	       address_list_match(when->sender_domains, &facts->sender, NULL);
}

/* How well @override fits @part: 0 not, more for closer. */
static unsigned override_fit(
    const struct limit_override *override, const struct part *part)
{
	if (override->prefix.ip.family != IP_NONE)
		return part->ip && ip_in_prefix(part->ip, &override->prefix)
			   ? 2U + override->prefix.length
			   : 0;
	if (strcmp(override->subject, part->text) == 0)
		return 1000;
	if (override->subject[0] == '@' && part->domain[0] != '\0' &&
	    strcmp(override->subject + 1, part->domain) == 0)
		return 1;
	return 0;
}

/* The max that holds for these parts. False: unlimited. */
static bool effective_max(
    const struct config *config, size_t index, const struct part *parts, size_t count,
    uint64_t *ret)
{
	const struct limit *limit = &config->limits[index];
	const struct limit_override *best = NULL;
	unsigned best_fit = 0;

	for (size_t i = 0; i < limit->overrides_count; i++)
		for (size_t p = 0; p < count; p++) {
			unsigned fit = override_fit(&limit->overrides[i], &parts[p]);
			if (fit > best_fit) {
				best = &limit->overrides[i];
				best_fit = fit;
			}
		}
	if (best) {
		*ret = best->max;
		return !best->unlimited;
	}
	for (size_t p = 0; p < count; p++) {
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

/* Escapes what separates parts, and what a store's key syntax takes for its own. */
static size_t append_escaped(char *buf, size_t len, size_t size, const char *text)
{
	for (; *text && len + 4 < size; text++) {
		unsigned char c = (unsigned char)*text;
		if (c <= ' ' || c == 0x7f || strchr("|%{}", c))
			len += (size_t)snprintf(buf + len, size - len, "%%%02X", c);
		else
			buf[len++] = (char)c;
	}
	return len;
}

/* LIMIT:PART|PART; a subject longer than SUBJECT_MAX stands as its SHA-256. */
static void compose_key(
    const char *name, const struct part *parts, size_t count, struct charge *charge)
{
	char subject[3 * PARTS_MAX * ADDRESS_TEXT_MAX] UNINITIALIZED;
	size_t len = 0;

	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			subject[len++] = '|';
		len = append_escaped(subject, len, sizeof(subject), parts[i].text);
	}
	subject[len] = '\0';
	if (len > SUBJECT_MAX) {
		char hex[DIGEST_HEX_LEN + 1];
		digest_hex(subject, len, hex);
		len = (size_t)snprintf(subject, sizeof(subject), "#%s", hex);
	}
	charge->key_len = (uint16_t)snprintf(
	    charge->key, sizeof(charge->key), "%.64s:%s", name, subject);
	charge->subject_at = (uint16_t)(charge->key_len - len);
}

/* What this request counts for; 0: nothing to look at in this state. */
static uint64_t amount_of(const struct limit *limit, const struct facts *facts)
{
	bool complete =
	    facts->state == STATE_DATA || facts->state == STATE_END_OF_MESSAGE;

	switch (limit->count) {
	case COUNT_MESSAGES:
		return complete ? 1 : 0;
	case COUNT_RECIPIENTS:
		return complete ? facts->recipient_count : 0;
	case COUNT_BYTES:
		/* Without a claim a full window is still seen at DATA. */
		if (facts->size == 0 && complete && !(limit->per & PER_MESSAGE))
			return 1;
		return facts->size;
	case COUNT_REFUSALS:
	case COUNT_CLIENTS:
	case COUNT_COUNTRIES:
	case COUNT_SENDERS:
		break; /* refused by the loader */
	}
	return 0;
}

bool limit_charge(
    const struct config *config, size_t index, const struct facts *facts, bool relayed,
    struct charge *ret)
{
	const struct limit *limit = &config->limits[index];
	struct part parts[PARTS_MAX] UNINITIALIZED;
	size_t count;

	uint64_t amount = amount_of(limit, facts);
	if (amount == 0 || !when_holds(config, &limit->when, facts, relayed) ||
	    !subject_parts(limit->per, facts, parts, &count) ||
	    !effective_max(config, index, parts, count, &ret->max))
		return false;
	ret->limit = (uint32_t)index;
	ret->window_s = limit->per & PER_MESSAGE ? 0 : limit->window_s;
	ret->amount = amount;
	ret->hard =
	    !limit->shadow && (limit->over == OVER_REJECT || limit->over == OVER_DEFER);
	ret->look = false;
	ret->member_len = 0;
	ret->key_len = ret->subject_at = 0;
	if (ret->window_s > 0)
		compose_key(limit->name, parts, count, ret);
	return true;
}
