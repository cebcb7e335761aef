/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * IP prefixes of one family, and the most specific that an address lies in.
 *
 * The entries are sorted by network, the shorter prefix first; each knows the innermost
 * other prefix around it. Prefixes nest or are disjoint, so the one looked for is the
 * last entry that does not begin behind the address, or one of those around that. An IPv4
 * entry is 16 bytes, an IPv6 entry 28, the network apart from the rest; above the
 * networks stand levels that repeat every 16th of the one below, so that a look-up costs
 * a cache line a level and two misses at the end.
 *
 * Flat ranges were weighed against this: nested prefixes cut them into up to twice as
 * many pieces, and a piece no longer knows the prefix to show.
 */

struct prefix_entry {
	uint32_t file;
	uint32_t line;
	uint32_t side;
	uint8_t length;
	bool exception;
	bool any; /* written as `any` */
};

/* 16 to this power is more than a table can hold. */
#define PREFIX_LEVELS_MAX 8

struct prefix_table {
	unsigned width;  /* 32-bit words of a network: 1 or 4; 0: nothing was added */
	uint32_t *words; /* while it is built: entries, width + 3 words each */
	uint32_t count, capacity;
	bool sealed;

	/* Once it is sealed. */
	struct prefix_level {
		uint32_t *networks; /* width words each */
		uint32_t count;
	} levels[PREFIX_LEVELS_MAX]; /* levels[0] has every entry's */
	unsigned levels_count;
	uint32_t *metas;           /* three words an entry */
	struct prefix_side *sides; /* of the entries that have one, by entry */
	uint32_t sides_count;
};

#define PREFIX_FILES_MAX (1U << 20)

/* A zeroed table is an empty one. Returns 0 or -ENOMEM. */
int prefix_table_add(
    struct prefix_table *table, const struct ip *network,
    const struct prefix_entry *entry);

/* What sealing finds: called with two entries of one prefix. False: they contradict. */
typedef bool prefix_same(
    void *context, const struct prefix_entry *first, const struct prefix_entry *second);

/*
 * Sorts, and drops repeated prefixes: of equal ones an exception stays, else the first.
 * Adds to *repeated the dropped ones, and those inside another that @same says equals
 * them. Returns 0, -ENOMEM, or -EEXIST with both contradicting entries in @conflict and
 * their network.
 */
int prefix_table_seal(
    struct prefix_table *table, prefix_same *same, void *context, size_t *repeated,
    struct ip *ret_network, struct prefix_entry conflict[static 2]);

/* True, and the innermost prefix around @ip with its network. */
bool prefix_table_find(
    const struct prefix_table *table, const struct ip *ip, struct ip *ret_network,
    struct prefix_entry *ret);

void prefix_table_done(struct prefix_table *table);
