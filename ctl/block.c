/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern block` and `postern unblock`: a block at run time, made or lifted by policyd,
 * which brings VALUE to its canonical form and tells the other nodes.
 */
#include "common/cleanup.h"
#include "common/config_values.h"
#include "common/printable.h"
#include "ctl/ask.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/table.h"
#include "policyd/core/blocked.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

DEFINE_CLEANUP(struct config, config_unref)

#define BY_MAX 71

static bool is_kind(const char *text)
{
	static const char *const kinds[BLOCK_KINDS] = {
	    [BLOCK_CLIENT] = "client",
	    [BLOCK_USER] = "user",
	    [BLOCK_SENDER] = "sender",
	    [BLOCK_RECIPIENT] = "recipient",
	};
	for (size_t i = 0; i < BLOCK_KINDS; i++)
		if (strcmp(text, kinds[i]) == 0)
			return true;
	return false;
}

/* Parses the line and checks KIND. -1 to go on, else the exit code. */
static int parse(struct ctl_line *line, int argc, char **argv)
{
	int code = ctl_line_parse(line, argc, argv);

	if (code >= 0 || is_kind(line->argument[0]))
		return code;
	return ctl_wrong_use(
	    argv[0], line->usage,
	    "\"%s\" cannot be blocked: one of client, user, sender, recipient",
	    line->argument[0]);
}

/* Who asks: "ada@gw1.example.org", through sudo too. */
static void asker(const struct config *config, char by[static BY_MAX + 1])
{
	const char *sudo = getuid() == 0 ? getenv("SUDO_USER") : NULL;
	const struct passwd *passwd = sudo ? NULL : getpwuid(getuid());
	char uid[24];

	snprintf(uid, sizeof(uid), "uid %u", getuid());
	const char *name = sudo ? sudo : passwd ? passwd->pw_name : uid;
	char text[512];
	snprintf(text, sizeof(text), "%.64s@%s", name, config->hostname);
	printable_ascii(by, BY_MAX + 1, text, strlen(text));
}

/* "client 192.0.2.7 is blocked until 2026-11-21 06:10:17, on every node". */
static void print_blocked(
    const char *name, const struct ctl_line *line, const json_t *reply)
{
	const json_t *until = json_object_get(reply, "until");
	const char *note = json_string_value(json_object_get(reply, "note"));
	const char *subject = json_string_value(json_object_get(reply, "subject"));
	char value[1200], when[TIME_TEXT_MAX];

	/* As the daemon understood it: "192.0.2.0/24" for "192.0.2." */
	if (!subject)
		subject = line->argument[1];
	printable(value, sizeof(value), subject, strlen(subject));
	printf("%s %s is blocked", line->argument[0], value);
	if (json_is_integer(until))
		printf(" until %s", time_text(json_integer_value(until), when));
	else
		printf(" until it is lifted");
	printf(
	    "%s\n", json_is_true(json_object_get(reply, "shared")) ? ", on every node"
								   : ", on this node");
	if (note)
		ctl_note(name, note);
}

int cmd_block(int argc, char **argv)
{
	const char *duration = NULL, *reason = NULL;
	const struct ctl_option options[] = {
	    {"for", &duration, NULL},
	    {"reason", &reason, NULL},
	};
	struct ctl_line line = {
	    .usage =
		"usage: postern block client|user|sender|recipient VALUE\n"
		"                     [--for 2h] [--reason TEXT] [-c FILE] [--json]\n",
	    .options = options,
	    .options_count = 2,
	    .arguments = {"client, user, sender or recipient", "VALUE"},
	    .required = 2,
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	uint64_t ms = 0;
	char by[BY_MAX + 1];

	int code = parse(&line, argc, argv);
	if (code >= 0)
		return code;
	if (duration && (!time_parse(duration, false, &ms) || ms == 0))
		return ctl_wrong_use(
		    argv[0], line.usage,
		    "--for wants a time with its unit, such as 90s, 10m, 2h or 1d");
	code = ctl_load_sockets(line.file, &config);
	if (code != 0)
		return code;
	asker(config, by);
	json_t *message = json_pack(
	    "{s:s, s:s, s:s, s:s}", "command", "block", "kind", line.argument[0], "value",
	    line.argument[1], "by", by);
	if (!message)
		return ctl_wrong_use(argv[0], line.usage, "VALUE is no UTF-8");
	if (duration)
		json_object_set_new(
		    message, "for", json_integer((json_int_t)(ms / 1000)));
	if (reason && reason[0] &&
	    json_object_set_new(message, "reason", json_string(reason)) < 0) {
		json_decref(message);
		return ctl_wrong_use(argv[0], line.usage, "TEXT is no UTF-8");
	}
	code = ctl_ask(argv[0], config, message, &reply);
	if (code != 0)
		return code;
	if (line.json)
		ctl_print_json(reply);
	else
		print_blocked(argv[0], &line, reply);
	return 0;
}

int cmd_unblock(int argc, char **argv)
{
	struct ctl_line line = {
	    .usage = "usage: postern unblock client|user|sender|recipient VALUE\n"
		     "                       [-c FILE] [--json]\n",
	    .arguments = {"client, user, sender or recipient", "VALUE"},
	    .required = 2,
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	char value[1200], by[BY_MAX + 1];

	int code = parse(&line, argc, argv);
	if (code < 0)
		code = ctl_load_sockets(line.file, &config);
	if (code != 0)
		return code;
	asker(config, by);
	json_t *message = json_pack(
	    "{s:s, s:s, s:s, s:s}", "command", "unblock", "kind", line.argument[0],
	    "value", line.argument[1], "by", by);
	if (!message)
		return ctl_wrong_use(argv[0], line.usage, "VALUE is no UTF-8");
	code = ctl_ask(argv[0], config, message, &reply);
	if (code != 0)
		return code;
	printable(value, sizeof(value), line.argument[1], strlen(line.argument[1]));
	if (line.json)
		ctl_print_json(reply);
	else
		printf("%s %s is blocked no more\n", line.argument[0], value);
	return 0;
}
