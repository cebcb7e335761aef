/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/relay.h"

#include "common/cleanup.h"

/* Is @sender one of the domain rule's: null, or of a served domain, or any domain. */
static bool domain_rule_covers(
    const struct config *config, const struct relay_host_rule *rule,
    const struct address *sender)
{
	if (sender->kind == ADDRESS_NULL)
		return true;
	if (config->relay.unknown_domains || (rule && rule->unknown_domains))
		return true;
	return sender->domain_len && config_domain_find(config, address_domain(sender));
}

static bool rule_covers(
    const struct config *config, const struct relay_host_rule *rule,
    const struct address *sender)
{
	if (sender->kind != ADDRESS_NULL && sender->kind != ADDRESS_OK)
		return false;
	return rule && rule->senders ? address_list_match(rule->senders, sender, NULL)
				     : domain_rule_covers(config, rule, sender);
}

/*
 * Would any entry grant @sender? If none does, the client's name does not matter, and a
 * stranger without reverse DNS gets Postfix's own answer at once.
 */
static bool any_rule_covers(const struct config *config, const struct address *sender)
{
	if (rule_covers(config, NULL, sender))
		return true;
	for (size_t i = 0; i < config->relay.host_rules_count; i++)
		if (rule_covers(config, &config->relay.host_rules[i], sender))
			return true;
	return false;
}

struct relay_host relay_host_look_up(
    const struct config *config, const struct client *client,
    const struct address *sender, struct list_match *ret_match)
{
	struct list_match own UNINITIALIZED, *match = ret_match ? ret_match : &own;
	struct relay_host found = {.result = RELAY_HOST_NO};

	switch (host_list_match(config->relay.hosts, client, match)) {
	case HOST_NO_MATCH:
	case HOST_EXCEPTION:
		return found;
	case HOST_CANNOT_TELL:
		if (any_rule_covers(config, sender))
			found.result = RELAY_HOST_CANNOT_TELL;
		return found;
	case HOST_MATCH:
		break;
	}
	if (match->payload)
		found.rule = &config->relay.host_rules[match->payload - 1];
	found.result = rule_covers(config, found.rule, sender) ? RELAY_HOST_GRANTS
							       : RELAY_HOST_NOT_SENDER;
	return found;
}
