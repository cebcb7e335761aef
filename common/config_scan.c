/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_scan.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scanner {
	struct config_text *text;
	size_t pos;
	uint32_t line, column;
	unsigned depth;
	bool no_memory;
	struct config_fault *fault;
};

/* Where a token began. */
struct place {
	size_t pos;
	uint32_t line, column;
};

__attribute__((format(printf, 3, 4))) static bool fail(
    struct scanner *s, struct place place, const char *format, ...)
{
	s->fault->line = place.line;
	s->fault->column = place.column;
	va_list args;
	va_start(args, format);
	vsnprintf(s->fault->message, sizeof(s->fault->message), format, args);
	va_end(args);
	return false;
}

static struct place here(const struct scanner *s)
{
	return (struct place){.pos = s->pos, .line = s->line, .column = s->column};
}

static unsigned char peek(const struct scanner *s)
{
	return (unsigned char)s->text->bytes[s->pos]; /* NUL at the end */
}

static bool at_end(const struct scanner *s)
{
	return s->pos == s->text->len;
}

static void step(struct scanner *s)
{
	unsigned char c = peek(s);
	s->pos++;
	if (c == '\n') {
		s->line++;
		s->column = 1;
	} else if ((c & 0xC0) != 0x80) {
		s->column++;
	}
}

/* Steps over one byte of a comment and blanks it, so that lines stay true. */
static void step_blanking(struct scanner *s)
{
	char *byte = s->text->bytes + s->pos;
	step(s);
	if (*byte != '\n')
		*byte = ' ';
}

/* Length of the UTF-8 character at @p (@left bytes there), 0: invalid. RFC 3629. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	if (p[0] < 0x80)
		return 1;
	size_t len = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
	if (p[0] < 0xC2 || p[0] > 0xF4 || left < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
	bool surrogate = p[0] == 0xED && p[1] >= 0xA0;
	bool beyond = p[0] == 0xF4 && p[1] >= 0x90;
	return overlong || surrogate || beyond ? 0 : len;
}

static bool check_encoding(struct scanner *s)
{
	const unsigned char *bytes = (const unsigned char *)s->text->bytes;
	size_t len = s->text->len;

	if (len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0)
		return fail(
		    s, here(s),
		    "the file begins with a byte order mark, expected plain UTF-8");
	if (len >= 2 &&
	    (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0))
		return fail(s, here(s), "the file is UTF-16, expected UTF-8");

	while (!at_end(s)) {
		if (!peek(s))
			return fail(s, here(s), "a NUL byte, expected text");
		size_t n = utf8_length(bytes + s->pos, len - s->pos);
		if (!n)
			return fail(
			    s, here(s),
			    "byte 0x%02X is not UTF-8 (saved as Latin-1?), expected "
			    "UTF-8",
			    peek(s));
		while (n--)
			step(s);
	}
	s->pos = 0;
	s->line = s->column = 1;
	return true;
}

static bool skip_comment(struct scanner *s)
{
	struct place start = here(s);
	char second = s->text->bytes[s->pos + 1];

	if (second == '/') {
		while (!at_end(s) && peek(s) != '\n')
			step_blanking(s);
		return true;
	}
	if (second != '*')
		return fail(s, start, "a lone \"/\", expected a comment // or /* ... */");
	step_blanking(s);
	step_blanking(s);
	while (!at_end(s) && !(peek(s) == '*' && s->text->bytes[s->pos + 1] == '/'))
		step_blanking(s);
	if (at_end(s))
		return fail(s, start, "a comment without its end, expected */");
	step_blanking(s);
	step_blanking(s);
	return true;
}

static bool skip_blank(struct scanner *s)
{
	for (;;) {
		switch (peek(s)) {
		case ' ':
		case '\t':
		case '\n':
		case '\r':
			step(s);
			break;
		case '/':
			if (!skip_comment(s))
				return false;
			break;
		default:
			return true;
		}
	}
}

static int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int config_scan_unicode(const char *p)
{
	int value = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit((unsigned char)p[i]);
		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static bool scan_escape(struct scanner *s)
{
	struct place start = here(s);
	step(s);
	if (peek(s) && strchr("\"\\/bfnrt", peek(s))) {
		step(s);
		return true;
	}
	if (peek(s) != 'u')
		return fail(
		    s, start,
		    "an unknown escape, expected one of \\\" \\\\ \\/ \\b \\f "
		    "\\n \\r \\t \\uXXXX");

	int value = config_scan_unicode(s->text->bytes + s->pos + 1);
	if (value < 0)
		return fail(s, start, "\\u without four hexadecimal digits");
	if (value == 0)
		return fail(s, start, "\\u0000 has no place in a configuration");
	size_t len = 5;
	if (value >= 0xDC00 && value <= 0xDFFF)
		return fail(s, start, "half a surrogate pair");
	if (value >= 0xD800 && value <= 0xDBFF) {
		const char *second = s->text->bytes + s->pos + 5;
		int low = second[0] == '\\' && second[1] == 'u'
			      ? config_scan_unicode(second + 2)
			      : -1;
		if (low < 0xDC00 || low > 0xDFFF)
			return fail(s, start, "half a surrogate pair");
		len = 11;
	}
	while (len--)
		step(s);
	return true;
}

/* Steps over a string; its bytes between the quotes are @ret_len bytes at @ret_offset. */
static bool scan_string(struct scanner *s, uint32_t *ret_offset, uint32_t *ret_len)
{
	struct place start = here(s);
	step(s);
	while (peek(s) != '"') {
		if (at_end(s) || peek(s) == '\n' || peek(s) == '\r')
			return fail(
			    s, start,
			    "a string that does not end on its line, expected \"");
		if (peek(s) < 0x20)
			return fail(
			    s, here(s),
			    "a control character in a string, expected an escape such as "
			    "\\t");
		if (peek(s) == '\\') {
			if (!scan_escape(s))
				return false;
		} else {
			step(s);
		}
	}
	*ret_offset = (uint32_t)(start.pos + 1);
	*ret_len = (uint32_t)(s->pos - start.pos - 1);
	step(s);
	return true;
}

static size_t scan_digits(struct scanner *s)
{
	size_t from = s->pos;
	while (peek(s) >= '0' && peek(s) <= '9')
		step(s);
	return s->pos - from;
}

/*
 * A number too big for its type is a wrong value, not wrong syntax: it is marked, and 0
 * put into its place.
 */
static bool is_too_big(const char *number, bool integer)
{
	errno = 0;
	if (integer) {
		strtoll(number, NULL, 10);
		return errno == ERANGE;
	}
	return isinf(strtod(number, NULL));
}

static bool scan_number(struct scanner *s, bool *ret_too_big)
{
	struct place start = here(s);
	bool integer = true;

	if (peek(s) == '-')
		step(s);
	bool zero = peek(s) == '0';
	size_t digits = scan_digits(s);
	if (digits == 0)
		return fail(s, start, "a \"-\" without digits, expected a number");
	if (zero && digits > 1)
		return fail(
		    s, start,
		    "a number with a leading 0, expected one without (a socket mode "
		    "stands "
		    "in quotes: \"0660\")");
	if (peek(s) == '.') {
		integer = false;
		step(s);
		if (!scan_digits(s))
			return fail(s, start, "a number without digits behind its point");
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		integer = false;
		step(s);
		if (peek(s) == '+' || peek(s) == '-')
			step(s);
		if (!scan_digits(s))
			return fail(s, start, "a number without digits in its exponent");
	}

	char *number = s->text->bytes + start.pos;
	*ret_too_big = is_too_big(number, integer);
	if (*ret_too_big) {
		memset(number, ' ', s->pos - start.pos);
		number[0] = '0';
	}
	return true;
}

static bool scan_word(struct scanner *s)
{
	static const char *const words[] = {"true", "false", "null"};
	struct place start = here(s);
	const char *p = s->text->bytes + s->pos;
	size_t len = 0;

	while ((p[len] >= 'a' && p[len] <= 'z') || (p[len] >= 'A' && p[len] <= 'Z') ||
	       (p[len] >= '0' && p[len] <= '9') || p[len] == '_')
		len++;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i]) == len && memcmp(p, words[i], len) == 0) {
			while (len--)
				step(s);
			return true;
		}
	}
	if (at_end(s))
		return fail(s, start, "the file ends here, expected a value");
	if (len)
		return fail(
		    s, start,
		    "\"%.*s\" without quotes, expected a value (strings stand in "
		    "\"...\")",
		    len > 40 ? 40 : (int)len, p);
	if (peek(s) > 0x20 && peek(s) < 0x7F)
		return fail(s, start, "\"%c\", expected a value", peek(s));
	return fail(s, start, "byte 0x%02X, expected a value", peek(s));
}

/* Returns the new node's index, or SIZE_MAX. Its `next` is set when it ends. */
static size_t add_node(struct scanner *s)
{
	struct config_text *text = s->text;
	if (text->node_count == CONFIG_NODES_MAX) {
		fail(
		    s, here(s),
		    "more than %lu values in one file, expected long lists in files of "
		    "their own (\"file:PATH\")",
		    CONFIG_NODES_MAX);
		return SIZE_MAX;
	}
	if (text->node_count == text->node_room) {
		size_t room = text->node_room ? text->node_room * 2 : 64;
		struct config_node *nodes =
		    reallocarray(text->nodes, room, sizeof(*nodes));
		if (!nodes) {
			s->no_memory = true;
			return SIZE_MAX;
		}
		text->nodes = nodes;
		text->node_room = room;
	}
	text->nodes[text->node_count] = (struct config_node){0};
	return text->node_count++;
}

static bool scan_value(struct scanner *s, size_t index);

/* Key and colon of an object's member; leaves @s at the value. */
static bool scan_key(struct scanner *s, size_t index)
{
	struct place start = here(s);
	uint32_t offset, len;

	if (peek(s) != '"') {
		if (at_end(s))
			return fail(s, start, "the file ends here, expected a key or }");
		return fail(s, start, "expected a key in double quotes or }");
	}
	if (!scan_string(s, &offset, &len) || !skip_blank(s))
		return false;
	if (peek(s) != ':')
		return fail(s, here(s), "expected \":\" between key and value");
	step(s);

	struct config_node *node = &s->text->nodes[index];
	node->key_line = start.line;
	node->key_column = start.column;
	node->key_offset = offset;
	node->key_len = len;
	return skip_blank(s);
}

/* The members behind @open, up to and including its closing bracket. */
static bool scan_members(struct scanner *s, struct place open, bool object)
{
	const char close = object ? '}' : ']';
	struct place comma = {0};

	step(s);
	if (!skip_blank(s))
		return false;
	while (peek(s) != close) {
		size_t index = add_node(s);
		if (index == SIZE_MAX)
			return false;
		if (object && !scan_key(s, index))
			return false;
		if (!scan_value(s, index) || !skip_blank(s))
			return false;
		comma.line = 0;
		if (peek(s) == ',') {
			comma = here(s);
			step(s);
			if (!skip_blank(s))
				return false;
		} else if (at_end(s)) {
			return fail(
			    s, here(s),
			    "the file ends here, expected \"%c\" for the \"%c\" of line "
			    "%u",
			    close, object ? '{' : '[', open.line);
		} else if (peek(s) != close) {
			return fail(s, here(s), "expected \",\" or \"%c\"", close);
		}
	}
	if (comma.line)
		return fail(
		    s, comma,
		    "a comma with nothing behind it, expected none before \"%c\"", close);
	step(s);
	return true;
}

static bool scan_value(struct scanner *s, size_t index)
{
	struct place start = here(s);
	uint32_t offset, len;
	bool too_big = false, ok;

	switch (peek(s)) {
	case '{':
	case '[':
		if (s->depth == CONFIG_DEPTH_MAX)
			return fail(
			    s, start, "more than %d arrays and objects inside each other",
			    CONFIG_DEPTH_MAX);
		s->depth++;
		ok = scan_members(s, start, peek(s) == '{');
		s->depth--;
		break;
	case '"':
		ok = scan_string(s, &offset, &len);
		break;
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		ok = scan_number(s, &too_big);
		break;
	default:
		ok = scan_word(s);
		break;
	}
	if (!ok)
		return false;

	struct config_node *node = &s->text->nodes[index];
	node->line = start.line;
	node->column = start.column;
	node->offset = (uint32_t)start.pos;
	node->len = (uint32_t)(s->pos - start.pos);
	node->next = (uint32_t)s->text->node_count;
	node->too_big = too_big;
	return true;
}

static bool scan_file(struct scanner *s)
{
	if (!check_encoding(s) || !skip_blank(s))
		return false;
	if (at_end(s))
		return fail(
		    s, here(s), "nothing in this file, expected an object { ... }");
	size_t root = add_node(s);
	if (root == SIZE_MAX || !scan_value(s, root) || !skip_blank(s))
		return false;
	if (!at_end(s))
		return fail(s, here(s), "more text behind the end, expected nothing");
	return true;
}

int config_scan(struct config_text *text, struct config_fault *reterr)
{
	struct scanner s = {.text = text, .line = 1, .column = 1, .fault = reterr};
	if (scan_file(&s))
		return 0;
	return s.no_memory ? -ENOMEM : 1;
}
