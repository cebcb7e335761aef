/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/facts.h"
#include "policyd/core/failure.h"

/*
 * What permits this client to relay: relay.hosts, relay.users, anyone_from, anyone_to,
 * and a recent POP or IMAP login from its address (relay.login_grace). The first that
 * grants is named; nothing else in the program grants.
 */

enum grant_result {
	GRANT_NONE,    /* a stranger: no opinion, Postfix decides */
	GRANT_REFUSED, /* a relay host or SASL user to whom nothing grants this */
	GRANT_YES,
	GRANT_CANNOT_TELL, /* depends on a fact that cannot be told now */
};

struct grant {
	enum grant_result result;
	enum failure failure; /* GRANT_CANNOT_TELL */
	const char *why;      /* static: which rule granted, or why none did */
	bool matched;
	struct list_match match; /* the entry that granted, when a list did */
};

/* @facts.recipient may be absent (DATA on): anyone_to then cannot grant. */
void grant_look_up(
    const struct config *config, const struct facts *facts, struct grant *ret);
