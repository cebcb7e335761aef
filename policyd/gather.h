/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/facts.h"
#include "policyd/core/protocol.h"
#include "policyd/instances.h"

/*
 * From a request to facts: what it says, and what this daemon remembers of the message.
 * Looks, charges nothing, never blocks.
 */
void gather(
    const struct config *config, const struct request *request,
    struct instances *instances, struct facts *ret);
