/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/charges.h"

#include <stdio.h>

/* Keeps the strictest of the limits per message that are over, hard ones first, and all
 * of those in shadow. */
static void note_message_over(
    const struct config *config, const struct charge *charge, struct plan *plan)
{
	const struct limit *limit = &config->limits[charge->limit];
	enum limit_over over = limit->over;
	struct message_over *message = &plan->message;

	if (charge->amount <= charge->max)
		return;
	if (limit->shadow)
		message = &plan->shadow_messages[plan->shadow_messages_count++];
	else if (
	    message->is_over && (message->hard > charge->hard ||
				 (message->hard == charge->hard &&
				  config->limits[message->limit].over <= over)))
		return;
	*message = (struct message_over){
	    .is_over = true,
	    .hard = charge->hard,
	    .limit = charge->limit,
	    .amount = charge->amount,
	    .max = charge->max,
	};
}

/* A limit that would refuse cannot count: closed. One that only watches is left out. */
static bool refuses_uncounted(
    const struct config *config, struct plan *plan, const struct charge *charge,
    enum failure failure)
{
	const struct limit *limit = &config->limits[charge->limit];

	if (limit->shadow || limit->over == OVER_WARN)
		return false;
	/* verdict.limit stays empty: it is not known whether the limit is over. */
	struct verdict cause;
	failure_verdict(failure, CHECK_LIMITS, false, &cause);
	plan->verdict = cause;
	snprintf(
	    plan->verdict.reason, sizeof(plan->verdict.reason), "limit %.64s: %.240s",
	    limit->name, cause.reason);
	plan->message.is_over = false;
	plan->shadow_messages_count = 0;
	plan->charges_count = 0;
	return true;
}

/* What nobody would hear of is not asked. */
static bool is_idle(const struct charge *charge)
{
	return charge->look && !charge->hard && !charge->answers;
}

/* False: the plan is made, by a limit that cannot count. */
static bool collect(
    const struct config *config, struct plan *plan, enum limit_moment moment,
    bool relayed)
{
	enum failure failure = FAILURE_STORE;

	for (size_t i = 0; i < config->limits_count; i++) {
		struct charge *charge = &plan->charges[plan->charges_count];
		switch (limit_charge(
		    config, i, plan->facts, relayed, moment, charge, &failure)) {
		case LIMIT_SILENT:
			break;
		case LIMIT_CANNOT_COUNT:
			if (refuses_uncounted(config, plan, charge, failure))
				return false;
			break;
		case LIMIT_ASKS:
			if (charge->window_s == 0)
				note_message_over(config, charge, plan);
			else if (!is_idle(charge))
				plan->charges_count++;
			break;
		}
	}
	return true;
}

/* Sets do not mind repetitions: only amounts need a name. */
static bool charges_amounts(const struct plan *plan)
{
	for (size_t i = 0; i < plan->charges_count; i++)
		if (!plan->charges[i].look && plan->charges[i].member_len == 0)
			return true;
	return false;
}

void charges_plan(const struct config *config, struct plan *plan, bool relayed)
{
	enum limit_moment moment = limit_moment(config, plan->facts->state);

	if (plan->verdict.action == ACTION_REJECT_UNAUTH)
		moment = MOMENT_UNGRANTED;
	if (!collect(config, plan, moment, relayed))
		return;
	plan->asks_store = plan->charges_count > 0;
	plan->is_last = moment == MOMENT_CHARGE || moment == MOMENT_AFTER;
	/* What is refused anyway is looked at, for the strictest answer, and not charged.
	 */
	if (plan->message.is_over && plan->message.hard)
		for (size_t i = 0; i < plan->charges_count; i++)
			plan->charges[i].look = true;
	if (charges_amounts(plan))
		plan->token = moment == MOMENT_RECIPIENT || moment == MOMENT_UNGRANTED
				  ? TOKEN_RECIPIENT
				  : TOKEN_MESSAGE;
}

/* Blocks refuse who was refused often enough before: they count no further. */
static bool counts_as_refusal(const struct verdict *verdict)
{
	switch (verdict->check) {
	case CHECK_HOST_BLOCK:
	case CHECK_USER_BLOCK:
	case CHECK_SENDER_BLOCK:
	case CHECK_RECIPIENT_BLOCK:
	case CHECK_LIMITS:
	case CHECK_NONE:
		return false;
	case CHECK_SUBMISSION_HOSTS:
	case CHECK_COUNTRY:
	case CHECK_AUTH_PORT:
	case CHECK_AUTH_TLS:
	case CHECK_AUTH_REQUIRED:
	case CHECK_SENDER_LOGIN:
	case CHECK_FORGED_SENDER:
	case CHECK_RELAY:
		break;
	}
	/* reject_unauth_destination: whatever Postfix makes of it, we granted nothing to
	 * a relay host or SASL user who asked. */
	return verdict->action == ACTION_REJECT_UNAUTH ||
	       (verdict->action == ACTION_REPLY && verdict->code >= 500);
}

static bool counts_refusals(const struct config *config)
{
	for (size_t i = 0; i < config->limits_count; i++)
		if (config->limits[i].count == COUNT_REFUSALS)
			return true;
	return false;
}

static bool has_message(enum protocol_state state)
{
	switch (state) {
	case STATE_CONNECT:
	case STATE_EHLO:
	case STATE_MAIL:
	case STATE_RCPT:
	case STATE_DATA:
	case STATE_END_OF_MESSAGE:
		return true;
	case STATE_VRFY:
	case STATE_ETRN:
	case STATE_UNKNOWN:
		break;
	}
	return false;
}

void charges_plan_refusal(const struct config *config, struct plan *plan)
{
	const struct facts *facts = plan->facts;
	struct grant grant = {.result = GRANT_NONE};

	if (!counts_as_refusal(&plan->verdict) || !has_message(facts->state) ||
	    !counts_refusals(config))
		return;
	/* `relayed` is about the message: would Postern have granted it? */
	if (!facts->relayed)
		grant_look_up(config, facts, &grant);
	collect(
	    config, plan, MOMENT_REFUSAL, facts->relayed || grant.result == GRANT_YES);
	plan->refused = true;
	plan->asks_store = plan->charges_count > 0;
	plan->token = TOKEN_REFUSAL;
}
