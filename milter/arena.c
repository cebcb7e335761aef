/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A signature with its headers takes 25 to 30 KiB. */
#define BLOCK_BYTES (32 * 1024)

struct arena_block {
	struct arena_block *next;
	size_t size;
	alignas(max_align_t) unsigned char bytes[];
};

/* AddressSanitizer sees overruns of single allocations alone: each gets its block. */
static size_t block_size(size_t size)
{
#ifdef __SANITIZE_ADDRESS__
	return size;
#else
	return size > BLOCK_BYTES ? size : BLOCK_BYTES;
#endif
}

void *arena_alloc(struct arena *arena, size_t size)
{
	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!arena->blocks || size > arena->left) {
		size_t room = block_size(size);
		struct arena_block *block = malloc(sizeof(*block) + room);
		if (!block)
			return NULL;
		block->next = arena->blocks;
		block->size = room;
		arena->blocks = block;
		arena->left = room;
	}
	struct arena_block *block = arena->blocks;
	void *memory = block->bytes + (block->size - arena->left);
	arena->left -= size;
	return memory;
}

void arena_done(struct arena *arena, bool wipe)
{
	while (arena->blocks) {
		struct arena_block *block = arena->blocks;
		arena->blocks = block->next;
		if (wipe)
			explicit_bzero(block->bytes, block->size);
		free(block);
	}
	arena->left = 0;
}
