/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/blocked.h"
#include "policyd/core/checks/check.h"
#include "policyd/core/facts.h"
#include "policyd/core/grant.h"
#include "policyd/core/limits.h"
#include "policyd/core/verdict.h"

/*
 * The decision, pure: decide() turns facts into a plan, the store answers the plan's
 * charges, settle() turns plan and outcome into the verdict. Daemon, `postern explain`
 * and the scenarios call the same two functions.
 *
 * struct plan is large; callers keep one per thread and never zero it: only what its
 * counts cover is valid.
 */

/* For `postern explain`: what every check said, and the grant. */
struct trace {
	struct {
		struct finding finding;
		bool shadow; /* objected, and only logs */
	} checks[CHECK_COUNT];
	struct grant grant;
};

/* Limits with "block" that one request can put over; further ones wait for the next. */
#define BLOCK_ORDERS_MAX 4

/* A per-message limit that is over, found without a store; limit is its index. */
struct message_over {
	bool is_over;
	bool hard;
	uint32_t limit;
	uint64_t amount, max;
};

struct plan {
	struct verdict
	    verdict; /* the answer if no limit objects; final when !asks_store */
	bool asks_store;
	bool commit; /* charge; else look */
	/* The state that charges, or the message's end: warn, hold, filter and shadow
	 * wait for it, so that each is said once and none takes the place of a grant at
	 * RCPT. */
	bool is_last;
	bool grants; /* Postern grants this recipient: `relayed` holds from now on */
	size_t charges_count;
	struct charge charges[LIMITS_MAX];
	struct message_over message; /* the strictest one */
	size_t shadows_count;        /* shadowed objections, for the log */
	struct verdict shadows[CHECK_COUNT + LIMITS_MAX];
	/* Set by settle(): what limits that are over want blocked. */
	size_t blocks_count;
	struct block_order blocks[BLOCK_ORDERS_MAX];
	/* Scratch of decide(). */
	struct finding finding;
	struct grant grant;
};

/*
 * @trace may be NULL; with it every check is evaluated, also those after the first
 * objection. What the plan points to lives as long as @config.
 */
void decide(
    const struct config *config, const struct facts *facts, struct plan *ret,
    struct trace *trace);

/*
 * @outcome answers plan->charges, in order. Sets *ret to the verdict and adds shadowed
 * limits to plan->shadows.
 */
void settle(
    const struct config *config, struct plan *plan, const struct outcome *outcome,
    struct verdict *ret);
