/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/printable.h"
#include "policyd/core/checks/check.h"
#include "policyd/core/identity.h"

#include <string.h>

/* The sender's domain is the user's own: the same, or below it where "subdomains" says
 * so. */
static bool is_own_domain(const struct config *config, const struct facts *facts)
{
	const char *own = address_domain(&facts->user);
	const char *used = address_domain(&facts->sender);

	if (facts->sender.domain_len == 0)
		return false;
	if (strcmp(own, used) == 0)
		return true;
	const struct domain *domain = user_domain(config, &facts->user);
	return domain && strcmp(domain->name, own) == 0 && domain_is_within(used, own) &&
	       config_domain_find(config, used) == domain;
}

static bool may_use(const struct config *config, const struct facts *facts)
{
	switch (config->auth.sender) {
	case SENDER_ANY:
		return true;
	case SENDER_DOMAIN:
		if (is_own_domain(config, facts))
			return true;
		break;
	case SENDER_USER:
		if (strcmp(facts->user.text, facts->sender.text) == 0)
			return true;
		break;
	}
	return config_sender_login_allows(config, &facts->sender, &facts->user);
}

void check_sender_login(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	char name[160] UNINITIALIZED;

	if (!facts->authenticated) {
		finding_none(ret, "not authenticated");
	} else if (config->auth.sender == SENDER_ANY) {
		finding_none(ret, "auth.sender is \"any\"");
	} else if (facts->sender.kind == ADDRESS_NULL) {
		finding_pass(ret, "the null sender is everybody's");
	} else if (facts->sender.kind == ADDRESS_ABSENT) {
		finding_cannot_tell(ret, FAILURE_ADDRESS, "no sender");
	} else if (
	    facts->user.kind == ADDRESS_OK && facts->user.domain_len == 0 &&
	    !config_sender_login_allows(config, &facts->sender, &facts->user)) {
		printable(name, sizeof(name), facts->user.text, facts->user.len);
		finding_object(
		    ret, 553, "5.7.1", "a login without a realm",
		    "Login name %s has no domain: the administrator can set "
		    "auth.default_realm",
		    name);
	} else if (
	    facts->user.kind == ADDRESS_OK && facts->sender.kind == ADDRESS_OK &&
	    may_use(config, facts)) {
		finding_pass(ret, "the SASL user may use this sender");
	} else {
		printable(name, sizeof(name), facts->user.text, facts->user.len);
		finding_object(
		    ret, 553, "5.7.1", "the SASL user may not use this sender",
		    "Sender address not owned by user %s", name);
	}
}
