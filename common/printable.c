/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/printable.h"
#include "common/utf8.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

/*
 * What valid UTF-8 can do to a reader: break the line, turn its direction, hide, or be no
 * character at all. Unicode 15 general categories Cc, Cf, Zl, Zp, Co, and noncharacters;
 * of the unassigned ones only those in these ranges. Sorted.
 */
static const struct {
	uint32_t first, last;
} unprintable[] = {
    {0x0080, 0x009f}, /* C1 */
    {0x00ad, 0x00ad}, /* soft hyphen */
    {0x034f, 0x034f}, /* combining grapheme joiner */
    {0x0600, 0x0605}, /* Arabic number signs */
    {0x061c, 0x061c}, /* Arabic letter mark: direction */
    {0x06dd, 0x06dd},   {0x070f, 0x070f},
    {0x0890, 0x0891},   {0x08e2, 0x08e2},
    {0x115f, 0x1160},                     /* Hangul fillers: blank */
    {0x17b4, 0x17b5},   {0x180b, 0x180f}, /* Mongolian selectors and separator */
    {0x200b, 0x200f},                     /* zero width, direction marks */
    {0x2028, 0x202e},                     /* line and paragraph separator, overrides */
    {0x2060, 0x206f},                     /* invisible operators, isolates */
    {0x3164, 0x3164},                     /* Hangul filler */
    {0xe000, 0xf8ff},                     /* private use */
    {0xfdd0, 0xfdef},                     /* noncharacters */
    {0xfe00, 0xfe0f},                     /* variation selectors */
    {0xfeff, 0xfeff},                     /* byte order mark */
    {0xffa0, 0xffa0},                     /* half-width Hangul filler */
    {0xfff0, 0xfffb},                     /* interlinear annotation */
    {0xfffe, 0xffff},                     /* noncharacters */
    {0x110bd, 0x110bd}, {0x110cd, 0x110cd},
    {0x13430, 0x1343f}, /* Egyptian format controls */
    {0x1bca0, 0x1bca3}, /* shorthand format controls */
    {0x1d173, 0x1d17a}, /* musical format controls */
    {0x1fffe, 0x1ffff}, {0x2fffe, 0x2ffff},
    {0x3fffe, 0x3ffff}, {0x40000, 0x10ffff}, /* unassigned planes, tags, private use */
};

static bool is_printable(uint32_t c)
{
	if (c < 0x80)
		return c >= 0x20 && c != 0x7f && c != '\\';

	size_t low = 0, high = sizeof(unprintable) / sizeof(unprintable[0]);
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (c > unprintable[middle].last)
			low = middle + 1;
		else if (c < unprintable[middle].first)
			high = middle;
		else
			return false;
	}
	return true;
}

/*
 * Writes the unit that @text begins with (a character, or one byte as an escape) to
 * @unit; returns its length and in *ret_taken the bytes it stands for.
 */
static size_t next_unit(
    const char *text, size_t len, bool ascii, char unit[static 4], size_t *ret_taken)
{
	static const char hex[] = "0123456789abcdef";
	uint32_t c;
	size_t n = utf8_decode(text, len, &c);

	if (n && is_printable(c) && (n == 1 || !ascii)) {
		memcpy(unit, text, n);
		*ret_taken = n;
		return n;
	}
	/* One byte at a time: the bytes behind an escaped first byte are invalid by
	 * themselves and are escaped in their turn. */
	unsigned char byte = (unsigned char)text[0];
	unit[0] = '\\';
	unit[1] = 'x';
	unit[2] = hex[byte >> 4];
	unit[3] = hex[byte & 15];
	*ret_taken = 1;
	return 4;
}

static size_t escape(char *buf, size_t size, const char *text, size_t len, bool ascii)
{
	assert(size > 0);
	size_t room = size - 1, written = 0;
	size_t dots = room < 3 ? room : 3;
	size_t cut = 0; /* the longest output that leaves room for the dots */

	while (len) {
		char unit[4];
		size_t taken;
		size_t n = next_unit(text, len, ascii, unit, &taken);
		if (written + n > room) {
			memcpy(buf + cut, "...", dots);
			written = cut + dots;
			break;
		}
		memcpy(buf + written, unit, n);
		written += n;
		if (written + dots <= room)
			cut = written;
		text += taken;
		len -= taken;
	}
	buf[written] = '\0';
	return written;
}

size_t printable(char *buf, size_t size, const char *text, size_t len)
{
	return escape(buf, size, text, len, false);
}

size_t printable_ascii(char *buf, size_t size, const char *text, size_t len)
{
	return escape(buf, size, text, len, true);
}
