/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/dkim_key.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Which keys sign for a domain: per algorithm the first one of the domain's list that is
 * published. Pure: what is published is asked of the caller.
 */

/* At most one signature of each algorithm. */
#define CHOSEN_KEYS_MAX DKIM_ALGORITHMS

/*
 * Whether the key in @place of @domain's list may sign now. Called by any thread, for
 * loaded keys alone, in the order of preference; must not block.
 */
struct key_filter {
	bool (*published)(const void *context, const struct domain *domain, size_t place);
	const void *context;
};

struct chosen_key {
	const struct dkim_key_config *key; /* loaded */
	const char *domain;                /* d= */
};

/*
 * @filter: NULL takes every key for published. Returns how many were chosen, by the order
 * of enum dkim_algorithm; all of them live as long as @config.
 */
size_t choose_keys(
    const struct config *config, const struct domain *domain,
    const struct key_filter *filter, struct chosen_key ret[static CHOSEN_KEYS_MAX]);
