/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/body.h"

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

void body_init(
    struct body *body, enum canonicalization canon,
    int (*sink)(void *context, const unsigned char *bytes, size_t len), void *context)
{
	body->canon = canon;
	body->sink = sink;
	body->context = context;
	body->line_len = body->long_lines = body->line_ends = body->filled = 0;
	body->held_cr = body->held_blank = body->any = false;
}

static int flush(struct body *body)
{
	size_t len = body->filled;
	body->filled = 0;
	return len > 0 ? body->sink(body->context, body->buffer, len) : 0;
}

static int put(struct body *body, const void *bytes, size_t len)
{
	if (len > sizeof(body->buffer) - body->filled) {
		int r = flush(body);
		if (r != 0)
			return r;
		if (len >= sizeof(body->buffer))
			return body->sink(body->context, bytes, len);
	}
	memcpy(body->buffer + body->filled, bytes, len);
	body->filled += len;
	return 0;
}

/* Text that goes out, after the line ends that were held for it. */
static int put_text(struct body *body, const unsigned char *bytes, size_t len)
{
	int r = 0;
	body->any = true;
	for (; r == 0 && body->line_ends > 0; body->line_ends--)
		r = put(body, "\r\n", 2);
	return r == 0 ? put(body, bytes, len) : r;
}

static bool is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* The byte at @at is the lowest. */
static uint64_t load_word(const unsigned char *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof(word));
	return le64toh(word);
}

/* 0x80 in place of each byte that is @c, 0 in place of the others. */
static uint64_t bytes_equal(uint64_t word, unsigned char c)
{
	const uint64_t each = UINT64_C(0x0101010101010101), low = 0x7f * each;
	word ^= c * each;
	return ~(((word & low) + low) | word | low);
}

/*
 * The first white space that is not one blank between two words; @end: none. Eight bytes
 * at a time and without a branch for each word of the text, which no processor predicts:
 * one by one this takes longer than hashing them.
 */
static const unsigned char *find_uncanonical(
    const unsigned char *at, const unsigned char *end)
{
	for (; end - at > (ptrdiff_t)sizeof(uint64_t); at += sizeof(uint64_t)) {
		uint64_t here = load_word(at), behind = load_word(at + 1);
		uint64_t blank_behind =
		    bytes_equal(behind, ' ') | bytes_equal(behind, '\t');
		uint64_t found =
		    bytes_equal(here, '\t') | (bytes_equal(here, ' ') & blank_behind);
		if (found)
			return at + __builtin_ctzll(found) / 8;
	}
	for (; at < end; at++) {
		/* Nearly all bytes are beyond it. */
		if (*at > ' ' || !is_blank(*at))
			continue;
		if (*at == '\t' || at + 1 == end || is_blank(at[1]))
			break;
	}
	return at;
}

static int add_relaxed(struct body *body, const unsigned char *at, size_t len)
{
	const unsigned char *end = at + len;
	int r = 0;
	while (r == 0 && at < end) {
		if (body->held_blank || is_blank(*at)) {
			while (at < end && is_blank(*at))
				at++;
			body->held_blank = at == end;
			/* What follows makes it a blank between words. */
			if (at < end)
				r = put_text(body, (const unsigned char *)" ", 1);
			continue;
		}
		const unsigned char *stop = find_uncanonical(at, end);
		r = put_text(body, at, (size_t)(stop - at));
		at = stop;
	}
	return r;
}

/* A part of a line. */
static int add_text(struct body *body, const unsigned char *bytes, size_t len)
{
	body->line_len += len;
	if (body->line_len > BODY_LINE_MAX)
		return BODY_LINE_TOO_LONG;
	if (len == 0)
		return 0;
	switch (body->canon) {
	case CANON_SIMPLE:
		return put_text(body, bytes, len);
	case CANON_RELAXED:
		break;
	}
	return add_relaxed(body, bytes, len);
}

static void end_line(struct body *body)
{
	if (body->line_len > BODY_LONG_LINE)
		body->long_lines++;
	body->line_len = 0;
	body->held_cr = body->held_blank = false;
	body->line_ends++;
}

int body_add(struct body *body, const unsigned char *bytes, size_t len)
{
	const unsigned char *end = bytes + len;
	if (len == 0)
		return BODY_GOOD;
	if (body->held_cr) {
		if (*bytes != '\n')
			return BODY_BARE_CR;
		end_line(body);
		bytes++;
	}
	while (bytes < end) {
		const unsigned char *lf = memchr(bytes, '\n', (size_t)(end - bytes));
		const unsigned char *stop = lf ? lf : end;
		const unsigned char *cr = memchr(bytes, '\r', (size_t)(stop - bytes));
		if (cr && cr + 1 < stop)
			return BODY_BARE_CR;
		int r = add_text(body, bytes, (size_t)((cr ? cr : stop) - bytes));
		if (r != 0)
			return r;
		if (!lf) {
			body->held_cr = cr != NULL;
			break;
		}
		end_line(body);
		bytes = lf + 1;
	}
	return BODY_GOOD;
}

int body_end(struct body *body)
{
	int r = 0;
	if (body->held_cr)
		return BODY_BARE_CR;
	if (body->line_len > BODY_LONG_LINE)
		body->long_lines++;
	/* Empty lines at the end go; a simple body has at least one line end. */
	if (body->any || body->canon == CANON_SIMPLE)
		r = put(body, "\r\n", 2);
	return r == 0 ? flush(body) : r;
}
