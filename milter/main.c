/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * postern-milter: signs outgoing mail with DKIM and masks Received headers. See
 * postern-milter(8). Here: the command line; parent.c supervises, child.c serves.
 */

#include "common/config.h"
#include "common/service.h"
#include "milter/child.h"
#include "milter/parent.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: postern-milter [-c FILE] [-t] [--syslog] [-V] [-h]\n"
    "  -c FILE    configuration (" CONFIG_DEFAULT_PATH ")\n"
    "  -t         check the configuration and every file it names, keys too, and exit\n"
    "  --syslog   log to syslog, facility mail, instead of standard error\n"
    "  -V         print the version\n"
    "  -h         print this\n";

enum option_value { OPTION_SYSLOG = 256 };

static const struct option long_options[] = {
    {"syslog", no_argument, NULL, OPTION_SYSLOG},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* As `postern check` does. */
static int check(const char *path)
{
	struct config_errors errors = {0};
	struct config *config = NULL;
	int r =
	    config_load(path, CONFIG_LOAD_KEYS | CONFIG_LOAD_TOKENS, &config, &errors);
	for (size_t i = 0; i < errors.lines.count; i++)
		fprintf(stderr, "%s\n", errors.lines.items[i]);
	if (r == -EINVAL)
		fprintf(stderr, "%zu errors\n", errors.lines.count + errors.more);
	else if (r < 0)
		fprintf(stderr, "cannot load %s: %s\n", path, strerror(-r));
	config_errors_done(&errors);
	if (r < 0)
		return r == -EINVAL ? EXIT_CONFIG : EXIT_FAILURE;
	for (size_t i = 0; i < config->notices.count; i++)
		printf("%s\n", config->notices.items[i]);
	printf("%s: no errors\n", path);
	config_unref(config);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *config_path = CONFIG_DEFAULT_PATH;
	const char *child = NULL;
	bool check_only = false, to_syslog = false;
	int option;

	/* How the parent starts its children; not for people. */
	if (argc > 2 && strcmp(argv[1], "--child") == 0) {
		child = argv[2];
		argv += 2;
		argc -= 2;
	}
	while ((option = getopt_long(argc, argv, "c:tVh", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			config_path = optarg;
			break;
		case 't':
			check_only = true;
			break;
		case OPTION_SYSLOG:
			to_syslog = true;
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
		return child_main(config_path, strcmp(child, "0") == 0, to_syslog);
	if (check_only)
		return check(config_path);
	return parent_main(config_path, to_syslog);
}
