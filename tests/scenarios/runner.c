/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replays a story (*.scn) on the real core: protocol, gather, decide, memory store,
 * settle, with a clock that the story sets. A line each:
 *
 *	config           JSON up to a line with a single dot, as a file in the working
 *	                 directory; again: a reload, counters stay
 *	clock TIME       such as 2026-01-05T08:00:00Z
 *	+10m             time goes on (s, m, h, d)
 *	always k=v ...   attributes of every later ask; always without any forgets them
 *	ask STATE k=v .. one policy request; a value with blanks stands in "..."
 *	want TEXT        the action must begin with TEXT
 *	by CHECK [LIMIT] who must have objected
 *	orders KIND SUBJECT SECONDS
 *	                 the last ask's limits must order this block; "orders none": none
 *	shadow CHECK [LIMIT]
 *	                 the last ask must have been objected to in shadow; "shadow none"
 *	repeat N         the last ask N times more, each a message of its own, same wants
 *	again            the last ask as it was, same instance
 *	store down|up    the store stops answering
 *	block KIND SUBJECT [10m]   as `postern block`; without a time until it is lifted
 *	unblock KIND SUBJECT       as `postern unblock`; there must be one
 *	login ADDRESS    a POP or IMAP login
 *	logins away|back the other nodes' logins cannot be asked for
 *
 * An ask without instance= is a message of its own. Says FILE:LINE of every difference.
 */
#include "common/config.h"
#include "policyd/block_orders.h"
#include "policyd/block_subject.h"
#include "policyd/core/decide.h"
#include "policyd/gather.h"
#include "policyd/ledger.h"
#include "policyd/store.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX (64 * 1024)

struct story {
	const char *path;
	FILE *file;
	unsigned line;
	unsigned failures, asks;
	struct config *config;
	struct store *store;
	struct remembered remembered;
	bool store_down;
	int64_t now_ms;
	unsigned message;
	char always[TEXT_MAX], asked[TEXT_MAX];
	char want[1024], by[128];
	struct request request;
	char bytes[TEXT_MAX];
	struct facts facts;
	struct plan plan;
	struct verdict verdict;
};

static void die(const struct story *story, const char *what)
{
	fprintf(stderr, "%s:%u: %s\n", story->path, story->line, what);
	exit(2);
}

static void load_config(struct story *story)
{
	char name[] = "scenario-XXXXXX.json", line[4096];
	int fd = mkstemps(name, 5);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file)
		die(story, "cannot write a temporary configuration");
	while (fgets(line, sizeof(line), story->file) && strcmp(line, ".\n") != 0) {
		story->line++;
		fputs(line, file);
	}
	story->line++;
	fclose(file);

	struct config *config = NULL;
	struct config_errors errors = {0};
	int r = config_load(name, CONFIG_LOAD_GEOIP, &config, &errors);
	for (size_t i = 0; i < errors.lines.count; i++)
		fprintf(stderr, "%s\n", errors.lines.items[i]);
	config_errors_done(&errors);
	unlink(name);
	if (r < 0)
		die(story, "the configuration above is broken");
	config_unref(story->config);
	story->config = config;
}

/* The tables' clock is the story's. */
static int64_t story_ms = 1767600000000;

static void story_clock(struct moment *ret)
{
	ret->wall_ms = ret->steady_ms = story_ms;
}

static void set_clock(struct story *story, const char *text)
{
	struct tm tm = {0};

	if (!strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm))
		die(story, "a clock is 2026-01-05T08:00:00Z");
	story_ms = story->now_ms = (int64_t)timegm(&tm) * 1000;
}

static int64_t read_time(const struct story *story, const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	int64_t unit = *end == 's'   ? 1
		       : *end == 'm' ? 60
		       : *end == 'h' ? 3600
		       : *end == 'd' ? 86400
				     : 0;

	if (n <= 0 || unit == 0)
		die(story, "times are 90s, 10m, 1h, 1d");
	return n * unit;
}

static void pass_time(struct story *story, const char *text)
{
	story_ms = story->now_ms += read_time(story, text) * 1000;
}

/* "KIND SUBJECT [TIME]" */
static void change_block(struct story *story, const char *text, bool add)
{
	char kind[16] = "", subject[512] = "", time[16] = "";
	struct block block = {.since_s = story->now_ms / 1000, .by = "story"};

	sscanf(text, "%15s %511s %15s", kind, subject, time);
	block.kind = block_kind_by_name(kind, strlen(kind));
	const char *wrong = block_subject(
	    story->config, block.kind, subject, strlen(subject), block.subject);
	if (wrong)
		die(story, wrong);
	if (time[0])
		block.until_s = block.since_s + read_time(story, time);
	if (add ? blocks_put(story->remembered.blocks, &block) != 0
		: !blocks_remove(story->remembered.blocks, block.kind, block.subject))
		die(story, "the block cannot be changed");
}

static void record_login(struct story *story, const char *text)
{
	struct login login = {.at_s = story->now_ms / 1000};

	if (!ip_parse(text, strlen(text), &login.ip) ||
	    logins_put(story->remembered.logins, &login) < 0)
		die(story, "a login has an address");
}

/* k=v k="v w" ... becomes one attribute line each. */
static size_t put_attributes(struct story *story, size_t len, const char *text)
{
	char *out = story->bytes;

	while (*text) {
		while (isspace((unsigned char)*text))
			text++;
		bool quoted = false;
		bool any = false;
		for (; *text && (quoted || !isspace((unsigned char)*text)); text++) {
			if (*text == '"' && (quoted || text[-1] == '='))
				quoted = !quoted;
			else if (len + 2 < sizeof(story->bytes))
				out[len++] = *text;
			any = true;
		}
		if (any)
			out[len++] = '\n';
	}
	return len;
}

static void take_outcome(void *context, const struct outcome *outcome)
{
	struct story *story = context;

	settle(story->config, &story->plan, outcome, &story->verdict);
}

static void ask_store(struct story *story)
{
	char token[PLAN_TOKEN_MAX];
	struct outcome away = {.kind = OUTCOME_UNAVAILABLE};

	if (story->store_down) {
		take_outcome(story, &away);
		return;
	}
	struct store_request ask = {
	    .token = token,
	    .token_len = plan_token(story->config, &story->plan, token),
	    .charges = story->plan.charges,
	    .count = story->plan.charges_count,
	    .now_ms = story->now_ms,
	};
	store_ask(story->store, &ask, take_outcome, story);
}

static void ask(struct story *story)
{
	struct protocol_scan scan = {0};
	const char *error = NULL;
	size_t used, len;

	if (!story->config)
		die(story, "ask before config");
	story->asks++;
	len = (size_t)snprintf(
	    story->bytes, sizeof(story->bytes),
	    "request=smtpd_access_policy\nclient_address=203.0.113.9\n"
	    "client_name=unknown\nserver_port=25\ninstance=story.%u\nprotocol_state=",
	    story->message);
	/* Of repeated attributes the last counts: the ask's own stand last. */
	size_t state_len = strcspn(story->asked, " ");
	len += (size_t)snprintf(
	    story->bytes + len, sizeof(story->bytes) - len, "%.*s\n", (int)state_len,
	    story->asked);
	len = put_attributes(story, len, story->always);
	len = put_attributes(story, len, story->asked + state_len);
	story->bytes[len++] = '\n';
	if (protocol_parse(story->bytes, len, &scan, &story->request, &used, &error) !=
	    PROTOCOL_REQUEST)
		die(story, error ? error : "an incomplete request");
	gather(
	    story->config, &story->request, &story->remembered, story->now_ms / 1000,
	    &story->facts);
	decide(story->config, &story->facts, &story->plan, NULL);
	story->verdict = story->plan.verdict;
	if (story->plan.asks_store)
		ask_store(story);
	block_orders_carry_out(
	    story->remembered.blocks, story->config, &story->facts, &story->plan,
	    story->now_ms / 1000);
	if (story->verdict.action == ACTION_OK)
		instances_set_granted(
		    story->remembered.instances, story->request.instance);
	story->want[0] = story->by[0] = '\0';
}

static void complain(struct story *story, const char *want, const char *got)
{
	fprintf(
	    stderr, "%s:%u: want %s, got %s (check %s%s%s, %s)\n", story->path,
	    story->line, want, got, check_name(story->verdict.check),
	    story->verdict.limit ? " limit " : "",
	    story->verdict.limit ? story->verdict.limit : "", story->verdict.reason);
	story->failures++;
}

static void compare(struct story *story)
{
	char action[VERDICT_WIRE_MAX], by[128];

	verdict_action_text(&story->verdict, "", action);
	/* A whole word, so that "OK" is not met by something longer. */
	size_t len = strlen(story->want);
	if (len > 0 && (strncmp(action, story->want, len) != 0 ||
			(isalnum((unsigned char)action[len]) &&
			 isalnum((unsigned char)story->want[len - 1]))))
		complain(story, story->want, action);
	snprintf(
	    by, sizeof(by), "%s%s%s", check_name(story->verdict.check),
	    story->verdict.limit ? " " : "",
	    story->verdict.limit ? story->verdict.limit : "");
	if (story->by[0] != '\0' && strcmp(story->by, by) != 0)
		complain(story, story->by, action);
}

static void print_block(const struct block_order *order, char *buf, size_t size)
{
	static const char *const kinds[BLOCK_KINDS] = {
	    [BLOCK_CLIENT] = "client",
	    [BLOCK_USER] = "user",
	    [BLOCK_SENDER] = "sender",
	    [BLOCK_RECIPIENT] = "recipient",
	};

	snprintf(
	    buf, size, "%s %s %u", kinds[order->kind], order->subject, order->seconds);
}

static void compare_blocks(struct story *story, const char *want)
{
	char got[ADDRESS_TEXT_MAX + 64];

	if (strcmp(want, "none") == 0 && story->plan.blocks_count == 0)
		return;
	for (size_t i = 0; i < story->plan.blocks_count; i++) {
		print_block(&story->plan.blocks[i], got, sizeof(got));
		if (strcmp(got, want) == 0)
			return;
	}
	complain(story, want, story->plan.blocks_count > 0 ? got : "no block");
}

static void compare_shadows(struct story *story, const char *want)
{
	char got[128] = "no shadow";

	if (strcmp(want, "none") == 0 && story->plan.shadows_count == 0)
		return;
	for (size_t i = 0; i < story->plan.shadows_count; i++) {
		const struct verdict *verdict = &story->plan.shadows[i];
		snprintf(
		    got, sizeof(got), "%s%s%s", check_name(verdict->check),
		    verdict->limit ? " " : "", verdict->limit ? verdict->limit : "");
		if (strcmp(got, want) == 0)
			return;
	}
	complain(story, want, got);
}

static void repeat(struct story *story, const char *text)
{
	char want[sizeof(story->want)], by[sizeof(story->by)];

	memcpy(want, story->want, sizeof(want));
	memcpy(by, story->by, sizeof(by));
	if (want[0] == '\0')
		die(story, "repeat needs a want before it");
	for (long n = strtol(text, NULL, 10); n > 0; n--) {
		story->message++;
		ask(story);
		memcpy(story->want, want, sizeof(want));
		memcpy(story->by, by, sizeof(by));
		compare(story);
	}
}

static void take_line(struct story *story, char *line)
{
	char *rest = line + strcspn(line, " \t");

	while (*rest == ' ' || *rest == '\t')
		*rest++ = '\0';
	if (strcmp(line, "config") == 0) {
		load_config(story);
	} else if (strcmp(line, "clock") == 0) {
		set_clock(story, rest);
	} else if (line[0] == '+') {
		pass_time(story, line + 1);
	} else if (strcmp(line, "always") == 0) {
		snprintf(story->always, sizeof(story->always), "%s", rest);
	} else if (strcmp(line, "ask") == 0) {
		snprintf(story->asked, sizeof(story->asked), "%s", rest);
		story->message++;
		ask(story);
	} else if (strcmp(line, "again") == 0) {
		ask(story);
	} else if (strcmp(line, "repeat") == 0) {
		repeat(story, rest);
	} else if (strcmp(line, "want") == 0) {
		snprintf(story->want, sizeof(story->want), "%s", rest);
		compare(story);
	} else if (strcmp(line, "by") == 0) {
		snprintf(story->by, sizeof(story->by), "%s", rest);
		compare(story);
	} else if (strcmp(line, "block") == 0 || strcmp(line, "unblock") == 0) {
		change_block(story, rest, line[0] == 'b');
	} else if (strcmp(line, "login") == 0) {
		record_login(story, rest);
	} else if (strcmp(line, "logins") == 0) {
		logins_set_complete(story->remembered.logins, strcmp(rest, "away") != 0);
	} else if (strcmp(line, "orders") == 0) {
		compare_blocks(story, rest);
	} else if (strcmp(line, "shadow") == 0) {
		compare_shadows(story, rest);
	} else if (strcmp(line, "store") == 0) {
		story->store_down = strcmp(rest, "down") == 0;
	} else {
		die(story, "not a word of this language");
	}
}

int main(int argc, char **argv)
{
	static struct story story;
	char line[TEXT_MAX];

	if (argc != 2) {
		fprintf(stderr, "usage: %s STORY\n", argv[0]);
		return 64;
	}
	story.path = argv[1];
	story.file = fopen(argv[1], "r");
	story.now_ms = story_ms;
	if (!story.file || store_memory_new(10000, &story.store) < 0 ||
	    instances_new(1000, &story.remembered.instances) < 0 ||
	    blocks_new(1000, &story.remembered.blocks) < 0 ||
	    logins_new(1000, &story.remembered.logins) < 0)
		die(&story, "cannot begin");
	ledger_set_clock(blocks_ledger(story.remembered.blocks), story_clock);
	ledger_set_clock(logins_ledger(story.remembered.logins), story_clock);
	while (fgets(line, sizeof(line), story.file)) {
		story.line++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '\0' && line[0] != '#')
			take_line(&story, line);
	}
	if (story.asks == 0)
		die(&story, "a story that asks nothing proves nothing");
	printf(
	    "%s: %u requests, %u differences\n", story.path, story.asks, story.failures);
	fclose(story.file);
	config_unref(story.config);
	store_free(story.store);
	logins_free(story.remembered.logins);
	blocks_free(story.remembered.blocks);
	instances_free(story.remembered.instances);
	return story.failures > 0;
}
