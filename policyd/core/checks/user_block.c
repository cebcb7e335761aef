/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"
#include "policyd/core/identity.h"

void check_user_block(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (!facts->authenticated) {
		finding_none(ret, "not authenticated");
	} else if (facts->blocked[BLOCK_USER].is_blocked) {
		finding_blocked(
		    ret, &facts->blocked[BLOCK_USER], BLOCK_USER, false,
		    "Account blocked");
	} else if (
	    user_list_empty(config->block.users) && !facts->blocked[BLOCK_USER].is_set) {
		finding_none(ret, "no user is blocked");
	} else if (facts->user.kind != ADDRESS_OK) {
		finding_cannot_tell(
		    ret, FAILURE_ADDRESS, "the SASL user name is missing or unparsable");
	} else if (user_is_listed(
		       config, config->block.users, &facts->user, &ret->match)) {
		ret->matched = true;
		finding_object(ret, 554, "5.7.1", "in block.users", "Account blocked");
	} else {
		finding_pass(ret, "not blocked");
	}
}
