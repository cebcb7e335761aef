/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_show.h"

#include "common/config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 1024

/* The walk over one build. */
struct show {
	struct config_build *build;
	config_show_each *each;
	void *context;
};

static void show_one(
    const struct show *show, const char *path, json_t *value, struct where where,
    json_t *fallback)
{
	struct config_shown shown = {
	    .path = path,
	    .value = value,
	    .where = where,
	    .is_default = where.line == 0 || (fallback && json_equal(value, fallback)),
	};
	show->each(show->context, &shown);
}

/* The default of @row; NULL: none. A new reference. */
static json_t *default_of(const struct show *show, size_t row)
{
	const char *fallback = config_options[row].fallback;

	if (strcmp(config_options[row].path, "hostname") == 0)
		return json_string(show->build->config->hostname);
	return fallback ? json_loads(fallback, JSON_DECODE_ANY, NULL) : NULL;
}

/* A value as it is in force. A new reference. */
static json_t *effective(
    const struct show *show, size_t row, const struct config_value *value)
{
	const char *text = json_string_value(value->json);

	if (config_options[row].type != OPTION_PATH || !text || !*text)
		return json_incref(value->json);
	char *absolute = config_absolute_path(show->build, value->file, text);
	json_t *result = json_string(absolute ? absolute : text);
	free(absolute);
	return result;
}

static void show_leaf(
    const struct show *show, size_t row, const struct config_value *value)
{
	char path[PATH_BYTES];
	/* What an item says, it says for itself: `config -n` shows that it is there. */
	bool in_item = config_option_is_in_item(&config_options[row]);
	json_t *fallback = in_item ? NULL : default_of(show, row);
	json_t *now = effective(show, row, value);

	show_one(
	    show, config_path_text(value, path, sizeof(path)), now, config_where(value),
	    fallback);
	json_decref(now);
	json_decref(fallback);
}

static void show_value(
    const struct show *show, size_t row, const struct config_value *value);

/* What a domain does not say, `defaults` says. */
static void show_inherited(
    const struct show *show, size_t row, const struct config_value *parent)
{
	static const char *const inherited[][2] = {
	    {"domains.*.auth", "defaults.auth"}, {"domains.*.dkim", "defaults.dkim"}};
	const char *name = config_option_name(&config_options[row]);
	struct config_value missing = {
	    .parent = parent, .key = name, .key_len = strlen(name)};
	struct where where = {0};
	json_t *value = default_of(show, row);
	char path[PATH_BYTES];

	for (size_t i = 0; i < 2; i++) {
		if (strcmp(config_options[row].path, inherited[i][0]) != 0)
			continue;
		struct config_value from;
		size_t source = config_option_find(inherited[i][1]);
		if (config_again(
			&show->build->origins[source], NULL, inherited[i][1], &from)) {
			value = json_incref(from.json);
			where = config_where(&from);
		} else {
			value = default_of(show, source);
		}
	}
	config_path_text(&missing, path, sizeof(path));
	if (value)
		show_one(show, path, value, where, value);
	json_decref(value);
}

/* An item of a map or array, with what it leaves to the defaults. */
static void show_item(
    const struct show *show, size_t row, const struct config_value *value)
{
	for (size_t child = config_option_next_child(row, SIZE_MAX); child != SIZE_MAX;
	     child = config_option_next_child(row, child)) {
		struct config_value member;
		const char *name = config_option_name(&config_options[child]);
		if (config_member(value, name, &member))
			show_value(show, child, &member);
		else if (config_options[child].type != OPTION_SECTION)
			show_inherited(show, child, value);
	}
}

static void show_items(
    const struct show *show, const char *item_path, const struct config_value *value)
{
	size_t item = config_option_find(item_path);
	char path[PATH_BYTES];

	for (struct config_each each = config_each(value); config_next(&each);) {
		if (json_object_size(each.value.json) == 0)
			show_one(
			    show, config_path_text(&each.value, path, sizeof(path)),
			    each.value.json, config_where(&each.value), NULL);
		show_item(show, item, &each.value);
	}
}

static void show_value(
    const struct show *show, size_t row, const struct config_value *value)
{
	char item[PATH_BYTES];
	const struct config_option *option = &config_options[row];
	bool map = option->type == OPTION_DOMAINS || option->type == OPTION_KEYS;

	if (option->type == OPTION_SECTION) {
		show_item(show, row, value);
		return;
	}
	snprintf(item, sizeof(item), "%s%s", option->path, map ? ".*" : "[]");
	if (map || option->type == OPTION_LIMITS)
		show_items(show, item, value);
	else
		show_leaf(show, row, value);
}

/* The value of @row, a path outside of items, in one file. False: not there. */
static bool find_in(
    const struct config_value *root, const char *path, struct config_value *chain,
    size_t depth, struct config_value **ret)
{
	const struct config_value *at = root;

	for (size_t i = 0; i < depth && *path; i++) {
		char name[128];
		size_t len = strcspn(path, ".");
		if (len >= sizeof(name))
			return false;
		memcpy(name, path, len);
		name[len] = '\0';
		if (!config_member(at, name, &chain[i]))
			return false;
		/* Its parent is on our caller's stack. */
		chain[i].parent = at;
		at = *ret = &chain[i];
		path += len + (path[len] == '.');
	}
	return *path == '\0';
}

static void show_row(const struct show *show, size_t row)
{
	const struct config_option *option = &config_options[row];
	bool found = false;

	/* Without "redis" there is none, whatever its options' defaults are. */
	if (strncmp(option->path, "redis.", 6) == 0 && !show->build->config->has_redis)
		return;
	for (size_t i = 0; i < show->build->files_count; i++) {
		struct config_value root = config_root(show->build->files[i]);
		struct config_value chain[8], *value = NULL;
		if (!root.json || !find_in(
				      &root, option->path, chain,
				      sizeof(chain) / sizeof(chain[0]), &value))
			continue;
		found = true;
		show_value(show, row, value);
	}
	json_t *fallback = found ? NULL : default_of(show, row);
	if (fallback)
		show_one(show, option->path, fallback, (struct where){0}, fallback);
	json_decref(fallback);
}

static void show_all(struct config_build *build, void *context)
{
	struct show *show = context;

	show->build = build;
	for (size_t row = 0; row < config_options_count; row++)
		if (config_options[row].type != OPTION_SECTION &&
		    !config_option_is_in_item(&config_options[row]))
			show_row(show, row);
}

int config_show(
    const char *path, config_show_each *each, void *context,
    struct config_errors *reterrors)
{
	struct show show = {.each = each, .context = context};
	struct config *config;
	int r = config_load_with(path, 0, show_all, &show, &config, reterrors);

	if (r == 0)
		config_unref(config);
	return r;
}
