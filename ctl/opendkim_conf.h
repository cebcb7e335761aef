/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads what OpenDKIM reads: opendkim.conf(5) and its data sets, as statements with the
 * place where each stood. Knows the syntax and nothing of what it means.
 */

/* Lines of all files together; more is an error. */
#define OPENDKIM_STATEMENTS_MAX 200000

struct opendkim_statement {
	char *file; /* shared by the file's statements */
	size_t line;
	char *name;  /* a parameter, or the key of a data set's entry */
	char *value; /* the rest, trimmed; "" for none */
};

struct opendkim_statements {
	struct opendkim_statement *items;
	size_t count, allocated;
	char **files;
	size_t files_count;
};

/* Each 0, or -1 with one sentence in @errbuf. opendkim_statements_done() either way. */

/* The configuration file: "Name Value" a line, # begins a comment. */
int opendkim_read_conf(
    const char *path, struct opendkim_statements *ret, char *errbuf, size_t errsize);

enum opendkim_set { OPENDKIM_SET_FILE, OPENDKIM_SET_REFILE, OPENDKIM_SET_LIST };

/*
 * A data set as @text names it: file:PATH, refile:PATH, a path, csl:LIST or a list with
 * commas. Entries of a list have the place @file, @line. Other kinds (db:, dsn:, ldap:,
 * lua:, ...) are refused.
 */
int opendkim_read_set(
    const char *text, const char *file, size_t line, struct opendkim_statements *ret,
    enum opendkim_set *ret_kind, char *errbuf, size_t errsize);

void opendkim_statements_done(struct opendkim_statements *statements);
