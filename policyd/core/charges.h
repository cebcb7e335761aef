/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/decide.h"

/*
 * The charges of a plan: what every limit asks of the request that plan->facts tell of.
 * Parts of decide().
 */

/* Of a request that no check refused, or that Postfix may accept for a domain of its own
 * although `relay` grants it nothing (plan->verdict). When a limit that may refuse cannot
 * count, the plan's verdict says so, and nothing is asked. */
void charges_plan(const struct config *config, struct plan *plan, bool relayed);

/* Of one that got plan->verdict from a check: charges the limits that count refusals, if
 * it is one that counts. */
void charges_plan_refusal(const struct config *config, struct plan *plan);
