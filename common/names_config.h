/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/names.h"

/*
 * The host lists of a configuration, handed to the thread that resolves their names.
 */

/* The policy daemon reads all lists, the milter relay.hosts alone. */
enum names_scope { NAMES_ALL, NAMES_RELAY };

/*
 * To be called with a configuration that nothing can refuse any more, before it is
 * published. Names not known yet are waited for: three times dns.timeout, which is when
 * each has been tried, and at most five seconds. Returns 0, or -ENOMEM: then the entries
 * from DNS cannot tell. Takes a reference.
 */
int names_take_config(struct names *names, struct config *config, enum names_scope scope);

/* For a command: all lists as they are now, resolved once and told nothing of; what has
 * no answer in that time, or no memory, cannot tell. */
void names_resolve_once(struct config *config);

/* names_new() with the times and the log of a daemon; @quiet: another process tells. */
int names_start(bool quiet, struct names **ret);

/*
 * names_keep() beside a daemon's state file @state, in @state.names; "": nothing is kept.
 * A host that is known by a DNS name alone must not turn into a stranger because this
 * process is young and DNS is away.
 */
int names_keep_beside(struct names *names, const char *state, bool save_too);
