/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/service.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int ctl_load_config(const char *file, unsigned flags, struct config **ret)
{
	struct config_errors errors;
	int r = config_load(file, flags, ret, &errors);

	for (size_t i = 0; i < errors.lines.count; i++)
		fprintf(stderr, "%s\n", errors.lines.items[i]);
	if (errors.more)
		fprintf(stderr, "%s: %zu more errors\n", file, errors.more);
	config_errors_done(&errors);
	if (r == 0)
		return 0;
	if (r != -EINVAL) {
		fprintf(stderr, "postern: %s was not read: out of memory\n", file);
		return EXIT_FAILURE;
	}
	return EXIT_CONFIG;
}
