/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern login`: tells policyd of a POP or IMAP login, for relay.login_grace. Called by
 * Dovecot for every login, under Dovecot's user: says nothing when all is well, goes to
 * the login socket when the control socket is not its own, and with --socket reads no
 * configuration at all.
 */
#include "common/cleanup.h"
#include "common/control.h"
#include "ctl/ask.h"
#include "ctl/ctl.h"
#include "ctl/options.h"

#include <stdio.h>
#include <string.h>

DEFINE_CLEANUP(struct config, config_unref)

/* A user waits for his mailbox meanwhile. */
#define LOGIN_MS 3000

/* 0 and the reply, or a negative errno and a sentence. "" is no address. */
static int try(
    const char *address, const json_t *message, json_t **ret, char *errbuf,
    size_t errsize)
{
	if (address[0] == '\0') {
		snprintf(
		    errbuf, errsize,
		    "policyd.control and policyd.login_socket are \"\": nobody takes "
		    "logins");
		return -1;
	}
	return control_call(address, message, LOGIN_MS, ret, errbuf, errsize);
}

/* The control socket; where it is off or not to be reached, the login socket. */
static int ask(
    const struct config *config, const char *socket, const json_t *message, json_t **ret,
    char *errbuf, size_t errsize)
{
	if (socket)
		return try(socket, message, ret, errbuf, errsize);
	int r = try(config->policyd.control, message, ret, errbuf, errsize);
	if (r < 0 && config->policyd.login_socket[0] != '\0')
		r = try(config->policyd.login_socket, message, ret, errbuf, errsize);
	return r;
}

int cmd_login(int argc, char **argv)
{
	const char *user = NULL, *socket = NULL;
	const struct ctl_option options[] = {
	    {"user", &user, NULL},
	    {"socket", &socket, NULL},
	};
	struct ctl_line line = {
	    .usage =
		"usage: postern login IP [--user USER] [--socket unix:PATH | -c FILE]\n"
		"                     [--json]\n",
	    .options = options,
	    .options_count = 2,
	    .arguments = {"IP"},
	    .required = 1,
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(json_decrefp) json_t *message = NULL, *reply = NULL;
	char error[CONTROL_ERROR_MAX];

	int code = ctl_line_parse(&line, argc, argv);
	if (code < 0)
		code = socket ? 0 : ctl_load_sockets(line.file, &config);
	if (code != 0)
		return code;
	message = json_pack("{s:s, s:s}", "command", "login", "ip", line.argument[0]);
	if (!message || (user && user[0] &&
			 json_object_set_new(message, "user", json_string(user)) < 0))
		return ctl_wrong_use(argv[0], line.usage, "IP or USER is no UTF-8");
	if (ask(config, socket, message, &reply, error, sizeof(error)) < 0)
		return ctl_refused(argv[0], NULL, error);
	if (!json_is_true(json_object_get(reply, "ok")))
		return ctl_refused(argv[0], reply, NULL);
	json_object_del(reply, "ok");
	if (line.json)
		ctl_print_json(reply);
	return 0;
}
