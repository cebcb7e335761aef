/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/relay.h"

#include <stdbool.h>

/*
 * Whom Postern signs for, as one pure function. A signature says "this came from us": it
 * is given to those that Postern can hold to account, and for their own domain.
 *
 *	authenticated	his login answers for him, wherever he connects from
 *	local		submitted on this machine (non_smtpd_milters)
 *	relay host	listed in relay.hosts, and for this envelope sender
 *
 * and never to a stranger, an unknown client name or a bad envelope sender.
 *
 * Two domains agree when they are equal or one is a subdomain of the other; where the
 * author domain is the lower one, the upper one must be served here, so that an envelope
 * sender under a bare top-level domain agrees with nobody. What the author domain is
 * compared with:
 *
 *	match		authenticated			local, relay host
 *	any		nothing				nothing
 *	envelope	the envelope sender;		the envelope sender;
 *			null: the user's own domain	null: yes for local, and for an
 *							entry whose senders list <>
 *	user		the user's own domain		as with envelope
 *
 * A relay host whose entry has senders gets a signature only for authors in that list, or
 * in the domain of the envelope sender that the list granted.
 */

struct sign_facts {
	bool local;
	/* ADDRESS_ABSENT: not authenticated. ADDRESS_BAD: authenticated, under a name
	 * whose domain nobody knows. */
	const struct address *user;
	struct relay_host relay;
	const struct address *sender;
	const struct address *author; /* ADDRESS_OK */
};

enum sign_permit {
	SIGN_PERMITTED,
	SIGN_STRANGER,   /* neither authenticated nor local nor a relay host for this */
	SIGN_NOT_SERVED, /* the author domain is not in domains */
	SIGN_DISAGREES,  /* with what milter.dkim.match compares it with */
	SIGN_NOT_LISTED, /* the relay host's entry has senders, for another domain */
};

/* @ret_domain: the entry of domains that the author belongs to; set with
 * SIGN_PERMITTED. */
enum sign_permit sign_permitted(
    const struct config *config, const struct sign_facts *facts,
    const struct domain **ret_domain);

/* False: this client gets no signature, whoever the author turns out to be. */
bool sign_possible(const struct sign_facts *facts);

/* Why not, for the log. */
const char *sign_permit_text(enum sign_permit permit);
