/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/author.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

struct cursor {
	const char *at, *end;
};

static bool at_end(const struct cursor *cursor)
{
	return cursor->at == cursor->end;
}

static bool is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

/* A fold: LF or CRLF, then white space. Any other CR or LF is none. */
static bool skip_fold(struct cursor *cursor)
{
	const char *at = cursor->at;
	if (at < cursor->end && *at == '\r')
		at++;
	if (at + 1 >= cursor->end || *at != '\n' || !is_wsp(at[1]))
		return false;
	cursor->at = at + 2;
	return true;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/*
 * What stands between an opening mark and its @close: quoted pairs, and in comments
 * further comments. False: it does not end, or has a control character in it.
 */
static bool skip_delimited(struct cursor *cursor, char open, char close)
{
	size_t depth = 1;
	cursor->at++;
	while (!at_end(cursor)) {
		char c = *cursor->at;
		if (c == '\r' || c == '\n') {
			if (!skip_fold(cursor))
				return false;
			continue;
		}
		if (c == '\\') {
			cursor->at++;
			if (at_end(cursor) || is_control(*cursor->at))
				return false;
		} else if (c == close) {
			if (--depth == 0) {
				cursor->at++;
				return true;
			}
		} else if (is_control(c) && c != '\t') {
			return false;
		} else if (c == open) {
			depth++;
		}
		cursor->at++;
	}
	return false;
}

/* White space, folds and comments. False: one of them is broken. */
static bool skip_cfws(struct cursor *cursor)
{
	while (!at_end(cursor)) {
		if (is_wsp(*cursor->at)) {
			cursor->at++;
		} else if (*cursor->at == '(') {
			if (!skip_delimited(cursor, '(', ')'))
				return false;
		} else if (*cursor->at == '\r' || *cursor->at == '\n') {
			if (!skip_fold(cursor))
				return false;
		} else {
			return true;
		}
	}
	return true;
}

/* A dot-atom's bytes, dots anywhere: address_canonical() judges what is left. */
static bool skip_dot_atom(struct cursor *cursor)
{
	const char *start = cursor->at;
	while (!at_end(cursor) && !is_control(*cursor->at) &&
	       !strchr(" ()<>[]:;@\\,\"", *cursor->at))
		cursor->at++;
	return cursor->at > start;
}

static bool skip_domain(struct cursor *cursor)
{
	if (at_end(cursor) || *cursor->at != '[')
		return skip_dot_atom(cursor);
	while (!at_end(cursor) && !is_control(*cursor->at) && *cursor->at != ']')
		cursor->at++;
	if (at_end(cursor) || *cursor->at != ']')
		return false;
	cursor->at++;
	return true;
}

/* local-part "@" domain, with white space and comments around each (RFC 5322, 4.4). */
static bool parse_addr_spec(
    struct cursor *cursor, const char *delimiters, struct address *ret)
{
	char text[ADDRESS_TEXT_MAX * 2];
	if (!skip_cfws(cursor) || at_end(cursor))
		return false;
	const char *local = cursor->at;
	if (*local == '"' ? !skip_delimited(cursor, '\0', '"') : !skip_dot_atom(cursor))
		return false;
	size_t local_len = (size_t)(cursor->at - local);
	if (!skip_cfws(cursor) || at_end(cursor) || *cursor->at != '@')
		return false;
	cursor->at++;
	if (!skip_cfws(cursor))
		return false;
	const char *domain = cursor->at;
	if (!skip_domain(cursor))
		return false;
	size_t domain_len = (size_t)(cursor->at - domain);
	if (!skip_cfws(cursor) || local_len + 1 + domain_len > sizeof(text))
		return false;

	memcpy(text, local, local_len);
	text[local_len] = '@';
	memcpy(text + local_len + 1, domain, domain_len);
	address_canonical(text, local_len + 1 + domain_len, delimiters, ret);
	return ret->kind == ADDRESS_OK && ret->domain_len > 0;
}

/*
 * Looks for the end of a display name. AUTHOR_ONE: the cursor stands on its "<", or at
 * the end when there is none.
 */
static enum author_result skip_display_name(struct cursor *cursor)
{
	while (skip_cfws(cursor)) {
		if (at_end(cursor))
			return AUTHOR_ONE;
		char c = *cursor->at;
		switch (c) {
		case '<':
			return AUTHOR_ONE;
		case ':':
			return AUTHOR_GROUP;
		case ',':
		case ';':
			return AUTHOR_SEVERAL;
		case '"':
			if (!skip_delimited(cursor, '\0', '"'))
				return AUTHOR_BROKEN;
			break;
		default:
			if (is_control(c) || c == '>' || c == ')')
				return AUTHOR_BROKEN;
			cursor->at++;
		}
	}
	return AUTHOR_BROKEN;
}

enum author_result author_parse(
    const char *value, size_t len, const char *delimiters, struct address *ret)
{
	const struct cursor start = {value, value + len};
	struct cursor cursor = start;
	struct address address;

	if (!skip_cfws(&cursor))
		return AUTHOR_BROKEN;
	if (at_end(&cursor))
		return AUTHOR_EMPTY;
	enum author_result result = skip_display_name(&cursor);
	if (result != AUTHOR_ONE)
		return result;

	bool angle = !at_end(&cursor);
	if (angle)
		cursor.at++;
	else
		cursor = start;
	if (!parse_addr_spec(&cursor, delimiters, &address))
		return AUTHOR_BROKEN;
	if (angle) {
		if (at_end(&cursor) || *cursor.at != '>')
			return AUTHOR_BROKEN;
		cursor.at++;
		if (!skip_cfws(&cursor))
			return AUTHOR_BROKEN;
		if (!at_end(&cursor) && *cursor.at == ',')
			return AUTHOR_SEVERAL;
	}
	if (!at_end(&cursor))
		return AUTHOR_BROKEN;
	*ret = address;
	return AUTHOR_ONE;
}

const char *author_result_text(enum author_result result)
{
	switch (result) {
	case AUTHOR_ONE:
		return "has one address";
	case AUTHOR_EMPTY:
		return "is empty";
	case AUTHOR_SEVERAL:
		return "has more than one address";
	case AUTHOR_GROUP:
		return "is written as a group";
	case AUTHOR_BROKEN:
		return "has no address that can be read";
	}
	assert(0);
	return "";
}
