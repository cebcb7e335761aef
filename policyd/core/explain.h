/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/decide.h"

#include <jansson.h>

/*
 * One decision with what every check said of it, for `postern explain`: made by the
 * command from files alone, or by the daemon with its blocks and counters.
 */

struct explanation {
	const struct config *config;
	const struct plan *plan;
	const struct trace *trace;
	const struct verdict *verdict; /* what would be answered */
	const struct outcome *outcome; /* the counters'; NULL: they were not asked */
};

/*
 * {"checks": [{"check", "result", "shadow", "why", "match"?}], "limits": [{"limit",
 * "subject", "count", "amount", "max", "window", "charges", "member"?, "used"?,
 * "over"?}], "reply", "live": whether counters were asked, "refused": whether a check
 * refused}. NULL: no memory.
 */
json_t *explain_json(const struct explanation *explanation);
