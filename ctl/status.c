/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern status`: asks both daemons how they are and prints what they say, whatever it
 * is: a member of the answer is a line, an object in it a line of its own, a list of
 * objects a table. Exits with 69 when policyd does not answer; the milter may be absent.
 */
#include "common/cleanup.h"
#include "common/control.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ask.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct config, config_unref)
DEFINE_CLEANUP(struct table, table_free)

#define STATUS_MS 5000
#define VALUE_MAX 1024

/* Seconds since 1970, by the names that Postern gives them. */
static bool is_time(const char *key)
{
	static const char *const keys[] = {"time",    "since",   "until", "at",
					   "checked", "changed", "seen"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

/* A number, text or truth as people read it; not escaped. */
static void scalar_text(const char *key, const json_t *value, char *buf, size_t size)
{
	const char *text = json_string_value(value);
	char when[TIME_TEXT_MAX];

	if (text)
		snprintf(buf, size, "%s", text);
	else if (json_is_integer(value) && is_time(key))
		snprintf(buf, size, "%s", time_text(json_integer_value(value), when));
	else if (json_is_integer(value))
		snprintf(buf, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(buf, size, "%.1f", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(buf, size, "%s", json_is_true(value) ? "yes" : "no");
	else
		snprintf(buf, size, "%s", json_is_null(value) ? "-" : "...");
}

static void print_scalar(const char *key, const json_t *value)
{
	char text[VALUE_MAX], shown[VALUE_MAX];

	scalar_text(key, value, text, sizeof(text));
	printable(shown, sizeof(shown), text, strlen(text));
	fputs(shown, stdout);
}

/* "last_reload" for people. */
static void print_name(const char *key)
{
	char shown[64];
	int width = (int)printable(shown, sizeof(shown), key, strlen(key));

	for (char *c = shown; *c; c++)
		if (*c == '_')
			*c = ' ';
	printf("  %s%*s  ", shown, width < 20 ? 20 - width : 0, "");
}

static void print_mark(const char *between, bool good, const char *text)
{
	printf(
	    "%s%s%s%s", between, paint(good ? PAINT_GOOD : PAINT_BAD), text,
	    paint(PAINT_PLAIN));
}

/* "2026-11-21 04:10:17, error ..., failed"; "redis, up"; "signed 3, masked 0". */
static void print_object(json_t *object)
{
	const json_t *ok = json_object_get(object, "ok");
	const char *key, *between = "";
	char name[64];
	json_t *value;

	json_object_foreach(object, key, value)
	{
		if (value == ok)
			continue;
		if (strcmp(key, "up") == 0) {
			bool up = json_is_true(value);
			print_mark(between, up, up ? "up" : "down");
			between = ", ";
			continue;
		}
		printable(name, sizeof(name), key, strlen(key));
		bool bare = strcmp(key, "time") == 0 || strcmp(key, "kind") == 0;
		printf("%s%s%s", between, bare ? "" : name, bare ? "" : " ");
		print_scalar(key, value);
		between = ", ";
	}
	if (ok)
		print_mark(
		    between, json_is_true(ok), json_is_true(ok) ? "good" : "failed");
	putchar('\n');
}

/* The first object's members are the columns of all. */
static bool print_list(const json_t *list)
{
	const char *headings[TABLE_COLUMNS_MAX], *key;
	char text[VALUE_MAX];
	size_t columns = 0, i;
	json_t *item, *value;

	json_object_foreach(
	    json_array_get(list, 0), key, value) if (columns < TABLE_COLUMNS_MAX)
	    headings[columns++] = key;
	if (columns == 0)
		return true;
	CLEANUP(table_freep) struct table *table = table_new(headings, columns);
	if (!table)
		return false;
	json_array_foreach(list, i, item)
	{
		for (size_t c = 0; c < columns; c++) {
			value = json_object_get(item, headings[c]);
			text[0] = '\0';
			if (value)
				scalar_text(headings[c], value, text, sizeof(text));
			table_add(table, text);
		}
	}
	return table_print(table);
}

static bool print_members(const json_t *reply)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)reply, key, value)
	{
		if (strcmp(key, "program") == 0 || json_is_array(value))
			continue;
		print_name(key);
		if (json_is_object(value)) {
			print_object(value);
			continue;
		}
		print_scalar(key, value);
		putchar('\n');
	}
	json_object_foreach((json_t *)(uintptr_t)reply, key, value)
	{
		if (!json_is_array(value) || json_array_size(value) == 0)
			continue;
		print_name(key);
		putchar('\n');
		if (!print_list(value))
			return false;
	}
	return true;
}

/* One of the two. */
struct asked {
	const char *program, *key, *address;
	json_t *reply; /* NULL: it did not answer */
	char error[CONTROL_ERROR_MAX];
};

static void ask(struct asked *asked)
{
	CLEANUP(json_decrefp) json_t *message = json_pack("{s:s}", "command", "status");
	json_t *reply = NULL;

	if (asked->address[0] == '\0') {
		snprintf(
		    asked->error, sizeof(asked->error),
		    "%s.control is \"\": it cannot be asked", asked->key);
		return;
	}
	if (!message || control_call(
			    asked->address, message, STATUS_MS, &reply, asked->error,
			    sizeof(asked->error)) < 0)
		return;
	if (json_is_true(json_object_get(reply, "ok"))) {
		json_object_del(reply, "ok");
		asked->reply = reply;
		return;
	}
	const char *said = json_string_value(json_object_get(reply, "error"));
	snprintf(asked->error, sizeof(asked->error), "%s", said ? said : "it refused");
	json_decref(reply);
}

static bool print_text(const struct asked *asked)
{
	char shown[2 * CONTROL_ERROR_MAX];

	printf("%s%s%s: ", paint(PAINT_BOLD), asked->program, paint(PAINT_PLAIN));
	if (asked->reply) {
		printf("%sup%s\n", paint(PAINT_GOOD), paint(PAINT_PLAIN));
		return print_members(asked->reply);
	}
	printable(shown, sizeof(shown), asked->error, strlen(asked->error));
	printf("%sno answer%s: %s\n", paint(PAINT_BAD), paint(PAINT_PLAIN), shown);
	return true;
}

static json_t *to_json(const struct asked *asked)
{
	char shown[2 * CONTROL_ERROR_MAX];

	if (asked->reply)
		return json_incref(asked->reply);
	printable(shown, sizeof(shown), asked->error, strlen(asked->error));
	return json_pack("{s:s}", "error", shown);
}

int cmd_status(int argc, char **argv)
{
	struct ctl_line line = {.usage = "usage: postern status [-c FILE] [--json]\n"};
	CLEANUP(config_unrefp) struct config *config = NULL;

	int code = ctl_line_parse(&line, argc, argv);
	if (code < 0)
		code = ctl_load_sockets(line.file, &config);
	if (code != 0)
		return code;
	struct asked policyd = {
	    .program = "postern-policyd",
	    .key = "policyd",
	    .address = config->policyd.control,
	};
	struct asked milter = {
	    .program = "postern-milter",
	    .key = "milter",
	    .address = config->milter.control,
	};
	ask(&policyd);
	ask(&milter);
	bool printed = true;
	if (line.json) {
		json_t *root = json_pack(
		    "{s:o, s:o}", policyd.key, to_json(&policyd), milter.key,
		    to_json(&milter));
		ctl_print_json(root);
		json_decref(root);
	} else {
		printed = print_text(&policyd) && print_text(&milter);
	}
	code = policyd.reply ? 0 : EXIT_NO_DAEMON;
	json_decref(policyd.reply);
	json_decref(milter.reply);
	if (printed)
		return code;
	fputs("postern status: out of memory\n", stderr);
	return EXIT_FAILURE;
}
