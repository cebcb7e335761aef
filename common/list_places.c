/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/list_places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A big page of the usual processors. */
#define BIG (2U << 20)

#define CACHE_LINE 64

/*
 * Big pages take whole aligned stretches alone, so the advice costs no memory. It covers
 * the pages at both ends: a mapping with two sorts of pages could not be moved by
 * realloc(3) any more, only copied.
 */
static void advise(void *items, size_t size)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)items / page * page;
	uintptr_t last = ((uintptr_t)items + size + page - 1) / page * page;

	if (size >= BIG)
		madvise((void *)first, last - first, MADV_HUGEPAGE);
}

void *list_allocate(size_t count, size_t item_size)
{
	size_t size;
	void *items;

	if (__builtin_mul_overflow(count, item_size, &size) ||
	    posix_memalign(&items, size < BIG ? CACHE_LINE : BIG, size))
		return NULL;
	advise(items, size);
	return items;
}

int list_grow(void **items, uint32_t *capacity, size_t needed, size_t item_size)
{
	if (needed <= *capacity)
		return 0;
	if (needed > UINT32_MAX)
		return -ENOMEM;

	size_t next = *capacity + (size_t)*capacity / 2 + 16;
	if (next < needed)
		next = needed;
	if (next > UINT32_MAX)
		next = UINT32_MAX;
	void *grown = reallocarray(*items, next, item_size);
	if (!grown)
		return -ENOMEM;
	*items = grown;
	*capacity = (uint32_t)next;
	advise(grown, next * item_size);
	return 0;
}

static int grow_files(struct list_places *places)
{
	if (places->files_count == LIST_FILES_MAX)
		return -ENOMEM;
	void *items = places->files;
	int r = list_grow(
	    &items, &places->files_capacity, places->files_count + 1, sizeof(char *));
	places->files = items;
	return r;
}

/* The newest first: entries come file by file. */
static int find_file(struct list_places *places, const char *file, uint32_t *ret)
{
	if (!file)
		file = "";
	for (uint32_t i = places->files_count; i-- > 0;) {
		if (strcmp(places->files[i], file) == 0) {
			*ret = i;
			return 0;
		}
	}

	if (grow_files(places))
		return -ENOMEM;
	char *copy = strdup(file);
	if (!copy)
		return -ENOMEM;
	*ret = places->files_count;
	places->files[places->files_count++] = copy;
	return 0;
}

static int add_reason(struct list_places *places, const char *reason, uint32_t *ret)
{
	size_t size = strlen(reason) + 1;
	uint32_t at = places->reasons_len ? places->reasons_len : 1;
	void *items = places->reasons;
	int r = list_grow(&items, &places->reasons_capacity, at + size, 1);

	places->reasons = items;
	if (r)
		return r;
	memcpy(places->reasons + at, reason, size);
	places->reasons_len = (uint32_t)(at + size);
	*ret = at;
	return 0;
}

static bool same_side(
    const struct list_places *places, const struct list_side *side,
    const struct list_entry *entry)
{
	if (side->column != entry->where.column || side->payload != entry->payload)
		return false;
	if (!entry->reason || !side->reason)
		return !entry->reason && !side->reason;
	return strcmp(places->reasons + side->reason, entry->reason) == 0;
}

static int find_side(
    struct list_places *places, const struct list_entry *entry, uint32_t *ret)
{
	if (!entry->reason && !entry->payload && !entry->where.column) {
		*ret = 0;
		return 0;
	}
	/* Neighbours often say the same. */
	if (places->sides_count > 1 &&
	    same_side(places, &places->sides[places->sides_count - 1], entry)) {
		*ret = places->sides_count - 1;
		return 0;
	}

	uint32_t at = places->sides_count ? places->sides_count : 1;
	void *items = places->sides;
	int r = list_grow(
	    &items, &places->sides_capacity, (size_t)at + 1, sizeof(struct list_side));
	places->sides = items;
	if (r)
		return r;
	struct list_side side = {
	    .column = entry->where.column,
	    .payload = entry->payload,
	};
	if (entry->reason) {
		r = add_reason(places, entry->reason, &side.reason);
		if (r)
			return r;
	}
	places->sides[at] = side;
	places->sides_count = at + 1;
	*ret = at;
	return 0;
}

int list_places_add(
    struct list_places *places, const struct list_entry *entry, uint32_t *ret_file,
    uint32_t *ret_side)
{
	int r = find_file(places, entry->where.file, ret_file);

	return r ? r : find_side(places, entry, ret_side);
}

void list_places_seal(struct list_places *places)
{
	if (places->sides) {
		void *less = reallocarray(
		    places->sides, places->sides_count, sizeof(*places->sides));
		places->sides = less ? less : places->sides;
	}
	if (places->reasons) {
		void *less = realloc(places->reasons, places->reasons_len);
		places->reasons = less ? less : places->reasons;
	}
}

uint32_t list_places_payload(const struct list_places *places, uint32_t side)
{
	return side ? places->sides[side].payload : 0;
}

void list_places_get(
    const struct list_places *places, uint32_t file, uint32_t line, uint32_t side,
    struct list_match *ret)
{
	struct list_side none = {0};
	const struct list_side *found = side ? &places->sides[side] : &none;

	ret->reason = found->reason ? places->reasons + found->reason : NULL;
	ret->payload = found->payload;
	ret->where = (struct where){
	    .file = places->files[file],
	    .line = line,
	    .column = found->column,
	};
}

void list_places_done(struct list_places *places)
{
	for (uint32_t i = 0; i < places->files_count; i++)
		free(places->files[i]);
	free(places->files);
	free(places->sides);
	free(places->reasons);
	*places = (struct list_places){0};
}
