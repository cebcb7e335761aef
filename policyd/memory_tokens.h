/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The charges that were answered lately, and what was answered: one shard of them. A
 * first-in-first-out queue with an index over it. Records lie one behind the other in
 * blocks that come and go with the queue: memory follows what is remembered, and adding,
 * finding and forgetting touch few cache lines, since at full speed every request adds a
 * token that nobody will ask for again.
 *
 * Two 64-bit halves of one keyed hash stand for a token's text. The caller locks.
 */

struct token_block;

struct token_slot {
	uint32_t position; /* of the record, + 1; 0 is free */
	uint32_t hash;
};

struct tokens {
	size_t count, max;
	uint64_t forgotten; /* so many were, ever */
	size_t first;       /* position of the oldest record */
	/* Its time and half of its hash: most requests need not look at it. */
	int64_t oldest_ms;
	uint32_t oldest_hash;
	size_t capacity; /* positions, from where they begin anew */
	struct token_block **blocks;
	struct token_block *spare; /* one, so that a queue at rest allocates nothing */
	struct token_slot *index;  /* open addressing */
	uint32_t index_mask;
};

int tokens_init(struct tokens *tokens, size_t max);
void tokens_done(struct tokens *tokens); /* all zero is fine */

/* This token will be asked for in a moment, and then most likely added: begins to fetch
 * what that touches. */
void tokens_prefetch(const struct tokens *tokens, uint64_t hash);

/* False: not remembered. */
bool tokens_find(
    const struct tokens *tokens, const uint64_t hash[static 2], struct outcome *ret);

/* They are numbered as they come, for ever: the oldest that is remembered, and the next
 * that will be. */
static inline uint64_t tokens_oldest(const struct tokens *tokens)
{
	return tokens->forgotten;
}

static inline uint64_t tokens_next(const struct tokens *tokens)
{
	return tokens->forgotten + tokens->count;
}

/* The one of this number, between those two. */
void tokens_get(
    const struct tokens *tokens, uint64_t number, uint64_t ret_hash[static 2],
    int64_t *ret_time_ms, struct outcome *ret);

/* Remembers it; what is older than @keep_ms, or too much, is forgotten. Without memory
 * for it, or for what is older and must not go, it is not remembered. */
void tokens_add(
    struct tokens *tokens, const uint64_t hash[static 2], int64_t now_ms, int64_t keep_ms,
    const struct outcome *outcome);
