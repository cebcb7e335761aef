/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/decision_line.h"

#include "common/printable.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* At most this much of one foreign value; ten of them and the reply fit the line. */
#define VALUE_MAX 128

struct line {
	char *buf;
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void append(
    struct line *line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n =
	    vsnprintf(line->buf + line->len, DECISION_LINE_MAX - line->len, format, args);
	va_end(args);
	line->len += (size_t)n;
	if (line->len >= DECISION_LINE_MAX)
		line->len = DECISION_LINE_MAX - 1;
}

/* Appends escaped text in which nothing can end the field either. */
static void append_value(
    struct line *line, const char *text, size_t len, const char *ends)
{
	char value[VALUE_MAX];

	size_t n = printable(value, sizeof(value), text, len);
	for (size_t i = 0; i < n; i++)
		if (strchr(ends, value[i]))
			append(line, "\\x%02x", (unsigned char)value[i]);
		else
			append(line, "%c", value[i]);
}

static void append_slice(
    struct line *line, const char *before, struct slice slice, const char *after)
{
	append(line, "%s", before);
	append_value(
	    line, slice.data ? slice.data : "", slice.len, after[0] ? after : " =");
	append(line, "%s", after);
}

static void append_quoted(struct line *line, const char *name, const char *text)
{
	append(line, " %s=\"", name);
	for (size_t at = 0, all = strlen(text); at < all; at += VALUE_MAX / 4)
		append_value(
		    line, text + at, all - at < VALUE_MAX / 4 ? all - at : VALUE_MAX / 4,
		    "\"");
	append(line, "\"");
}

size_t decision_line(
    const struct request *request, const struct verdict *verdict, const char *event,
    bool shadow, char buf[static DECISION_LINE_MAX])
{
	static const struct slice unknown = {"unknown", 7};
	char action[VERDICT_WIRE_MAX];
	struct line line = {buf, 0};

	if (request->queue_id.len > 0)
		append_slice(&line, "", request->queue_id, ":");
	else
		append(&line, "NOQUEUE:");
	append(
	    &line, " event=%s state=%s check=%s", event,
	    protocol_state_name(request->state), check_name(verdict->check));
	if (verdict->limit)
		append(&line, " limit=%s", verdict->limit);
	if (shadow)
		append(&line, " shadow=yes");
	verdict_action_text(verdict, "", action);
	append_quoted(&line, "action", action);
	append_slice(
	    &line, " client=", request->client_name.len ? request->client_name : unknown,
	    "[");
	append_slice(
	    &line, "", request->client_address.len ? request->client_address : unknown,
	    "]");
	append_slice(&line, " port=", request->server_port, "");
	append_slice(&line, " from=<", request->sender, ">");
	append_slice(&line, " to=<", request->recipient, ">");
	append_slice(&line, " proto=", request->protocol_name, "");
	append_slice(&line, " helo=<", request->helo_name, ">");
	append_slice(&line, " sasl_username=", request->sasl_username, "");
	if (verdict->reason[0] != '\0')
		append_quoted(&line, "reason", verdict->reason);
	return line.len;
}
