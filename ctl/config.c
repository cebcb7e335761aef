/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern config`: the options with the values in force and where each comes from. -n
 * leaves out what is as the defaults are, KEY shows that option or all below it. Reads
 * the files, asks no daemon.
 */
#include "common/config_options.h"
#include "common/config_show.h"
#include "common/near_key.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "ctl/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct show_options {
	const char *file, *key; /* key NULL: all */
	bool changed_only, json;
};

/* What is printed once everything was read and found good. */
struct collected {
	const struct show_options *options;
	char *text; /* in memory: nothing is printed of a configuration with errors */
	size_t text_len;
	FILE *out;
	json_t *list;
	bool key_seen;
};

/* @path is @key, or below it. */
static bool is_below(const char *path, const char *key)
{
	size_t len = strlen(key);

	return strncmp(path, key, len) == 0 &&
	       (path[len] == '\0' || path[len] == '.' || path[len] == '[');
}

static void put_text(FILE *out, const struct config_shown *shown)
{
	char path[1024], where[1024] = "default";
	char *value = json_dumps(
	    shown->value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_SORT_KEYS);

	printable(path, sizeof(path), shown->path, strlen(shown->path));
	if (shown->where.line > 0) {
		size_t len = printable(
		    where, sizeof(where) - 16, shown->where.file,
		    strlen(shown->where.file));
		snprintf(where + len, sizeof(where) - len, ":%u", shown->where.line);
	}
	fprintf(out, "%s = %s  # %s\n", path, value ? value : "?", where);
	free(value);
}

static json_t *to_json(const struct config_shown *shown)
{
	json_t *item = json_pack(
	    "{s:s, s:O, s:b}", "key", shown->path, "value", shown->value, "default",
	    shown->is_default);

	if (item && shown->where.line > 0) {
		json_object_set_new(item, "file", json_string(shown->where.file));
		json_object_set_new(item, "line", json_integer(shown->where.line));
	}
	return item;
}

static void collect(void *context, const struct config_shown *shown)
{
	struct collected *collected = context;
	const struct show_options *options = collected->options;

	if (options->key && !is_below(shown->path, options->key))
		return;
	collected->key_seen = true;
	if (options->changed_only && shown->is_default)
		return;
	if (options->json)
		json_array_append_new(collected->list, to_json(shown));
	else
		put_text(collected->out, shown);
}

static int no_such_key(const char *key)
{
	struct near_key near;
	char shown[128];

	near_key_init(&near, key, strlen(key));
	for (size_t row = 0; row < config_options_count; row++)
		if (!config_option_is_in_item(&config_options[row]))
			near_key_try(&near, config_options[row].path);
	printable(shown, sizeof(shown), key, strlen(key));
	fprintf(stderr, "postern config: there is no key \"%s\"", shown);
	if (near.best)
		fprintf(stderr, ", did you mean \"%s\"?", near.best);
	fputc('\n', stderr);
	return EXIT_NOT_FOUND;
}

static int print_errors(const char *file, int r, const struct config_errors *errors)
{
	for (size_t i = 0; i < errors->lines.count; i++)
		fprintf(stderr, "%s\n", errors->lines.items[i]);
	if (errors->more)
		fprintf(stderr, "%s: %zu more errors\n", file, errors->more);
	if (r == -EINVAL)
		return EXIT_CONFIG;
	fprintf(stderr, "postern config: %s was not read: out of memory\n", file);
	return EXIT_FAILURE;
}

static int show(const struct show_options *options)
{
	struct collected collected = {.options = options, .list = json_array()};
	struct config_errors errors;

	collected.out = open_memstream(&collected.text, &collected.text_len);
	if (!collected.out || !collected.list) {
		fputs("postern config: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	int r = config_show(options->file, collect, &collected, &errors);
	fclose(collected.out);
	if (r < 0) {
		r = print_errors(options->file, r, &errors);
	} else if (
	    options->key && !collected.key_seen &&
	    config_option_find(options->key) == SIZE_MAX) {
		r = no_such_key(options->key);
	} else if (options->json) {
		json_dumpf(collected.list, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		putchar('\n');
	} else {
		fwrite(collected.text, 1, collected.text_len, stdout);
	}
	config_errors_done(&errors);
	json_decref(collected.list);
	free(collected.text);
	return r;
}

int cmd_config(int argc, char **argv)
{
	bool changed_only = false;
	const struct ctl_option options[] = {{"n", NULL, &changed_only}};
	struct ctl_line line = {
	    .usage = "usage: postern config [-n] [KEY] [-c FILE] [--json]\n",
	    .options = options,
	    .options_count = 1,
	    .arguments = {"KEY"},
	};

	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	struct show_options show_options = {
	    .file = line.file,
	    .key = line.argument[0],
	    .changed_only = changed_only,
	    .json = line.json,
	};
	return show(&show_options);
}
