/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/decide.h"

#include "policyd/core/over.h"

#include <stdio.h>
#include <string.h>

/* "90s", "12m", "2h", "3d": rounded up, so that who waits that long has waited enough. */
static void print_time(uint32_t seconds, char buf[static 24])
{
	static const struct {
		uint32_t length;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (seconds >= 2 * units[i].length || seconds == units[i].length) {
			snprintf(
			    buf, 24, "%u%c",
			    (seconds + units[i].length - 1) / units[i].length,
			    units[i].unit);
			return;
		}
	snprintf(buf, 24, "%us", seconds);
}

static enum action action_of(const struct limit *limit)
{
	switch (limit->over) {
	case OVER_REJECT:
	case OVER_DEFER:
		return ACTION_REPLY;
	case OVER_HOLD:
		return ACTION_HOLD;
	case OVER_FILTER:
		return ACTION_FILTER;
	case OVER_WARN:
		return ACTION_WARN;
	}
	return ACTION_REPLY;
}

/* RFC 3463: X.3.4 is "message too big", X.7.1 a matter of policy. */
static void set_code(const struct limit *limit, struct verdict *ret)
{
	bool is_size = limit->count == COUNT_BYTES && (limit->per & PER_MESSAGE);
	bool is_reject = limit->over == OVER_REJECT;

	ret->code = !is_reject ? 451 : is_size ? 552 : 554;
	snprintf(
	    ret->dsn, sizeof(ret->dsn), "%d.%s", ret->code / 100,
	    is_size && is_reject ? "3.4" : "7.1");
}

static void set_verdict(const struct limit *limit, struct verdict *ret)
{
	ret->action = action_of(limit);
	ret->check = CHECK_LIMITS;
	ret->limit = limit->name;
	ret->reason[0] = '\0';
	set_code(limit, ret);
}

/* FILTER has no text for people: what it would say goes to the log. */
static void move_text(const struct limit *limit, struct verdict *ret)
{
	if (ret->action != ACTION_FILTER)
		return;
	memcpy(ret->reason, ret->text, sizeof(ret->reason));
	snprintf(ret->text, sizeof(ret->text), "%s", limit->filter);
}

static void window_verdict(
    const struct config *config, const struct charge *charge,
    const struct charge_result *result, bool charged, struct verdict *ret)
{
	const struct limit *limit = &config->limits[charge->limit];
	char window[24], retry[24], when[48] = "", more[48] = "";

	set_verdict(limit, ret);
	print_time(charge->window_s, window);
	if (result->retry_after_s != UINT32_MAX) {
		print_time(result->retry_after_s, retry);
		snprintf(when, sizeof(when), ", try again in %s", retry);
	}
	if (!charged && charge->amount > 1)
		snprintf(
		    more, sizeof(more), ", this message has %llu",
		    (unsigned long long)charge->amount);
	snprintf(
	    ret->text, sizeof(ret->text), "Limit %s: %llu of %llu %s in %s used%s%s",
	    limit->name, (unsigned long long)result->used,
	    (unsigned long long)charge->max, limit_unit(limit->count), window, more,
	    charged ? "" : when);
	move_text(limit, ret);
}

static void message_verdict(
    const struct config *config, const struct message_over *over, struct verdict *ret)
{
	const struct limit *limit = &config->limits[over->limit];

	set_verdict(limit, ret);
	snprintf(
	    ret->text, sizeof(ret->text),
	    "Limit %s: the message has %llu %s, at most %llu", limit->name,
	    (unsigned long long)over->amount, limit_unit(limit->count),
	    (unsigned long long)over->max);
	move_text(limit, ret);
}

/* The strictest limit that is over among hard ones, or among the others. -1: none. */
static int strictest(
    const struct config *config, const struct plan *plan, const struct outcome *outcome,
    bool hard)
{
	int best = -1;

	for (size_t i = 0; i < plan->charges_count && i < outcome->count; i++) {
		const struct charge *charge = &plan->charges[i];
		const struct limit *limit = &config->limits[charge->limit];
		if (!charge_is_over(charge, &outcome->results[i]) ||
		    charge->hard != hard || limit->shadow || (!hard && !charge->answers))
			continue;
		if (best < 0 ||
		    limit->over < config->limits[plan->charges[best].limit].over)
			best = (int)i;
	}
	return best;
}

/* Which of the two answers is the stricter one: the message's own, or charge @best. */
static bool message_wins(
    const struct config *config, const struct plan *plan, int best, bool hard)
{
	const struct message_over *message = &plan->message;

	if (!message->is_over || message->hard != hard)
		return false;
	return best < 0 || config->limits[message->limit].over <=
			       config->limits[plan->charges[best].limit].over;
}

static void note_shadows(
    const struct config *config, struct plan *plan, const struct outcome *outcome)
{
	const size_t room = sizeof(plan->shadows) / sizeof(*plan->shadows);

	for (size_t i = 0; plan->is_last && i < plan->shadow_messages_count &&
			   plan->shadows_count < room;
	     i++)
		message_verdict(
		    config, &plan->shadow_messages[i],
		    &plan->shadows[plan->shadows_count++]);
	for (size_t i = 0; i < plan->charges_count && i < outcome->count; i++) {
		const struct charge *charge = &plan->charges[i];
		if (!charge_is_over(charge, &outcome->results[i]) || !charge->answers ||
		    !config->limits[charge->limit].shadow || plan->shadows_count >= room)
			continue;
		window_verdict(
		    config, charge, &outcome->results[i], !charge->look,
		    &plan->shadows[plan->shadows_count++]);
	}
}

/* Picks among the limits that are over. False: none of this hardness is. */
static bool object(
    const struct config *config, const struct plan *plan, const struct outcome *outcome,
    bool hard, struct verdict *ret)
{
	int best = strictest(config, plan, outcome, hard);

	if (message_wins(config, plan, best, hard))
		message_verdict(config, &plan->message, ret);
	else if (best >= 0)
		window_verdict(
		    config, &plan->charges[best], &outcome->results[best],
		    !plan->charges[best].look && !hard, ret);
	else
		return false;
	return true;
}

/* May everything pass uncounted? What only watches or warns never refuses, and over a
 * refusal that is to be counted the check's reply stands. */
static bool may_pass_uncounted(const struct config *config, const struct plan *plan)
{
	for (size_t i = 0; i < plan->charges_count; i++) {
		const struct limit *limit = &config->limits[plan->charges[i].limit];
		bool refusal = limit->count == COUNT_REFUSALS && !plan->charges[i].look;
		if (!limit->shadow && limit->over != OVER_WARN && !refusal)
			return false;
	}
	return true;
}

/* The usual outcome: no limit has anything to say. */
static bool nothing_is_over(const struct plan *plan, const struct outcome *outcome)
{
	bool over = plan->message.is_over || plan->shadow_messages_count > 0 ||
		    outcome->kind != OUTCOME_FITS;

	for (size_t i = 0; i < outcome->count; i++)
		over = over || outcome->results[i].over;
	return !over;
}

void settle(
    const struct config *config, struct plan *plan, const struct outcome *outcome,
    struct verdict *ret)
{
	static const struct outcome nothing = {.kind = OUTCOME_FITS};

	if (nothing_is_over(plan, outcome)) {
		if (ret != &plan->verdict)
			*ret = plan->verdict;
		return;
	}
	if (outcome->kind == OUTCOME_UNAVAILABLE) {
		if (!plan->refused && !may_pass_uncounted(config, plan)) {
			failure_verdict(FAILURE_STORE, CHECK_LIMITS, false, ret);
			return;
		}
		outcome = &nothing;
	}
	order_blocks(config, plan, outcome);
	if (!plan->refused && object(config, plan, outcome, true, ret))
		return;
	/* An outcome of before a reload, of a limit that is gone: it was not charged. */
	if (!plan->refused && outcome->kind == OUTCOME_OVER) {
		failure_verdict(FAILURE_STORE, CHECK_LIMITS, false, ret);
		return;
	}
	if (ret != &plan->verdict)
		*ret = plan->verdict;
	note_shadows(config, plan, outcome);
	if (plan->is_last)
		object(config, plan, outcome, false, ret);
}
