/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern reset SUBJECT`: sets the counters of a subject back, of all limits.
 */
#include "common/cleanup.h"
#include "ctl/ask.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/subject.h"

#include <inttypes.h>
#include <stdio.h>

DEFINE_CLEANUP(struct config, config_unref)

int cmd_reset(int argc, char **argv)
{
	struct ctl_line line = {
	    .usage = "usage: postern reset [user:|sender:|recipient:|client:]SUBJECT\n"
		     "                     [-c FILE] [--json]\n",
	    .arguments = {"SUBJECT"},
	    .required = 1,
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;

	int code = ctl_line_parse(&line, argc, argv);
	if (code < 0)
		code = ctl_load_sockets(line.file, &config);
	if (code != 0)
		return code;
	json_t *message = ctl_subject_message("reset", line.argument[0]);
	if (!message)
		return ctl_wrong_use(argv[0], line.usage, "SUBJECT is empty or no UTF-8");
	code = ctl_ask(argv[0], config, message, &reply);
	if (code != 0)
		return code;
	json_int_t count = json_integer_value(json_object_get(reply, "counters"));
	if (line.json)
		ctl_print_json(reply);
	else
		printf(
		    "%" JSON_INTEGER_FORMAT " counter%s set back\n", count,
		    count == 1 ? "" : "s");
	const char *note = json_string_value(json_object_get(reply, "note"));
	if (note)
		ctl_note(argv[0], note);
	return 0;
}
