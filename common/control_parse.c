/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/control.h"

#include <stdio.h>

/*
 * True: the brackets of @line are nested deeper than CONTROL_DEPTH. jansson's parser
 * recurses up to 2048 levels deep before it says so; here nothing does.
 */
static bool is_too_deep(const char *line, size_t len)
{
	size_t depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char c = line[i];
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']') && depth > 0)
			depth--;
		if (depth > CONTROL_DEPTH)
			return true;
	}
	return false;
}

json_t *control_parse(const char *line, size_t len, char *errbuf, size_t errsize)
{
	json_error_t error;

	if (is_too_deep(line, len)) {
		snprintf(
		    errbuf, errsize, "the JSON is nested deeper than %d levels",
		    CONTROL_DEPTH);
		return NULL;
	}
	json_t *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (!message) {
		snprintf(
		    errbuf, errsize, "no JSON object: %s at byte %d", error.text,
		    error.position);
		return NULL;
	}
	if (!json_is_object(message)) {
		snprintf(errbuf, errsize, "JSON, but no object");
		json_decref(message);
		return NULL;
	}
	return message;
}
