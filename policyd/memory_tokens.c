/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/memory_tokens.h"

#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* Records in a block: some pages. */
#define BLOCK_RECORDS 128

/* Results that a record holds itself; more are allocated. */
#define INLINE_RESULTS 3

/* The index begins with so many slots and doubles: it stays in the caches of a site that
 * remembers few tokens. Moving the largest takes some 50 microseconds. */
#define FIRST_SLOTS 256

/* Forgotten at most at each new one: no request pays for a quiet night. */
#define FORGET_AT_ONCE 2

#define CACHE_LINE 64

/* A struct charge_result; whether it is over is a bit of the record. */
struct kept_result {
	uint64_t used;
	uint32_t retry_after_s;
} __attribute__((packed, aligned(4)));

/* Packed for its neighbours' sake: where it stands it is aligned. */
struct kept_results {
	struct charge_result *items;
} __attribute__((packed, aligned(4)));

struct record {
	alignas(CACHE_LINE) uint64_t hash[2];
	int64_t time_ms;
	union {
		struct kept_result few[INLINE_RESULTS];
		struct kept_results many;
	} results;
	uint8_t count;
	uint8_t kind;
	uint8_t over; /* bit n: the n-th of the few */
};

static_assert(sizeof(struct record) == CACHE_LINE, "a request touches one line");
static_assert(offsetof(struct record, results) % alignof(void *) == 0, "aligned");
static_assert(LIMITS_MAX <= UINT8_MAX, "a count fits");

struct token_block {
	struct record records[BLOCK_RECORDS];
};

static struct record *record_at(const struct tokens *tokens, size_t position)
{
	return &tokens->blocks[position / BLOCK_RECORDS]
		    ->records[position % BLOCK_RECORDS];
}

static size_t position_after(const struct tokens *tokens, size_t count)
{
	size_t position = tokens->first + count;
	return position < tokens->capacity ? position : position - tokens->capacity;
}

/* The slot of this token, or the free one where it would stand. */
static uint32_t find_slot(const struct tokens *tokens, const uint64_t hash[static 2])
{
	uint32_t at = (uint32_t)hash[0] & tokens->index_mask;

	for (;; at = (at + 1) & tokens->index_mask) {
		const struct token_slot *slot = &tokens->index[at];
		if (slot->position == 0)
			return at;
		if (slot->hash != (uint32_t)hash[0])
			continue;
		const struct record *record = record_at(tokens, slot->position - 1);
		if (record->hash[0] == hash[0] && record->hash[1] == hash[1])
			return at;
	}
}

/* Frees the slot and moves back what had to step over it (Knuth, 6.4 R). */
static void remove_slot(struct tokens *tokens, uint32_t slot)
{
	uint32_t hole = slot;

	for (;;) {
		tokens->index[hole].position = 0;
		for (;;) {
			slot = (slot + 1) & tokens->index_mask;
			if (tokens->index[slot].position == 0)
				return;
			uint32_t home = tokens->index[slot].hash & tokens->index_mask;
			bool stays = hole <= slot ? hole < home && home <= slot
						  : hole < home || home <= slot;
			if (!stays)
				break;
		}
		tokens->index[hole] = tokens->index[slot];
		hole = slot;
	}
}

static void block_release(struct tokens *tokens, size_t number)
{
	if (tokens->spare)
		free(tokens->blocks[number]);
	else
		tokens->spare = tokens->blocks[number];
	tokens->blocks[number] = NULL;
}

static bool block_ready(struct tokens *tokens, size_t number)
{
	if (tokens->blocks[number])
		return true;
	tokens->blocks[number] =
	    tokens->spare ? tokens->spare
			  : aligned_alloc(CACHE_LINE, sizeof(struct token_block));
	tokens->spare = NULL;
	return tokens->blocks[number] != NULL;
}

static void note_oldest(struct tokens *tokens)
{
	const struct record *record = record_at(tokens, tokens->first);

	tokens->oldest_ms = record->time_ms;
	tokens->oldest_hash = (uint32_t)record->hash[0];
}

static void forget_oldest(struct tokens *tokens)
{
	struct record *record = record_at(tokens, tokens->first);
	size_t number = tokens->first / BLOCK_RECORDS;

	remove_slot(tokens, find_slot(tokens, record->hash));
	if (record->count > INLINE_RESULTS)
		free(record->results.many.items);
	tokens->first = position_after(tokens, 1);
	tokens->count--;
	tokens->forgotten++;
	if (tokens->count > 0)
		note_oldest(tokens);
	if (tokens->count == 0 || tokens->first / BLOCK_RECORDS != number)
		block_release(tokens, number);
}

int tokens_init(struct tokens *tokens, size_t max)
{
	/* One block more than full ones: the oldest and the newest may be begun. */
	size_t blocks = max / BLOCK_RECORDS + 2;

	*tokens = (struct tokens){
	    .max = max,
	    .capacity = blocks * BLOCK_RECORDS,
	    .index_mask = FIRST_SLOTS - 1,
	};
	tokens->blocks = calloc(blocks, sizeof(*tokens->blocks));
	tokens->index = calloc(FIRST_SLOTS, sizeof(*tokens->index));
	return tokens->blocks && tokens->index ? 0 : -ENOMEM;
}

void tokens_done(struct tokens *tokens)
{
	while (tokens->count > 0)
		forget_oldest(tokens);
	for (size_t i = 0; tokens->blocks && i < tokens->capacity / BLOCK_RECORDS; i++)
		free(tokens->blocks[i]);
	free(tokens->spare);
	free(tokens->blocks);
	free(tokens->index);
	*tokens = (struct tokens){0};
}

static void prefetch_record(const struct tokens *tokens, size_t position)
{
	const struct token_block *block = tokens->blocks[position / BLOCK_RECORDS];

	if (block)
		__builtin_prefetch(&block->records[position % BLOCK_RECORDS], 1);
}

void tokens_prefetch(const struct tokens *tokens, uint64_t hash)
{
	__builtin_prefetch(&tokens->index[(uint32_t)hash & tokens->index_mask], 1);
	prefetch_record(tokens, position_after(tokens, tokens->count));
	if (tokens->count < tokens->max)
		return;
	/* The oldest goes, and the one behind it is the next. */
	__builtin_prefetch(&tokens->index[tokens->oldest_hash & tokens->index_mask], 1);
	prefetch_record(tokens, tokens->first);
	prefetch_record(tokens, position_after(tokens, 1));
}

static void copy_outcome(const struct record *record, struct outcome *ret)
{
	ret->kind = (enum outcome_kind)record->kind;
	ret->count = record->count;
	if (record->count > INLINE_RESULTS) {
		memcpy(
		    ret->results, record->results.many.items,
		    record->count * sizeof(ret->results[0]));
		return;
	}
	for (unsigned i = 0; i < record->count; i++) {
		const struct kept_result *kept = &record->results.few[i];
		ret->results[i] = (struct charge_result){
		    .used = kept->used,
		    .over = record->over >> i & 1,
		    .retry_after_s = kept->retry_after_s,
		};
	}
}

bool tokens_find(
    const struct tokens *tokens, const uint64_t hash[static 2], struct outcome *ret)
{
	uint32_t position = tokens->index[find_slot(tokens, hash)].position;

	if (position == 0)
		return false;
	copy_outcome(record_at(tokens, position - 1), ret);
	return true;
}

void tokens_get(
    const struct tokens *tokens, uint64_t number, uint64_t ret_hash[static 2],
    int64_t *ret_time_ms, struct outcome *ret)
{
	const struct record *record = record_at(
	    tokens, position_after(tokens, (size_t)(number - tokens->forgotten)));

	ret_hash[0] = record->hash[0];
	ret_hash[1] = record->hash[1];
	*ret_time_ms = record->time_ms;
	copy_outcome(record, ret);
}

/* Half of the slots stay free. False: no memory, and no slot to spare. */
static bool index_ready(struct tokens *tokens)
{
	uint32_t slots = tokens->index_mask + 1, mask = 2 * slots - 1;

	if (2 * (tokens->count + 1) <= slots)
		return true;
	struct token_slot *index = calloc(2 * (size_t)slots, sizeof(*index));
	if (!index)
		return tokens->count + 1 < slots;
	for (uint32_t i = 0; i < slots; i++) {
		const struct token_slot *slot = &tokens->index[i];
		uint32_t at = slot->hash & mask;
		if (slot->position == 0)
			continue;
		while (index[at].position != 0)
			at = (at + 1) & mask;
		index[at] = *slot;
	}
	free(tokens->index);
	tokens->index = index;
	tokens->index_mask = mask;
	return true;
}

static bool keep_many(struct record *record, const struct outcome *outcome)
{
	size_t size = outcome->count * sizeof(outcome->results[0]);
	struct charge_result *items = malloc(size);

	if (!items)
		return false;
	memcpy(items, outcome->results, size);
	record->results.many.items = items;
	return true;
}

/* False: no memory. */
static bool keep_outcome(struct record *record, const struct outcome *outcome)
{
	record->kind = (uint8_t)outcome->kind;
	record->count = (uint8_t)outcome->count;
	record->over = 0;
	if (outcome->count > INLINE_RESULTS)
		return keep_many(record, outcome);
	for (unsigned i = 0; i < outcome->count; i++) {
		const struct charge_result *result = &outcome->results[i];
		record->results.few[i] = (struct kept_result){
		    .used = result->used, .retry_after_s = result->retry_after_s};
		record->over |= (uint8_t)(result->over << i);
	}
	return true;
}

void tokens_add(
    struct tokens *tokens, const uint64_t hash[static 2], int64_t now_ms, int64_t keep_ms,
    const struct outcome *outcome)
{
	for (int i = 0; i < FORGET_AT_ONCE && tokens->count > 0; i++)
		if (tokens->oldest_ms < now_ms - keep_ms)
			forget_oldest(tokens);
	if (tokens->count >= tokens->max)
		forget_oldest(tokens);

	size_t position = position_after(tokens, tokens->count);
	if (!index_ready(tokens) || !block_ready(tokens, position / BLOCK_RECORDS))
		return;
	struct record *record = record_at(tokens, position);
	if (!keep_outcome(record, outcome))
		return;
	record->hash[0] = hash[0];
	record->hash[1] = hash[1];
	record->time_ms = now_ms;
	tokens->index[find_slot(tokens, hash)] = (struct token_slot){
	    .position = (uint32_t)position + 1, .hash = (uint32_t)hash[0]};
	if (tokens->count++ == 0)
		note_oldest(tokens);
}
