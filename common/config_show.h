/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <jansson.h>

/*
 * The configuration as `postern config` shows it: every option of the option table with
 * the value in force and where it comes from. No option holds a secret: passwords and
 * keys are named by their files.
 */

struct config_shown {
	const char *path; /* as in messages: "auth.sender", "domains.example.org.auth" */
	/* As written, but for file names, which are absolute. A list that several files
	 * add to is shown once for each. Borrowed. */
	json_t *value;
	struct where where; /* line 0: a default */
	bool is_default;    /* unset, or set to what the default is */
};

typedef void config_show_each(void *context, const struct config_shown *shown);

/*
 * As config_load(), which it calls; and calls @each for every value, in the order of the
 * option table, perhaps before a last error is found: then what it said does not count.
 */
int config_show(
    const char *path, config_show_each *each, void *context,
    struct config_errors *reterrors);
