/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/blocks.h"
#include "policyd/core/decide.h"
#include "policyd/core/facts.h"

#include <stdint.h>

/*
 * Makes the blocks that limits with "block" ask for in @plan, and says so: one line a new
 * block, none for a repeated order. Trusted and relay hosts and trusted users are
 * spared.
 */
void block_orders_carry_out(
    struct blocks *blocks, const struct config *config, const struct facts *facts,
    const struct plan *plan, int64_t now_s);
