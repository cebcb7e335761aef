/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern check`: reads the configuration as the daemons would, with every file it
 * names, and prints each error on a line of its own, then a count. Opens no socket and
 * asks no daemon and no DNS.
 */
#include "common/cleanup.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "ctl/options.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct config, config_unref)

static json_t *lines_json(const struct string_list *lines)
{
	json_t *array = json_array();
	for (size_t i = 0; i < lines->count; i++)
		json_array_append_new(array, json_string(lines->items[i]));
	return array;
}

static void print_json(
    const char *file, const struct config *config, const struct config_errors *errors)
{
	static const struct string_list none;
	json_t *root = json_pack(
	    "{s:s, s:b, s:o, s:I, s:o}", "file", file, "ok", config != NULL, "errors",
	    lines_json(&errors->lines), "more", (json_int_t)errors->more, "notices",
	    lines_json(config ? &config->notices : &none));
	if (root && config) {
		json_object_set_new(
		    root, "domains",
		    json_integer((json_int_t)config_domain_count(config)));
		json_object_set_new(
		    root, "keys",
		    json_integer((json_int_t)config->milter.dkim.keys_count));
		json_object_set_new(
		    root, "limits", json_integer((json_int_t)config->limits_count));
	}
	json_dumpf(root, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(root);
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void print_text(
    const char *file, const struct config *config, const struct config_errors *errors)
{
	size_t count = errors->lines.count + errors->more;

	for (size_t i = 0; i < errors->lines.count; i++)
		puts(errors->lines.items[i]);
	if (!config) {
		printf("%s: %zu error%s", file, count, plural(count));
		if (errors->more)
			printf(", the first %zu shown", errors->lines.count);
		putchar('\n');
		return;
	}
	for (size_t i = 0; i < config->notices.count; i++)
		printf("note: %s\n", config->notices.items[i]);
	size_t domains = config_domain_count(config);
	size_t keys = config->milter.dkim.keys_count, limits = config->limits_count;
	printf(
	    "%s: ok, %zu domain%s, %zu DKIM key%s, %zu limit%s\n", file, domains,
	    plural(domains), keys, plural(keys), limits, plural(limits));
}

int cmd_check(int argc, char **argv)
{
	struct ctl_line line = {.usage = "usage: postern check [-c FILE] [--json]\n"};
	CLEANUP(config_unrefp) struct config *config = NULL;
	struct config_errors errors;

	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	const char *file = line.file;
	int r = config_load(
	    file,
	    CONFIG_LOAD_KEYS | CONFIG_LOAD_GEOIP | CONFIG_LOAD_TOKENS | CONFIG_LOAD_REDIS,
	    &config, &errors);
	if (r && r != -EINVAL)
		fprintf(stderr, "postern check: %s was not read: out of memory\n", file);
	else if (line.json)
		print_json(file, config, &errors);
	else
		print_text(file, config, &errors);
	config_errors_done(&errors);
	return r == 0 ? 0 : r == -EINVAL ? EXIT_CONFIG : EXIT_FAILURE;
}
