/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/lists.h"

#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t skip_blanks(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && is_blank(text[n]))
		n++;
	return n;
}

static size_t strip_blanks(const char *text, size_t len)
{
	while (len && is_blank(text[len - 1]))
		len--;
	return len;
}

/* The first word's length. Inside double quotes, a blank belongs to it; a quote that
 * nothing closes is no quote. */
static size_t word_len(const char *text, size_t len)
{
	bool quoted = false, escaped = false;
	size_t n = 0, first_blank = len;

	for (; n < len && (quoted || !is_blank(text[n])); n++) {
		if (is_blank(text[n]) && first_blank == len)
			first_blank = n;
		if (escaped)
			escaped = false;
		else if (text[n] == '\\')
			escaped = true;
		else if (text[n] == '"')
			quoted = !quoted;
	}
	return quoted ? first_blank : n;
}

/* What stands before a comment. */
static size_t before_comment(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '#' && (i == 0 || is_blank(text[i - 1])))
			return i;
	return len;
}

bool list_line_split(
    const char *line, size_t len, const char **ret_entry, size_t *ret_entry_len,
    const char **ret_reason, size_t *ret_reason_len)
{
	/* What some editors put in front of a file is no part of its first entry. */
	if (len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
		line += 3;
		len -= 3;
	}
	size_t skip = skip_blanks(line, len);
	line += skip;
	len -= skip;
	if (!len || line[0] == '#')
		return false;

	size_t n = word_len(line, len);
	const char *rest = line + n;
	size_t rest_len = before_comment(rest, len - n);
	skip = skip_blanks(rest, rest_len);
	*ret_entry = line;
	*ret_entry_len = n;
	*ret_reason = rest + skip;
	*ret_reason_len = strip_blanks(rest + skip, rest_len - skip);
	return true;
}
