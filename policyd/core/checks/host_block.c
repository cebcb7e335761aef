/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

void check_host_block(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (facts->client.ip.family == IP_NONE) {
		finding_cannot_tell(ret, FAILURE_CLIENT_ADDRESS, "no client_address");
		return;
	}
	switch (host_list_match_block(config->block.hosts, &facts->client, &ret->match)) {
	case HOST_MATCH:
		ret->matched = true;
		finding_object(
		    ret, 554, "5.7.1", "in block.hosts", "Client host blocked");
		break;
	case HOST_EXCEPTION:
		ret->matched = true;
		finding_pass(ret, "an exception in block.hosts");
		break;
	case HOST_NO_MATCH:
		finding_pass(ret, "not in block.hosts");
		break;
	case HOST_CANNOT_TELL:
		/* `unknown` matches no name; blocking all who lack reverse DNS is another
		 * rule, and so is blocking all while an entry has no answer from DNS. */
		finding_pass(
		    ret, "not in block.hosts by address; its name is unknown, or an "
			 "entry from DNS not resolved");
		break;
	}
}
