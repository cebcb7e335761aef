/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/decide.h"

/* Which charges are over, and whom that blocks. A part of settle(). */

/*
 * True when this result says that its charge does not fit. A remembered outcome may be of
 * the limits before a reload, in another order.
 */
bool charge_is_over(const struct charge *charge, const struct charge_result *result);

/*
 * Sets plan->blocks: whom the limits with "block" that are over want blocked. Never for a
 * limit in shadow, nor when the client or SASL user is trusted or the client a relay
 * host; nor the null sender, nor what has no canonical form.
 */
void order_blocks(
    const struct config *config, struct plan *plan, const struct outcome *outcome);
