/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/decision_record.h"

#include "common/cleanup.h"
#include "common/printable.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/*
 * Bytes that one value may take in the line, quotes included. The sum of all with the
 * names stays under DECISION_RECORD_MAX with room for some recipients; `fits` below
 * holds the line to that.
 */
#define NAME_BYTES    258 /* a host name has 253 */
#define ADDRESS_BYTES 400 /* local part 64, domain 255 */
#define WORD_BYTES    66
#define TEXT_BYTES    VERDICT_TEXT_MAX

/* The other fields at their largest leave more than this for the recipients. */
#define RECIPIENTS_BYTES_MIN 600

struct line {
	char *buf;
	size_t len, size;
};

/* Bytes of the unit that printable text begins with: an escape, or one character. */
static size_t unit_len(const char *text)
{
	unsigned char c = (unsigned char)text[0];

	if (c == '\\')
		return 4;
	return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* How many bytes of @text fit @room once quotes and backslashes are doubled. */
static size_t fitting(const char *text, size_t len, size_t room)
{
	size_t at = 0, used = 0;

	while (at < len) {
		size_t unit = unit_len(text + at);
		size_t cost = unit + (text[at] == '\\' || text[at] == '"');
		if (used + cost > room)
			break;
		used += cost;
		at += unit;
	}
	return at;
}

/* The usual value: nothing to escape and nothing to cut. */
static bool is_plain(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c >= 0x7f || c == '\\' || c == '"')
			return false;
	}
	return true;
}

static void append_bytes(struct line *line, const char *bytes, size_t len)
{
	assert(len < line->size - line->len);
	memcpy(line->buf + line->len, bytes, len);
	line->len += len;
}

static void append_escaped(struct line *line, const char *text, size_t len, size_t max)
{
	/* A little more than fits, so that printable() itself never makes the cut. */
	char shown[ADDRESS_BYTES + 8] UNINITIALIZED;
	size_t shown_len = printable(shown, max + 8, text, len);
	size_t fits = fitting(shown, shown_len, max - 2);
	bool cut = fits < shown_len;

	if (cut)
		fits = fitting(shown, shown_len, max - 2 - strlen("..."));
	for (size_t i = 0; i < fits; i++) {
		if (shown[i] == '\\' || shown[i] == '"')
			append_bytes(line, "\\", 1);
		append_bytes(line, &shown[i], 1);
	}
	if (cut)
		append_bytes(line, "...", 3);
}

/* As a JSON string of at most @max bytes. */
static void append_string(struct line *line, const char *text, size_t len, size_t max)
{
	assert(max <= ADDRESS_BYTES);
	append_bytes(line, "\"", 1);
	if (len <= max - 2 && is_plain(text, len))
		append_bytes(line, text, len);
	else
		append_escaped(line, text, len, max);
	append_bytes(line, "\"", 1);
}

static void append_name(struct line *line, const char *name)
{
	append_bytes(line, ",\"", 2);
	append_bytes(line, name, strlen(name));
	append_bytes(line, "\":", 2);
}

static void append_slice(
    struct line *line, const char *name, struct slice slice, size_t max)
{
	append_name(line, name);
	if (slice.data)
		append_string(line, slice.data, slice.len, max);
	else
		append_bytes(line, "null", 4);
}

static void append_text(struct line *line, const char *name, const char *text, size_t max)
{
	append_slice(line, name, (struct slice){text, strlen(text)}, max);
}

/* Only what Postfix could have meant as a number. */
static void append_number(struct line *line, const char *name, struct slice slice)
{
	bool good = slice.len > 0 && slice.len <= 19;

	for (size_t i = 0; good && i < slice.len; i++)
		good = slice.data[i] >= '0' && slice.data[i] <= '9';
	/* JSON knows no leading zeros. */
	while (good && slice.len > 1 && slice.data[0] == '0') {
		slice.data++;
		slice.len--;
	}
	append_name(line, name);
	append_bytes(line, good ? slice.data : "null", good ? slice.len : 4);
}

static void append_time(struct line *line, int64_t time_ms)
{
	time_t time_s = (time_t)(time_ms / 1000);
	struct tm tm;
	char text[128];

	gmtime_r(&time_s, &tm);
	int len = snprintf(
	    text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(time_ms % 1000));
	append_bytes(line, "{\"time\":\"", 9);
	append_bytes(line, text, (size_t)len);
}

static void append_head(struct line *line, const struct decision_record *record)
{
	const struct request *request = record->request;
	char action[VERDICT_WIRE_MAX] UNINITIALIZED;

	append_time(line, record->time_ms);
	append_text(line, "node", record->node, NAME_BYTES);
	append_text(line, "id", record->id, WORD_BYTES);
	append_text(
	    line, "event", record->is_refusal ? "refusal" : "message", WORD_BYTES);
	append_text(
	    line, "check",
	    record->verdict->check == CHECK_NONE ? "none"
						 : check_name(record->verdict->check),
	    WORD_BYTES);
	verdict_action_text(record->verdict, "", action);
	append_text(line, "action", action, ADDRESS_BYTES);
	append_slice(line, "client", request->client_address, WORD_BYTES);
	append_slice(line, "client_name", request->client_name, NAME_BYTES);
	append_slice(
	    line, "reverse_client_name", request->reverse_client_name, NAME_BYTES);
	append_slice(line, "helo", request->helo_name, NAME_BYTES);
	append_text(line, "country", record->country, WORD_BYTES);
	append_number(line, "port", request->server_port);
	append_slice(line, "user", request->sasl_username, ADDRESS_BYTES);
	append_slice(line, "sasl_method", request->sasl_method, WORD_BYTES);
	append_slice(line, "tls", request->encryption_protocol, WORD_BYTES);
	append_slice(line, "sender", request->sender, ADDRESS_BYTES);
}

static void append_tail(struct line *line, const struct decision_record *record)
{
	const struct request *request = record->request;

	append_number(line, "size", request->size);
	append_slice(line, "queue_id", request->queue_id, WORD_BYTES);
	append_slice(line, "instance", request->instance, WORD_BYTES);
	append_slice(line, "state", request->state_name, WORD_BYTES);
	append_slice(line, "context", request->policy_context, WORD_BYTES);
	append_text(line, "reason", record->reason, TEXT_BYTES);
	append_number(line, "recipient_count", request->recipient_count);
	append_bytes(line, "}\n", 2);
}

/* Appends one recipient if it fits before @end. */
static bool append_recipient(
    struct line *line, const char *text, size_t len, size_t end, bool first)
{
	size_t before = line->len;

	if (end - line->len < ADDRESS_BYTES + 2)
		return false;
	if (!first)
		append_bytes(line, ",", 1);
	append_string(line, text, len, ADDRESS_BYTES);
	assert(line->len > before && line->len < end);
	return true;
}

/* @end: where the array's end must stand at the latest. */
static void append_recipients(
    struct line *line, const struct decision_record *record, size_t end)
{
	struct slice one = record->request->recipient;

	append_bytes(line, ",\"recipients\":[", 15);
	if (one.len > 0) {
		append_recipient(line, one.data, one.len, end, true);
	} else {
		for (size_t at = 0; at < record->recipients_len;) {
			const char *recipient = record->recipients + at;
			size_t len = strnlen(recipient, record->recipients_len - at);
			if (!append_recipient(line, recipient, len, end, at == 0))
				break;
			at += len + 1;
		}
	}
	append_bytes(line, "]", 1);
}

size_t decision_record(
    const struct decision_record *record, char buf[static DECISION_RECORD_MAX])
{
	char tail_buf[1200] UNINITIALIZED;
	struct line tail = {tail_buf, 0, sizeof(tail_buf)};
	struct line line = {buf, 0, DECISION_RECORD_MAX};

	append_tail(&tail, record);
	append_head(&line, record);
	size_t end = DECISION_RECORD_MAX - tail.len - 1;
	assert(end - line.len >= RECIPIENTS_BYTES_MIN);
	append_recipients(&line, record, end);
	memcpy(buf + line.len, tail_buf, tail.len);
	return line.len + tail.len;
}
