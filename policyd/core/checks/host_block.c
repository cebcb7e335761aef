/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

/* An exception in block.hosts is one from that list, not from blocks at run time. */
static bool check_run_time(const struct facts *facts, struct finding *ret)
{
	const struct blocked *blocked = &facts->blocked[BLOCK_CLIENT];

	if (!blocked->is_blocked)
		return false;
	finding_blocked(ret, blocked, BLOCK_CLIENT, true, "Client host blocked");
	return true;
}

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
		if (check_run_time(facts, ret))
			return;
		ret->matched = true;
		finding_pass(ret, "an exception in block.hosts");
		break;
	case HOST_NO_MATCH:
		if (check_run_time(facts, ret))
			return;
		finding_pass(ret, "not in block.hosts");
		break;
	case HOST_CANNOT_TELL:
		if (check_run_time(facts, ret))
			return;
		/* `unknown` matches no name; blocking all who lack reverse DNS is another
		 * rule, and so is blocking all while an entry has no answer from DNS. */
		finding_pass(
		    ret, "not in block.hosts by address; its name is unknown, or an "
			 "entry from DNS not resolved");
		break;
	}
}
