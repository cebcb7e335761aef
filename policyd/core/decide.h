/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/facts.h"
#include "policyd/core/limits.h"
#include "policyd/core/verdict.h"

/*
 * The decision, pure: decide() turns facts into a plan, the store answers the plan's
 * charges, settle() turns plan and outcome into the verdict. Daemon, `postern explain`
 * and the scenarios call the same two functions.
 */

enum check_result {
	CHECK_NOT_APPLICABLE, /* too early a state, not asked by this context, list empty
			       */
	CHECK_PASSED,
	CHECK_OBJECTED,
	CHECK_CANNOT_TELL, /* an unavailable fact; failure.c says what it means */
	CHECK_NOT_REACHED, /* an earlier check gave the reply */
};

/* For `postern explain`: what every check said. */
struct trace {
	struct {
		enum check_result result;
		bool shadow;                /* objected, and only logs */
		bool matched;               /* @match is set */
		char why[VERDICT_TEXT_MAX]; /* printable */
		struct list_match match;
	} checks[CHECK_COUNT];
	char grant[VERDICT_TEXT_MAX]; /* what granted, "" when nothing did */
};

struct plan {
	struct verdict
	    verdict; /* final when !asks_store; else the answer if everything fits */
	bool asks_store;
	bool commit; /* charge; else look */
	bool grants; /* Postern grants this recipient: `relayed` from now on */
	size_t charges_count;
	struct charge charges[LIMITS_MAX];
	/* Shadowed objections, for the log. */
	size_t shadows_count;
	struct verdict shadows[CHECK_COUNT];
};

/*
 * @trace may be NULL; with it every check is evaluated, also those after the first
 * objection. The verdict's and plan's strings point into @config or are copies.
 */
void decide(
    const struct config *config, const struct facts *facts, struct plan *ret,
    struct trace *trace);

/* @outcome answers plan->charges, in order. Adds shadowed limits to plan->shadows. */
void settle(
    const struct config *config, const struct facts *facts, struct plan *plan,
    const struct outcome *outcome, struct verdict *ret);
