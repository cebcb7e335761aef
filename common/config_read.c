/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/cleanup.h"
#include "common/config_values.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * One reader per type of the option table. @to is the field, or NULL where the row keeps
 * nothing; a reader that returns false has reported why.
 */

static bool expected(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value)
{
	char buf[300];
	config_type_error(build, value, config_option_expects(row, buf, sizeof(buf)));
	return false;
}

static bool read_bool(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, bool *to)
{
	if (!json_is_boolean(value->json))
		return expected(build, row, value);
	if (to)
		*to = json_is_true(value->json);
	return true;
}

static bool read_ternary(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, enum ternary *to)
{
	if (!json_is_boolean(value->json))
		return expected(build, row, value);
	if (to)
		*to = json_is_true(value->json) ? YES : NO;
	return true;
}

static bool read_count(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, uint32_t *to)
{
	json_int_t n = json_integer_value(value->json);
	if (!json_is_integer(value->json) || value->node->too_big || n < 0 ||
	    (uint64_t)n < row->min || (uint64_t)n > row->max)
		return expected(build, row, value);
	if (to)
		*to = (uint32_t)n;
	return true;
}

bool config_read_amount(
    struct config_build *build, const struct config_value *value, uint64_t *ret,
    bool *ret_unlimited)
{
	json_int_t n = json_integer_value(value->json);

	if (ret_unlimited && json_is_null(value->json)) {
		*ret_unlimited = true;
		return true;
	}
	if (json_is_string(value->json) &&
	    size_parse(json_string_value(value->json), ret) && *ret <= INT64_MAX)
		return true;
	if (json_is_integer(value->json) && !value->node->too_big && n >= 0) {
		*ret = (uint64_t)n;
		return true;
	}
	config_type_error(
	    build, value,
	    ret_unlimited
		? "a whole number from 0 on, a size such as \"25M\", or null for none"
		: "a whole number from 0 on, or a size such as \"25M\"");
	return false;
}

const char *config_read_text(
    struct config_build *build, const struct config_value *value, const char *expected)
{
	if (!json_is_string(value->json)) {
		config_type_error(build, value, expected);
		return NULL;
	}
	const char *text = json_string_value(value->json);
	if (!text_is_clean(text, json_string_length(value->json))) {
		char described[128];
		config_error(
		    build, value,
		    "%s, expected no white space at its ends and no control characters",
		    config_describe(value, described));
		return NULL;
	}
	return text;
}

/* A string as the row wants it: not empty unless it may be, and good to its check. */
static const char *read_checked(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value)
{
	char buf[300];
	const char *expects = config_option_expects(row, buf, sizeof(buf));
	const char *text = config_read_text(build, value, expects);
	if (!text)
		return NULL;
	if (!text[0]) {
		if (row->flags & OPTION_EMPTY_OK)
			return text;
		config_error(build, value, "an empty string, expected %s", expects);
		return NULL;
	}
	const char *wrong = row->check ? row->check(text) : NULL;
	if (wrong) {
		config_type_error(build, value, wrong);
		return NULL;
	}
	return text;
}

static bool keep_text(struct config_build *build, const char *text, char **to)
{
	if (!to)
		return true;
	char *copy = config_copy(build, text);
	if (!copy)
		return false;
	free(*to);
	*to = copy;
	return true;
}

static bool read_text(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, char **to)
{
	const char *text = read_checked(build, row, value);
	return text && keep_text(build, text, to);
}

static bool read_domain(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, char **to)
{
	char canonical[ADDRESS_DOMAIN_MAX + 1] = "";
	const char *text = read_checked(build, row, value);
	if (!text)
		return false;
	if (text[0] &&
	    (text[0] == '[' || !domain_canonical(text, strlen(text), canonical)))
		return expected(build, row, value);
	return keep_text(build, canonical, to);
}

static bool read_path(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, char **to)
{
	const char *text = read_checked(build, row, value);
	if (!text)
		return false;
	if (!to || !text[0])
		return keep_text(build, text, to);
	char *path = config_absolute_path(build, value->file, text);
	if (!path)
		return false;
	free(*to);
	*to = path;
	return true;
}

static bool parse_endpoint(
    struct config_build *build, const struct config_value *value, const char *text,
    struct endpoint *ret)
{
	const char *wrong = endpoint_parse(text, ret);
	char described[128];
	if (wrong)
		config_error(
		    build, value, "%s: %s", config_describe(value, described), wrong);
	return !wrong;
}

static bool read_endpoint(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, char **to)
{
	struct endpoint endpoint;
	const char *text = read_checked(build, row, value);
	if (!text || (text[0] && !parse_endpoint(build, value, text, &endpoint)))
		return false;
	return keep_text(build, text, to);
}

/* What an OPTION_ENDPOINTS row's offset leads to. */
struct endpoints {
	struct endpoint *items;
	size_t count;
};

static bool read_endpoints(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct endpoints *to)
{
	if (!json_is_array(value->json))
		return expected(build, row, value);
	size_t count = json_array_size(value->json), used = 0;
	struct endpoint *items = calloc(count ? count : 1, sizeof(*items));
	if (!items) {
		build->no_memory = true;
		return false;
	}
	bool good = true;
	for (struct config_each each = config_each(value); config_next(&each);) {
		const char *text = config_read_text(
		    build, &each.value, "an address: unix:PATH, HOST:PORT or [V6]:PORT");
		good = text && parse_endpoint(build, &each.value, text, &items[used++]) &&
		       good;
	}
	if (!good) {
		free(items);
		return false;
	}
	free(to->items);
	*to = (struct endpoints){.items = items, .count = used};
	return true;
}

static bool read_time(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, uint32_t *to)
{
	bool with_ms = row->type == OPTION_TIME_MS;
	uint64_t unit = with_ms ? 1 : 1000, ms;

	if (json_is_integer(value->json) && !value->node->too_big) {
		config_error(
		    build, value,
		    "the number %lld without a unit, expected one: \"%llds\" or "
		    "\"%lldm\"",
		    json_integer_value(value->json), json_integer_value(value->json),
		    json_integer_value(value->json));
		return false;
	}
	if (!json_is_string(value->json) ||
	    !time_parse(json_string_value(value->json), with_ms, &ms) ||
	    ms < row->min * unit || ms > row->max * unit)
		return expected(build, row, value);
	if (to)
		*to = (uint32_t)(ms / unit);
	return true;
}

static const struct option_choice *find_choice(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value)
{
	const char *text =
	    json_is_string(value->json) ? json_string_value(value->json) : "";
	for (const struct option_choice *c = row->choices; c->name; c++) {
		if (strcmp(c->name, text) != 0)
			continue;
		if (c->not_built) {
			config_error(build, value, "\"%s\" is not supported yet", text);
			return NULL;
		}
		return c;
	}
	expected(build, row, value);
	return NULL;
}

static bool read_choice(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, int *to)
{
	const struct option_choice *choice = find_choice(build, row, value);
	if (!choice)
		return false;
	if (to)
		*to = choice->value;
	return true;
}

static bool read_choices(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, unsigned *to)
{
	unsigned set = 0;
	if (!json_is_array(value->json)) {
		const struct option_choice *choice = find_choice(build, row, value);
		set = choice ? (unsigned)choice->value : 0;
	} else if (json_array_size(value->json) == 0) {
		return expected(build, row, value);
	}
	bool good = set || json_is_array(value->json);
	for (struct config_each each = config_each(value); config_next(&each);) {
		const struct option_choice *choice = find_choice(build, row, &each.value);
		good = good && choice;
		if (choice && (set & (unsigned)choice->value)) {
			config_error(
			    build, &each.value, "\"%s\" stands here twice", choice->name);
			good = false;
		}
		set |= choice ? (unsigned)choice->value : 0;
	}
	*to = set;
	return good;
}

static bool read_mode(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, mode_t *to)
{
	mode_t mode;
	if (!json_is_string(value->json) ||
	    !mode_parse(json_string_value(value->json), &mode))
		return expected(build, row, value);
	if (to)
		*to = mode;
	return true;
}

static bool read_ports(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct port_list *to)
{
	struct port_list list = {0};
	bool good = true;

	if (!json_is_array(value->json))
		return expected(build, row, value);
	if ((row->flags & OPTION_NOT_EMPTY) && json_array_size(value->json) == 0) {
		config_error(build, value, "an empty list never holds, leave it out");
		return false;
	}
	for (struct config_each each = config_each(value); config_next(&each);) {
		json_int_t port = json_integer_value(each.value.json);
		if (!json_is_integer(each.value.json) || each.value.node->too_big ||
		    port < 1 || port > 65535) {
			config_type_error(
			    build, &each.value, "a port: a whole number from 1 to 65535");
			good = false;
			continue;
		}
		if (port_list_has(&list, (uint16_t)port))
			continue;
		if (list.count == PORTS_MAX) {
			config_error(build, value, "more than %d ports", PORTS_MAX);
			return false;
		}
		list.ports[list.count++] = (uint16_t)port;
	}
	if (good)
		*to = list;
	return good;
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

static bool read_string_item(
    struct config_build *build, const struct config_option *row,
    const struct config_value *item, struct string_list *list)
{
	if (row->choices) {
		const struct config_option single = {
		    .type = OPTION_CHOICE, .choices = row->choices};
		return find_choice(build, &single, item);
	}
	const char *text = config_read_text(build, item, "a string");
	if (!text)
		return false;
	const char *wrong = !text[0]     ? "something in it"
			    : row->check ? row->check(text)
					 : NULL;
	if (wrong) {
		config_type_error(build, item, wrong);
		return false;
	}
	if (!config_strings_add(build, list, text))
		return false;
	if (row->flags & OPTION_LOWER)
		lower(list->items[list->count - 1]);
	return true;
}

void config_strings_done(struct string_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct string_list){0};
}

static bool read_strings(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct string_list *to)
{
	struct string_list list = {0};
	bool good = true;

	if (!json_is_array(value->json))
		return expected(build, row, value);
	for (struct config_each each = config_each(value); config_next(&each);)
		good = read_string_item(build, row, &each.value, &list) && good;

	if (good && to) {
		config_strings_done(to);
		*to = list;
		return true;
	}
	config_strings_done(&list);
	return good;
}

/* `include` was followed before the walk; here its form is judged. */
static bool read_include(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value)
{
	if (!value->file->is_main && value->parent) {
		config_error_at_key(
		    build, value,
		    "stands in an included file, expected it in the main file alone");
		return false;
	}
	return read_strings(build, row, value, NULL);
}

/* An array of names or a map of maxima: its items are resolved when all is read. */
static bool read_later(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value)
{
	bool map = row->type == OPTION_MAXIMA;
	if (map ? !json_is_object(value->json) : !json_is_array(value->json))
		return expected(build, row, value);
	bool good = true;
	for (struct config_each each = config_each(value); !map && config_next(&each);)
		good = config_read_text(build, &each.value, "a key's name") && good;
	return good;
}

static bool read_relay_users(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value)
{
	if (json_is_boolean(value->json)) {
		build->config->relay.all_users = json_is_true(value->json);
		return true;
	}
	if (!json_is_array(value->json))
		return expected(build, row, value);
	build->config->relay.all_users = false;
	return config_read_users(build, row, value, &build->config->relay.users);
}

bool config_read(
    struct config_build *build, size_t index, const struct config_value *value,
    void *base)
{
	const struct config_option *row = &config_options[index];
	void *to = row->offset == OPTION_NOWHERE ? NULL : (char *)base + row->offset;

	switch (row->type) {
	case OPTION_SECTION:
		config_walk(build, index, value, base, NULL);
		return true;
	case OPTION_INCLUDE:
		return read_include(build, row, value);
	case OPTION_BOOL:
		return read_bool(build, row, value, to);
	case OPTION_TERNARY:
		return read_ternary(build, row, value, to);
	case OPTION_COUNT:
		return read_count(build, row, value, to);
	case OPTION_AMOUNT:
		return config_read_amount(build, value, to, NULL);
	case OPTION_TIME:
	case OPTION_TIME_MS:
		return read_time(build, row, value, to);
	case OPTION_CHOICE:
		return read_choice(build, row, value, to);
	case OPTION_CHOICES:
		return read_choices(build, row, value, to);
	case OPTION_OVER:
		return config_read_over(build, row, value, base);
	case OPTION_TEXT:
		return read_text(build, row, value, to);
	case OPTION_DOMAIN:
		return read_domain(build, row, value, to);
	case OPTION_PATH:
		return read_path(build, row, value, to);
	case OPTION_ENDPOINT:
		return read_endpoint(build, row, value, to);
	case OPTION_ENDPOINTS:
		return read_endpoints(build, row, value, to);
	case OPTION_MODE:
		return read_mode(build, row, value, to);
	case OPTION_PORTS:
		return read_ports(build, row, value, to);
	case OPTION_STRINGS:
		return read_strings(build, row, value, to);
	case OPTION_HOSTS:
		return config_read_hosts(build, row, value, to);
	case OPTION_ADDRESSES:
		return config_read_addresses(build, row, value, to);
	case OPTION_USERS:
		return config_read_users(build, row, value, to);
	case OPTION_RELAY_HOSTS:
		return config_read_relay_hosts(build, index, value);
	case OPTION_RELAY_USERS:
		return read_relay_users(build, row, value);
	case OPTION_SENDER_LOGINS:
		return config_read_sender_logins(build, row, value, to);
	case OPTION_DOMAINS:
		config_read_domains(build, index, value);
		return true;
	case OPTION_KEYS:
		config_read_keys(build, index, value);
		return true;
	case OPTION_LIMITS:
		config_read_limits(build, index, value);
		return true;
	case OPTION_NAMES:
	case OPTION_MAXIMA:
		return read_later(build, row, value);
	case OPTION_TYPE_COUNT:
		break;
	}
	return false;
}

char *config_copy(struct config_build *build, const char *text)
{
	char *copy = strdup(text);
	if (!copy)
		build->no_memory = true;
	return copy;
}

bool config_strings_add(
    struct config_build *build, struct string_list *list, const char *text)
{
	/* Room doubles when the count is a power of two. */
	if ((list->count & (list->count - 1)) == 0) {
		size_t room = list->count ? list->count * 2 : 1;
		char **items = reallocarray(list->items, room, sizeof(*items));
		if (!items) {
			build->no_memory = true;
			return false;
		}
		list->items = items;
	}
	char *copy = config_copy(build, text);
	if (!copy)
		return false;
	list->items[list->count++] = copy;
	return true;
}

char *config_path_from(
    struct config_build *build, const struct config_file *file, const char *path)
{
	const char *slash = strrchr(file->name, '/');
	int folder = path[0] == '/' || !slash ? 0 : (int)(slash - file->name + 1);
	char *joined;

	if (asprintf(&joined, "%.*s%s", folder, file->name, path) < 0) {
		build->no_memory = true;
		return NULL;
	}
	return joined;
}

char *config_absolute_path(
    struct config_build *build, const struct config_file *file, const char *path)
{
	char *joined = config_path_from(build, file, path), *absolute = NULL;
	if (!joined || joined[0] == '/')
		return joined;
	if (asprintf(&absolute, "%s/%s", build->folder, joined) < 0) {
		build->no_memory = true;
		absolute = NULL;
	}
	free(joined);
	return absolute;
}
