/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/list_table.h"
#include "common/siphash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* A record in the arena: length, text, file and whether a side follows, line, side. The
 * numbers take 7 bits a byte, the low ones first. */
#define NUMBER_MAX 5

/* Tags beyond so many bytes are seldom in a cache of the processor. */
#define PREFETCH_FROM (128 * 1024)

struct record {
	const char *text;
	uint32_t len, file, line, side;
};

static size_t put_number(char *at, uint32_t number)
{
	size_t n = 0;

	for (; number >= 0x80; number >>= 7)
		at[n++] = (char)(number | 0x80);
	at[n++] = (char)number;
	return n;
}

static const char *get_number(const char *at, uint32_t *ret)
{
	uint32_t number = 0;
	int shift = 0;

	for (; (unsigned char)*at >= 0x80; at++, shift += 7)
		number |= ((uint32_t)(unsigned char)*at & 0x7f) << shift;
	*ret = number | (uint32_t)(unsigned char)*at << shift;
	return at + 1;
}

/* Returns where the next record begins. */
static uint32_t read_record(
    const struct list_table *table, uint32_t offset, struct record *ret)
{
	const char *at = get_number(table->arena + offset, &ret->len);

	ret->text = at;
	at = get_number(at + ret->len, &ret->file);
	at = get_number(at, &ret->line);
	ret->side = 0;
	if (ret->file & 1)
		at = get_number(at, &ret->side);
	ret->file >>= 1;
	return (uint32_t)(at - table->arena);
}

static void get_match(
    const struct list_table *table, const struct record *record, struct list_match *ret)
{
	list_places_get(&table->places, record->file, record->line, record->side, ret);
	memcpy(ret->text, record->text, record->len);
	ret->text[record->len] = '\0';
}

int list_table_add(
    struct list_table *table, const char *text, size_t len,
    const struct list_entry *entry)
{
	uint32_t file, side;

	assert(!table->sealed && len > 0 && len <= LIST_TABLE_TEXT_MAX);
	int r = list_places_add(&table->places, entry, &file, &side);
	if (r)
		return r;
	void *arena = table->arena;
	r = list_grow(
	    &arena, &table->arena_capacity, table->arena_len + len + 4 * NUMBER_MAX, 1);
	table->arena = arena;
	if (r)
		return r;

	char *at = table->arena + table->arena_len;
	at += put_number(at, (uint32_t)len);
	memcpy(at, text, len);
	at += len;
	at += put_number(at, file << 1 | (side ? 1 : 0));
	at += put_number(at, entry->where.line);
	if (side)
		at += put_number(at, side);
	table->arena_len = (uint32_t)(at - table->arena);
	table->count++;
	return 0;
}

static uint64_t hash_of(const struct list_table *table, const char *text, size_t len)
{
	return siphash(text, len, table->key, 1, 3);
}

/* The low bits choose the slot, the highest ones the tag. */
static uint8_t tag_of(uint64_t hash)
{
	return (uint8_t)(hash >> 56 | 1);
}

/* Returns the slot that holds @text, or the empty one where it belongs. */
static size_t find_slot(
    const struct list_table *table, uint64_t hash, const char *text, size_t len)
{
	uint8_t tag = tag_of(hash);
	size_t slot = hash & table->mask;

	for (; table->tags[slot]; slot = (slot + 1) & table->mask) {
		if (table->tags[slot] != tag)
			continue;
		uint32_t n;
		const char *found = get_number(table->arena + table->slots[slot], &n);
		if (n == len && memcmp(found, text, len) == 0)
			break;
	}
	return slot;
}

static int allocate_slots(struct list_table *table)
{
	size_t slots = 8;

	/* At most four of five in use. */
	while (slots / 5 * 4 < table->count)
		slots *= 2;
	table->slots = list_allocate(slots, sizeof(*table->slots));
	table->tags = list_allocate(slots, 1);
	table->mask = slots - 1;
	if (!table->slots || !table->tags)
		return -ENOMEM;
	memset(table->tags, 0, slots);
	return 0;
}

static int make_key(uint64_t key[static 2])
{
	ssize_t n;

	do
		n = getrandom(key, 2 * sizeof(*key), 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int insert(struct list_table *table, uint32_t offset, size_t *repeated)
{
	struct record record, other;

	read_record(table, offset, &record);
	uint64_t hash = hash_of(table, record.text, record.len);
	size_t slot = find_slot(table, hash, record.text, record.len);
	if (!table->tags[slot]) {
		table->tags[slot] = tag_of(hash);
		table->slots[slot] = offset;
		return 0;
	}
	read_record(table, table->slots[slot], &other);
	if (list_places_payload(&table->places, record.side) !=
	    list_places_payload(&table->places, other.side)) {
		table->conflict[0] = table->slots[slot];
		table->conflict[1] = offset;
		return -EEXIST;
	}
	(*repeated)++;
	return 0;
}

int list_table_seal(struct list_table *table, size_t *repeated)
{
	assert(!table->sealed);
	table->sealed = true;
	if (!table->count)
		return 0;

	void *less = realloc(table->arena, table->arena_len);
	table->arena = less ? less : table->arena;
	list_places_seal(&table->places);
	int r = make_key(table->key);
	if (!r)
		r = allocate_slots(table);
	for (uint32_t at = 0; !r && at < table->arena_len;) {
		struct record record;
		uint32_t next = read_record(table, at, &record);
		r = insert(table, at, repeated);
		at = next;
	}
	return r;
}

bool list_table_find(
    const struct list_table *table, const char *text, size_t len, struct list_match *ret)
{
	assert(table->sealed);
	if (!table->count)
		return false;

	size_t slot = find_slot(table, hash_of(table, text, len), text, len);
	if (!table->tags[slot])
		return false;
	if (ret) {
		struct record record;
		read_record(table, table->slots[slot], &record);
		get_match(table, &record, ret);
	}
	return true;
}

void list_table_prefetch(const struct list_table *table, const char *text, size_t len)
{
	if (table->count && table->mask >= PREFETCH_FROM)
		__builtin_prefetch(&table->tags[hash_of(table, text, len) & table->mask]);
}

void list_table_conflict(
    const struct list_table *table, struct list_match *ret_first,
    struct list_match *ret_second)
{
	struct record record;

	read_record(table, table->conflict[0], &record);
	get_match(table, &record, ret_first);
	read_record(table, table->conflict[1], &record);
	get_match(table, &record, ret_second);
}

void list_table_done(struct list_table *table)
{
	list_places_done(&table->places);
	free(table->arena);
	free(table->slots);
	free(table->tags);
	*table = (struct list_table){0};
}
