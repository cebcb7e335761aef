/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/protocol.h"

#include <string.h>

static const struct {
	const char *name;
	enum protocol_state state;
} state_names[] = {
    {"RCPT", STATE_RCPT},       {"END-OF-MESSAGE", STATE_END_OF_MESSAGE},
    {"DATA", STATE_DATA},       {"MAIL", STATE_MAIL},
    {"CONNECT", STATE_CONNECT}, {"EHLO", STATE_EHLO},
    {"HELO", STATE_EHLO},       {"BDAT", STATE_DATA},
    {"VRFY", STATE_VRFY},       {"ETRN", STATE_ETRN},
};

#define STATE_NAMES (sizeof(state_names) / sizeof(*state_names))

static enum protocol_state state_by_name(struct slice name)
{
	for (size_t i = 0; i < STATE_NAMES; i++)
		if (strlen(state_names[i].name) == name.len &&
		    memcmp(state_names[i].name, name.data, name.len) == 0)
			return state_names[i].state;
	return STATE_UNKNOWN;
}

const char *protocol_state_name(enum protocol_state state)
{
	for (size_t i = 0; i < STATE_NAMES; i++)
		if (state_names[i].state == state)
			return state_names[i].name;
	return "unknown";
}

/* One row an attribute, in the order in which Postfix sends them: the next line is most
 * likely the next row. Those that Postern does not read stand there for that alone. */
#define NOT_READ SIZE_MAX
#define ATTRIBUTE(name)                                                                  \
	{                                                                                \
#name, sizeof(#name) - 1, offsetof(struct request, name)                 \
	}
#define ATTRIBUTE_NOT_READ(name)                                                         \
	{                                                                                \
#name, sizeof(#name) - 1, NOT_READ                                       \
	}

static const struct attribute {
	const char *name;
	size_t len;
	size_t offset;
} attributes[] = {
    {"protocol_state", 14, offsetof(struct request, state_name)},
    ATTRIBUTE(protocol_name),
    ATTRIBUTE(client_address),
    ATTRIBUTE(client_name),
    ATTRIBUTE(client_port),
    ATTRIBUTE(reverse_client_name),
    ATTRIBUTE(server_address),
    ATTRIBUTE(server_port),
    ATTRIBUTE(helo_name),
    ATTRIBUTE(sender),
    ATTRIBUTE(recipient),
    ATTRIBUTE(recipient_count),
    ATTRIBUTE(queue_id),
    ATTRIBUTE(instance),
    ATTRIBUTE(size),
    ATTRIBUTE(etrn_domain),
    ATTRIBUTE(stress),
    ATTRIBUTE(sasl_method),
    ATTRIBUTE(sasl_username),
    ATTRIBUTE(sasl_sender),
    ATTRIBUTE_NOT_READ(ccert_subject),
    ATTRIBUTE_NOT_READ(ccert_issuer),
    ATTRIBUTE_NOT_READ(ccert_fingerprint),
    ATTRIBUTE_NOT_READ(ccert_pubkey_fingerprint),
    ATTRIBUTE(encryption_protocol),
    ATTRIBUTE(encryption_cipher),
    ATTRIBUTE(encryption_keysize),
    ATTRIBUTE(policy_context),
    ATTRIBUTE_NOT_READ(compatibility_level),
    ATTRIBUTE_NOT_READ(mail_version),
};

#define ATTRIBUTES (sizeof(attributes) / sizeof(*attributes))

static bool is_attribute(const struct attribute *known, const char *line, size_t len)
{
	return len > known->len && line[known->len] == '=' &&
	       memcmp(line, known->name, known->len) == 0;
}

static void set_value(
    const struct attribute *known, const char *line, size_t len, struct request *request)
{
	if (known->offset == NOT_READ)
		return;
	struct slice *slot = (struct slice *)(void *)((char *)request + known->offset);
	slot->data = line + known->len + 1;
	slot->len = len - known->len - 1;
}

/* Looks for the attribute from row *next on; *next: the one behind the row found. */
static void take_attribute(
    const char *line, size_t len, struct request *request, size_t *next)
{
	for (size_t tried = 0; tried < ATTRIBUTES; tried++) {
		size_t row = (*next + tried) % ATTRIBUTES;
		if (is_attribute(&attributes[row], line, len)) {
			set_value(&attributes[row], line, len, request);
			*next = row + 1;
			return;
		}
	}
}

static bool is_request_type(const char *line, size_t name_len)
{
	return name_len == 7 && memcmp(line, "request", 7) == 0;
}

/* Takes one line, its newline left out. Returns NULL, or why the connection must close.
 */
static const char *take_line(
    const char *line, size_t len, struct request *request, size_t *next, bool *named)
{
	static const char type[] = "smtpd_access_policy";

	/* The usual line needs no search for its "=". */
	if (*next < ATTRIBUTES && is_attribute(&attributes[*next], line, len)) {
		set_value(&attributes[(*next)++], line, len, request);
		return NULL;
	}
	const char *equals = memchr(line, '=', len);
	if (!equals)
		return "a line without \"=\"";
	size_t name_len = (size_t)(equals - line);
	if (name_len == 0)
		return "an attribute without a name";
	if (!is_request_type(line, name_len)) {
		take_attribute(line, len, request, next);
		return NULL;
	}
	const char *value = equals + 1;
	size_t value_len = len - name_len - 1;
	if (value_len != sizeof(type) - 1 || memcmp(value, type, value_len) != 0)
		return "a request other than smtpd_access_policy";
	*named = true;
	return NULL;
}

/* One look at all bytes that came: cheaper than one at each line. */
static bool has_nul(const char *data, size_t len, const char **reterr)
{
	if (!memchr(data, '\0', len))
		return false;
	*reterr = "a NUL byte";
	return true;
}

/*
 * Takes lines from scan->line on until the empty one. Resumed scans pass lines that were
 * taken before the bytes moved: protocol_parse() then starts over once all is there.
 */
static enum protocol_result scan_lines(
    const char *data, size_t len, struct protocol_scan *scan, struct request *ret,
    size_t *ret_used, const char **reterr)
{
	bool named = false;
	bool complete_view = scan->line == 0;
	size_t begin = scan->pos, next = 0;

	for (;;) {
		const char *newline = memchr(data + scan->pos, '\n', len - scan->pos);
		size_t end = newline ? (size_t)(newline - data) : len;
		if (end >= PROTOCOL_REQUEST_MAX) {
			*reterr = "a request longer than 64 KiB";
			return PROTOCOL_ERROR;
		}
		if (!newline) {
			/* It need not wait for the rest of its line. */
			if (has_nul(data + begin, len - begin, reterr))
				return PROTOCOL_ERROR;
			scan->pos = len;
			return PROTOCOL_MORE;
		}
		size_t line = scan->line;
		scan->line = scan->pos = end + 1;
		if (end == line) {
			*ret_used = end + 1;
			break;
		}
		if (++scan->attributes > PROTOCOL_ATTRIBUTES_MAX) {
			*reterr = "more than 128 attributes";
			return PROTOCOL_ERROR;
		}
		*reterr = take_line(data + line, end - line, ret, &next, &named);
		if (*reterr) {
			has_nul(data + begin, end - begin, reterr); /* says more */
			return PROTOCOL_ERROR;
		}
	}
	if (has_nul(data + begin, *ret_used - begin, reterr))
		return PROTOCOL_ERROR;
	if (complete_view && !named) {
		*reterr = scan->attributes ? "no request=smtpd_access_policy"
					   : "an empty request";
		return PROTOCOL_ERROR;
	}
	return PROTOCOL_REQUEST;
}

enum protocol_result protocol_parse(
    const char *data, size_t len, struct protocol_scan *scan, struct request *ret,
    size_t *ret_used, const char **reterr)
{
	bool resumed = scan->line != 0;

	memset(ret, 0, sizeof(*ret));
	enum protocol_result result = scan_lines(data, len, scan, ret, ret_used, reterr);
	if (result == PROTOCOL_REQUEST && resumed) {
		memset(ret, 0, sizeof(*ret));
		*scan = (struct protocol_scan){0};
		result = scan_lines(data, len, scan, ret, ret_used, reterr);
	}
	if (result == PROTOCOL_REQUEST) {
		*scan = (struct protocol_scan){0};
		ret->state = state_by_name(ret->state_name);
	}
	return result;
}
