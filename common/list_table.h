/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/list_places.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A set of short texts, each with where it was written and what it carries: what address
 * lists, user lists and the name entries of host lists are made of.
 *
 * All texts lie in one arena, as packed records; the hash table over it holds 32-bit
 * offsets and 8-bit tags and no pointer. A million addresses of 30 bytes come to about
 * 45 MiB. Adding appends a record; sealing builds the table once, in its final size. The
 * hash is keyed at random, because who writes mail chooses what is looked up.
 */

struct list_table {
	struct list_places places;
	char *arena;
	uint32_t arena_len, arena_capacity;
	size_t count;    /* records, repeated ones included */
	uint32_t *slots; /* offsets of records */
	uint8_t *tags;   /* 0: the slot is empty */
	size_t mask;     /* slots - 1 */
	uint64_t key[2];
	bool sealed;
	uint32_t conflict[2]; /* offsets, after list_table_seal() said -EEXIST */
};

#define LIST_TABLE_TEXT_MAX (ADDRESS_TEXT_MAX - 1)

/* A zeroed table is an empty one. @text is not empty. Returns 0 or -ENOMEM. */
int list_table_add(
    struct list_table *table, const char *text, size_t len,
    const struct list_entry *entry);

/*
 * Returns 0, -ENOMEM, the error of getrandom(2), or -EEXIST: one text with two payloads.
 * Adds to *repeated the records whose text stands before them already.
 */
int list_table_seal(struct list_table *table, size_t *repeated);

/* @ret may be NULL. */
bool list_table_find(
    const struct list_table *table, const char *text, size_t len, struct list_match *ret);

/* @text will be looked for in a moment: of a large table, begins to fetch where it would
 * stand. */
void list_table_prefetch(const struct list_table *table, const char *text, size_t len);

/* The two records of an -EEXIST. */
void list_table_conflict(
    const struct list_table *table, struct list_match *ret_first,
    struct list_match *ret_second);

void list_table_done(struct list_table *table);
