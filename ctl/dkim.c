/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern dkim`: finds what is to be done with keys and records.
 */
#include "ctl/dkim.h"

#include "common/near_key.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: postern dkim genkey|record|test [-h]\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	char title[16]; /* as messages name it */
} parts[] = {
    {"genkey", dkim_genkey, "dkim genkey"},
    {"record", dkim_record, "dkim record"},
    {"test", dkim_test, "dkim test"},
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

static int unknown(const char *name)
{
	struct near_key near;
	char shown[80];

	near_key_init(&near, name, strlen(name));
	for (size_t i = 0; i < PARTS; i++)
		near_key_try(&near, parts[i].name);
	printable(shown, sizeof(shown), name, strlen(name));
	fprintf(stderr, "postern dkim: \"%s\" is no part of it", shown);
	if (near.best)
		fprintf(stderr, ", did you mean \"%s\"?", near.best);
	fprintf(stderr, "\n%s", usage);
	return EXIT_USAGE;
}

int cmd_dkim(int argc, char **argv)
{
	char title[sizeof(parts[0].title)];

	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	for (size_t i = 0; i < PARTS; i++) {
		if (strcmp(parts[i].name, argv[1]) != 0)
			continue;
		memcpy(title, parts[i].title, sizeof(title));
		argv[1] = title;
		return parts[i].run(argc - 1, argv + 1);
	}
	return unknown(argv[1]);
}
