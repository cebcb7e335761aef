/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/headers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Most messages: no second allocation. */
#define FIRST_ITEMS 64
#define FIRST_BYTES 8192

static int grow(void **memory, size_t *allocated, size_t need, size_t first, size_t size)
{
	if (need <= *allocated)
		return 0;
	size_t next = *allocated ? *allocated : first;
	while (next < need)
		next *= 2;
	void *bigger = realloc(*memory, next * size);
	if (!bigger)
		return -ENOMEM;
	*memory = bigger;
	*allocated = next;
	return 0;
}

int headers_add(struct headers *headers, const char *name, const char *value)
{
	size_t name_size = strlen(name) + 1;
	size_t value_size = strlen(value) + 1;
	if (headers->count == HEADERS_MAX || name_size > HEADERS_MAX_BYTES ||
	    value_size > HEADERS_MAX_BYTES ||
	    headers->text_len + name_size + value_size > HEADERS_MAX_BYTES)
		headers->over = true;
	if (headers->over)
		return 0;

	void *items = headers->items;
	void *text = headers->text;
	int r = grow(
	    &items, &headers->allocated, headers->count + 1, FIRST_ITEMS,
	    sizeof(*headers->items));
	headers->items = items;
	if (r == 0)
		r = grow(
		    &text, &headers->text_allocated,
		    headers->text_len + name_size + value_size, FIRST_BYTES, 1);
	headers->text = text;
	if (r < 0)
		return r;

	struct header *header = &headers->items[headers->count++];
	header->name = (uint32_t)headers->text_len;
	header->name_len = (uint32_t)name_size - 1;
	memcpy(headers->text + headers->text_len, name, name_size);
	headers->text_len += name_size;
	header->value = (uint32_t)headers->text_len;
	header->value_len = (uint32_t)value_size - 1;
	memcpy(headers->text + headers->text_len, value, value_size);
	headers->text_len += value_size;
	return 0;
}

void headers_done(struct headers *headers)
{
	free(headers->items);
	free(headers->text);
	*headers = (struct headers){0};
}

const char *header_name(const struct headers *headers, size_t i)
{
	return headers->text + headers->items[i].name;
}

const char *header_value(const struct headers *headers, size_t i)
{
	return headers->text + headers->items[i].value;
}

bool header_is(const struct headers *headers, size_t i, const char *name)
{
	return strcasecmp(header_name(headers, i), name) == 0;
}

size_t headers_count(const struct headers *headers, const char *name)
{
	size_t count = 0;
	for (size_t i = 0; i < headers->count; i++)
		count += header_is(headers, i, name);
	return count;
}
