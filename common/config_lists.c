/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/cleanup.h"
#include "common/config_values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Access lists: their inline entries, and those of the files that `file:PATH` names. A
 * file is streamed, a line at a time, so that a million lines cost no more memory than
 * the list itself; every malformed line is reported by its number.
 */

/* Longest line of a list file: two addresses at their longest, and a reason. */
#define LINE_MAX_BYTES 4096

enum list_kind { LIST_HOSTS, LIST_ADDRESSES, LIST_USERS, LIST_LOGINS };

/* A list that waits to be sealed, and where its first value stands. */
struct config_list {
	enum list_kind kind;
	void *list;
	struct config_origin origin;
	char *path;
};

/* Where the entries of one value go. */
struct sink {
	struct config_build *build;
	const struct config_option *row;
	enum list_kind kind;
	void *list;
	uint32_t payload;
	const char *reason; /* of an object's entries; NULL: each its own */
};

static bool register_list(
    struct config_build *build, const struct config_value *value, enum list_kind kind,
    void *list)
{
	char path[300];

	if (build->lists_count == build->lists_room) {
		size_t room = build->lists_room ? build->lists_room * 2 : 16;
		struct config_list *lists =
		    reallocarray(build->lists, room, sizeof(*lists));
		if (!lists) {
			build->no_memory = true;
			return false;
		}
		build->lists = lists;
		build->lists_room = room;
	}
	char *copy = config_copy(build, config_path_text(value, path, sizeof(path)));
	if (!copy)
		return false;
	build->lists[build->lists_count++] = (struct config_list){
	    .kind = kind, .list = list, .origin = config_origin(value), .path = copy};
	return true;
}

/* One entry; @rest is what followed it on a line. Returns NULL or what is wrong. */
static const char *sink_add(
    const struct sink *sink, const char *text, size_t len, const char *rest,
    size_t rest_len, struct where where, char errbuf[static 256])
{
	const char *delimiters = sink->build->config->recipient_delimiter;
	char copy[LINE_MAX_BYTES];

	if (sink->kind == LIST_LOGINS)
		return sender_logins_add(
		    sink->list, text, len, rest, rest_len, delimiters, errbuf);

	if (len >= sizeof(copy) || rest_len >= sizeof(copy))
		return "too long";
	if (sink->row->check) {
		memcpy(copy, text, len);
		copy[len] = '\0';
		const char *expected = sink->row->check(copy);
		if (expected) {
			snprintf(errbuf, 256, "expected %s", expected);
			return errbuf;
		}
	}
	struct list_entry entry = {
	    .reason = sink->reason, .where = where, .payload = sink->payload};
	if (rest_len) {
		memcpy(copy, rest, rest_len);
		copy[rest_len] = '\0';
		const char *expected = check_reason(copy);
		if (expected) {
			snprintf(errbuf, 256, "a reason too long, expected %s", expected);
			return errbuf;
		}
		entry.reason = copy;
	}

	switch (sink->kind) {
	case LIST_HOSTS:
		return host_list_add(
		    sink->list, text, len, sink->row->flags & OPTION_GRANTS, &entry,
		    errbuf);
	case LIST_ADDRESSES:
		return address_list_add(
		    sink->list, text, len, delimiters, &entry, errbuf);
	case LIST_USERS:
		return user_list_add(sink->list, text, len, &entry, errbuf);
	case LIST_LOGINS:
		break;
	}
	return "of no known kind";
}

static bool is_file_reference(const char *text, size_t len)
{
	return len >= 5 && memcmp(text, "file:", 5) == 0;
}

/* One line of a list file. False: reported. */
static bool add_line(
    const struct sink *sink, const struct config_value *value, struct where where,
    const char *line, size_t len)
{
	const char *entry, *rest;
	size_t entry_len, rest_len;
	char errbuf[256], shown[128];

	if (len && line[len - 1] == '\r')
		len--;
	if (memchr(line, '\0', len)) {
		config_error_at(sink->build, where, value, "a NUL byte, expected text");
		return false;
	}
	if (!list_line_split(line, len, &entry, &entry_len, &rest, &rest_len))
		return true;
	const char *wrong =
	    is_file_reference(entry, entry_len)
		? "a list file cannot name another"
		: sink_add(sink, entry, entry_len, rest, rest_len, where, errbuf);
	if (wrong)
		config_error_at(
		    sink->build, where, value, "\"%s\": %s",
		    config_shown(entry, entry_len, shown), wrong);
	return !wrong;
}

/* Feeds the lines in @buf to the sink; what is left of the last one moves to the front.
 * A line that does not fit is reported once and skipped. */
struct line_buffer {
	char bytes[64 * 1024];
	size_t used;
	uint32_t line;
	bool skipping;
};

static bool drain_lines(
    const struct sink *sink, const struct config_value *value, const char *name,
    struct line_buffer *buffer, bool at_end)
{
	struct where where = {.file = name, .column = 1};
	char *from = buffer->bytes, *end = buffer->bytes + buffer->used;
	bool good = true;

	while (from < end) {
		char *newline = memchr(from, '\n', (size_t)(end - from));
		if (!newline && !at_end && (size_t)(end - from) <= LINE_MAX_BYTES)
			break;
		size_t len = (size_t)((newline ? newline : end) - from);
		if (!buffer->skipping) {
			where.line = ++buffer->line;
			if (len > LINE_MAX_BYTES) {
				config_error_at(
				    sink->build, where, value,
				    "a line of more than %d bytes", LINE_MAX_BYTES);
				good = false;
			} else {
				good = add_line(sink, value, where, from, len) && good;
			}
		}
		buffer->skipping = !newline;
		from = newline ? newline + 1 : end;
	}
	buffer->used = (size_t)(end - from);
	memmove(buffer->bytes, from, buffer->used);
	return good;
}

static bool read_lines(
    const struct sink *sink, const struct config_value *value, const char *name, int fd)
{
	struct line_buffer *buffer = calloc(1, sizeof(*buffer));
	bool good = true;

	if (!buffer) {
		sink->build->no_memory = true;
		return false;
	}
	for (;;) {
		ssize_t n = read(
		    fd, buffer->bytes + buffer->used,
		    sizeof(buffer->bytes) - buffer->used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			config_error(
			    sink->build, value, "%s cannot be read: %s", name,
			    strerror(errno));
			good = false;
			break;
		}
		buffer->used += (size_t)n;
		good = drain_lines(sink, value, name, buffer, n == 0) && good;
		if (n == 0)
			break;
	}
	free(buffer);
	return good;
}

static bool read_list_file(
    const struct sink *sink, const struct config_value *value, const char *path)
{
	struct config_build *build = sink->build;
	char errbuf[256], shown[128];

	if (!path[0]) {
		config_error(
		    build, value, "\"file:\" without a name, expected file:PATH");
		return false;
	}
	char *joined = config_path_from(build, value->file, path);
	if (!joined)
		return false;
	const char *name = config_file_name(build, joined);
	int fd = config_file_open(joined, errbuf);
	if (fd < 0)
		config_error(
		    build, value, "%s: %s", config_shown(joined, strlen(joined), shown),
		    errbuf);
	free(joined);
	if (fd < 0)
		return false;
	bool good = name && read_lines(sink, value, name, fd);
	close(fd);
	return good;
}

/* One inline entry. */
static bool add_inline(
    const struct sink *sink, const struct config_value *item, const char *text)
{
	char errbuf[256], shown[128];
	const char *entry = text, *rest = NULL;
	size_t len = strlen(text), rest_len = 0;

	if (is_file_reference(text, len))
		return read_list_file(sink, item, text + 5);
	const char *wrong = NULL;
	if (!len)
		wrong = "expected an entry";
	else if (
	    sink->kind == LIST_LOGINS &&
	    !list_line_split(text, len, &entry, &len, &rest, &rest_len))
		wrong = "expected \"sender user[,user]\"";
	if (!wrong)
		wrong = sink_add(
		    sink, entry, len, rest, rest_len, config_where(item), errbuf);
	if (wrong)
		config_error(
		    sink->build, item, "\"%s\": %s",
		    config_shown(text, strlen(text), shown), wrong);
	return !wrong;
}

/* All strings of the array @value. */
static bool add_array(const struct sink *sink, const struct config_value *value)
{
	char buf[300];
	bool good = true;

	if (!json_is_array(value->json)) {
		config_type_error(
		    sink->build, value,
		    config_option_expects(sink->row, buf, sizeof(buf)));
		return false;
	}
	if ((sink->row->flags & OPTION_NOT_EMPTY) && json_array_size(value->json) == 0) {
		config_error(
		    sink->build, value, "an empty list never holds, leave it out");
		return false;
	}
	for (struct config_each each = config_each(value); config_next(&each);) {
		const char *text =
		    config_read_text(sink->build, &each.value, "an entry: a string");
		good = text && add_inline(sink, &each.value, text) && good;
	}
	return good;
}

static size_t count_of(enum list_kind kind, const void *list)
{
	switch (kind) {
	case LIST_HOSTS:
		return host_list_count(list);
	case LIST_ADDRESSES:
		return address_list_count(list);
	case LIST_USERS:
		return user_list_count(list);
	case LIST_LOGINS:
		return sender_logins_count(list);
	}
	return 0;
}

static bool read_list(struct sink *sink, const struct config_value *value, bool is_new)
{
	if (is_new && !register_list(sink->build, value, sink->kind, sink->list))
		return false;
	size_t before = count_of(sink->kind, sink->list);
	bool good = add_array(sink, value);
	size_t added = count_of(sink->kind, sink->list) - before;
	if ((sink->row->flags & OPTION_FORGEABLE) && added)
		config_notice(
		    sink->build, value, "%zu %s: each %s", added,
		    added == 1 ? "entry" : "entries", sink->row->note);
	return good;
}

/* The default of every list is empty, and a list that is empty need not exist. */
static bool is_default(const struct config_value *value)
{
	return !value->parent;
}

bool config_read_hosts(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct host_list **list)
{
	/* Hosts of a rule: read with the rule, which they need. */
	if (!list || is_default(value))
		return true;
	bool is_new = !*list;
	if (is_new && host_list_new(list)) {
		build->no_memory = true;
		return false;
	}
	struct sink sink = {
	    .build = build, .row = row, .kind = LIST_HOSTS, .list = *list};
	return read_list(&sink, value, is_new);
}

bool config_read_addresses(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct address_list **list)
{
	if (is_default(value))
		return true;
	bool is_new = !*list;
	if (is_new && address_list_new(list)) {
		build->no_memory = true;
		return false;
	}
	struct sink sink = {
	    .build = build, .row = row, .kind = LIST_ADDRESSES, .list = *list};
	return read_list(&sink, value, is_new);
}

bool config_read_users(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct user_list **list)
{
	if (is_default(value))
		return true;
	bool is_new = !*list;
	if (is_new && user_list_new(list)) {
		build->no_memory = true;
		return false;
	}
	struct sink sink = {
	    .build = build, .row = row, .kind = LIST_USERS, .list = *list};
	return read_list(&sink, value, is_new);
}

bool config_read_sender_logins(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct sender_logins **logins)
{
	if (is_default(value))
		return true;
	bool is_new = !*logins;
	if (is_new && sender_logins_new(logins)) {
		build->no_memory = true;
		return false;
	}
	struct sink sink = {
	    .build = build, .row = row, .kind = LIST_LOGINS, .list = *logins};
	return read_list(&sink, value, is_new);
}

/* ---- relay.hosts: entries, and objects with a rule ---- */

/* Adds @rule; its number is its payload. 0: no memory. */
static uint32_t add_rule(struct config_build *build, const struct relay_host_rule *rule)
{
	struct config *config = build->config;
	size_t count = config->relay.host_rules_count;
	/* Room doubles when the count is a power of two. */
	if ((count & (count - 1)) == 0) {
		struct relay_host_rule *rules = reallocarray(
		    config->relay.host_rules, count ? count * 2 : 1, sizeof(*rules));
		if (!rules) {
			build->no_memory = true;
			return 0;
		}
		config->relay.host_rules = rules;
	}
	config->relay.host_rules[count] = *rule;
	config->relay.host_rules_count = count + 1;
	return (uint32_t)(count + 1);
}

/* One object: its rule, then its hosts with that rule's number. */
static void read_rule(
    const struct sink *outer, size_t item_row, const struct config_value *item)
{
	struct config_build *build = outer->build;
	struct relay_host_rule rule = {0};
	struct config_value host, hosts, reason;

	config_walk(build, item_row, item, &rule, NULL);
	struct sink sink = *outer;
	sink.payload = add_rule(build, &rule);
	if (!sink.payload) {
		address_list_free(rule.senders);
		return;
	}
	if (config_member(item, "reason", &reason) && json_is_string(reason.json))
		sink.reason = json_string_value(reason.json);

	bool one = config_member(item, "host", &host);
	bool many = config_member(item, "hosts", &hosts);
	if (one == many) {
		config_error(
		    build, item,
		    one ? "\"host\" and \"hosts\", expected one of them"
			: "neither \"host\" nor \"hosts\", expected one of them");
		return;
	}
	if (many) {
		sink.row = &config_options[config_option_child(item_row, "hosts", 5)];
		add_array(&sink, &hosts);
	} else if (
	    json_is_string(host.json) &&
	    text_is_clean(json_string_value(host.json), json_string_length(host.json)) &&
	    json_string_length(host.json)) {
		/* Anything else the walk has reported. */
		add_inline(&sink, &host, json_string_value(host.json));
	}
}

bool config_read_relay_hosts(
    struct config_build *build, size_t row, const struct config_value *value)
{
	struct config *config = build->config;
	char buf[300];

	if (!json_is_array(value->json)) {
		config_type_error(
		    build, value,
		    config_option_expects(&config_options[row], buf, sizeof(buf)));
		return false;
	}
	if (is_default(value))
		return true;
	if (!config->relay.hosts) {
		if (host_list_new(&config->relay.hosts)) {
			build->no_memory = true;
			return false;
		}
		if (!register_list(build, value, LIST_HOSTS, config->relay.hosts))
			return false;
	}
	struct sink sink = {
	    .build = build,
	    .row = &config_options[row],
	    .kind = LIST_HOSTS,
	    .list = config->relay.hosts,
	};
	for (struct config_each each = config_each(value); config_next(&each);) {
		if (json_is_object(each.value.json)) {
			read_rule(
			    &sink, config_option_next_child(row, SIZE_MAX), &each.value);
			continue;
		}
		const char *text = config_read_text(
		    build, &each.value, "an entry: a string, or an object with \"host\"");
		if (text)
			add_inline(&sink, &each.value, text);
	}
	return true;
}

/* ---- sealing ---- */

static int seal(struct config_list *list, size_t *ret_repeated)
{
	switch (list->kind) {
	case LIST_HOSTS:
		return host_list_seal(list->list, ret_repeated);
	case LIST_ADDRESSES:
		return address_list_seal(list->list, ret_repeated);
	case LIST_USERS:
		return user_list_seal(list->list, ret_repeated);
	case LIST_LOGINS:
		return sender_logins_seal(list->list, ret_repeated);
	}
	return -EINVAL;
}

/* One host under two rules: which of them holds would be chance. */
static void report_conflict(
    struct config_build *build, const struct config_list *list,
    const struct config_value *value)
{
	struct list_match first, second;
	char shown[128];

	host_list_conflict(list->list, &first, &second);
	config_error_at(
	    build, second.where, value,
	    "\"%s\" stands at %s:%u:%u with another rule, expected it once",
	    config_shown(second.text, strlen(second.text), shown), first.where.file,
	    first.where.line, first.where.column);
}

void config_lists_seal(struct config_build *build)
{
	for (size_t i = 0; i < build->lists_count; i++) {
		struct config_list *list = &build->lists[i];
		struct config_value value;
		size_t repeated = 0;

		config_again(&list->origin, NULL, list->path, &value);
		int r = seal(list, &repeated);
		if (r == -EEXIST)
			report_conflict(build, list, &value);
		else if (r)
			build->no_memory = true;
		else if (repeated)
			config_notice(
			    build, &value,
			    "%zu of %zu entries repeat others or are covered", repeated,
			    count_of(list->kind, list->list));
	}
}

void config_lists_forget(struct config_build *build)
{
	for (size_t i = 0; i < build->lists_count; i++)
		free(build->lists[i].path);
	free(build->lists);
	build->lists = NULL;
	build->lists_count = build->lists_room = 0;
}
