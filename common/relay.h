/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

/*
 * "Is this client a relay host, and for which senders": the one place, used by the policy
 * daemon's checks and by the milter.
 */

enum relay_host_result {
	RELAY_HOST_NO,         /* not in relay.hosts */
	RELAY_HOST_GRANTS,     /* in it, and for this sender */
	RELAY_HOST_NOT_SENDER, /* in it, but its rule does not cover this sender */
	/* Depends on the client's name or on DNS, not known now, and the sender would be
	   granted. */
	RELAY_HOST_CANNOT_TELL,
};

struct relay_host {
	enum relay_host_result result;
	/* The entry's rule when it was written as an object, else NULL. */
	const struct relay_host_rule *rule;
};

/*
 * @sender: ADDRESS_NULL and ADDRESS_OK are judged; ADDRESS_ABSENT and ADDRESS_BAD are
 * never granted (RELAY_HOST_NOT_SENDER for a listed client). @ret_match may be NULL; set
 * unless RELAY_HOST_NO or RELAY_HOST_CANNOT_TELL.
 */
struct relay_host relay_host_look_up(
    const struct config *config, const struct client *client,
    const struct address *sender, struct list_match *ret_match);
