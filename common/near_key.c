/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/near_key.h"

#include <string.h>

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment distance; three rows of the table are enough. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][NEAR_KEY_MAX + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		above[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t cost = a[i - 1] != b[j - 1];
			row[j] =
			    least(least(above[j], row[j - 1]) + 1, above[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
		size_t *oldest = before;
		before = above;
		above = row;
		row = oldest;
	}
	return above[b_len];
}

void near_key_init(struct near_key *near, const char *wanted, size_t wanted_len)
{
	*near = (struct near_key){.wanted = wanted, .wanted_len = wanted_len};
}

void near_key_try(struct near_key *near, const char *known)
{
	size_t len = strlen(known);
	if (len > NEAR_KEY_MAX || near->wanted_len > NEAR_KEY_MAX)
		return;

	size_t longer = len > near->wanted_len ? len : near->wanted_len;
	size_t d = distance(near->wanted, near->wanted_len, known, len);
	if (d > (longer + 2) / 3 || d >= longer)
		return;
	if (!near->best || d < near->best_distance) {
		near->best = known;
		near->best_distance = d;
	}
}
