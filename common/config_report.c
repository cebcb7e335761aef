/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/printable.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One error line; beyond it a message is cut. */
#define MESSAGE_MAX 1024

struct where config_where(const struct config_value *value)
{
	return (struct where){
	    .file = value->file->name,
	    .line = value->node->line,
	    .column = value->node->column,
	};
}

struct where config_key_where(const struct config_value *value)
{
	if (!value->node->key_line)
		return config_where(value);
	return (struct where){
	    .file = value->file->name,
	    .line = value->node->key_line,
	    .column = value->node->key_column,
	};
}

const char *config_shown(const char *text, size_t len, char buf[static 128])
{
	printable(buf, 128, text, len);
	return buf;
}

/* A key of plain characters stands as it is, any other in quotes. */
static size_t print_key(char *buf, size_t size, const char *key, size_t len)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-.@+/:*<>";
	bool quote = len == 0;
	for (size_t i = 0; i < len; i++)
		quote = quote || !memchr(plain, key[i], sizeof(plain) - 1);

	char shown[128];
	config_shown(key, len, shown);
	int n = snprintf(buf, size, quote ? "\"%s\"" : "%s", shown);
	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

static size_t print_path(const struct config_value *value, char *buf, size_t size)
{
	size_t used = value->parent ? print_path(value->parent, buf, size) : 0;
	if (!value->key && !value->parent)
		return used; /* the root */
	if (size - used < 2)
		return used;
	if (value->key && !value->parent) { /* a whole path, taken up again */
		int n = snprintf(buf, size, "%.*s", (int)value->key_len, value->key);
		return n > 0 && (size_t)n < size ? (size_t)n : 0;
	}
	if (value->key) {
		if (used)
			buf[used++] = '.';
		return used +
		       print_key(buf + used, size - used, value->key, value->key_len);
	}
	int n = snprintf(buf + used, size - used, "[%zu]", value->index);
	return n > 0 && (size_t)n < size - used ? used + (size_t)n : used;
}

const char *config_path_text(const struct config_value *value, char *buf, size_t size)
{
	buf[0] = '\0';
	buf[print_path(value, buf, size)] = '\0';
	return buf;
}

const char *config_describe(const struct config_value *value, char buf[static 128])
{
	const struct config_node *node = value->node;
	char shown[100];

	switch (json_typeof(value->json)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return json_array_size(value->json) ? "an array" : "an empty array";
	case JSON_STRING:
		printable(
		    shown, 80, json_string_value(value->json),
		    json_string_length(value->json));
		snprintf(buf, 128, "the string \"%s\"", shown);
		return buf;
	case JSON_INTEGER:
	case JSON_REAL:
		if (node->too_big)
			return "a number beyond 64 bits";
		printable(shown, 80, value->file->text.bytes + node->offset, node->len);
		snprintf(buf, 128, "the number %s", shown);
		return buf;
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "null";
	}
	return "something";
}

static size_t file_order(const struct config_build *build, const char *file)
{
	const struct string_list *files = &build->snapshot->files;
	for (size_t i = 0; i < files->count; i++)
		if (files->items[i] == file)
			return i;
	return files->count;
}

__attribute__((format(printf, 4, 0))) static void add_message(
    struct config_build *build, struct where where, const struct config_value *value,
    const char *format, va_list args)
{
	if (build->errors_count == CONFIG_ERRORS_MAX) {
		build->errors_more++;
		return;
	}

	char line[MESSAGE_MAX], path[300] = "", file[300];
	printable(file, sizeof(file), where.file, strlen(where.file));
	if (value)
		config_path_text(value, path, sizeof(path));
	int n = where.line ? snprintf(
				 line, sizeof(line), "%s:%u:%u: %s%s", file, where.line,
				 where.column, path, path[0] ? ": " : "")
			   : snprintf(
				 line, sizeof(line), "%s: %s%s", file, path,
				 path[0] ? ": " : "");
	size_t used = n < 0 ? 0 : (size_t)n;
	if (used < sizeof(line))
		vsnprintf(line + used, sizeof(line) - used, format, args);

	char *text = strdup(line);
	if (!text) {
		build->no_memory = true;
		return;
	}
	build->errors[build->errors_count] = (struct config_message){
	    .file = file_order(build, where.file),
	    .line = where.line,
	    .column = where.column,
	    .sequence = build->errors_count,
	    .text = text,
	};
	build->errors_count++;
}

void config_error(
    struct config_build *build, const struct config_value *value, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	add_message(build, config_where(value), value, format, args);
	va_end(args);
}

void config_error_at_key(
    struct config_build *build, const struct config_value *value, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	add_message(build, config_key_where(value), value, format, args);
	va_end(args);
}

void config_error_at(
    struct config_build *build, struct where where, const struct config_value *value,
    const char *format, ...)
{
	va_list args;
	va_start(args, format);
	add_message(build, where, value, format, args);
	va_end(args);
}

void config_notice(
    struct config_build *build, const struct config_value *value, const char *format, ...)
{
	char line[MESSAGE_MAX], path[300], file[300];
	struct where where = config_where(value);
	printable(file, sizeof(file), where.file, strlen(where.file));
	int n = snprintf(
	    line, sizeof(line), "%s:%u:%u: %s: ", file, where.line, where.column,
	    config_path_text(value, path, sizeof(path)));
	size_t used = n < 0 ? 0 : (size_t)n;

	va_list args;
	va_start(args, format);
	if (used < sizeof(line))
		vsnprintf(line + used, sizeof(line) - used, format, args);
	va_end(args);
	config_strings_add(build, &build->config->notices, line);
}

void config_type_error(
    struct config_build *build, const struct config_value *value, const char *expected)
{
	char described[128];
	config_error(
	    build, value, "%s, expected %s", config_describe(value, described), expected);
}

const char *config_file_name(struct config_build *build, const char *name)
{
	struct string_list *files = &build->snapshot->files;
	for (size_t i = files->count; i > 0; i--)
		if (strcmp(files->items[i - 1], name) == 0)
			return files->items[i - 1];
	if (!config_strings_add(build, files, name))
		return NULL;
	return files->items[files->count - 1];
}

static int compare_messages(const void *a, const void *b)
{
	const struct config_message *x = a, *y = b;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

void config_report_finish(struct config_build *build, struct config_errors *ret)
{
	qsort(
	    build->errors, build->errors_count, sizeof(build->errors[0]),
	    compare_messages);
	for (size_t i = 0; i < build->errors_count; i++) {
		config_strings_add(build, &ret->lines, build->errors[i].text);
		free(build->errors[i].text);
	}
	ret->more = build->errors_more;
	build->errors_count = 0;
}
