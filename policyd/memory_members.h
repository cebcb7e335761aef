/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The set of one distinct count: which members were seen in the current bucket, and which
 * in the previous one alone. How many of each stands in the counter's window, which the
 * caller keeps.
 *
 * The caller hashes (with a secret key: strangers choose members) and locks.
 */

struct member {
	struct member *chain;
	uint32_t hash;
	bool previous; /* seen in the previous bucket alone */
	uint8_t len;
	char text[];
};

struct members {
	uint32_t count;
	uint32_t slots; /* a power of two */
	struct member **table;
};

/* NULL: no memory. */
struct members *members_new(void);
struct members *members_free(struct members *members);

/* NULL: it is not in the set. */
struct member *members_find(
    const struct members *members, uint32_t hash, const char *text, size_t len);

/* Adds one that is not in the set. NULL: no memory. */
struct member *members_add(
    struct members *members, uint32_t hash, const char *text, size_t len);

void members_remove(struct members *members, struct member *member);

/* A bucket has ended: those of the previous one go, and the current one's become the
 * previous one's; with @all they go too. Returns how many went. */
uint32_t members_age(struct members *members, bool all);
