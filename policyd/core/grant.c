/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/grant.h"

#include "common/cleanup.h"
#include "common/relay.h"
#include "policyd/core/identity.h"

static bool by_host(
    const struct config *config, const struct facts *facts, struct grant *ret)
{
	struct relay_host host =
	    relay_host_look_up(config, &facts->client, &facts->sender, &ret->match);

	switch (host.result) {
	case RELAY_HOST_NO:
		break;
	case RELAY_HOST_GRANTS:
		ret->result = GRANT_YES;
		ret->why = "the client is in relay.hosts";
		ret->matched = true;
		return true;
	case RELAY_HOST_NOT_SENDER:
		ret->result = GRANT_REFUSED;
		ret->why =
		    host.rule && host.rule->senders
			? "the client's relay.hosts entry does not list this sender"
			: "the sender's domain is not in \"domains\"";
		ret->matched = true;
		break;
	case RELAY_HOST_CANNOT_TELL:
		ret->result = GRANT_CANNOT_TELL;
		ret->failure = FAILURE_CLIENT_NAME;
		ret->why = "relay.hosts has entries by name and the client's name is "
			   "unknown, or "
			   "entries from DNS that are not resolved";
		break;
	}
	return false;
}

/* The reason why a login grants nothing, or NULL: it grants. */
static const char *user_objection(
    const struct config *config, const struct facts *facts, struct list_match *ret)
{
	if (facts->user.kind != ADDRESS_OK)
		return "the SASL user name is missing or cannot be parsed";
	if (!config->relay.all_users &&
	    !user_is_listed(config, config->relay.users, &facts->user, ret))
		return "relay.users does not have this SASL user";
	if (facts->user.domain_len == 0)
		return "the SASL user name has no realm and auth.default_realm is not "
		       "set";
	const struct domain *domain = user_domain(config, &facts->user);
	if (!domain)
		return "the domain of the SASL user is not in \"domains\"";
	if (!domain->auth)
		return "\"auth\" is false for the domain of the SASL user";
	return NULL;
}

static bool by_user(
    const struct config *config, const struct facts *facts, struct grant *ret)
{
	if (!facts->authenticated)
		return false;

	const char *objection = user_objection(config, facts, &ret->match);
	if (!objection) {
		ret->result = GRANT_YES;
		ret->why = "the SASL user may relay";
		ret->matched = !config->relay.all_users;
		return true;
	}
	/* A relay host whose name cannot be told stays that: DNS may come back. */
	if (ret->result != GRANT_CANNOT_TELL) {
		ret->result = GRANT_REFUSED;
		ret->why = objection;
		ret->matched = false;
	}
	return false;
}

/*
 * Any sender, as a relay host with unknown_domains: who reads mail here is known here. A
 * login that cannot be looked up withholds what others would refuse, and no more.
 */
static bool by_login(const struct facts *facts, struct grant *ret)
{
	switch (facts->login) {
	case LOGIN_NOT_ASKED:
	case LOGIN_NONE:
		return false;
	case LOGIN_RECENT:
		ret->result = GRANT_YES;
		ret->why = "a recent POP or IMAP login from this client";
		ret->matched = false;
		return true;
	case LOGIN_CANNOT_TELL:
		break;
	}
	if (ret->result != GRANT_CANNOT_TELL) {
		ret->result = GRANT_CANNOT_TELL;
		ret->failure = FAILURE_LOGIN;
		ret->why = "recent logins on other nodes cannot be looked up now";
		ret->matched = false;
	}
	return false;
}

static bool by_anyone(
    const struct config *config, const struct facts *facts, struct grant *ret)
{
	struct list_match match UNINITIALIZED;

	if (address_list_match(config->relay.anyone_from, &facts->sender, &match))
		ret->why = "the sender is in relay.anyone_from";
	else if (address_list_match(config->relay.anyone_to, &facts->recipient, &match))
		ret->why = "the recipient is in relay.anyone_to";
	else
		return false;
	ret->result = GRANT_YES;
	ret->matched = true;
	ret->match = match;
	return true;
}

void grant_look_up(
    const struct config *config, const struct facts *facts, struct grant *ret)
{
	ret->result = GRANT_NONE;
	ret->failure = FAILURE_MEMORY;
	ret->why =
	    "neither a relay host nor authenticated: Postfix decides by its own domains";
	ret->matched = false;

	if (!by_host(config, facts, ret) && !by_user(config, facts, ret) &&
	    !by_anyone(config, facts, ret))
		by_login(facts, ret);
}
