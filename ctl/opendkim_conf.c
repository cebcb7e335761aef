/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/opendkim_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A line of a table; OpenDKIM's own buffer is 1,024. */
#define LINE_MAX_BYTES 65536

static const char blanks[] = " \t\r\n\v\f";

static char *keep_file(struct opendkim_statements *statements, const char *path)
{
	char **files =
	    reallocarray(statements->files, statements->files_count + 1, sizeof(*files));
	if (!files)
		return NULL;
	statements->files = files;
	char *file = strdup(path);
	if (file)
		files[statements->files_count++] = file;
	return file;
}

static int no_memory(char *errbuf, size_t errsize)
{
	snprintf(errbuf, errsize, "out of memory");
	return -1;
}

/* The statement @text, which is cut up: its first word, and the rest. */
static int add_statement(
    struct opendkim_statements *statements, char *file, size_t line, char *text,
    char *errbuf, size_t errsize)
{
	size_t name = strcspn(text, blanks);
	char *value = text + name + strspn(text + name, blanks);

	if (statements->count == OPENDKIM_STATEMENTS_MAX) {
		snprintf(
		    errbuf, errsize, "%s has more than %d lines", file,
		    OPENDKIM_STATEMENTS_MAX);
		return -1;
	}
	if (statements->count == statements->allocated) {
		size_t room = statements->allocated ? statements->allocated * 2 : 64;
		struct opendkim_statement *items =
		    reallocarray(statements->items, room, sizeof(*items));
		if (!items)
			return no_memory(errbuf, errsize);
		statements->items = items;
		statements->allocated = room;
	}
	struct opendkim_statement *item = &statements->items[statements->count];
	*item = (struct opendkim_statement){.file = file, .line = line};
	item->name = strndup(text, name);
	item->value = strdup(value);
	statements->count++;
	return item->name && item->value ? 0 : no_memory(errbuf, errsize);
}

/* Without comment and the white space around it. */
static char *trim(char *text)
{
	text[strcspn(text, "#")] = '\0';
	text += strspn(text, blanks);
	size_t len = strlen(text);
	while (len > 0 && strchr(blanks, text[len - 1]))
		len--;
	text[len] = '\0';
	return text;
}

static int read_lines(
    FILE *from, char *file, struct opendkim_statements *ret, char *errbuf, size_t errsize)
{
	char *text = malloc(LINE_MAX_BYTES);
	int r = text ? 0 : no_memory(errbuf, errsize);
	for (size_t line = 1; r == 0 && fgets(text, LINE_MAX_BYTES, from); line++) {
		if (!strchr(text, '\n') && !feof(from)) {
			bool is_long = strlen(text) == LINE_MAX_BYTES - 1;
			snprintf(
			    errbuf, errsize, "%s:%zu: a line %s", file, line,
			    is_long ? "of 64 KiB or more" : "with a NUL in it");
			r = -1;
			break;
		}
		char *statement = trim(text);
		if (statement[0] != '\0')
			r = add_statement(ret, file, line, statement, errbuf, errsize);
	}
	free(text);
	return r;
}

int opendkim_read_conf(
    const char *path, struct opendkim_statements *ret, char *errbuf, size_t errsize)
{
	struct stat st;
	char *file = keep_file(ret, path);
	if (!file)
		return no_memory(errbuf, errsize);
	/* A FIFO or a terminal would hold the command for ever. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		snprintf(errbuf, errsize, "%s is no regular file", path);
		return -1;
	}
	FILE *from = fopen(path, "re");
	if (!from) {
		snprintf(
		    errbuf, errsize, "%s cannot be opened: %s", path, strerror(errno));
		return -1;
	}
	int r = read_lines(from, file, ret, errbuf, errsize);
	if (r == 0 && ferror(from)) {
		snprintf(errbuf, errsize, "%s cannot be read: %s", path, strerror(errno));
		r = -1;
	}
	fclose(from);
	return r;
}

static int read_list(
    const char *text, const char *file, size_t line, struct opendkim_statements *ret,
    char *errbuf, size_t errsize)
{
	char *place = keep_file(ret, file);
	char *copy = strdup(text);
	int r = place && copy ? 0 : no_memory(errbuf, errsize);
	char *rest = copy;
	for (char *one; r == 0 && (one = strsep(&rest, ","));) {
		one = trim(one);
		/* A list may hold pairs: "key=value". */
		char *equals = strchr(one, '=');
		if (equals)
			*equals = ' ';
		if (one[0] != '\0')
			r = add_statement(ret, place, line, one, errbuf, errsize);
	}
	free(copy);
	return r;
}

/* What stands before the first colon, of letters alone; 0: nothing such. */
static size_t kind_len(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz");
	return text[len] == ':' ? len : 0;
}

int opendkim_read_set(
    const char *text, const char *file, size_t line, struct opendkim_statements *ret,
    enum opendkim_set *ret_kind, char *errbuf, size_t errsize)
{
	size_t kind = kind_len(text);
	const char *rest = kind ? text + kind + 1 : text;

	if ((kind == 4 && memcmp(text, "file", 4) == 0) || (!kind && text[0] == '/'))
		*ret_kind = OPENDKIM_SET_FILE;
	else if (kind == 6 && memcmp(text, "refile", 6) == 0)
		*ret_kind = OPENDKIM_SET_REFILE;
	else if ((kind == 3 && memcmp(text, "csl", 3) == 0) || !kind)
		*ret_kind = OPENDKIM_SET_LIST;
	else {
		snprintf(
		    errbuf, errsize,
		    "data sets of the kind \"%.*s\" cannot be read here; write its "
		    "contents to a file and name that",
		    (int)kind, text);
		return -1;
	}
	if (*ret_kind == OPENDKIM_SET_LIST)
		return read_list(rest, file, line, ret, errbuf, errsize);
	return opendkim_read_conf(rest, ret, errbuf, errsize);
}

void opendkim_statements_done(struct opendkim_statements *statements)
{
	for (size_t i = 0; i < statements->count; i++) {
		free(statements->items[i].name);
		free(statements->items[i].value);
	}
	free(statements->items);
	for (size_t i = 0; i < statements->files_count; i++)
		free(statements->files[i]);
	free(statements->files);
	*statements = (struct opendkim_statements){0};
}
