/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_text.h"

#include "common/config_scan.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static size_t put_utf8(char *to, unsigned code)
{
	unsigned char *p = (unsigned char *)to;
	if (code < 0x80) {
		p[0] = (unsigned char)code;
		return 1;
	}
	if (code < 0x800) {
		p[0] = (unsigned char)(0xC0 | code >> 6);
		p[1] = (unsigned char)(0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000) {
		p[0] = (unsigned char)(0xE0 | code >> 12);
		p[1] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
		p[2] = (unsigned char)(0x80 | (code & 0x3F));
		return 3;
	}
	p[0] = (unsigned char)(0xF0 | code >> 18);
	p[1] = (unsigned char)(0x80 | (code >> 12 & 0x3F));
	p[2] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
	p[3] = (unsigned char)(0x80 | (code & 0x3F));
	return 4;
}

/* Undoes the (checked) escapes of a key in place: the result is never longer. */
static uint32_t decode_in_place(char *key, uint32_t len)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	uint32_t used = 0, i = 0;

	while (i < len) {
		if (key[i] != '\\') {
			key[used++] = key[i++];
			continue;
		}
		if (key[i + 1] != 'u') {
			key[used++] = to[strchr(from, key[i + 1]) - from];
			i += 2;
			continue;
		}
		unsigned code = (unsigned)config_scan_unicode(key + i + 2);
		i += 6;
		if (code >= 0xD800 && code <= 0xDBFF) {
			unsigned low = (unsigned)config_scan_unicode(key + i + 2);
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
			i += 6;
		}
		used += (uint32_t)put_utf8(key + used, code);
	}
	return used;
}

static int compare_keys(const void *a, const void *b, void *context)
{
	const struct config_text *text = context;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	const struct config_node *x = &text->nodes[i], *y = &text->nodes[j];

	if (x->key_len != y->key_len)
		return x->key_len < y->key_len ? -1 : 1;
	int r =
	    memcmp(text->bytes + x->key_offset, text->bytes + y->key_offset, x->key_len);
	return r ? r : (i > j) - (i < j);
}

/* @order: room for all children of @parent. */
static void mark_duplicates_of(struct config_text *text, size_t parent, uint32_t *order)
{
	size_t count = 0;
	uint32_t end = text->nodes[parent].next;
	for (uint32_t i = (uint32_t)parent + 1; i < end; i = text->nodes[i].next)
		order[count++] = i;
	qsort_r(order, count, sizeof(*order), compare_keys, text);

	for (size_t i = 1; i < count; i++) {
		struct config_node *x = &text->nodes[order[i - 1]];
		struct config_node *y = &text->nodes[order[i]];
		if (x->key_len == y->key_len &&
		    memcmp(
			text->bytes + x->key_offset, text->bytes + y->key_offset,
			x->key_len) == 0) {
			y->first = x->first ? x->first : order[i - 1];
			x->replaced = true;
		}
	}
}

static int mark_duplicates(struct config_text *text)
{
	uint32_t *order = calloc(text->node_count, sizeof(*order));
	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < text->node_count; i++) {
		struct config_node *node = &text->nodes[i];
		if (node->key_line)
			node->key_len = decode_in_place(
			    text->bytes + node->key_offset, node->key_len);
	}
	for (size_t i = 0; i < text->node_count; i++)
		if (text->nodes[i].next > i + 1 && text->nodes[i + 1].key_line)
			mark_duplicates_of(text, i, order);
	free(order);
	return 0;
}

/* ---- values ---- */

/*
 * jansson's own parser is not asked: it corrupts the heap when memory ends inside a
 * string (2.14, lex_save() ignores a failed append), and two parsers would have to agree
 * on everything, such as which of two equal keys counts.
 */

static json_t *make_number(const char *text, size_t len, bool too_big)
{
	if (too_big)
		return json_integer(0);
	if (memchr(text, '.', len) || memchr(text, 'e', len) || memchr(text, 'E', len))
		return json_real(strtod(text, NULL));
	return json_integer(strtoll(text, NULL, 10));
}

static json_t *make_scalar(struct config_text *text, const struct config_node *node)
{
	char *bytes = text->bytes + node->offset;

	switch (bytes[0]) {
	case '"':
		return json_stringn_nocheck(
		    bytes + 1, decode_in_place(bytes + 1, node->len - 2));
	case 't':
		return json_true();
	case 'f':
		return json_false();
	case 'n':
		return json_null();
	default:
		return make_number(bytes, node->len, node->too_big);
	}
}

/* One for all: nobody changes what was read. */
static json_t *make_empty(struct config_text *text)
{
	if (!text->empty)
		text->empty = json_object();
	return json_incref(text->empty);
}

/* The value at node @index with all below it. NULL: no memory. */
static json_t *make_value(struct config_text *text, uint32_t index)
{
	const struct config_node *node = &text->nodes[index];
	bool object = text->bytes[node->offset] == '{';
	bool array = text->bytes[node->offset] == '[';
	bool empty = object && node->next == index + 1;
	json_t *made = empty    ? make_empty(text)
		       : object ? json_object()
		       : array  ? json_array()
				: make_scalar(text, node);

	for (uint32_t i = index + 1; made && i < node->next; i = text->nodes[i].next) {
		const struct config_node *child = &text->nodes[i];
		if (child->replaced)
			continue;
		json_t *value = make_value(text, i);
		const char *key = text->bytes + child->key_offset;
		if (!value || (object ? json_object_setn_new_nocheck(
					    made, key, child->key_len, value)
				      : json_array_append_new(made, value))) {
			json_decref(made);
			made = NULL;
		}
	}
	return made;
}

static void seed_hashes(void)
{
	json_object_seed(0);
}

int config_text_parse(
    char *bytes, size_t len, struct config_text *ret, struct config_fault *reterr)
{
	/* jansson seeds its hash tables on first use; two threads may both be first. */
	static pthread_once_t seeded = PTHREAD_ONCE_INIT;
	pthread_once(&seeded, seed_hashes);

	struct config_text text = {.bytes = bytes, .len = len};
	int r = config_scan(&text, reterr);
	if (r == 0)
		r = mark_duplicates(&text);
	if (r == 0) {
		text.root = make_value(&text, 0);
		r = text.root ? 0 : -ENOMEM;
	}
	if (r) {
		config_text_done(&text);
		return r;
	}
	*ret = text;
	return 0;
}

void config_text_done(struct config_text *text)
{
	json_decref(text->root);
	json_decref(text->empty);
	free(text->nodes);
	free(text->bytes);
	*text = (struct config_text){0};
}
