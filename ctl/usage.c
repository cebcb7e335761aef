/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern usage`: the counters of a subject against their limits, or the fullest of all.
 */
#include "common/cleanup.h"
#include "common/service.h"
#include "ctl/ask.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/subject.h"
#include "ctl/table.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct config, config_unref)
DEFINE_CLEANUP(struct table, table_free)

#define TOP_MAX 1000

static const char usage[] =
    "usage: postern usage [[user:|sender:|recipient:|client:]SUBJECT]\n"
    "                     [--top N] [-c FILE] [--json]\n";

static void add_row(struct table *table, const json_t *row)
{
	const json_t *max = json_object_get(row, "max");
	const json_t *frees_at = json_object_get(row, "frees_at");
	json_int_t used = json_integer_value(json_object_get(row, "used"));
	char text[TIME_TEXT_MAX];

	table_add_text(table, row, "limit");
	table_add_text(table, row, "subject");
	table_add_count(table, (uint64_t)used);
	if (json_is_integer(max))
		table_add_count(table, (uint64_t)json_integer_value(max));
	else
		table_add(table, "none");
	table_add(
	    table,
	    duration_text(
		(uint64_t)json_integer_value(json_object_get(row, "window")), text));
	if (json_is_integer(frees_at))
		table_add(table, time_text(json_integer_value(frees_at), text));
	else
		table_add(
		    table, json_is_integer(max) && used >= json_integer_value(max)
			       ? "never"
			       : "has room");
}

static bool print_table(const json_t *rows)
{
	static const char *const headings[] = {"LIMIT", "SUBJECT", ">USED",
					       ">MAX",  "WINDOW",  "FREES AT"};
	CLEANUP(table_freep) struct table *table = table_new(headings, 6);
	const json_t *row;
	size_t i;

	if (!table)
		return false;
	json_array_foreach(rows, i, row) add_row(table, row);
	return table_print(table);
}

/* 1 to TOP_MAX, or 0. */
static int top_of(const char *text)
{
	if (text[0] == '\0' || strlen(text) > 4 ||
	    strspn(text, "0123456789") != strlen(text))
		return 0;
	int top = atoi(text);
	return top <= TOP_MAX ? top : 0;
}

int cmd_usage(int argc, char **argv)
{
	const char *top = NULL;
	const struct ctl_option options[] = {{"top", &top, NULL}};
	struct ctl_line line = {
	    .usage = usage,
	    .options = options,
	    .options_count = 1,
	    .arguments = {"SUBJECT"},
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;

	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	if (top && top_of(top) == 0)
		return ctl_wrong_use(
		    argv[0], usage, "--top wants a number from 1 to %d", TOP_MAX);
	code = ctl_load_sockets(line.file, &config);
	if (code != 0)
		return code;
	json_t *message = line.argument[0]
			      ? ctl_subject_message("usage", line.argument[0])
			      : json_pack("{s:s}", "command", "usage");
	if (!message)
		return ctl_wrong_use(argv[0], usage, "SUBJECT is empty or no UTF-8");
	if (top)
		json_object_set_new(message, "top", json_integer(top_of(top)));
	code = ctl_ask(argv[0], config, message, &reply);
	if (code != 0)
		return code;
	const json_t *rows = json_object_get(reply, "usage");
	const char *note = json_string_value(json_object_get(reply, "note"));
	if (note)
		ctl_note(argv[0], note);
	if (line.json) {
		ctl_print_json(rows);
	} else if (json_array_size(rows) == 0) {
		puts("no counters");
	} else if (!print_table(rows)) {
		fputs("postern usage: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	return 0;
}
