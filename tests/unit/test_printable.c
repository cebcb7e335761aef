/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/printable.h"
#include "common/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S(text) (text), sizeof(text) - 1

static const struct {
	const char *text;
	size_t len;
	size_t size; /* of the buffer */
	const char *want, *ascii;
	const char *why;
} rows[] = {
    {S("user@example.org"), 64, "user@example.org", "user@example.org", "plain"},
    {S(""), 64, "", "", "nothing"},
    {S("a b~!\"'<>"), 64, "a b~!\"'<>", "a b~!\"'<>", "punctuation and blank"},
    {S("a\nb\rc\0d\te"), 64, "a\\x0ab\\x0dc\\x00d\\x09e", "a\\x0ab\\x0dc\\x00d\\x09e",
     "line ends, NUL, tab"},
    {S("\x1b[31m\x7f"), 64, "\\x1b[31m\\x7f", "\\x1b[31m\\x7f", "terminal escape, DEL"},
    {S("a\\x0a"), 64, "a\\x5cx0a", "a\\x5cx0a", "an escape cannot be forged"},
    {S("jürgen €"), 64, "jürgen €", "j\\xc3\\xbcrgen \\xe2\\x82\\xac", "UTF-8"},
    {S("😀"), 64, "😀", "\\xf0\\x9f\\x98\\x80", "four bytes"},
    {S("\xc2\x9b"), 64, "\\xc2\\x9b", "\\xc2\\x9b", "C1"},
    {S("\u202eabc"), 64, "\\xe2\\x80\\xaeabc", "\\xe2\\x80\\xaeabc", "override"},
    {S("\u2066"), 64, "\\xe2\\x81\\xa6", "\\xe2\\x81\\xa6", "isolate"},
    {S("\u2028"), 64, "\\xe2\\x80\\xa8", "\\xe2\\x80\\xa8", "line separator"},
    {S("\u200b"), 64, "\\xe2\\x80\\x8b", "\\xe2\\x80\\x8b", "zero width"},
    {S("\ufeff"), 64, "\\xef\\xbb\\xbf", "\\xef\\xbb\\xbf", "byte order mark"},
    {S("\xf3\xa0\x81\x81"), 64, "\\xf3\\xa0\\x81\\x81", "\\xf3\\xa0\\x81\\x81", "tag"},
    {S("\xff\xfe"), 64, "\\xff\\xfe", "\\xff\\xfe", "no UTF-8"},
    {S("\xc3"), 64, "\\xc3", "\\xc3", "cut character"},
    {S("\xc3(\xe2\x82"), 64, "\\xc3(\\xe2\\x82", "\\xc3(\\xe2\\x82", "cut characters"},
    {S("\xc0\xaf"), 64, "\\xc0\\xaf", "\\xc0\\xaf", "overlong"},
    {S("\xed\xa0\x80"), 64, "\\xed\\xa0\\x80", "\\xed\\xa0\\x80", "surrogate"},
    {S("\xf4\x90\x80\x80"), 64, "\\xf4\\x90\\x80\\x80", "\\xf4\\x90\\x80\\x80",
     "over U+10FFFF"},
    {S("abcdef"), 7, "abcdef", "abcdef", "fits exactly"},
    {S("abcdefg"), 7, "abc...", "abc...", "one too many"},
    {S("abc\n"), 8, "abc\\x0a", "abc\\x0a", "an escape fits exactly"},
    {S("abc\n"), 7, "abc...", "abc...", "an escape is not split"},
    {S("ab\nc"), 7, "ab...", "ab...", "the dots take an escape's place"},
    {S("äöü"), 7, "äöü", "...", "characters fit exactly"},
    {S("äöü"), 6, "ä...", "...", "a character is not split"},
    {S("abcd"), 4, "...", "...", "room for the dots alone"},
    {S("abcd"), 3, "..", "..", "room for two dots"},
    {S("abcd"), 1, "", "", "room for nothing"},
    {S("ab"), 3, "ab", "ab", "shorter than the dots"},
};

static void escapes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int ascii = 0; ascii < 2; ascii++) {
			const char *want = ascii ? rows[i].ascii : rows[i].want;
			char *buf = malloc(rows[i].size);
			size_t n =
			    ascii
				? printable_ascii(
				      buf, rows[i].size, rows[i].text, rows[i].len)
				: printable(buf, rows[i].size, rows[i].text, rows[i].len);
			if (n != strlen(buf) || strcmp(buf, want) != 0)
				fail_msg(
				    "%s: \"%s\", wanted \"%s\"", rows[i].why, buf, want);
			free(buf);
		}
	}
}

/* Whatever goes in: valid, one line, within its room, no escape cut. */
static void any_bytes(void **state)
{
	(void)state;
	uint64_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		char text[24], buf[64];
		size_t len = (size_t)round % sizeof(text);
		size_t size = 1 + (size_t)(round / 7) % sizeof(buf);
		for (size_t i = 0; i < len; i++) {
			seed = seed * 6364136223846793005U + 1442695040888963407U;
			text[i] = (char)(seed >> 56);
		}
		size_t n = printable(buf, size, text, len);
		assert_true(n < size);
		assert_int_equal(buf[n], 0);
		for (size_t at = 0, step; at < n; at += step) {
			uint32_t c = 0;
			step = utf8_decode(buf + at, n - at, &c);
			assert_true(step > 0);
			assert_true(c >= 0x20 && c != 0x7f && !(c >= 0x80 && c < 0xa0));
			if (c != '\\')
				continue;
			assert_true(n - at >= 4 && buf[at + 1] == 'x');
			step = 4;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(escapes),
	    cmocka_unit_test(any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
