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

/* What the charges of a request are named by, so that they happen once. */
enum charge_token {
	TOKEN_NONE,      /* only looks, or sets, which do not mind repetitions */
	TOKEN_MESSAGE,   /* the message */
	TOKEN_RECIPIENT, /* the message and this recipient */
	TOKEN_REFUSAL,   /* a refusal of this recipient, or before it of the message */
};

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
	/* A check refused for good: the charges are of limits that count refusals, and
	 * the verdict is the reply whatever becomes of them. */
	bool refused;
	enum charge_token token; /* plan_token() spells it */
	/* The state that charges, or the message's end: warn, hold, filter and shadow
	 * wait for it, so that each is said once and none takes the place of a grant at
	 * RCPT. */
	bool is_last;
	bool grants; /* Postern grants this recipient: `relayed` holds from now on */
	size_t charges_count;
	struct charge charges[LIMITS_MAX];
	struct message_over message; /* the strictest one that is not in shadow */
	size_t shadow_messages_count;
	struct message_over shadow_messages[LIMITS_MAX];
	size_t shadows_count; /* shadowed objections, for the log */
	struct verdict shadows[CHECK_COUNT + LIMITS_MAX];
	/* Set by settle(): what limits that are over want blocked. */
	size_t blocks_count;
	struct block_order blocks[BLOCK_ORDERS_MAX];
	const struct facts *facts; /* decide()'s, for settle() */
	/* Scratch of decide(). */
	struct finding finding;
	struct grant grant;
};

/*
 * @trace may be NULL; with it every check is evaluated, also those after the first
 * objection. What the plan points to lives as long as @config and @facts.
 */
void decide(
    const struct config *config, const struct facts *facts, struct plan *ret,
    struct trace *trace);

/*
 * @outcome answers plan->charges, in order. Sets *ret, which may be plan->verdict, to the
 * verdict, adds shadowed limits to plan->shadows, and what is to be blocked to
 * plan->blocks.
 */
void settle(
    const struct config *config, struct plan *plan, const struct outcome *outcome,
    struct verdict *ret);

#define PLAN_TOKEN_MAX 640

/*
 * The token of the plan's charges: HOSTNAME/INSTANCE, behind it /R/ or /X/ and the
 * canonical recipient; a longer one stands as its digest. Returns the length; 0: none,
 * since nothing is charged once, Postfix named no instance, or the recipient has no
 * canonical form.
 */
size_t plan_token(
    const struct config *config, const struct plan *plan,
    char buf[static PLAN_TOKEN_MAX]);
