/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

void check_recipient_block(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (facts->blocked[BLOCK_RECIPIENT].is_blocked) {
		finding_blocked(
		    ret, &facts->blocked[BLOCK_RECIPIENT], BLOCK_RECIPIENT, false,
		    "Recipient address blocked");
	} else if (
	    address_list_empty(config->block.recipients) &&
	    !facts->blocked[BLOCK_RECIPIENT].is_set) {
		finding_none(ret, "no recipient is blocked");
	} else if (facts->recipient.kind == ADDRESS_ABSENT) {
		finding_none(ret, "no single recipient in this state");
	} else if (facts->recipient.kind == ADDRESS_BAD) {
		finding_cannot_tell(
		    ret, FAILURE_ADDRESS, "the recipient cannot be parsed");
	} else if (address_list_match(
		       config->block.recipients, &facts->recipient, &ret->match)) {
		ret->matched = true;
		finding_object(
		    ret, 554, "5.7.1", "in block.recipients",
		    "Recipient address blocked");
	} else {
		finding_pass(ret, "not blocked");
	}
}
