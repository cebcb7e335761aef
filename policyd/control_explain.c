/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * {"command": "explain", "request": ATTRIBUTES}: what this daemon would answer now to a
 * policy request, spelled as Postfix does, and what each check says, by its lists, blocks
 * and counters. Looks, and charges nothing.
 */

#include "policyd/control_commands.h"
#include "policyd/core/explain.h"
#include "policyd/core/protocol.h"
#include "policyd/gather.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct asked {
	struct control_request *control;
	struct config *config;
	char *attributes; /* what the request's slices point into */
	struct request request;
	struct facts facts;
	struct plan plan;
	struct trace trace;
	struct charge looks[LIMITS_MAX]; /* the plan's charges, that only look */
	struct verdict verdict;
};

static void asked_free(struct asked *asked)
{
	config_unref(asked->config);
	free(asked->attributes);
	free(asked);
}

/* Replies, and is done with @asked. */
static void reply(struct asked *asked, const struct outcome *outcome)
{
	static const struct outcome nothing_to_ask = {.kind = OUTCOME_FITS};
	const struct explanation explanation = {
	    .config = asked->config,
	    .plan = &asked->plan,
	    .trace = &asked->trace,
	    .verdict = &asked->verdict,
	    .outcome = outcome ? outcome : &nothing_to_ask,
	};

	control_reply(asked->control, explain_json(&explanation));
	asked_free(asked);
}

static void on_looked(void *context, const struct outcome *outcome)
{
	struct asked *asked = context;

	settle(asked->config, &asked->plan, outcome, &asked->verdict);
	reply(asked, outcome);
}

static void look(struct control_context *context, struct asked *asked)
{
	struct plan *plan = &asked->plan;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	gather(
	    asked->config, &asked->request, &context->parts.remembered, now.tv_sec,
	    &asked->facts);
	decide(asked->config, &asked->facts, plan, &asked->trace);
	if (!plan->asks_store) {
		asked->verdict = plan->verdict;
		reply(asked, NULL);
		return;
	}
	memcpy(
	    asked->looks, plan->charges, plan->charges_count * sizeof(plan->charges[0]));
	for (size_t i = 0; i < plan->charges_count; i++)
		asked->looks[i].look = true;
	const struct store_request ask = {
	    .charges = asked->looks,
	    .count = plan->charges_count,
	    .now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000,
	};
	store_ask(context->store, &ask, on_looked, asked);
}

void control_explain(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	const char *text = NULL, *error = "it has no attributes";
	const struct control_member members[] = {
	    {"request", CONTROL_TEXT, true, PROTOCOL_REQUEST_MAX, &text, NULL, NULL},
	};
	struct protocol_scan scan = {0};
	size_t used;

	if (!control_members(request, message, members, 1))
		return;
	struct asked *asked = calloc(1, sizeof(*asked));
	if (asked)
		asked->attributes = strdup(text);
	if (!asked || !asked->attributes) {
		free(asked);
		control_reply(request, NULL);
		return;
	}
	asked->control = request;
	asked->config = config_ref(context->config);
	if (protocol_parse(
		asked->attributes, strlen(text), &scan, &asked->request, &used, &error) ==
	    PROTOCOL_REQUEST) {
		look(context, asked);
		return;
	}
	control_refuse(
	    request, CONTROL_WRONG_USE, "\"request\" is no policy request: %s", error);
	asked_free(asked);
}
