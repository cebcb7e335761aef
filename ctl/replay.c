/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern replay`: what another configuration would have decided. Judges each record of
 * a decision log, or each captured policy request, by the core that the daemon judges
 * with, and lists what would differ. Limits count from zero, with the records' own time;
 * what a refused message would have been charged had it passed is not guessed, and what
 * a limit's "block" would have blocked is not.
 *
 * A record holds the decision of then. A captured request does not: the configuration of
 * -c judges it for comparison.
 */
#include "common/cleanup.h"
#include "common/config.h"
#include "common/names_config.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/replay_input.h"
#include "ctl/replay_store.h"
#include "policyd/core/decide.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct config, config_unref)
DEFINE_CLEANUP(struct replay_input, replay_input_free)
DEFINE_CLEANUP(struct replay_store, replay_store_free)

static const char usage[] =
    "usage: postern replay LOG --against FILE [-c FILE] [--json]\n"
    "  LOG        a decision log, or captured policy requests; - is standard input\n"
    "  --against  the configuration to judge by\n"
    "  -c         the configuration in force, to which captured requests are compared\n";

/* What one configuration says of one case. */
struct outcome_text {
	char action[VERDICT_WIRE_MAX];
	const char *check;
	char reason[VERDICT_TEXT_MAX];
	struct slice recipient; /* whose RCPT it was; data NULL: another state */
	bool granted;           /* Postern lets it relay */
};

/* One side: a configuration with its counters. */
struct judge {
	struct config *config;
	struct replay_store *store;
	struct facts facts;
	struct plan plan;
	struct outcome outcome;
	struct verdict verdict;
};

struct replay {
	const char *log, *against, *file;
	bool json;
	struct judge then, now;
	json_t *differences;
	size_t cases, differing, bad;
};

static void describe(
    const struct verdict *verdict, struct slice recipient, struct outcome_text *ret)
{
	verdict_action_text(verdict, "", ret->action);
	ret->check = verdict->check == CHECK_NONE ? "none" : check_name(verdict->check);
	strcpy(ret->reason, verdict->reason);
	ret->recipient = recipient;
}

static bool refuses(const struct verdict *verdict)
{
	return verdict->action == ACTION_REPLY ||
	       verdict->action == ACTION_REJECT_UNAUTH ||
	       verdict->action == ACTION_DEFER_IF_REJECT;
}

/* One request; judge->verdict is the answer. @relayed: an earlier one of the message was
 * granted. */
static void judge_request(
    struct judge *judge, const struct request *request, int64_t time_ms, bool relayed)
{
	char token[PLAN_TOKEN_MAX];

	facts_read(judge->config, request, &judge->facts);
	judge->facts.relayed = relayed;
	decide(judge->config, &judge->facts, &judge->plan, NULL);
	judge->verdict = judge->plan.verdict;
	if (!judge->plan.asks_store)
		return;
	replay_store_ask(
	    judge->store, token, plan_token(judge->config, &judge->plan, token),
	    judge->plan.charges, judge->plan.charges_count, time_ms, &judge->outcome);
	settle(judge->config, &judge->plan, &judge->outcome, &judge->verdict);
}

/* A message: at RCPT for each of its recipients, then at its end. */
static void judge_message(
    struct judge *judge, const struct replay_case *now, struct outcome_text *ret)
{
	struct request rcpt = now->request;
	struct grant grant;
	bool granted = false;

	rcpt.state = STATE_RCPT;
	rcpt.recipient_count = (struct slice){"0", 1};
	for (size_t i = 0; i < now->recipients_count; i++) {
		rcpt.recipient = now->recipients[i];
		judge_request(judge, &rcpt, now->time_ms, granted);
		describe(&judge->verdict, rcpt.recipient, ret);
		if (refuses(&judge->verdict)) {
			ret->granted = false;
			return;
		}
		granted = granted || judge->verdict.action == ACTION_OK;
	}
	judge_request(judge, &now->request, now->time_ms, granted);
	describe(&judge->verdict, (struct slice){NULL, 0}, ret);
	/* The log may have learnt of none. */
	if (now->recipients_count == 0) {
		grant_look_up(judge->config, &judge->facts, &grant);
		granted = grant.result == GRANT_YES;
	}
	ret->granted = granted;
}

static void judge_case(
    struct judge *judge, const struct replay_case *now, struct outcome_text *ret)
{
	if (now->is_message) {
		judge_message(judge, now, ret);
		return;
	}
	judge_request(judge, &now->request, now->time_ms, false);
	struct slice recipient = {NULL, 0};
	if (now->request.state == STATE_RCPT)
		recipient = now->request.recipient;
	describe(&judge->verdict, recipient, ret);
	ret->granted = judge->verdict.action == ACTION_OK;
}

/* "554", "DUNNO", "HOLD": what the first word of an action says. */
static bool same_word(const char *a, const char *b)
{
	size_t len = strcspn(a, " ");

	return len == strcspn(b, " ") && strncmp(a, b, len) == 0;
}

/* The texts may differ; who answers what may not. */
static bool differ(
    const struct replay_case *now, const struct outcome_text *then,
    const struct outcome_text *next)
{
	if (!same_word(then->action, next->action) ||
	    strcmp(then->check, next->check) != 0)
		return true;
	/* Both pass a message: to relay it, or for a domain of Postfix's own. */
	return now->is_message && then->granted && !next->granted;
}

static void put(const char *before, const char *text, size_t len)
{
	char shown[600];

	printable(shown, sizeof(shown), text, len);
	printf("%s%s", before, shown);
}

static void put_slice(const char *before, struct slice slice)
{
	put(before, slice.data ? slice.data : "", slice.len);
}

/* "554 5.7.1 No (host_block)". */
static void print_outcome(
    const char *name, const struct replay_case *now, const struct outcome_text *outcome)
{
	put(name, outcome->action, strlen(outcome->action));
	if (strcmp(outcome->check, "none") != 0)
		printf(" (%s)", outcome->check);
	if (now->is_message && outcome->granted)
		fputs(", granted", stdout);
	else if (now->is_message && outcome->action[0] == 'D')
		fputs(", not granted: Postfix decides by its own domains", stdout);
	if (outcome->recipient.len > 0 && now->is_message)
		put_slice(" for ", outcome->recipient);
	if (outcome->reason[0] != '\0')
		put(": ", outcome->reason, strlen(outcome->reason));
	putchar('\n');
}

static void print_difference(
    const struct replay_case *now, const struct outcome_text *then,
    const struct outcome_text *next)
{
	put("", now->name, strlen(now->name));
	printf(
	    " (line %zu) %s", now->line,
	    now->is_message ? "message" : protocol_state_name(now->request.state));
	put_slice(" client=", now->request.client_address);
	put_slice(" from=<", now->request.sender);
	put_slice("> sasl_username=", now->request.sasl_username);
	if (now->request.recipient.len > 0) {
		put_slice(" to=<", now->request.recipient);
		putchar('>');
	}
	putchar('\n');
	print_outcome("  then: ", now, then);
	print_outcome("  now:  ", now, next);
}

/* JSON wants UTF-8: what is escaped in logs is escaped here. */
static json_t *json_text(const char *text, size_t len)
{
	char shown[2048];

	return json_stringn(shown, printable(shown, sizeof(shown), text, len));
}

static json_t *json_slice(struct slice slice)
{
	return slice.data ? json_text(slice.data, slice.len) : json_null();
}

static json_t *outcome_json(const struct outcome_text *outcome)
{
	return json_pack(
	    "{s:o, s:s, s:b, s:o, s:o}", "action",
	    json_text(outcome->action, strlen(outcome->action)), "check", outcome->check,
	    "granted", outcome->granted, "recipient", json_slice(outcome->recipient),
	    "reason", json_text(outcome->reason, strlen(outcome->reason)));
}

static json_t *difference_json(
    const struct replay_case *now, const struct outcome_text *then,
    const struct outcome_text *next)
{
	const struct request *request = &now->request;

	return json_pack(
	    "{s:o, s:I, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
	    json_text(now->name, strlen(now->name)), "line", (json_int_t)now->line,
	    "state", protocol_state_name(request->state), "message", now->is_message,
	    "client", json_slice(request->client_address), "user",
	    json_slice(request->sasl_username), "sender", json_slice(request->sender),
	    "recipient", json_slice(request->recipient), "then", outcome_json(then),
	    "now", outcome_json(next));
}

static void compare(struct replay *replay, const struct replay_case *now)
{
	struct outcome_text then = {.check = now->check}, next = {0};

	replay->cases++;
	if (now->has_decision) {
		strcpy(then.action, now->action);
		then.granted = now->was_granted;
	} else {
		judge_case(&replay->then, now, &then);
	}
	judge_case(&replay->now, now, &next);
	if (!differ(now, &then, &next))
		return;
	replay->differing++;
	if (replay->json)
		json_array_append_new(
		    replay->differences, difference_json(now, &then, &next));
	else
		print_difference(now, &then, &next);
}

static void judge_done(struct judge *judge)
{
	replay_store_free(judge->store);
	config_unref(judge->config);
}

static int judge_init(struct judge *judge, const char *file)
{
	int r = ctl_load_config(file, CONFIG_LOAD_GEOIP, &judge->config);

	if (r == 0)
		names_resolve_once(judge->config);
	if (r == 0 && replay_store_new(&judge->store) < 0)
		r = EXIT_FAILURE;
	return r;
}

static void print_sum(struct replay *replay)
{
	if (replay->json) {
		json_t *root = json_pack(
		    "{s:O, s:I, s:I, s:I}", "differences", replay->differences, "cases",
		    (json_int_t)replay->cases, "differing", (json_int_t)replay->differing,
		    "unreadable", (json_int_t)replay->bad);
		json_dumpf(root, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(root);
		return;
	}
	printf("%zu of %zu would differ", replay->differing, replay->cases);
	if (replay->bad > 0)
		printf("; %zu could not be read", replay->bad);
	putchar('\n');
}

/* Loads what the first case shows to be needed. 0, or the exit code. */
static int need_then(struct replay *replay, const struct replay_case *now)
{
	if (now->has_decision || replay->then.config)
		return 0;
	return judge_init(&replay->then, replay->file);
}

static int replay_all(struct replay *replay, FILE *file)
{
	CLEANUP(replay_input_freep) struct replay_input *input = NULL;
	struct replay_case now;
	const char *error;
	int r = 0;

	if (replay_input_new(file, &input) < 0)
		return EXIT_FAILURE;
	while (r == 0) {
		switch (replay_input_next(input, &now, &error)) {
		case REPLAY_CASE:
			r = need_then(replay, &now);
			if (r == 0)
				compare(replay, &now);
			continue;
		case REPLAY_BAD:
			replay->bad++;
			fprintf(
			    stderr, "%s:%zu: skipped: %s\n", replay->log, now.line,
			    error);
			continue;
		case REPLAY_FAILED:
			fprintf(
			    stderr, "postern replay: %s: %s\n", replay->log,
			    strerror(errno));
			return EXIT_FAILURE;
		case REPLAY_END:
			break;
		}
		break;
	}
	if (r == 0)
		print_sum(replay);
	return r;
}

static int run(struct replay *replay)
{
	int r = judge_init(&replay->now, replay->against);

	if (r != 0)
		return r;
	replay->differences = json_array();
	bool is_stdin = strcmp(replay->log, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(replay->log, "re");
	if (!file) {
		fprintf(stderr, "postern replay: %s: %s\n", replay->log, strerror(errno));
		return EXIT_NOT_FOUND;
	}
	r = replay_all(replay, file);
	if (!is_stdin)
		fclose(file);
	return r;
}

int cmd_replay(int argc, char **argv)
{
	/* Static: large, and one a process. */
	static struct replay replay;
	const struct ctl_option options[] = {{"against", &replay.against, NULL}};
	struct ctl_line line = {
	    .usage = usage,
	    .options = options,
	    .options_count = 1,
	    .arguments = {"LOG"},
	    .required = 1,
	};

	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	if (!replay.against)
		return ctl_wrong_use(argv[0], usage, "--against is missing");
	replay.file = line.file;
	replay.json = line.json;
	replay.log = line.argument[0];
	int r = run(&replay);
	judge_done(&replay.then);
	judge_done(&replay.now);
	json_decref(replay.differences);
	return r;
}
