/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern import PROGRAM PATH`: prints a fragment for postern.json, and on standard
 * error what became of each line. Writes no file and reads Postern's own configuration
 * not at all: the fragment is for an administrator to look at.
 */
#include "ctl/import.h"

#include "common/printable.h"
#include "ctl/ctl.h"
#include "ctl/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: postern import opendkim PATH [--json]\n";

static const struct {
	const char *name;
	importer *run;
} importers[] = {
    {"opendkim", import_opendkim},
};

#define IMPORTERS (sizeof(importers) / sizeof(importers[0]))

static const char *const results[] = {
    [IMPORT_CONVERTED] = "converted",
    [IMPORT_CHANGED] = "changed",
    [IMPORT_REFUSED] = "refused",
};

static json_t *printable_json(const char *text)
{
	char shown[1024];
	printable(shown, sizeof(shown), text, strlen(text));
	return json_string(shown);
}

void import_line(
    struct import *import, const struct import_place *place, enum import_result result,
    const char *why, ...)
{
	char text[512];
	va_list args;
	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	json_t *line = json_pack(
	    "{s:o, s:I, s:o, s:s, s:o}", "file",
	    place->file ? printable_json(place->file) : json_null(), "line",
	    (json_int_t)place->line, "text", printable_json(place->text), "result",
	    results[result], "why", printable_json(text));
	if (!line || json_array_append_new(import->lines, line) < 0)
		import->no_memory = true;
}

json_t *import_object(struct import *import, const char *path)
{
	json_t *at = import->fragment;
	while (at && *path) {
		size_t len = strcspn(path, "\n");
		char key[300];
		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		json_t *next = json_object_get(at, key);
		if (!next) {
			next = json_object();
			if (!next || json_object_set_new(at, key, next) < 0)
				next = NULL;
		}
		at = next;
		path += path[len] ? len + 1 : len;
	}
	if (!at)
		import->no_memory = true;
	return at;
}

void import_set(struct import *import, const char *path, const char *key, json_t *value)
{
	json_t *object = import_object(import, path);
	if (!object || json_object_set_new(object, key, value) < 0)
		import->no_memory = true;
}

void import_add(
    struct import *import, const char *path, const char *key, const char *text)
{
	json_t *object = import_object(import, path);
	json_t *array = object ? json_object_get(object, key) : NULL;
	if (object && !array) {
		array = json_array();
		if (!array || json_object_set_new(object, key, array) < 0)
			array = NULL;
	}
	for (size_t i = 0; i < json_array_size(array); i++)
		if (strcmp(json_string_value(json_array_get(array, i)), text) == 0)
			return;
	if (!array || json_array_append_new(array, json_string(text)) < 0)
		import->no_memory = true;
}

static void print_lines(const struct import *import)
{
	size_t counts[3] = {0};
	for (size_t i = 0; i < json_array_size(import->lines); i++) {
		json_t *line = json_array_get(import->lines, i);
		const char *file = json_string_value(json_object_get(line, "file"));
		const char *result = json_string_value(json_object_get(line, "result"));
		const char *why = json_string_value(json_object_get(line, "why"));
		if (file)
			fprintf(
			    stderr, "%s:%lld: ", file,
			    (long long)json_integer_value(json_object_get(line, "line")));
		else
			fputs("(default): ", stderr);
		fprintf(
		    stderr, "%s: %s%s%s\n", result,
		    json_string_value(json_object_get(line, "text")), why[0] ? ": " : "",
		    why);
		for (size_t k = 0; k < 3; k++)
			counts[k] += strcmp(result, results[k]) == 0;
	}
	fprintf(
	    stderr, "%zu converted, %zu changed, %zu refused\n", counts[0], counts[1],
	    counts[2]);
}

static void print_json(const struct import *import)
{
	json_t *root =
	    json_pack("{s:O, s:O}", "fragment", import->fragment, "lines", import->lines);
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

static int run(importer *from, const char *path, bool json)
{
	struct import import = {.fragment = json_object(), .lines = json_array()};
	char why[512];
	int code = 0;

	import.no_memory = !import.fragment || !import.lines;
	if (!import.no_memory && from(&import, path, why, sizeof(why)) < 0) {
		fprintf(stderr, "postern import: %s\n", why);
		code = EXIT_NOT_FOUND;
	} else if (import.no_memory) {
		fputs("postern import: out of memory\n", stderr);
		code = EXIT_FAILURE;
	} else if (json) {
		print_json(&import);
	} else {
		json_dumpf(import.fragment, stdout, JSON_INDENT(2));
		putchar('\n');
		print_lines(&import);
	}
	json_decref(import.fragment);
	json_decref(import.lines);
	return code;
}

int cmd_import(int argc, char **argv)
{
	struct ctl_line line = {
	    .usage = usage,
	    .arguments = {"PROGRAM", "PATH"},
	    .required = 2,
	};

	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	for (size_t i = 0; i < IMPORTERS; i++)
		if (strcmp(importers[i].name, line.argument[0]) == 0)
			return run(importers[i].run, line.argument[1], line.json);
	char shown[80];
	printable(shown, sizeof(shown), line.argument[0], strlen(line.argument[0]));
	return ctl_wrong_use("import", usage, "nothing is known of \"%s\"", shown);
}
