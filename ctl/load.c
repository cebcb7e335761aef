/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/service.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Tells the errors of a load that ended with @r; the exit code. */
static int tell(const char *file, int r, struct config_errors *errors)
{
	for (size_t i = 0; r < 0 && i < errors->lines.count; i++)
		fprintf(stderr, "%s\n", errors->lines.items[i]);
	if (r < 0 && errors->more)
		fprintf(stderr, "%s: %zu more errors\n", file, errors->more);
	config_errors_done(errors);
	if (r == 0)
		return 0;
	if (r != -EINVAL) {
		fprintf(stderr, "postern: %s was not read: out of memory\n", file);
		return EXIT_FAILURE;
	}
	return EXIT_CONFIG;
}

int ctl_load_config(const char *file, unsigned flags, struct config **ret)
{
	struct config_errors errors;
	int r = config_load(file, flags, ret, &errors);

	return tell(file, r, &errors);
}

int ctl_load_sockets(const char *file, struct config **ret)
{
	struct config_errors errors;
	int r = config_load_sockets(file, ret, &errors);

	return tell(file, r, &errors);
}
