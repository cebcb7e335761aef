/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

/*
 * "Did you mean": the known word nearest to a mistyped one, by edit distance (insert,
 * delete, replace, swap neighbours). Words further away than a third of their length, and
 * words longer than NEAR_KEY_MAX, are never near.
 */

#define NEAR_KEY_MAX 63

struct near_key {
	const char *wanted;
	size_t wanted_len;
	const char *best; /* NULL: nothing near so far */
	size_t best_distance;
};

void near_key_init(struct near_key *near, const char *wanted, size_t wanted_len);

/* Offers one known word; kept by pointer. Of equally near ones the first stays. */
void near_key_try(struct near_key *near, const char *known);
