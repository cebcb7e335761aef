/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern blocks`: the blocks made at run time, by command or by a limit, that hold now.
 * Those of the configuration are `postern config block`.
 */
#include "common/cleanup.h"
#include "common/service.h"
#include "ctl/ask.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/table.h"

#include <stdio.h>
#include <stdlib.h>

DEFINE_CLEANUP(struct config, config_unref)
DEFINE_CLEANUP(struct table, table_free)

static void add_time(struct table *table, const json_t *block, const char *key)
{
	const json_t *at = json_object_get(block, key);
	char text[TIME_TEXT_MAX];

	table_add(
	    table, json_is_integer(at) ? time_text(json_integer_value(at), text)
				       : "until it is lifted");
}

static bool print_table(const json_t *blocks)
{
	static const char *const headings[] = {"KIND",  "SUBJECT", "UNTIL",
					       "SINCE", "BY",      "REASON"};
	CLEANUP(table_freep) struct table *table = table_new(headings, 6);
	const json_t *block;
	size_t i;

	if (!table)
		return false;
	json_array_foreach(blocks, i, block)
	{
		table_add_text(table, block, "kind");
		table_add_text(table, block, "subject");
		add_time(table, block, "until");
		add_time(table, block, "since");
		table_add_text(table, block, "by");
		table_add_text(table, block, "reason");
	}
	return table_print(table);
}

int cmd_blocks(int argc, char **argv)
{
	struct ctl_line line = {.usage = "usage: postern blocks [-c FILE] [--json]\n"};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;

	int code = ctl_line_parse(&line, argc, argv);
	if (code < 0)
		code = ctl_load_sockets(line.file, &config);
	if (code == 0)
		code = ctl_ask(
		    argv[0], config, json_pack("{s:s}", "command", "blocks"), &reply);
	if (code != 0)
		return code;
	const json_t *blocks = json_object_get(reply, "blocks");
	if (line.json) {
		ctl_print_json(blocks);
	} else if (json_array_size(blocks) == 0) {
		puts("no blocks");
	} else if (!print_table(blocks)) {
		fputs("postern blocks: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	return 0;
}
