/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/facts.h"

/* Who the client is, in the words that several checks share. */

/*
 * True when @list names the SASL user. With auth.default_realm an entry without a realm
 * and a login with that realm are the same account.
 */
bool user_is_listed(
    const struct config *config, const struct user_list *list, const struct address *user,
    struct list_match *ret);

/* The served domain of the SASL user's own name; NULL: no realm, or not served here. */
const struct domain *user_domain(const struct config *config, const struct address *user);

/*
 * Is the client in relay.hosts, whatever its entry grants. EITHER: its name is not known,
 * and by name it could be granted this sender.
 */
enum ternary client_is_relay_host(const struct config *config, const struct facts *facts);

/* In trusted.hosts, trusted.users, or a relay host. */
bool client_is_trusted(const struct config *config, const struct facts *facts);
