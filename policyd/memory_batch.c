/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/memory_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What stands in the bytes for each: this, its key, its members (two bytes and a text
 * each). */
struct copied {
	struct window window;
	uint64_t max;
	uint32_t window_s, members_count;
	uint16_t key_len;
	bool distinct;
};

/* Room for @len more bytes. */
static int reserve(struct memory_batch *batch, size_t len)
{
	size_t size = batch->size ? batch->size : 4096;

	while (size < batch->len + len)
		size *= 2;
	if (size == batch->size)
		return 0;
	char *bytes = realloc(batch->bytes, size);
	if (!bytes)
		return -ENOMEM;
	batch->bytes = bytes;
	batch->size = size;
	return 0;
}

static void put(struct memory_batch *batch, const void *data, size_t len)
{
	memcpy(batch->bytes + batch->len, data, len);
	batch->len += len;
}

static size_t members_len(const struct members *members)
{
	return members ? members->count * (2 + (size_t)CHARGE_MEMBER_MAX) : 0;
}

int memory_batch_add(struct memory_batch *batch, const struct counter *counter)
{
	const struct members *members = counter->members;
	const struct copied copied = {
	    .window = counter->window,
	    .max = counter->max,
	    .window_s = counter->window_s,
	    .members_count = members ? members->count : 0,
	    .key_len = counter->key_len,
	    .distinct = members != NULL,
	};

	int r = reserve(batch, sizeof(copied) + counter->key_len + members_len(members));
	if (r < 0)
		return r;
	put(batch, &copied, sizeof(copied));
	put(batch, counter->key, counter->key_len);
	for (uint32_t i = 0; members && i < members->slots; i++)
		for (const struct member *member = members->table[i]; member;
		     member = member->chain) {
			const uint8_t head[2] = {member->previous, member->len};
			put(batch, head, sizeof(head));
			put(batch, member->text, member->len);
		}
	return 0;
}

static int read_members(struct memory_batch *batch, uint32_t count, const char **at)
{
	if (count > batch->members_size) {
		struct memory_member *members =
		    reallocarray(batch->members, count, sizeof(*members));
		if (!members)
			return -ENOMEM;
		batch->members = members;
		batch->members_size = count;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct memory_member *member = &batch->members[i];
		member->previous = (*at)[0] != 0;
		member->len = (uint8_t)(*at)[1];
		member->text = *at + 2;
		*at += 2 + member->len;
	}
	return 0;
}

int memory_batch_show(
    struct memory_batch *batch, memory_counter_seen *seen, void *context)
{
	const char *at = batch->bytes, *end = at + batch->len;

	batch->len = 0;
	while (at < end) {
		struct copied copied;
		memcpy(&copied, at, sizeof(copied));
		at += sizeof(copied);
		const char *key = at;
		at += copied.key_len;
		if (read_members(batch, copied.members_count, &at) < 0)
			return -ENOMEM;
		const struct memory_counter counter = {
		    .key = key,
		    .key_len = copied.key_len,
		    .window_s = copied.window_s,
		    .max = copied.max,
		    .window = copied.window,
		    .distinct = copied.distinct,
		    .members = batch->members,
		    .members_count = copied.members_count,
		};
		if (!seen(context, &counter))
			return -ECANCELED;
	}
	return 0;
}

void memory_batch_done(struct memory_batch *batch)
{
	free(batch->bytes);
	free(batch->members);
	*batch = (struct memory_batch){0};
}
