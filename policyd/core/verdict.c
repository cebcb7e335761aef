/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/verdict.h"

#include "common/cleanup.h"
#include "common/printable.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Reply text and its event id must fit under 400 bytes beside code and DSN. */
#define TEXT_WIRE_MAX 360

static bool is_dsn(const char *dsn, int code)
{
	size_t digits = strspn(dsn, "0123456789.");

	return dsn[0] == (char)('0' + code / 100) && dsn[1] == '.' &&
	       digits == strlen(dsn);
}

/* Words that Postfix looks up as a transport, never as text: no blank may be inside. */
static bool is_filter(const char *text)
{
	const char *colon = strchr(text, ':');

	return colon && colon != text && !strpbrk(text, " \t{}") && text[0] != '\0';
}

static bool is_sound(const struct verdict *verdict)
{
	switch (verdict->action) {
	case ACTION_DUNNO:
	case ACTION_OK:
	case ACTION_REJECT_UNAUTH:
		return true;
	case ACTION_REPLY:
		return verdict->code >= 400 && verdict->code <= 599 &&
		       is_dsn(verdict->dsn, verdict->code) && verdict->text[0] != '\0';
	case ACTION_DEFER_IF_REJECT:
	case ACTION_HOLD:
	case ACTION_WARN:
		return verdict->text[0] != '\0';
	case ACTION_FILTER:
		return is_filter(verdict->text);
	}
	return false;
}

/* "text [event]" in printable ASCII. */
static void compose_text(const struct verdict *verdict, const char *event, char *buf)
{
	char tail[EVENT_ID_MAX + 4] = "";

	if (event[0] != '\0')
		snprintf(tail, sizeof(tail), " [%.*s]", EVENT_ID_MAX - 1, event);
	printable_ascii(
	    buf, TEXT_WIRE_MAX - sizeof(tail), verdict->text, strlen(verdict->text));
	strcat(buf, tail);
}

size_t verdict_action_text(
    const struct verdict *verdict, const char *event, char buf[static VERDICT_WIRE_MAX])
{
	static const struct verdict unsound = {
	    .action = ACTION_REPLY,
	    .check = CHECK_NONE,
	    .code = 451,
	    .dsn = "4.7.1",
	    .text = "Policy service trouble, try again later",
	};
	char text[TEXT_WIRE_MAX];

	if (!is_sound(verdict))
		verdict = &unsound;
	text[0] = '\0';
	if (verdict->action != ACTION_FILTER)
		compose_text(verdict, event, text);
	else
		printable_ascii(text, sizeof(text), verdict->text, strlen(verdict->text));

	int len = 0;
	switch (verdict->action) {
	case ACTION_DUNNO:
		len = snprintf(buf, VERDICT_WIRE_MAX, "DUNNO");
		break;
	case ACTION_OK:
		len = snprintf(buf, VERDICT_WIRE_MAX, "OK");
		break;
	case ACTION_REJECT_UNAUTH:
		len = snprintf(buf, VERDICT_WIRE_MAX, "reject_unauth_destination");
		break;
	case ACTION_REPLY:
		len = snprintf(
		    buf, VERDICT_WIRE_MAX, "%d %s %s", verdict->code, verdict->dsn, text);
		break;
	case ACTION_DEFER_IF_REJECT:
		len = snprintf(buf, VERDICT_WIRE_MAX, "DEFER_IF_REJECT %s", text);
		break;
	case ACTION_HOLD:
		len = snprintf(buf, VERDICT_WIRE_MAX, "HOLD %s", text);
		break;
	case ACTION_WARN:
		len = snprintf(buf, VERDICT_WIRE_MAX, "WARN %s", text);
		break;
	case ACTION_FILTER:
		len = snprintf(buf, VERDICT_WIRE_MAX, "FILTER %s", text);
		break;
	}
	return (size_t)len;
}

size_t verdict_print(
    const struct verdict *verdict, const char *event, char buf[static VERDICT_WIRE_MAX])
{
	static const char dunno[] = "action=DUNNO\n\n", ok[] = "action=OK\n\n";
	char action[VERDICT_WIRE_MAX] UNINITIALIZED;

	/* The two answers of nearly every request. */
	if (verdict->action == ACTION_DUNNO)
		return (size_t)(stpcpy(buf, dunno) - buf);
	if (verdict->action == ACTION_OK)
		return (size_t)(stpcpy(buf, ok) - buf);

	verdict_action_text(verdict, event, action);
	int len = snprintf(buf, VERDICT_WIRE_MAX, "action=%.480s\n\n", action);
	return (size_t)len;
}

bool verdict_is_notable(const struct verdict *verdict)
{
	return verdict->action != ACTION_DUNNO && verdict->action != ACTION_OK;
}
