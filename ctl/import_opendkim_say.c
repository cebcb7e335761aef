/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/import_opendkim.h"

#include "common/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static struct import_place place_of(
    const struct opendkim_statement *statement, char *buf, size_t size)
{
	snprintf(
	    buf, size, "%s%s%s", statement->name, statement->value[0] ? " " : "",
	    statement->value);
	return (struct import_place){statement->file, statement->line, buf};
}

const struct opendkim_statement *opendkim_find(
    const struct opendkim *from, const char *name)
{
	for (size_t i = from->conf.count; i > 0; i--)
		if (strcasecmp(from->conf.items[i - 1].name, name) == 0)
			return &from->conf.items[i - 1];
	return NULL;
}

bool opendkim_is_true(const struct opendkim_statement *statement)
{
	return statement && strchr("TtYy1", statement->value[0]) && statement->value[0];
}

void opendkim_say(
    const struct opendkim *from, const struct opendkim_statement *statement,
    enum import_result result, const char *format, ...)
{
	char text[1024], why[512];
	struct import_place place = place_of(statement, text, sizeof(text));
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	import_line(from->import, &place, result, "%s", why);
}

bool opendkim_is_utf8(const char *text)
{
	size_t len = strlen(text), n = 1;
	uint32_t c;
	for (; len > 0 && n > 0; text += n, len -= n)
		n = utf8_decode(text, len, &c);
	return n > 0;
}

const char opendkim_no_utf8[] = "it is not written in UTF-8, as JSON must be";

void opendkim_read_table(
    const struct opendkim *from, const struct opendkim_statement *named,
    struct opendkim_statements *ret, enum opendkim_set *ret_kind)
{
	char why[512];

	if (opendkim_read_set(
		named->value, named->file, named->line, ret, ret_kind, why, sizeof(why)) <
	    0)
		opendkim_say(from, named, IMPORT_REFUSED, "%s", why);
	else if (*ret_kind != OPENDKIM_SET_LIST)
		opendkim_say(
		    from, named, IMPORT_CONVERTED, "each of its lines is told of");
}
