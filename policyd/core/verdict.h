/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/checks.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The answer to one policy request. Its bytes are made in one place from an enum and
 * sanitised text, so that an empty or malformed action (which Postfix takes as "no
 * opinion") cannot leave the program.
 */

enum action {
	ACTION_DUNNO,
	ACTION_OK,            /* a relay grant; RCPT alone */
	ACTION_REPLY,         /* code, dsn, text */
	ACTION_REJECT_UNAUTH, /* reject_unauth_destination: Postfix decides by its own
				 domains */
	ACTION_DEFER_IF_REJECT,
	ACTION_HOLD,
	ACTION_WARN,
	ACTION_FILTER, /* text is transport:nexthop */
};

#define VERDICT_TEXT_MAX 320
#define VERDICT_WIRE_MAX 512 /* the whole answer with its empty line */
#define EVENT_ID_MAX     24

struct verdict {
	enum action action;
	enum check_id check; /* who objected; CHECK_NONE on DUNNO and OK */
	const char *limit; /* the limit's name with CHECK_LIMITS; the snapshot's string */
	int code;          /* 4xx or 5xx with ACTION_REPLY */
	char dsn[8];       /* "4.7.1" */
	char text[VERDICT_TEXT_MAX];   /* what the client reads, without the event id;
					  printable */
	char reason[VERDICT_TEXT_MAX]; /* what the log says besides; printable; may be ""
					*/
};

/*
 * Prints "action=...\n\n" into @buf; @event (may be "") is appended to replies in
 * brackets. Returns the length. Anything a verdict must not hold comes out as 451 4.7.1.
 */
size_t verdict_print(
    const struct verdict *verdict, const char *event, char buf[static VERDICT_WIRE_MAX]);

/* The action alone, as Postfix will read it: "451 4.7.1 text", "DUNNO". For logs and
 * explain. */
size_t verdict_action_text(
    const struct verdict *verdict, const char *event, char buf[static VERDICT_WIRE_MAX]);

/* True for what the log has one line of: all but DUNNO and OK. */
bool verdict_is_notable(const struct verdict *verdict);
