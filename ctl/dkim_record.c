/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern dkim record [KEY|FILE]`: the DNS records of keys, as a line for a zone file
 * and as the fields of a provider's form. Asks nobody.
 */
#include "common/dkim_record.h"

#include "common/cleanup.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "ctl/dkim.h"
#include "ctl/options.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

DEFINE_CLEANUP(struct config, config_unref)

#define COMMAND "dkim record"

static void string_freep(char **string)
{
	free(*string);
}

static void print_text(const struct dkim_use *use, const char *text, const char *zone)
{
	size_t host = strlen(use->name) - strlen(use->domain) - 1;

	printf(
	    "; key %s, %s\n%s\n\n", use->key_name,
	    dkim_algorithm_name(use->key->algorithm), zone);
	printf(
	    "; in a form: name   %.*s  (of the zone %s; some ask for %s)\n"
	    ";            type   TXT\n"
	    ";            value  %s\n",
	    (int)host, use->name, use->domain, use->name, text);
}

static json_t *to_json(const struct dkim_use *use, const char *text, const char *zone)
{
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "key", use->key_name, "domain",
	    use->domain, "selector", use->selector, "algorithm",
	    dkim_algorithm_name(use->key->algorithm), "name", use->name, "value", text,
	    "zone", zone);
}

static int print(const struct dkim_uses *uses, bool json)
{
	json_t *list = json ? json_array() : NULL;

	for (size_t i = 0; i < uses->count; i++) {
		const struct dkim_use *use = &uses->items[i];
		CLEANUP(string_freep) char *text = dkim_record_text(use->key);
		CLEANUP(string_freep)
		char *zone = text ? dkim_record_zone_line(use->name, text) : NULL;
		if (!zone) {
			json_decref(list);
			fputs("postern dkim record: out of memory\n", stderr);
			return EXIT_FAILURE;
		}
		if (json) {
			json_array_append_new(list, to_json(use, text, zone));
			continue;
		}
		if (i > 0)
			putchar('\n');
		print_text(use, text, zone);
	}
	if (json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(list);
	}
	return 0;
}

/* A key of the configuration, all of them, or a file that it does not name. */
static int collect(
    const struct config *config, const char *asked, const char *selector,
    const char *domain, struct dkim_uses *uses)
{
	size_t count = config->milter.dkim.keys_count;
	int code = 0;

	if (!asked) {
		for (size_t i = 0; i < count && code == 0; i++)
			code = dkim_uses_add(uses, config, i, COMMAND);
		return code;
	}
	size_t index = dkim_find_key(config, asked);
	if (index == count) {
		if (access(asked, F_OK) != 0)
			return dkim_no_key(config, asked, COMMAND);
		fprintf(
		    stderr,
		    "postern dkim record: no key of milter.dkim.keys has the file %s: "
		    "say "
		    "--selector and --domain\n",
		    asked);
		return EXIT_USAGE;
	}
	const struct dkim_key_config *key = &config->milter.dkim.keys[index];
	if (selector || domain) {
		if (!domain && key->domain[0])
			domain = key->domain;
		if (!domain) {
			fputs("postern dkim record: --domain is missing\n", stderr);
			return EXIT_USAGE;
		}
		return dkim_uses_add_file(
		    uses, key->file, selector ? selector : key->selector, domain,
		    COMMAND);
	}
	code = dkim_uses_add(uses, config, index, COMMAND);
	if (code == 0 && uses->count == 0)
		fprintf(
		    stderr,
		    "postern dkim record: no domain has key %s in its \"dkim\" list: say "
		    "--domain\n",
		    key->name);
	return code;
}

int dkim_record(int argc, char **argv)
{
	const char *selector = NULL, *domain = NULL;
	const struct ctl_option options[] = {
	    {"selector", &selector, NULL},
	    {"domain", &domain, NULL},
	};
	struct ctl_line line = {
	    .usage = "usage: postern dkim record [KEY|FILE] [--selector S] [--domain D]"
		     " [-c FILE] [--json]\n",
	    .options = options,
	    .options_count = sizeof(options) / sizeof(options[0]),
	    .arguments = {"KEY"},
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(dkim_uses_done) struct dkim_uses uses = {0};

	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	const char *asked = line.argument[0];
	/* A file and both names need no configuration. */
	if (asked && selector && domain && access(asked, F_OK) == 0)
		code = dkim_uses_add_file(&uses, asked, selector, domain, COMMAND);
	else
		code = ctl_load_config(line.file, 0, &config);
	if (code == 0 && config)
		code = collect(config, asked, selector, domain, &uses);
	return code ? code : print(&uses, line.json);
}
