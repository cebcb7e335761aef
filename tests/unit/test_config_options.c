/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The option table against what is written about it: conf/postern.full.json has every row
 * once and nothing else, the manual page names every row, and both examples load.
 * POSTERN_SOURCE is the top of the source tree.
 */
#include "common/config_options.h"
#include "common/config_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

static char *read_source(const char *name, size_t *ret_len)
{
	char path[4096], *text = NULL;
	size_t room = 0;

	snprintf(path, sizeof(path), "%s/%s", POSTERN_SOURCE, name);
	FILE *file = fopen(path, "r");
	if (!file)
		fail_msg("no %s", path);
	ssize_t len = getdelim(&text, &room, '\0', file);
	assert_true(len > 0);
	fclose(file);
	*ret_len = (size_t)len;
	return text;
}

/* Takes the //# off the lines that show what does not load as it is. */
static void uncomment(char *text)
{
	for (char *p = text; (p = strstr(p, "//#"));)
		memcpy(p, "   ", 3);
}

/* Marks every row that the object under @parent shows; a repeated scalar is a failure. */
static void mark(json_t *object, size_t parent, bool *seen)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		size_t row = config_option_child(parent, key, strlen(key));
		if (row == SIZE_MAX)
			fail_msg("\"%s\" is no row of the option table", key);
		seen[row] = true;
		size_t item = config_option_next_child(row, SIZE_MAX), i;
		json_t *child;
		if (config_options[row].type == OPTION_SECTION) {
			mark(value, row, seen);
		} else if (json_is_array(value) && item != SIZE_MAX) {
			json_array_foreach(value, i, child) if (json_is_object(child))
			{
				seen[item] = true;
				mark(child, item, seen);
			}
		} else if (json_is_object(value) && item != SIZE_MAX) {
			const char *name;
			json_object_foreach(value, name, child)
			{
				seen[item] = true;
				mark(child, item, seen);
			}
		}
	}
}

static void the_full_example_has_every_row(void **state)
{
	(void)state;
	size_t len;
	struct config_text text;
	struct config_fault fault;
	bool *seen = calloc(config_options_count, sizeof(*seen));
	char *bytes = read_source("conf/postern.full.json", &len);

	uncomment(bytes);
	if (config_text_parse(bytes, len, &text, &fault) != 0)
		fail_msg("%u:%u: %s", fault.line, fault.column, fault.message);
	for (size_t i = 0; i < text.node_count; i++)
		if (text.nodes[i].first)
			fail_msg("line %u repeats a key", text.nodes[i].key_line);
	mark(text.root, SIZE_MAX, seen);
	for (size_t row = 0; row < config_options_count; row++)
		if (!seen[row])
			fail_msg("%s is not in it", config_options[row].path);
	config_text_done(&text);
	free(seen);
}

static void the_manual_page_has_every_row(void **state)
{
	(void)state;
	size_t len;
	char *page = read_source("man/postern.json.5", &len);
	for (size_t row = 0; row < config_options_count; row++) {
		char head[128];
		snprintf(head, sizeof(head), ".B %s\n", config_options[row].path);
		if (!strstr(page, head))
			fail_msg("%s is not in it", config_options[row].path);
	}
	/* And nothing else. */
	for (char *line = strstr(page, "\n.TP\n.B "); line;
	     line = strstr(line + 1, "\n.TP\n.B ")) {
		char path[128] = "";
		sscanf(line, "\n.TP\n.B %127[^\n]", path);
		if (config_option_find(path) == SIZE_MAX)
			fail_msg("%s is no row of the option table", path);
	}
	free(page);
}

static void the_examples_load(void **state)
{
	(void)state;
	static const char *const names[] = {
	    "conf/postern.json", "conf/postern.full.json"};
	for (size_t i = 0; i < 2; i++) {
		char path[4096];
		struct config *config = NULL;
		struct config_errors errors;
		snprintf(path, sizeof(path), "%s/%s", POSTERN_SOURCE, names[i]);
		int r = config_load(path, CONFIG_LOAD_KEYS, &config, &errors);
		if (r)
			fail_msg(
			    "%s", errors.lines.count ? errors.lines.items[0] : "memory");
		assert_int_equal(config->notices.count, 0);
		config_errors_done(&errors);
		config_unref(config);
	}
}

static void rows_are_well_formed(void **state)
{
	(void)state;
	for (size_t row = 0; row < config_options_count; row++) {
		const struct config_option *option = &config_options[row];
		char buf[300];
		if (config_option_find(option->path) != row)
			fail_msg("%s stands twice", option->path);
		if (!option->help || !option->help[0])
			fail_msg("%s has no help", option->path);
		if ((option->state != OPTION_BUILT) !=
		    (option->note && !(option->flags & OPTION_FORGEABLE)))
			fail_msg("%s: state and note do not fit", option->path);
		const char *expects = config_option_expects(option, buf, sizeof(buf));
		if (strcmp(expects, "something else") == 0 || strlen(expects) > 250)
			fail_msg("%s expects: %s", option->path, expects);
		/* Its parent stands before it and finds it. */
		const char *name = config_option_name(option);
		char parent[128];
		strcpy(parent, option->path);
		parent[name == option->path ? 0 : name - option->path - 1] = '\0';
		size_t above = parent[0] ? config_option_find(parent) : SIZE_MAX;
		if (strstr(name, "[]"))
			continue;
		if (config_option_child(above, name, strlen(name)) != row)
			fail_msg("%s is not found from its parent", option->path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rows_are_well_formed),
	    cmocka_unit_test(the_full_example_has_every_row),
	    cmocka_unit_test(the_manual_page_has_every_row),
	    cmocka_unit_test(the_examples_load),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
