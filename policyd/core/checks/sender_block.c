/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

void check_sender_block(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (facts->blocked[BLOCK_SENDER].is_blocked) {
		finding_blocked(
		    ret, &facts->blocked[BLOCK_SENDER], BLOCK_SENDER, false,
		    "Sender address blocked");
	} else if (
	    address_list_empty(config->block.senders) &&
	    !facts->blocked[BLOCK_SENDER].is_set) {
		finding_none(ret, "no sender is blocked");
	} else if (
	    facts->sender.kind == ADDRESS_ABSENT || facts->sender.kind == ADDRESS_BAD) {
		finding_cannot_tell(
		    ret, FAILURE_ADDRESS, "the sender is missing or cannot be parsed");
	} else if (address_list_match(
		       config->block.senders, &facts->sender, &ret->match)) {
		ret->matched = true;
		finding_object(
		    ret, 554, "5.7.1", "in block.senders", "Sender address blocked");
	} else {
		finding_pass(ret, "not blocked");
	}
}
