/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "ctl/import.h"
#include "ctl/opendkim_conf.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The parts of the import from OpenDKIM: what they share, and what each does. The first
 * that runs out of memory says so in @import.
 */

#define OPENDKIM_PATH_BYTES 4096
#define OPENDKIM_NAME_BYTES 72

/* One line of the KeyTable, or what Domain, Selector and KeyFile say together. */
struct table_key {
	char *name;   /* in OpenDKIM */
	char *domain; /* canonical, or "%" */
	char *selector, *file;
	char postern[OPENDKIM_NAME_BYTES]; /* its name in the fragment; "" until it is
					      used */
};

struct opendkim {
	struct import *import;
	struct opendkim_statements conf;
	const char *folder; /* of opendkim.conf; relative names begin here */
	struct table_key *keys;
	size_t keys_count;
	json_t *key_names; /* OpenDKIM's name to its index + 1 */
	json_t *closed;    /* domains for which a later line no longer counts */
	bool several;      /* MultipleSignatures */
};

/* ---- import_opendkim_say.c: what all need ---- */

/* The last one counts, as in OpenDKIM. NULL: there is none. */
const struct opendkim_statement *opendkim_find(
    const struct opendkim *from, const char *name);
bool opendkim_is_true(const struct opendkim_statement *statement);

/* JSON takes nothing else; and what to say of what is not. */
bool opendkim_is_utf8(const char *text);
extern const char opendkim_no_utf8[];

/* What became of a statement. */
__attribute__((format(printf, 4, 5))) void opendkim_say(
    const struct opendkim *from, const struct opendkim_statement *statement,
    enum import_result result, const char *format, ...);

/* The data set that @named names, or a word on why it cannot be read. */
void opendkim_read_table(
    const struct opendkim *from, const struct opendkim_statement *named,
    struct opendkim_statements *ret, enum opendkim_set *ret_kind);

/* ---- import_opendkim_keys.c: keys, and whom they sign for ---- */

void opendkim_read_key_table(
    struct opendkim *from, const struct opendkim_statement *named);
/* After the keys. */
void opendkim_read_signing_table(
    struct opendkim *from, const struct opendkim_statement *named);
/* Domain, Selector and KeyFile: one key for all of Domain. */
void opendkim_read_single(struct opendkim *from);
void opendkim_keys_done(struct opendkim *from);

/* ---- import_opendkim_rest.c: the rest of opendkim.conf ---- */

void opendkim_convert_parameter(
    struct opendkim *from, const struct opendkim_statement *line);
