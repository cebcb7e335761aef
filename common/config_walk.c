/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/near_key.h"

#include <stdlib.h>
#include <string.h>

/* The section that has a key of this name, for a key in the wrong one. */
static const char *known_elsewhere(const char *key, size_t len)
{
	for (size_t row = 0; row < config_options_count; row++) {
		const char *name = config_option_name(&config_options[row]);
		if (strlen(name) == len && memcmp(name, key, len) == 0 &&
		    !config_option_is_in_item(&config_options[row]))
			return config_options[row].path;
	}
	return NULL;
}

static void unknown_key(
    struct config_build *build, size_t parent, const struct config_value *value)
{
	struct near_key near;
	near_key_init(&near, value->key, value->key_len);
	for (size_t row = config_option_next_child(parent, SIZE_MAX); row != SIZE_MAX;
	     row = config_option_next_child(parent, row))
		near_key_try(&near, config_option_name(&config_options[row]));

	/* A slip of one letter is nearer than another section. */
	const char *elsewhere = near.best && near.best_distance <= 1
				    ? NULL
				    : known_elsewhere(value->key, value->key_len);
	if (elsewhere)
		config_error_at_key(
		    build, value, "unknown key here, did you mean \"%s\"?", elsewhere);
	else if (near.best)
		config_error_at_key(
		    build, value, "unknown key, did you mean \"%s\"?", near.best);
	else
		config_error_at_key(
		    build, value, "unknown key, expected one that postern.json(5) names");
}

/* The same scalar in two files, or a list that does not append. */
static bool is_set_before(
    struct config_build *build, size_t row, const struct config_value *value)
{
	const struct config_origin *before = &build->origins[row];
	if (!before->file)
		return false;
	bool lists = json_is_array(value->json) && json_is_array(before->json);
	if ((config_options[row].flags & OPTION_APPENDS) && lists)
		return false;
	config_error_at_key(
	    build, value, "duplicate: first set at %s:%u:%u, expected it in one file",
	    before->file->name, before->node->line, before->node->column);
	return true;
}

static void judge_state(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value)
{
	if (row->state == OPTION_BUILT ||
	    (row->type != OPTION_SECTION && config_asks_nothing(value)))
		return;
	if (row->state == OPTION_NOT_BUILT)
		config_error(build, value, "%s is not supported yet", row->note);
	else
		config_notice(build, value, "accepted, but %s", row->note);
}

static void walk_child(
    struct config_build *build, size_t row, const struct config_value *value, void *base)
{
	const struct config_option *option = &config_options[row];

	if (option->type == OPTION_SECTION) {
		config_walk(build, row, value, base, NULL);
		judge_state(build, option, value);
		return;
	}
	/* Maps check their keys one by one instead; include has a rule of its own. */
	bool map = option->type == OPTION_DOMAINS || option->type == OPTION_KEYS ||
		   option->type == OPTION_INCLUDE;
	if (!config_option_is_in_item(option)) {
		if (!map && is_set_before(build, row, value))
			return;
		build->origins[row] = config_origin(value);
	}
	if (config_read(build, row, value, base))
		judge_state(build, option, value);
}

static unsigned ordinal(size_t parent, size_t child)
{
	unsigned n = 0;
	for (size_t row = config_option_next_child(parent, SIZE_MAX); row != child;
	     row = config_option_next_child(parent, row))
		n++;
	return n;
}

void config_walk(
    struct config_build *build, size_t parent, const struct config_value *value,
    void *base, uint64_t *ret_seen)
{
	uint64_t seen = 0;

	if (!json_is_object(value->json)) {
		config_type_error(build, value, "an object { ... }");
		return;
	}
	for (struct config_each each = config_each(value); config_next(&each);) {
		size_t row =
		    config_option_child(parent, each.value.key, each.value.key_len);
		if (row == SIZE_MAX) {
			unknown_key(build, parent, &each.value);
			continue;
		}
		seen |= UINT64_C(1) << ordinal(parent, row);
		walk_child(build, row, &each.value, base);
	}
	for (size_t row = config_option_next_child(parent, SIZE_MAX); row != SIZE_MAX;
	     row = config_option_next_child(parent, row))
		if ((config_options[row].flags & OPTION_REQUIRED) &&
		    !(seen & UINT64_C(1) << ordinal(parent, row)))
			config_error(
			    build, value, "\"%s\" is missing",
			    config_option_name(&config_options[row]));
	if (ret_seen)
		*ret_seen = seen;
}

bool config_seen(size_t parent, const char *name, uint64_t seen)
{
	size_t row = config_option_child(parent, name, strlen(name));
	return seen & UINT64_C(1) << ordinal(parent, row);
}

/* The default of @row, parsed once. NULL: none, or no memory. */
static const struct config_file *parsed_default(struct config_build *build, size_t row)
{
	const char *fallback = config_options[row].fallback;
	struct config_file *file = &build->defaults[row];
	if (!fallback || file->text.root)
		return fallback ? file : NULL;

	struct config_fault fault;
	char *copy = config_copy(build, fallback);
	file->name = "default";
	if (copy && config_text_parse(copy, strlen(copy), &file->text, &fault) != 0)
		build->no_memory = true;
	return file->text.root ? file : NULL;
}

void config_set_defaults(struct config_build *build, size_t parent, void *base)
{
	for (size_t row = config_option_next_child(parent, SIZE_MAX); row != SIZE_MAX;
	     row = config_option_next_child(parent, row)) {
		if (config_options[row].type == OPTION_SECTION) {
			config_set_defaults(build, row, base);
			continue;
		}
		const struct config_file *file = parsed_default(build, row);
		if (!file)
			continue;
		struct config_value value = config_root(file);
		config_read(build, row, &value, base);
	}
}
