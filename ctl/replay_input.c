/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/replay_input.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct replay_input {
	FILE *file;
	char *line; /* getline's */
	size_t line_size;
	size_t lines, requests;
	/* What the case in hand points to. */
	json_t *record;
	char *bytes;
	size_t bytes_len, bytes_size;
	struct slice *recipients;
};

int replay_input_new(FILE *file, struct replay_input **ret)
{
	struct replay_input *input = calloc(1, sizeof(*input));

	if (!input)
		return -ENOMEM;
	input->file = file;
	*ret = input;
	return 0;
}

static void forget_case(struct replay_input *input)
{
	json_decref(input->record);
	input->record = NULL;
	free(input->recipients);
	input->recipients = NULL;
	input->bytes_len = 0;
}

struct replay_input *replay_input_free(struct replay_input *input)
{
	if (!input)
		return NULL;
	forget_case(input);
	free(input->line);
	free(input->bytes);
	free(input);
	return NULL;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes printable() in place. */
static size_t unescape(char *text)
{
	char *out = text;

	for (const char *at = text; *at; out++) {
		int high = at[0] == '\\' && at[1] == 'x' ? hex_value(at[2]) : -1;
		int low = high >= 0 ? hex_value(at[3]) : -1;
		if (low >= 0) {
			*out = (char)(high << 4 | low);
			at += 4;
		} else {
			*out = *at++;
		}
	}
	*out = '\0';
	return (size_t)(out - text);
}

/*
 * A string of the record as Postfix sent it, null and missing as absent. It is undone
 * where jansson holds it, which the record's owner may do: nobody else reads it.
 */
static struct slice text_of(json_t *value)
{
	const char *text = json_string_value(value);
	char *own = (char *)(uintptr_t)text;

	return text ? (struct slice){own, unescape(own)} : (struct slice){NULL, 0};
}

static struct slice text_member(const json_t *record, const char *name)
{
	return text_of(json_object_get(record, name));
}

/* A number as the text that Postfix sent. @buf holds it. */
static struct slice number_member(
    const json_t *record, const char *name, char *buf, size_t size)
{
	const json_t *value = json_object_get(record, name);

	if (!json_is_integer(value))
		return (struct slice){NULL, 0};
	int len = snprintf(buf, size, "%lld", (long long)json_integer_value(value));
	return (struct slice){buf, (size_t)len};
}

static enum protocol_state state_by_name(struct slice name)
{
	for (int state = STATE_CONNECT; state <= STATE_ETRN; state++) {
		const char *known = protocol_state_name((enum protocol_state)state);
		if (strlen(known) == name.len && memcmp(known, name.data, name.len) == 0)
			return (enum protocol_state)state;
	}
	return STATE_UNKNOWN;
}

/* "2026-01-05T08:00:00.007Z"; -1: not such a time. */
static int64_t parse_time(const char *text)
{
	struct tm tm = {0};
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	char *end;

	if (!rest || rest[0] != '.')
		return -1;
	long ms = strtol(rest + 1, &end, 10);
	if (end != rest + 4 || strcmp(end, "Z") != 0)
		return -1;
	return (int64_t)timegm(&tm) * 1000 + ms;
}

static void set_request(const json_t *record, struct replay_case *ret)
{
	static char numbers[3][32]; /* one case at a time */
	struct request *request = &ret->request;

	*request = (struct request){0};
	request->state_name = text_member(record, "state");
	request->state = state_by_name(request->state_name);
	request->client_address = text_member(record, "client");
	request->client_name = text_member(record, "client_name");
	request->reverse_client_name = text_member(record, "reverse_client_name");
	request->helo_name = text_member(record, "helo");
	request->server_port =
	    number_member(record, "port", numbers[0], sizeof(numbers[0]));
	request->sasl_username = text_member(record, "user");
	request->sasl_method = text_member(record, "sasl_method");
	request->encryption_protocol = text_member(record, "tls");
	request->sender = text_member(record, "sender");
	request->size = number_member(record, "size", numbers[1], sizeof(numbers[1]));
	request->queue_id = text_member(record, "queue_id");
	request->instance = text_member(record, "instance");
	request->policy_context = text_member(record, "context");
	request->recipient_count =
	    number_member(record, "recipient_count", numbers[2], sizeof(numbers[2]));
}

/* False: no memory. */
static bool set_recipients(struct replay_input *input, struct replay_case *ret)
{
	json_t *list = json_object_get(input->record, "recipients");
	size_t count = json_array_size(list), strings = 0;

	input->recipients = calloc(count + 1, sizeof(*input->recipients));
	if (!input->recipients)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct slice text = text_of(json_array_get(list, i));
		if (text.len > 0)
			input->recipients[strings++] = text;
	}
	ret->recipients = input->recipients;
	ret->recipients_count = strings;
	/* One recipient, and Postfix names it. */
	ret->request.recipient =
	    strings == 1 ? ret->recipients[0] : (struct slice){"", 0};
	return true;
}

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static const char *member(const json_t *record, const char *name)
{
	const char *text = json_string_value(json_object_get(record, name));
	return text ? text : "";
}

static enum replay_result read_record(
    struct replay_input *input, struct replay_case *ret, const char **reterr)
{
	json_error_t error;

	input->record = json_loads(input->line, JSON_REJECT_DUPLICATES, &error);
	const json_t *record = input->record;
	if (!json_is_object(record)) {
		*reterr = "not a JSON object on one line";
		return REPLAY_BAD;
	}
	const char *event = member(record, "event");
	ret->is_message = strcmp(event, "message") == 0;
	ret->time_ms = parse_time(member(record, "time"));
	if ((!ret->is_message && strcmp(event, "refusal") != 0) ||
	    !json_object_get(record, "state") || ret->time_ms < 0) {
		*reterr = "no record of a decision log";
		return REPLAY_BAD;
	}
	ret->has_decision = true;
	copy(ret->name, sizeof(ret->name), member(record, "id"));
	copy(ret->action, sizeof(ret->action), member(record, "action"));
	copy(ret->check, sizeof(ret->check), member(record, "check"));
	ret->was_granted = strncmp(member(record, "reason"), "granted: ", 9) == 0;
	set_request(record, ret);
	if (!set_recipients(input, ret)) {
		errno = ENOMEM;
		return REPLAY_FAILED;
	}
	return REPLAY_CASE;
}

/* Keeps one line of a request. False: no memory. */
static bool keep(struct replay_input *input, size_t len)
{
	if (input->bytes_len + len + 2 > input->bytes_size) {
		size_t size = (input->bytes_len + len + 2) * 2;
		char *bytes = realloc(input->bytes, size);
		if (!bytes)
			return false;
		input->bytes = bytes;
		input->bytes_size = size;
	}
	memcpy(input->bytes + input->bytes_len, input->line, len);
	input->bytes_len += len;
	if (len == 0 || input->line[len - 1] != '\n')
		input->bytes[input->bytes_len++] = '\n';
	return true;
}

/* The line in hand begins a request; it ends at an empty line or the file's end. */
static enum replay_result read_request(
    struct replay_input *input, struct replay_case *ret, const char **reterr)
{
	struct protocol_scan scan = {0};
	ssize_t len = (ssize_t)strlen(input->line);
	size_t used;

	do {
		/* More than any request: what follows is skipped with it. */
		bool room = input->bytes_len <= PROTOCOL_REQUEST_MAX;
		if (room && !keep(input, (size_t)len)) {
			errno = ENOMEM;
			return REPLAY_FAILED;
		}
		len = getline(&input->line, &input->line_size, input->file);
		if (len < 0 && ferror(input->file))
			return REPLAY_FAILED;
		input->lines += len >= 0;
	} while (len > 0 && strspn(input->line, "\r\n") != (size_t)len);
	input->bytes[input->bytes_len++] = '\n';
	snprintf(ret->name, sizeof(ret->name), "request %zu", ++input->requests);
	ret->is_message = ret->has_decision = ret->was_granted = false;
	ret->time_ms = 0;
	ret->recipients_count = 0;
	if (protocol_parse(
		input->bytes, input->bytes_len, &scan, &ret->request, &used, reterr) ==
	    PROTOCOL_REQUEST)
		return REPLAY_CASE;
	if (!*reterr)
		*reterr = "no policy request";
	return REPLAY_BAD;
}

enum replay_result replay_input_next(
    struct replay_input *input, struct replay_case *ret, const char **reterr)
{
	forget_case(input);
	*reterr = NULL;
	for (;;) {
		ssize_t len = getline(&input->line, &input->line_size, input->file);
		if (len < 0)
			return ferror(input->file) ? REPLAY_FAILED : REPLAY_END;
		input->lines++;
		ret->line = input->lines;
		size_t blank = strspn(input->line, " \t\r\n");
		if (input->line[blank] == '{')
			return read_record(input, ret, reterr);
		if (blank < (size_t)len)
			return read_request(input, ret, reterr);
	}
}
