/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/prefix_table.h"
#include "common/list_places.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * An entry is its network in host-order words and its meta: line, packed, link. The link
 * is the side while the table is built and the entry around this one once it is sealed;
 * sides are then looked up in an array of the few that have one.
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

/* Networks to one of the level above: 16 of IPv4 are a cache line. */
#define FANOUT 16

/* Shorter runs are sorted by insertion. */
#define SORT_RUN 16

/* By the first 16 bits: a million IPv4 entries fall into runs short enough. */
#define BUCKETS 65536

/* Prefixes around one another: lengths 0 to 128. */
#define NESTING_MAX 129

/* The width must be a constant by the time the compiler sees these loops: that halves a
 * look-up. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

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

static uint32_t *network_at(const struct prefix_table *table, size_t i)
{
	return table->levels[0].networks + i * table->width;
}

static uint32_t *meta_at(const struct prefix_table *table, size_t i)
{
	return table->metas + i * META_WORDS;
}

static uint8_t length_of(const uint32_t *meta)
{
	return (uint8_t)(meta[PACKED] & PACKED_LENGTH);
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
static ALWAYS_INLINE int compare_words(
    const uint32_t *a, const uint32_t *b, unsigned width)
{
	if (width == 1)
		return (*a > *b) - (*a < *b);

	uint64_t high_a = (uint64_t)a[0] << 32 | a[1],
		 high_b = (uint64_t)b[0] << 32 | b[1];
	uint64_t low_a = (uint64_t)a[2] << 32 | a[3], low_b = (uint64_t)b[2] << 32 | b[3];
	int high = (high_a > high_b) - (high_a < high_b);
	return high ? high : (low_a > low_b) - (low_a < low_b);
}

static ALWAYS_INLINE bool contains(
    const uint32_t *network, unsigned bits, const uint32_t *key, unsigned width)
{
	for (unsigned i = 0; i < width && bits; i++) {
		unsigned n = bits < 32 ? bits : 32;
		if ((network[i] ^ key[i]) >> (32 - n))
			return false;
		bits -= n;
	}
	return true;
}

static struct prefix_entry unpack(const uint32_t *meta, uint32_t side)
{
	uint32_t packed = meta[PACKED];

	return (struct prefix_entry){
	    .file = packed >> PACKED_FILE_SHIFT,
	    .line = meta[LINE],
	    .side = side,
	    .length = length_of(meta),
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

	return order ? order : length_of(a + width) - length_of(b + width);
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

/* Leaves @words sorted, @scratch anyhow. */
static void sort_part(uint32_t *words, uint32_t *scratch, size_t n, unsigned width)
{
	unsigned stride = width + META_WORDS;
	uint32_t *from = words, *to = scratch;

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
	if (from != words)
		memcpy(words, from, n * stride * sizeof(uint32_t));
}

/* Deals the entries out to @to by their first 16 bits, in order. Afterwards @ends has
 * where each bucket ends. */
static void deal(
    const struct prefix_table *table, uint32_t *to, uint32_t ends[static BUCKETS])
{
	unsigned stride = stride_of(table);
	uint32_t sum = 0;

	for (size_t i = 0; i < table->count; i++)
		ends[*entry_at(table, i) >> 16]++;
	for (size_t i = 0; i < BUCKETS; i++) {
		uint32_t n = ends[i];
		ends[i] = sum;
		sum += n;
	}
	for (size_t i = 0; i < table->count; i++) {
		const uint32_t *entry = entry_at(table, i);
		memcpy(
		    to + (size_t)ends[*entry >> 16]++ * stride, entry,
		    stride * sizeof(uint32_t));
	}
}

/*
 * A sort of our own: stable, so that of equal entries the first stays, and with one
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

	uint32_t *other = list_allocate(n, stride * sizeof(uint32_t));
	uint32_t *ends = calloc(BUCKETS, sizeof(*ends));
	if (!other || !ends) {
		free(other);
		free(ends);
		return -ENOMEM;
	}
	deal(table, other, ends);
	for (size_t i = 0, begin = 0; i < BUCKETS; begin = ends[i++])
		if (ends[i] > begin)
			sort_part(
			    other + begin * stride, entry_at(table, begin),
			    ends[i] - begin, width);
	free(ends);
	free(table->words);
	table->words = other;
	table->capacity = table->count;
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
		struct prefix_entry entry = unpack(at + width, at[width + LINK]);
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

/* Takes the sides out of the links. */
static int keep_sides(struct prefix_table *table)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < table->count; i++)
		n += meta_at(table, i)[LINK] != 0;
	if (!n)
		return 0;
	table->sides = reallocarray(NULL, n, sizeof(*table->sides));
	if (!table->sides)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->count; i++) {
		uint32_t side = meta_at(table, i)[LINK];
		if (side)
			table->sides[table->sides_count++] =
			    (struct prefix_side){.entry = i, .side = side};
	}
	return 0;
}

/* Links every entry to the innermost one around it, instead of to its side, and counts
 * those that say no more than that one. */
static void link_entries(struct prefix_table *table, const struct sealing *sealing)
{
	struct prefix_entry entries[NESTING_MAX];
	uint32_t around[NESTING_MAX];
	unsigned depth = 0, width = table->width;

	for (uint32_t i = 0; i < table->count; i++) {
		uint32_t *meta = meta_at(table, i);
		while (depth &&
		       !contains(
			   network_at(table, around[depth - 1]),
			   entries[depth - 1].length, network_at(table, i), width))
			depth--;
		assert(depth < NESTING_MAX);
		around[depth] = i;
		entries[depth] = unpack(meta, meta[LINK]);
		if (depth)
			*sealing->repeated +=
			    entries[depth].exception == entries[depth - 1].exception &&
			    sealing->same(
				sealing->context, &entries[depth - 1], &entries[depth]);
		meta[LINK] = depth ? around[depth - 1] : NOBODY;
		depth++;
	}
}

/* A level of @count networks, its last node filled up with the last address of all. */
static int add_level(struct prefix_table *table, uint32_t count)
{
	size_t width = table->width, nodes = ((size_t)count - 1) / FANOUT + 1;
	uint32_t *networks = list_allocate(nodes, FANOUT * width * sizeof(uint32_t));

	if (!networks)
		return -ENOMEM;
	memset(
	    networks + count * width, 0xff,
	    (nodes * FANOUT - count) * width * sizeof(uint32_t));
	assert(table->levels_count < PREFIX_LEVELS_MAX);
	table->levels[table->levels_count++] = (struct prefix_level){networks, count};
	return 0;
}

/* Parts the networks from the rest, which closes up where it stands. */
static int part(struct prefix_table *table)
{
	unsigned width = table->width;
	int r = add_level(table, table->count);

	if (r)
		return r;
	for (size_t i = 0; i < table->count; i++) {
		const uint32_t *entry = entry_at(table, i);
		memcpy(network_at(table, i), entry, width * sizeof(uint32_t));
		memmove(
		    table->words + i * META_WORDS, entry + width,
		    META_WORDS * sizeof(uint32_t));
	}
	table->metas =
	    reallocarray(table->words, table->count, META_WORDS * sizeof(uint32_t));
	if (!table->metas)
		table->metas = table->words;
	table->words = NULL;
	return 0;
}

static int build_levels(struct prefix_table *table)
{
	unsigned width = table->width;
	const struct prefix_level *below = table->levels;

	for (; below->count > FANOUT; below++) {
		uint32_t count = (below->count - 1) / FANOUT + 1;
		int r = add_level(table, count);
		if (r)
			return r;
		for (size_t i = 0; i < count; i++)
			memcpy(
			    below[1].networks + i * width,
			    below->networks + i * FANOUT * width,
			    width * sizeof(uint32_t));
	}
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
		r = part(table);
	if (!r)
		r = build_levels(table);
	if (!r)
		r = keep_sides(table);
	if (!r)
		link_entries(table, &sealing);
	return r;
}

/* ---- looking up ---- */

/* Whether network @a is behind @key, 0 or 1, without a branch. */
static ALWAYS_INLINE uint32_t
behind(const uint32_t *a, const uint32_t *key, unsigned width)
{
	if (width == 1)
		return *a > *key;

	uint64_t high_a = (uint64_t)a[0] << 32 | a[1],
		 low_a = (uint64_t)a[2] << 32 | a[3];
	uint64_t high = (uint64_t)key[0] << 32 | key[1],
		 low = (uint64_t)key[2] << 32 | key[3];
	return (uint32_t)(high_a > high) |
	       ((uint32_t)(high_a == high) & (uint32_t)(low_a > low));
}

/* Where the last of a node's networks stands that is not behind @key; the first is not.
 * All 16 at once: a search by halves would wait for each of its four answers. */
static ALWAYS_INLINE size_t
last_not_behind(const uint32_t *node, const uint32_t *key, unsigned width)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < FANOUT; i++)
		count += 1 - behind(node + i * width, key, width);
	return count - 1;
}

/* The entry looked for, or NOBODY. Called with a constant width. */
static ALWAYS_INLINE uint32_t
innermost(const struct prefix_table *table, const uint32_t *key, unsigned width)
{
	const struct prefix_level *level = &table->levels[table->levels_count - 1];
	const uint32_t *networks = table->levels[0].networks, *metas = table->metas;
	size_t at = 0;

	if (compare_words(level->networks, key, width) > 0)
		return NOBODY;
	for (;; level--) {
		/* The last miss but one and the last at the same time. */
		if (level == table->levels)
			for (size_t i = 0; i < FANOUT; i += FANOUT / 3)
				__builtin_prefetch(metas + (at + i) * META_WORDS);
		at += last_not_behind(level->networks + at * width, key, width);
		/* What fills up the last node is behind every address but the last. */
		at = at < level->count ? at : level->count - 1;
		if (level == table->levels)
			break;
		at *= FANOUT;
	}
	uint32_t found = (uint32_t)at;
	while (found != NOBODY &&
	       !contains(
		   networks + (size_t)found * width,
		   length_of(metas + (size_t)found * META_WORDS), key, width))
		found = metas[(size_t)found * META_WORDS + LINK];
	return found;
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
	*ret_network = ip_of(network_at(table, found), table->width);
	*ret = unpack(meta_at(table, found), side_of(table, found));
	return true;
}

void prefix_table_done(struct prefix_table *table)
{
	for (unsigned i = 0; i < table->levels_count; i++)
		free(table->levels[i].networks);
	free(table->words);
	free(table->metas);
	free(table->sides);
	*table = (struct prefix_table){0};
}
