/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/permit.h"

#include <assert.h>
#include <string.h>

static bool domains_agree(
    const struct config *config, const char *author, const char *other)
{
	if (other[0] == '\0')
		return false;
	/* Equal, or @other is the lower one. */
	if (domain_is_within(other, author))
		return true;
	return domain_is_within(author, other) && config_domain_find(config, other);
}

static bool agrees_with(
    const struct config *config, const struct sign_facts *facts,
    const struct address *other)
{
	return other->kind == ADDRESS_OK &&
	       domains_agree(
		   config, address_domain(facts->author), address_domain(other));
}

static bool agrees_with_user(const struct config *config, const struct sign_facts *facts)
{
	if (facts->user->kind != ADDRESS_OK)
		return false;
	if (facts->user->domain_len == 0)
		return domains_agree(
		    config, address_domain(facts->author), config->auth.default_realm);
	return agrees_with(config, facts, facts->user);
}

static bool user_agrees(const struct config *config, const struct sign_facts *facts)
{
	switch (config->milter.dkim.match) {
	case SIGN_MATCH_ANY:
		return true;
	case SIGN_MATCH_ENVELOPE:
		if (facts->sender->kind == ADDRESS_NULL)
			return agrees_with_user(config, facts);
		return agrees_with(config, facts, facts->sender);
	case SIGN_MATCH_USER:
		return agrees_with_user(config, facts);
	}
	assert(0);
	return false;
}

static bool null_sender_agrees(const struct sign_facts *facts)
{
	const struct relay_host_rule *rule = facts->relay.rule;
	return facts->local ||
	       (rule && address_list_match(rule->senders, facts->sender, NULL));
}

/* Local mail and relay hosts. */
static bool host_agrees(const struct config *config, const struct sign_facts *facts)
{
	switch (config->milter.dkim.match) {
	case SIGN_MATCH_ANY:
		return true;
	case SIGN_MATCH_ENVELOPE:
	case SIGN_MATCH_USER:
		if (facts->sender->kind == ADDRESS_NULL)
			return null_sender_agrees(facts);
		return agrees_with(config, facts, facts->sender);
	}
	assert(0);
	return false;
}

/* An entry with senders answers for these addresses, and for the domain of the one that
 * it was just granted: who bounces to news-bounces@ may write as news@. */
static bool is_listed(const struct sign_facts *facts)
{
	const struct address_list *senders = facts->relay.rule->senders;
	if (address_list_match(senders, facts->author, NULL))
		return true;
	return facts->sender->kind == ADDRESS_OK &&
	       strcmp(address_domain(facts->sender), address_domain(facts->author)) == 0;
}

bool sign_possible(const struct sign_facts *facts)
{
	return facts->user->kind != ADDRESS_ABSENT || facts->local ||
	       facts->relay.result == RELAY_HOST_GRANTS;
}

enum sign_permit sign_permitted(
    const struct config *config, const struct sign_facts *facts,
    const struct domain **ret_domain)
{
	if (!sign_possible(facts))
		return SIGN_STRANGER;
	const struct domain *domain =
	    config_domain_find(config, address_domain(facts->author));
	if (!domain)
		return SIGN_NOT_SERVED;

	if (facts->user->kind != ADDRESS_ABSENT) {
		if (!user_agrees(config, facts))
			return SIGN_DISAGREES;
	} else {
		const struct relay_host_rule *rule = facts->relay.rule;
		if (!facts->local && rule && rule->senders && !is_listed(facts))
			return SIGN_NOT_LISTED;
		if (!host_agrees(config, facts))
			return SIGN_DISAGREES;
	}
	*ret_domain = domain;
	return SIGN_PERMITTED;
}

const char *sign_permit_text(enum sign_permit permit)
{
	switch (permit) {
	case SIGN_PERMITTED:
		return "permitted";
	case SIGN_STRANGER:
		return "the client is neither authenticated nor local nor a relay host "
		       "for this sender";
	case SIGN_NOT_SERVED:
		return "the author domain is not in domains";
	case SIGN_DISAGREES:
		return "the author domain does not agree with what milter.dkim.match "
		       "asks for";
	case SIGN_NOT_LISTED:
		return "the relay host's entry has senders, and the author is neither "
		       "among them nor in the envelope sender's domain";
	}
	assert(0);
	return "";
}
