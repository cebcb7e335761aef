/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * What `postern import` makes of another program's configuration: a fragment for
 * postern.json, and for each line what became of it. An importer reads, calls these, and
 * prints nothing itself.
 */

enum import_result {
	IMPORT_CONVERTED, /* means the same here */
	IMPORT_CHANGED,   /* is in the fragment and means something else: read why */
	IMPORT_REFUSED,   /* is not in the fragment */
};

struct import {
	json_t *fragment; /* an object */
	json_t *lines;    /* an array of what import_line() was told */
	bool no_memory;
};

/* Where a statement stood. @file NULL: nowhere, it is the other program's default. */
struct import_place {
	const char *file;
	size_t line;
	const char *text;
};

/* One line of the report. */
__attribute__((format(printf, 4, 5))) void import_line(
    struct import *import, const struct import_place *place, enum import_result result,
    const char *why, ...);

/* The object at @path below the fragment, made where it is missing: keys with a newline
 * between them, because domains have dots. "" is the fragment. NULL: no memory. */
json_t *import_object(struct import *import, const char *path);

/* Sets @key there; takes @value, NULL is a want of memory. */
void import_set(struct import *import, const char *path, const char *key, json_t *value);

/* Adds a string to the array @key there, once. */
void import_add(
    struct import *import, const char *path, const char *key, const char *text);

/*
 * Reads the file or folder @path. 0, or -1 with a sentence in @errbuf: nothing could be
 * read at all.
 */
typedef int importer(
    struct import *import, const char *path, char *errbuf, size_t errsize);

importer import_opendkim;
