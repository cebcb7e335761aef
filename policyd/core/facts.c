/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/facts.h"

#include "common/cleanup.h"
#include "common/geoip.h"

#include <string.h>

static bool slice_is(struct slice slice, const char *text)
{
	return slice.len == strlen(text) && memcmp(slice.data, text, slice.len) == 0;
}

/* A decimal number; @missing when absent, empty or malformed, @beyond when above @max. */
static uint64_t number(
    struct slice slice, uint64_t max, uint64_t missing, uint64_t beyond)
{
	uint64_t value = 0;
	bool is_beyond = false;

	if (slice.len == 0)
		return missing;
	for (size_t i = 0; i < slice.len; i++) {
		if (slice.data[i] < '0' || slice.data[i] > '9')
			return missing;
		uint64_t digit = (uint64_t)(slice.data[i] - '0');
		is_beyond = is_beyond || __builtin_mul_overflow(value, 10, &value) ||
			    __builtin_add_overflow(value, digit, &value);
	}
	return is_beyond || value > max ? beyond : value;
}

static enum request_context context_of(struct slice context)
{
	if (context.len == 0)
		return CONTEXT_ALL;
	if (slice_is(context, "relay"))
		return CONTEXT_RELAY;
	if (slice_is(context, "access"))
		return CONTEXT_ACCESS;
	if (slice_is(context, "limits"))
		return CONTEXT_LIMITS;
	return CONTEXT_UNKNOWN;
}

/* The forward-confirmed name; "" for `unknown` and for what is no name. */
static void set_client(const struct request *request, struct client *ret)
{
	ip_parse(
	    request->client_address.data ? request->client_address.data : "",
	    request->client_address.len, &ret->ip);
	ret->name[0] = '\0';
	if (request->client_name.len > 0 && !slice_is(request->client_name, "unknown"))
		domain_canonical(
		    request->client_name.data, request->client_name.len, ret->name);
}

static bool wants_country(const struct config *config)
{
	if (config->block.countries.count > 0 || config->auth.countries.count > 0)
		return true;
	for (size_t i = 0; i < config->limits_count; i++)
		if (config->limits[i].count == COUNT_COUNTRIES)
			return true;
	return false;
}

/* Asks the database only where a list of countries or a limit wants to know. */
static void set_country(const struct config *config, struct facts *ret)
{
	const struct ip *ip = &ret->client.ip;

	ret->country[0] = '\0';
	ret->country_state = COUNTRY_NOT_ASKED;
	if (ip->family == IP_NONE || !wants_country(config))
		return;
	if (ip_is_private(ip)) {
		ret->country_state = COUNTRY_NONE;
		return;
	}
	if (!config->geoip) {
		ret->country_state = COUNTRY_NO_DATABASE;
		return;
	}
	switch (geoip_look_up(config->geoip, ip, ret->country)) {
	case GEOIP_FOUND:
		ret->country_state = COUNTRY_KNOWN;
		break;
	case GEOIP_NOT_FOUND:
		ret->country_state = COUNTRY_NOT_FOUND;
		strcpy(ret->country, COUNTRY_UNKNOWN);
		break;
	case GEOIP_DAMAGED:
		ret->country_state = COUNTRY_DAMAGED;
		break;
	}
}

/* A login without a realm gets the default one: one account, one name for limits. */
static void set_user(const struct config *config, struct slice name, struct address *ret)
{
	const char *realm = config->auth.default_realm;

	user_canonical(name.data ? name.data : "", name.len, ret);
	if (ret->kind != ADDRESS_OK || ret->domain_len > 0 || !realm || realm[0] == '\0')
		return;
	size_t realm_len = strlen(realm);
	if (ret->len + 1 + realm_len >= sizeof(ret->text)) {
		ret->kind = ADDRESS_BAD;
		return;
	}
	ret->text[ret->len] = '@';
	memcpy(ret->text + ret->len + 1, realm, realm_len + 1);
	ret->local_len = ret->len;
	ret->domain_len = (uint16_t)realm_len;
	ret->len = (uint16_t)(ret->len + 1 + realm_len);
}

static void set_absent(struct address *ret)
{
	ret->kind = ADDRESS_ABSENT;
	ret->len = ret->local_len = ret->domain_len = 0;
	ret->text[0] = '\0';
}

/* Postfix sends an empty sender both for <> and before MAIL: the state tells them apart.
 */
static bool has_sender(enum protocol_state state)
{
	switch (state) {
	case STATE_MAIL:
	case STATE_RCPT:
	case STATE_DATA:
	case STATE_END_OF_MESSAGE:
		return true;
	case STATE_UNKNOWN:
	case STATE_CONNECT:
	case STATE_EHLO:
	case STATE_VRFY:
	case STATE_ETRN:
		break;
	}
	return false;
}

static void set_sender(
    const struct config *config, const struct request *request, struct address *ret)
{
	if (!request->sender.data ||
	    (!has_sender(request->state) && request->sender.len == 0) ||
	    request->state == STATE_VRFY || request->state == STATE_ETRN)
		set_absent(ret);
	else
		address_canonical(
		    request->sender.data, request->sender.len,
		    config->recipient_delimiter, ret);
}

/* An empty recipient is none, never the null address. */
static void set_recipient(
    const struct config *config, const struct request *request, struct address *ret)
{
	if (request->recipient.len == 0)
		set_absent(ret);
	else
		address_canonical(
		    request->recipient.data, request->recipient.len,
		    config->recipient_delimiter, ret);
}

void facts_read(
    const struct config *config, const struct request *request, struct facts *ret)
{
	bool complete =
	    request->state == STATE_DATA || request->state == STATE_END_OF_MESSAGE;

	ret->state = request->state;
	ret->context = context_of(request->policy_context);
	set_client(request, &ret->client);
	set_country(config, ret);
	ret->server_port = (uint16_t)number(request->server_port, UINT16_MAX, 0, 0);
	ret->authenticated =
	    request->sasl_username.len > 0 || request->sasl_method.len > 0;
	ret->encrypted = request->encryption_protocol.len > 0;
	ret->size = number(request->size, UINT64_MAX, 0, UINT64_MAX);
	ret->recipient_count =
	    complete
		? (uint32_t)number(request->recipient_count, UINT32_MAX, 1, UINT32_MAX)
		: 0;
	if (complete && ret->recipient_count == 0)
		ret->recipient_count = 1;
	ret->instance = request->instance;
	set_user(config, request->sasl_username, &ret->user);
	set_sender(config, request, &ret->sender);
	address_list_prefetch(config->block.senders, &ret->sender);
	set_recipient(config, request, &ret->recipient);
	ret->relayed = false;
	ret->login = LOGIN_NOT_ASKED;
	for (unsigned i = 0; i < BLOCK_KINDS; i++)
		ret->blocked[i].is_set = ret->blocked[i].is_blocked = false;
}
