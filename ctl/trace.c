/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern trace TOKEN`: who handed in the mail whose masked Received header shows TOKEN.
 * Takes the token alone, or the header with it, and opens it with the keys of
 * milter.mask.token_keys; asks no daemon.
 */
#include "common/cleanup.h"
#include "common/printable.h"
#include "common/service.h"
#include "common/token.h"
#include "ctl/ctl.h"
#include "ctl/options.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

DEFINE_CLEANUP(struct config, config_unref)

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			      "0123456789-_";

/* The token within @text: all of it but the blanks around, or what stands behind
 * "(Postern t=". */
static const char *find_token(const char *text, size_t *ret_len)
{
	static const char mark[] = "(Postern t=", blanks[] = " \t\r\n";
	const char *at = strstr(text, mark);
	if (at) {
		at += strlen(mark);
		*ret_len = strspn(at, letters);
		return at;
	}
	text += strspn(text, blanks);
	size_t len = strlen(text);
	while (len > 0 && strchr(blanks, text[len - 1]))
		len--;
	*ret_len = len;
	return text;
}

static void print_subject(const struct token_subject *subject, const char *key, bool json)
{
	char client[IP_TEXT_MAX], login[4 * TOKEN_LOGIN_MAX + 1], date[64] = "";
	time_t time = (time_t)subject->time_s;
	struct tm tm;

	ip_print(&subject->client, client);
	printable(login, sizeof(login), subject->login, strlen(subject->login));
	if (localtime_r(&time, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S %z", &tm);
	if (!json) {
		printf(
		    "client  %s\nuser    %s\ntime    %s\nkey     %s\n", client,
		    login[0] ? login : "(not authenticated)", date, key);
		return;
	}
	json_t *user = subject->login[0] ? json_string(login) : json_null();
	json_t *root = json_pack(
	    "{s:s, s:o, s:I, s:s}", "client", client, "user", user, "time",
	    (json_int_t)subject->time_s, "key", key);
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

static int trace(const struct config *config, const char *text, bool json)
{
	struct token_subject subject;
	const char *key;
	size_t len;

	if (!config->milter.mask.tokens) {
		fprintf(
		    stderr,
		    "postern trace: %s names no milter.mask.token_keys, so nothing can "
		    "be opened\n",
		    config->file);
		return EXIT_NOT_FOUND;
	}
	const char *token = find_token(text, &len);
	switch (token_open(config->milter.mask.tokens, token, len, &subject, &key)) {
	case TOKEN_OPENED:
		print_subject(&subject, key, json);
		return 0;
	case TOKEN_MALFORMED:
		fputs("postern trace: this is no token, or a part of one\n", stderr);
		return EXIT_USAGE;
	case TOKEN_NO_KEY:
		fputs(
		    "postern trace: none of milter.mask.token_keys sealed this token; "
		    "name the key of that time, or ask the node that sent the mail\n",
		    stderr);
		return EXIT_NOT_FOUND;
	case TOKEN_FORGED:
		fputs(
		    "postern trace: the token was changed, or did not come from here\n",
		    stderr);
		return EXIT_NOT_FOUND;
	}
	return EXIT_NOT_FOUND;
}

int cmd_trace(int argc, char **argv)
{
	struct ctl_line line = {
	    .usage = "usage: postern trace [-c FILE] [--json] TOKEN\n",
	    .arguments = {"TOKEN"},
	    .required = 1,
	};
	CLEANUP(config_unrefp) struct config *config = NULL;

	int code = ctl_line_parse(&line, argc, argv);
	if (code < 0)
		code = ctl_load_config(line.file, CONFIG_LOAD_TOKENS, &config);
	return code ? code : trace(config, line.argument[0], line.json);
}
