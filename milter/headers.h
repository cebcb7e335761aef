/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The headers of one message as they came, in order, in one growing piece of memory:
 * Postern cannot know before the last of them who the author is. Bounded, because the
 * sender chooses how many there are.
 */

/* Postfix takes 102,400 bytes in one header (header_size_limit) and bounds the sum only
 * by message_size_limit; real mail stays under 64 KiB and a few hundred. */
#define HEADERS_MAX_BYTES (1024 * 1024)
#define HEADERS_MAX       20000

struct header {
	uint32_t name, value; /* offsets */
	uint32_t name_len, value_len;
};

struct headers {
	struct header *items;
	size_t count, allocated;
	char *text;
	size_t text_len, text_allocated;
	bool over; /* there were more than fit: the list is not complete */
};

/*
 * Adds one. @value begins right after the colon, leading white space included; folds are
 * LF as libmilter hands them over. Returns 0, or -ENOMEM. Beyond the bounds it sets
 * @over and drops it.
 */
int headers_add(struct headers *headers, const char *name, const char *value);
void headers_done(struct headers *headers);

const char *header_name(const struct headers *headers, size_t i);
const char *header_value(const struct headers *headers, size_t i);
bool header_is(const struct headers *headers, size_t i, const char *name);
size_t headers_count(const struct headers *headers, const char *name);
