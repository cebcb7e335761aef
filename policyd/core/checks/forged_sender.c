/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"
#include "policyd/core/identity.h"

void check_forged_sender(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (!config->block.forged_senders) {
		finding_none(ret, "block.forged_senders is false");
		return;
	}
	if (facts->authenticated) {
		finding_pass(ret, "authenticated");
		return;
	}
	if (facts->sender.kind != ADDRESS_OK || facts->sender.domain_len == 0 ||
	    !config_domain_find(config, address_domain(&facts->sender))) {
		finding_pass(ret, "the sender's domain is not served here");
		return;
	}
	switch (client_is_relay_host(config, facts)) {
	case YES:
		finding_pass(ret, "a relay host");
		break;
	case EITHER:
		finding_defer(ret, FAILURE_CLIENT_NAME, CHECK_FORGED_SENDER);
		break;
	case NO:
		finding_object(
		    ret, 553, "5.7.1", "a stranger with a sender domain served here",
		    "Authentication required to use this sender domain");
		break;
	}
}
