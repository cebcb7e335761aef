/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/protocol.h"
#include "policyd/core/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One line of the decision log: a JSON object of the fields
 *
 *   time node id event check action client client_name reverse_client_name helo country
 *   port user sasl_method tls sender recipients size queue_id instance state context
 *   reason recipient_count
 *
 * in this order. `id` is the event id that the reply shows; `event` is "message" for a
 * finished message that passed, "refusal" for everything refused, for now or for good;
 * `check` is "none" when no check objected; `action` is what Postfix reads, without the
 * id. Strings are null when Postfix did not send the attribute, numbers when there is
 * none. `recipients` are those that Postern knows, as many as fit: `recipient_count` is
 * Postfix's own number.
 *
 * Values are escaped as in all logs (printable.h): \xNN for each byte of what is not
 * printable UTF-8, and for the backslash itself. Always one line of valid JSON in ASCII
 * or UTF-8, at most DECISION_RECORD_MAX bytes with its newline; a longer value ends in
 * "...".
 */

#define DECISION_RECORD_MAX 4096

struct decision_record {
	int64_t time_ms; /* since 1970 */
	const char *node;
	const char *id;
	const char *country; /* "" when not known */
	bool is_refusal;     /* else a finished message */
	const struct request *request;
	const struct verdict *verdict;
	const char *reason; /* of the decision, or what granted a message */
	/* What was learnt at RCPT: strings, each ended by a NUL; recipients_len counts
	 * the NULs. Not used when the request names its recipient. */
	const char *recipients;
	size_t recipients_len;
};

/* Returns the length, the newline included; no NUL behind it. */
size_t decision_record(
    const struct decision_record *record, char buf[static DECISION_RECORD_MAX]);
