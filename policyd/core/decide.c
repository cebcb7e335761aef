/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/decide.h"

#include "policyd/core/charges.h"

#include <stdio.h>
#include <string.h>

/* How far the SMTP dialogue has come; VRFY and ETRN stand aside. */
enum stage { STAGE_CONNECT, STAGE_EHLO, STAGE_MAIL, STAGE_RCPT, STAGE_DATA, STAGE_END };

/*
 * The checks in order, with the earliest stage at which each runs. VRFY and ETRN run
 * those that need no sender. `relay` and `limits` are no check_function: they end the
 * row.
 */
static const struct row {
	check_function *run;
	enum stage from;
	bool needs_sender;
	bool limits_context; /* runs at DATA in the context "limits" too */
} table[CHECK_COUNT] = {
    [CHECK_HOST_BLOCK] = {check_host_block, STAGE_CONNECT, false, true},
    [CHECK_SUBMISSION_HOSTS] = {check_submission_hosts, STAGE_CONNECT, false, false},
    [CHECK_COUNTRY] = {check_country, STAGE_CONNECT, false, false},
    [CHECK_AUTH_PORT] = {check_auth_port, STAGE_MAIL, false, false},
    [CHECK_AUTH_TLS] = {check_auth_tls, STAGE_MAIL, false, false},
    [CHECK_AUTH_REQUIRED] = {check_auth_required, STAGE_MAIL, false, false},
    [CHECK_USER_BLOCK] = {check_user_block, STAGE_MAIL, false, true},
    [CHECK_SENDER_BLOCK] = {check_sender_block, STAGE_MAIL, true, false},
    [CHECK_SENDER_LOGIN] = {check_sender_login, STAGE_MAIL, true, false},
    [CHECK_FORGED_SENDER] = {check_forged_sender, STAGE_MAIL, true, false},
    [CHECK_RECIPIENT_BLOCK] = {check_recipient_block, STAGE_RCPT, false, false},
    [CHECK_RELAY] = {NULL, STAGE_RCPT, true, false},
    [CHECK_LIMITS] = {NULL, STAGE_RCPT, true, true},
};

static enum stage stage_of(enum protocol_state state)
{
	switch (state) {
	case STATE_CONNECT:
		return STAGE_CONNECT;
	case STATE_EHLO:
		return STAGE_EHLO;
	case STATE_MAIL:
		return STAGE_MAIL;
	case STATE_DATA:
		return STAGE_DATA;
	case STATE_END_OF_MESSAGE:
		return STAGE_END;
	case STATE_RCPT:
	case STATE_VRFY:
	case STATE_ETRN:
	case STATE_UNKNOWN:
		break;
	}
	return STAGE_RCPT;
}

static bool has_no_message(enum protocol_state state)
{
	return state == STATE_VRFY || state == STATE_ETRN;
}

static bool runs(const struct row *row, const struct facts *facts, enum stage stage)
{
	if (stage < row->from || (row->needs_sender && has_no_message(facts->state)))
		return false;
	if (facts->context == CONTEXT_LIMITS)
		return row->limits_context && (!row->run || stage == STAGE_DATA);
	return true;
}

static bool is_shadowed(const struct config *config, enum check_id id)
{
	for (size_t i = 0; i < config->shadow.count; i++)
		if (strcmp(config->shadow.items[i], check_name(id)) == 0)
			return true;
	return false;
}

static void add_shadow(struct plan *plan, const struct verdict *verdict)
{
	if (plan->shadows_count < sizeof(plan->shadows) / sizeof(*plan->shadows))
		plan->shadows[plan->shadows_count++] = *verdict;
}

static void set_answer(struct verdict *verdict, enum action action)
{
	verdict->action = action;
	verdict->check = CHECK_NONE;
	verdict->limit = NULL;
	verdict->code = 0;
	verdict->dsn[0] = verdict->text[0] = verdict->reason[0] = '\0';
}

/* One decision under way. */
struct deciding {
	const struct config *config;
	const struct facts *facts;
	struct plan *plan;
	struct trace *trace; /* or NULL */
	/* The first check that could not tell: every grant is withheld. CHECK_NONE: none.
	 */
	enum check_id doubter;
	enum failure doubt;
};

static struct finding *finding_of(struct deciding *d, enum check_id id)
{
	return d->trace ? &d->trace->checks[id].finding : &d->plan->finding;
}

/* Takes an objection: the reply, or a line in the log when the check is in shadow. */
static bool take_objection(struct deciding *d, enum check_id id, struct finding *finding)
{
	finding->verdict.check = id;
	finding->verdict.limit = NULL;
	if (is_shadowed(d->config, id)) {
		add_shadow(d->plan, &finding->verdict);
		if (d->trace)
			d->trace->checks[id].shadow = true;
		return false;
	}
	if (d->plan->verdict.action == ACTION_DUNNO)
		d->plan->verdict = finding->verdict;
	return true;
}

/* A shadowed check that cannot tell withholds no grant: it only watches. */
static void take_doubt(
    struct deciding *d, enum check_id id, const struct finding *finding)
{
	if (d->doubter == CHECK_NONE && !is_shadowed(d->config, id)) {
		d->doubter = id;
		d->doubt = finding->failure;
	}
}

/* Runs the checks in order. True: one objected, and plan->verdict is the reply. */
static bool run_checks(struct deciding *d)
{
	enum stage stage = stage_of(d->facts->state);
	bool objected = false;

	for (unsigned i = 0; i < CHECK_COUNT; i++) {
		enum check_id id = (enum check_id)i;
		struct finding *finding = finding_of(d, id);
		finding->result = CHECK_NOT_REACHED;
		finding->why = "not asked in this state";
		finding->matched = false;
		if (d->trace)
			d->trace->checks[id].shadow = false;
		if (!table[id].run || !runs(&table[id], d->facts, stage))
			continue;
		table[id].run(d->config, d->facts, finding);
		if (finding->result == CHECK_CANNOT_TELL)
			take_doubt(d, id, finding);
		if (finding->result == CHECK_OBJECTED && take_objection(d, id, finding))
			objected = true;
		if (objected && !d->trace)
			break;
	}
	return objected;
}

/* The `relay` check, at RCPT: grants, or says why not. */
static void check_relay(struct deciding *d, const struct grant *grant)
{
	struct finding *finding = finding_of(d, CHECK_RELAY);
	struct plan *plan = d->plan;

	finding->why = grant->why;
	finding->matched = grant->matched;
	if (d->trace && grant->matched)
		finding->match = grant->match;
	switch (grant->result) {
	case GRANT_NONE:
		finding->result = CHECK_NOT_APPLICABLE;
		return;
	case GRANT_REFUSED:
		finding->result = CHECK_OBJECTED;
		set_answer(&finding->verdict, ACTION_REJECT_UNAUTH);
		snprintf(
		    finding->verdict.reason, sizeof(finding->verdict.reason), "%s",
		    grant->why);
		take_objection(d, CHECK_RELAY, finding);
		return;
	case GRANT_CANNOT_TELL:
		finding->result = CHECK_CANNOT_TELL;
		finding->failure = grant->failure;
		failure_verdict(grant->failure, CHECK_RELAY, true, &plan->verdict);
		return;
	case GRANT_YES:
		break;
	}
	if (d->doubter != CHECK_NONE) {
		finding->result = CHECK_CANNOT_TELL;
		finding->failure = d->doubt;
		failure_verdict(d->doubt, d->doubter, true, &plan->verdict);
		return;
	}
	finding->result = CHECK_PASSED;
	plan->grants = true;
	if (d->facts->state == STATE_RCPT)
		set_answer(&plan->verdict, ACTION_OK);
}

/* Access contexts judge without granting; then `relay` has nothing to say either. */
static bool context_grants(enum request_context context)
{
	switch (context) {
	case CONTEXT_ALL:
	case CONTEXT_RELAY:
		return true;
	case CONTEXT_ACCESS:
	case CONTEXT_LIMITS:
	case CONTEXT_UNKNOWN:
		break;
	}
	return false;
}

static void start(struct deciding *d, struct grant *grant)
{
	struct plan *plan = d->plan;

	set_answer(&plan->verdict, ACTION_DUNNO);
	plan->asks_store = plan->refused = plan->is_last = plan->grants = false;
	plan->token = TOKEN_NONE;
	plan->charges_count = plan->shadows_count = plan->blocks_count = 0;
	plan->message = (struct message_over){0};
	plan->shadow_messages_count = 0;
	plan->facts = d->facts;
	grant->result = GRANT_NONE;
	grant->why = "not asked in this state";
	grant->matched = false;
}

static bool asks_relayed(const struct config *config)
{
	for (size_t i = 0; i < config->limits_count; i++)
		if (config->limits[i].when.relayed != EITHER)
			return true;
	return false;
}

void decide(
    const struct config *config, const struct facts *facts, struct plan *ret,
    struct trace *trace)
{
	static const struct outcome nothing_asked = {.kind = OUTCOME_FITS};
	struct deciding d = {config, facts, ret, trace, CHECK_NONE, FAILURE_MEMORY};
	struct grant *grant = trace ? &trace->grant : &ret->grant;

	start(&d, grant);
	bool answered = run_checks(&d);
	if (answered && !trace) {
		charges_plan_refusal(config, ret);
		return;
	}

	enum stage stage = stage_of(facts->state);
	bool judges_relay = context_grants(facts->context) && stage == STAGE_RCPT &&
			    runs(&table[CHECK_RELAY], facts, stage);
	bool has_limits = config->limits_count > 0 && facts->state != STATE_UNKNOWN &&
			  runs(&table[CHECK_LIMITS], facts, stage);
	/* From DATA on the grant only tells limits whether the message is relayed. */
	if (judges_relay || (has_limits && (trace || asks_relayed(config))))
		grant_look_up(config, facts, grant);
	if (judges_relay && answered)
		finding_of(&d, CHECK_RELAY)->why = "an earlier check gave the reply";
	else if (judges_relay)
		check_relay(&d, grant);
	if (answered)
		charges_plan_refusal(config, ret);
	if (!has_limits || answered)
		return;

	/* What `relay` does not grant may be for Postfix's own domains: limits hold. */
	charges_plan(config, ret, facts->relayed || grant->result == GRANT_YES);
	if (!ret->asks_store && (ret->message.is_over || ret->shadow_messages_count > 0))
		settle(config, ret, &nothing_asked, &ret->verdict);
}
