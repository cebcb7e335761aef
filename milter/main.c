/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * postern-milter: signs outgoing mail with DKIM and masks Received headers. See
 * postern-milter(8). Here: the command line; parent.c supervises, child.c serves.
 */

#include "common/config.h"
#include "common/service.h"
#include "milter/child.h"
#include "milter/parent.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage_text[] = "usage: postern-milter [-c FILE] [-t]\n"
				 "  -c FILE  configuration (" CONFIG_DEFAULT_PATH ")\n"
				 "  -t       check the configuration with its keys and "
				 "exit: 0, or 78 with every error\n"
				 "  -V       version\n"
				 "  -h       this\n";

/* As `postern check` does, keys included. */
static int check(const char *path)
{
	struct config_errors errors = {0};
	struct config *config = NULL;
	int r = config_load(path, CONFIG_LOAD_KEYS, &config, &errors);
	for (size_t i = 0; i < errors.lines.count; i++)
		fprintf(stderr, "%s\n", errors.lines.items[i]);
	size_t count = errors.lines.count + errors.more;
	for (size_t i = 0; r == 0 && i < config->notices.count; i++)
		fprintf(stderr, "warning: %s\n", config->notices.items[i]);
	fprintf(stderr, "%s: %zu error%s\n", path, count, count == 1 ? "" : "s");
	config_errors_done(&errors);
	config_unref(config);
	return r < 0 ? EXIT_CONFIG : 0;
}

int main(int argc, char **argv)
{
	const char *config_path = CONFIG_DEFAULT_PATH;
	const char *child = NULL;
	bool check_only = false;
	int option;

	/* How the parent starts its children; not for people. */
	if (argc > 2 && strcmp(argv[1], "--child") == 0) {
		child = argv[2];
		argv += 2;
		argc -= 2;
	}
	while ((option = getopt(argc, argv, "c:tVh")) != -1) {
		switch (option) {
		case 'c':
			config_path = optarg;
			break;
		case 't':
			check_only = true;
			break;
		case 'V':
			puts("postern-milter " POSTERN_VERSION);
			return 0;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind != argc) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	if (child)
		return child_main(config_path, strcmp(child, "0") == 0);
	if (check_only)
		return check(config_path);
	return parent_main(config_path);
}
