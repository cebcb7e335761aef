/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/ask.h"

#include "common/control.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

int ctl_refused(const char *name, const json_t *reply, const char *error)
{
	const char *kind = json_string_value(json_object_get(reply, "kind"));
	const char *said = json_string_value(json_object_get(reply, "error"));
	const char *text = reply ? (said ? said : "refused without a reason") : error;
	char shown[2 * CONTROL_ERROR_MAX];

	printable(shown, sizeof(shown), text, strlen(text));
	fprintf(stderr, "postern %s: %s\n", name, shown);
	if (kind && strcmp(kind, "usage") == 0)
		return EXIT_USAGE;
	if (kind && strcmp(kind, "missing") == 0)
		return EXIT_NOT_FOUND;
	return EXIT_NO_DAEMON;
}

int ctl_ask(const char *name, const struct config *config, json_t *message, json_t **ret)
{
	char error[CONTROL_ERROR_MAX];
	json_t *reply = NULL;

	if (!message)
		return ctl_refused(name, NULL, "out of memory");
	if (config->policyd.control[0] == '\0') {
		json_decref(message);
		return ctl_refused(
		    name, NULL, "policyd.control is \"\": the daemon takes no commands");
	}
	int r = control_call(
	    config->policyd.control, message, CTL_ASK_MS, &reply, error, sizeof(error));
	json_decref(message);
	if (r < 0)
		return ctl_refused(name, NULL, error);
	if (!json_is_true(json_object_get(reply, "ok"))) {
		r = ctl_refused(name, reply, NULL);
		json_decref(reply);
		return r;
	}
	json_object_del(reply, "ok");
	*ret = reply;
	return 0;
}

void ctl_note(const char *name, const char *note)
{
	char shown[2 * CONTROL_ERROR_MAX];

	printable(shown, sizeof(shown), note, strlen(note));
	fprintf(stderr, "postern %s: note: %s\n", name, shown);
}

void ctl_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
}
