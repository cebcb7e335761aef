/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/prefix_table.h"
#include "common/list_places.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * An entry is its network in host-order words, then line, packed, link. The link is the
 * side while the table is built and the entry around this one once it is sealed; sides
 * are then looked up in an array of the few that have one.
 */
#define LINE       0
#define PACKED     1
#define LINK       2
#define META_WORDS 3

#define PACKED_LENGTH     0xffU
#define PACKED_EXCEPTION  (1U << 8)
#define PACKED_ANY        (1U << 9)
#define PACKED_FILE_SHIFT 10

#define NOBODY UINT32_MAX

#define SAMPLE_EVERY 16

/* Shorter runs are sorted by insertion. */
#define SORT_RUN 8

/* Prefixes around one another: lengths 0 to 128. */
#define NESTING_MAX 129

struct prefix_side {
	uint32_t entry;
	uint32_t side;
};

_Static_assert(PREFIX_FILES_MAX <= 1U << (32 - PACKED_FILE_SHIFT), "file does not fit");
_Static_assert(PREFIX_FILES_MAX == LIST_FILES_MAX, "file does not fit");

static unsigned stride_of(const struct prefix_table *table)
{
	return table->width + META_WORDS;
}

static uint32_t *entry_at(const struct prefix_table *table, size_t i)
{
	return table->words + i * stride_of(table);
}

static uint8_t length_of(const uint32_t *entry, unsigned width)
{
	return (uint8_t)(entry[width + PACKED] & PACKED_LENGTH);
}

static unsigned width_of(const struct ip *ip)
{
	return ip->family == IP_V4 ? 1 : 4;
}

static void words_of(const struct ip *ip, unsigned width, uint32_t *ret)
{
	for (unsigned i = 0; i < width; i++)
		ret[i] = (uint32_t)ip->bytes[4 * i] << 24 |
			 (uint32_t)ip->bytes[4 * i + 1] << 16 |
			 (uint32_t)ip->bytes[4 * i + 2] << 8 | ip->bytes[4 * i + 3];
}

static struct ip ip_of(const uint32_t *words, unsigned width)
{
	struct ip ip = {.family = width == 1 ? IP_V4 : IP_V6};

	for (unsigned i = 0; i < width; i++) {
		ip.bytes[4 * i] = (uint8_t)(words[i] >> 24);
		ip.bytes[4 * i + 1] = (uint8_t)(words[i] >> 16);
		ip.bytes[4 * i + 2] = (uint8_t)(words[i] >> 8);
		ip.bytes[4 * i + 3] = (uint8_t)words[i];
	}
	return ip;
}

/* Less than, equal, greater than 0. Constant widths make this a compare or two. */
static inline int compare_words(const uint32_t *a, const uint32_t *b, unsigned width)
{
	for (unsigned i = 0; i < width; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

static inline bool contains(const uint32_t *entry, const uint32_t *key, unsigned width)
{
	unsigned bits = length_of(entry, width);

	for (unsigned i = 0; i < width && bits; i++) {
		unsigned n = bits < 32 ? bits : 32;
		if ((entry[i] ^ key[i]) >> (32 - n))
			return false;
		bits -= n;
	}
	return true;
}

static struct prefix_entry unpack(const uint32_t *entry, unsigned width, uint32_t side)
{
	uint32_t packed = entry[width + PACKED];

	return (struct prefix_entry){
	    .file = packed >> PACKED_FILE_SHIFT,
	    .line = entry[width + LINE],
	    .side = side,
	    .length = (uint8_t)(packed & PACKED_LENGTH),
	    .exception = packed & PACKED_EXCEPTION,
	    .any = packed & PACKED_ANY,
	};
}

int prefix_table_add(
    struct prefix_table *table, const struct ip *network,
    const struct prefix_entry *entry)
{
	unsigned width = width_of(network);

	assert(!table->sealed && entry->file < PREFIX_FILES_MAX);
	assert(!table->width || table->width == width);
	table->width = width;
	void *words = table->words;
	int r = list_grow(
	    &words, &table->capacity, (size_t)table->count + 1,
	    stride_of(table) * sizeof(uint32_t));
	table->words = words;
	if (r)
		return r;

	uint32_t *at = entry_at(table, table->count++);
	words_of(network, width, at);
	at[width + LINE] = entry->line;
	at[width + PACKED] = entry->length | (entry->exception ? PACKED_EXCEPTION : 0) |
			     (entry->any ? PACKED_ANY : 0) |
			     entry->file << PACKED_FILE_SHIFT;
	at[width + LINK] = entry->side;
	return 0;
}

/* ---- sealing ---- */

static int compare_entries(const uint32_t *a, const uint32_t *b, unsigned width)
{
	int order = compare_words(a, b, width);

	return order ? order : length_of(a, width) - length_of(b, width);
}

static void sort_run(uint32_t *words, size_t n, unsigned width)
{
	unsigned stride = width + META_WORDS;
	size_t size = stride * sizeof(uint32_t);
	uint32_t moving[4 + META_WORDS];

	for (size_t i = 1; i < n; i++) {
		size_t to = i;
		memcpy(moving, words + i * stride, size);
		while (to > 0 &&
		       compare_entries(words + (to - 1) * stride, moving, width) > 0) {
			memcpy(words + to * stride, words + (to - 1) * stride, size);
			to--;
		}
		memcpy(words + to * stride, moving, size);
	}
}

/* Merges two neighbouring sorted parts of @from into @to; stable. */
static void merge(
    const uint32_t *from, size_t middle, size_t n, uint32_t *to, unsigned width)
{
	unsigned stride = width + META_WORDS;
	size_t size = stride * sizeof(uint32_t);
	size_t left = 0, right = middle;

	for (size_t i = 0; i < n; i++) {
		bool take_left = right == n || (left < middle &&
						compare_entries(
						    from + left * stride,
						    from + right * stride, width) <= 0);
		size_t *taken = take_left ? &left : &right;
		memcpy(to + i * stride, from + (*taken)++ * stride, size);
	}
}

/*
 * A merge sort of our own: stable, so that of equal entries the first stays, and with one
 * scratch array of known size, where qsort(3) promises neither.
 */
static int sort_entries(struct prefix_table *table)
{
	unsigned width = table->width, stride = stride_of(table);
	size_t n = table->count, sorted = 1;

	while (sorted < n &&
	       compare_entries(
		   entry_at(table, sorted - 1), entry_at(table, sorted), width) <= 0)
		sorted++;
	if (sorted >= n)
		return 0;

	uint32_t *from = table->words;
	uint32_t *to = reallocarray(NULL, n, stride * sizeof(uint32_t));
	if (!to)
		return -ENOMEM;
	for (size_t at = 0; at < n; at += SORT_RUN)
		sort_run(
		    from + at * stride, n - at < SORT_RUN ? n - at : SORT_RUN, width);
	for (size_t run = SORT_RUN; run < n; run *= 2) {
		for (size_t at = 0; at < n; at += 2 * run) {
			size_t both = n - at < 2 * run ? n - at : 2 * run;
			merge(
			    from + at * stride, both < run ? both : run, both,
			    to + at * stride, width);
		}
		uint32_t *swap = from;
		from = to;
		to = swap;
	}
	table->words = from;
	table->capacity = table->count;
	free(to);
	return 0;
}

struct sealing {
	prefix_same *same;
	void *context;
	size_t *repeated;
	struct ip *network;
	struct prefix_entry *conflict;
};

/*
 * Of the @n entries of one prefix that begin at @first, finds the one that stays.
 * Returns 0 or -EEXIST.
 */
static int choose(
    const struct prefix_table *table, const struct sealing *sealing, size_t first,
    size_t n, size_t *ret)
{
	unsigned width = table->width;
	struct prefix_entry plain = {0};
	bool has_plain = false, has_exception = false;

	*ret = first;
	for (size_t i = first; i < first + n; i++) {
		const uint32_t *at = entry_at(table, i);
		struct prefix_entry entry = unpack(at, width, at[width + LINK]);
		if (entry.exception) {
			if (!has_exception)
				*ret = i;
			has_exception = true;
		} else if (!has_plain) {
			plain = entry;
			has_plain = true;
		} else if (!sealing->same(sealing->context, &plain, &entry)) {
			*sealing->network = ip_of(at, width);
			sealing->conflict[0] = plain;
			sealing->conflict[1] = entry;
			return -EEXIST;
		}
	}
	*sealing->repeated += n - 1;
	return 0;
}

/* Drops repeated entries in place. */
static int drop_repeated(struct prefix_table *table, const struct sealing *sealing)
{
	unsigned width = table->width;
	size_t kept = 0;

	for (size_t i = 0; i < table->count;) {
		size_t n = 1, chosen = i;
		while (i + n < table->count &&
		       compare_entries(
			   entry_at(table, i), entry_at(table, i + n), width) == 0)
			n++;
		if (n > 1) {
			int r = choose(table, sealing, i, n, &chosen);
			if (r)
				return r;
		}
		memmove(
		    entry_at(table, kept++), entry_at(table, chosen),
		    stride_of(table) * sizeof(uint32_t));
		i += n;
	}
	table->count = (uint32_t)kept;
	return 0;
}

static uint32_t side_of(const struct prefix_table *table, uint32_t entry)
{
	size_t low = 0, high = table->sides_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (table->sides[middle].entry < entry)
			low = middle + 1;
		else
			high = middle;
	}
	return low < table->sides_count && table->sides[low].entry == entry
		   ? table->sides[low].side
		   : 0;
}

/* Moves the sides out of the links. */
static int keep_sides(struct prefix_table *table)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < table->count; i++)
		n += entry_at(table, i)[table->width + LINK] != 0;
	if (!n)
		return 0;
	table->sides = reallocarray(NULL, n, sizeof(*table->sides));
	if (!table->sides)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->count; i++) {
		uint32_t side = entry_at(table, i)[table->width + LINK];
		if (side)
			table->sides[table->sides_count++] =
			    (struct prefix_side){.entry = i, .side = side};
	}
	return 0;
}

/* Links every entry to the innermost one around it, and counts those it adds nothing to.
 */
static void link_entries(struct prefix_table *table, const struct sealing *sealing)
{
	uint32_t around[NESTING_MAX];
	unsigned depth = 0, width = table->width;

	for (uint32_t i = 0; i < table->count; i++) {
		uint32_t *at = entry_at(table, i);
		while (depth && !contains(entry_at(table, around[depth - 1]), at, width))
			depth--;
		at[width + LINK] = depth ? around[depth - 1] : NOBODY;
		if (depth) {
			struct prefix_entry inner = unpack(at, width, side_of(table, i));
			struct prefix_entry outer = unpack(
			    entry_at(table, around[depth - 1]), width,
			    side_of(table, around[depth - 1]));
			*sealing->repeated +=
			    inner.exception == outer.exception &&
			    sealing->same(sealing->context, &outer, &inner);
		}
		assert(depth < NESTING_MAX);
		around[depth++] = i;
	}
}

static int take_sample(struct prefix_table *table)
{
	size_t size = table->width * sizeof(uint32_t);

	table->sample_count = (table->count + SAMPLE_EVERY - 1) / SAMPLE_EVERY;
	table->sample = reallocarray(NULL, table->sample_count, size);
	if (!table->sample)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->sample_count; i++)
		memcpy(
		    table->sample + (size_t)i * table->width,
		    entry_at(table, (size_t)i * SAMPLE_EVERY), size);
	return 0;
}

int prefix_table_seal(
    struct prefix_table *table, prefix_same *same, void *context, size_t *repeated,
    struct ip *ret_network, struct prefix_entry conflict[static 2])
{
	struct sealing sealing = {
	    .same = same,
	    .context = context,
	    .repeated = repeated,
	    .network = ret_network,
	    .conflict = conflict,
	};

	assert(!table->sealed);
	table->sealed = true;
	if (!table->count)
		return 0;
	int r = sort_entries(table);
	if (!r)
		r = drop_repeated(table, &sealing);
	if (!r)
		r = keep_sides(table);
	if (r)
		return r;
	link_entries(table, &sealing);
	void *less =
	    reallocarray(table->words, table->count, stride_of(table) * sizeof(uint32_t));
	table->words = less ? less : table->words;
	return take_sample(table);
}

/* ---- looking up ---- */

/* The last of @n networks, @stride words apart, that is not behind @key; the first is
 * not. Without branches that the processor would guess wrong. */
static inline size_t last_not_behind(
    const uint32_t *words, size_t n, size_t stride, const uint32_t *key, unsigned width)
{
	size_t at = 0;

	while (n > 1) {
		size_t half = n / 2;
		bool behind = compare_words(words + (at + half) * stride, key, width) > 0;
		at += behind ? 0 : half;
		n -= half;
	}
	return at;
}

/* The entry looked for, or NOBODY. Called with a constant width. */
static inline uint32_t innermost(
    const struct prefix_table *table, const uint32_t *key, unsigned width)
{
	unsigned stride = width + META_WORDS;

	if (compare_words(table->sample, key, width) > 0)
		return NOBODY;
	size_t block =
	    last_not_behind(table->sample, table->sample_count, width, key, width) *
	    SAMPLE_EVERY;
	size_t left = table->count - block;
	uint32_t at =
	    (uint32_t)(block + last_not_behind(table->words + block * stride, left < SAMPLE_EVERY ? left : SAMPLE_EVERY, stride, key, width));
	while (at != NOBODY && !contains(table->words + (size_t)at * stride, key, width))
		at = table->words[(size_t)at * stride + width + LINK];
	return at;
}

bool prefix_table_find(
    const struct prefix_table *table, const struct ip *ip, struct ip *ret_network,
    struct prefix_entry *ret)
{
	uint32_t key[4];

	assert(table->sealed);
	if (!table->count || table->width != width_of(ip))
		return false;
	words_of(ip, table->width, key);
	uint32_t found =
	    table->width == 1 ? innermost(table, key, 1) : innermost(table, key, 4);
	if (found == NOBODY)
		return false;
	*ret_network = ip_of(entry_at(table, found), table->width);
	*ret = unpack(entry_at(table, found), table->width, side_of(table, found));
	return true;
}

void prefix_table_done(struct prefix_table *table)
{
	free(table->words);
	free(table->sample);
	free(table->sides);
	*table = (struct prefix_table){0};
}
