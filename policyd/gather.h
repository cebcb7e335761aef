/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/blocks.h"
#include "policyd/core/facts.h"
#include "policyd/core/protocol.h"
#include "policyd/instances.h"
#include "policyd/logins.h"

#include <stdint.h>

/* What this daemon remembers between requests, shared by all threads. */
struct remembered {
	struct instances *instances;
	struct blocks *blocks;
	struct logins *logins;
};

/*
 * From a request to facts: what it says, and what this daemon remembers of the message
 * and of who is in it, at @now_s of the wall clock. Looks, charges nothing, never blocks.
 */
void gather(
    const struct config *config, const struct request *request,
    const struct remembered *remembered, int64_t now_s, struct facts *ret);
