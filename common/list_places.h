/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/lists.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Where the entries of one list stand and what they carry, shared by host lists and text
 * tables. A million entries come from a handful of files and mostly carry nothing, so an
 * entry keeps two small numbers: its file, and its "side" (column, payload, reason),
 * where 0 is the side of those that have none of it.
 */

struct list_side {
	uint32_t column;
	uint32_t payload;
	uint32_t reason; /* offset into reasons; 0: none */
};

struct list_places {
	char **files;
	uint32_t files_count, files_capacity;
	struct list_side *sides; /* sides[0] is the empty one, never stored */
	uint32_t sides_count, sides_capacity;
	char *reasons; /* NUL-terminated, one after the other; reasons[0] is not used */
	uint32_t reasons_len, reasons_capacity;
};

#define LIST_FILES_MAX (1U << 20)

/* Files an entry's place. Returns 0, or -ENOMEM (also when 4 GiB of reasons are full). */
int list_places_add(
    struct list_places *places, const struct list_entry *entry, uint32_t *ret_file,
    uint32_t *ret_side);

/* Gives back what growing took beforehand. Until then no string may be handed out. */
void list_places_seal(struct list_places *places);

uint32_t list_places_payload(const struct list_places *places, uint32_t side);

/* Fills in all of @ret but its text. */
void list_places_get(
    const struct list_places *places, uint32_t file, uint32_t line, uint32_t side,
    struct list_match *ret);

void list_places_done(struct list_places *places);

/*
 * Makes room for one more @item_size in an array that grows by half. Returns 0 or
 * -ENOMEM; @items and @capacity are then untouched. Doubling would cost a list of a
 * million up to twice its size for the time of a load.
 */
int list_grow(void **items, uint32_t *capacity, size_t needed, size_t item_size);

/* Memory for free(3), beginning with a cache line; in big pages where the system has
 * them, for a look-up in a million goes to a page not seen lately. NULL: none left. */
void *list_allocate(size_t count, size_t item_size);
