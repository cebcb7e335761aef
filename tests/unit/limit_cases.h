/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/limits.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Runs tests/limit_cases.json against a store: what one request is answered, whatever the
 * store is made of. The test brings the store; this reads the file and compares.
 */

struct limit_asker {
	const char *name;             /* in messages */
	void (*begin)(void *context); /* an empty store */
	void (*ask)(
	    void *context, const char *token, size_t token_len,
	    const struct charge *charges, size_t count, int64_t now_ms,
	    struct outcome *ret);
	void *context;
};

/* Fails the test at the end of the first case that differs, with its `why`. Returns the
 * number of requests asked. */
size_t limit_cases_run(const struct limit_asker *asker);
