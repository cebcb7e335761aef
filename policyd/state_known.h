/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Which limits there are, for many keys one after the other: LIMIT:SUBJECT. */
struct known_limits {
	const struct config *config;
	size_t count;
	size_t last; /* found last: the next key is often of the same */
	size_t lengths[LIMITS_MAX];
};

static inline void known_limits_set(struct known_limits *ret, const struct config *config)
{
	*ret = (struct known_limits){.config = config, .count = config->limits_count};
	for (size_t i = 0; i < ret->count; i++)
		ret->lengths[i] = strlen(config->limits[i].name);
}

static inline bool limit_is_known(struct known_limits *known, const char *key, size_t len)
{
	const char *colon = memchr(key, ':', len);
	size_t name_len = colon ? (size_t)(colon - key) : len;

	for (size_t n = 0; n < known->count; n++) {
		size_t i = (known->last + n) % known->count;
		if (known->lengths[i] != name_len ||
		    memcmp(known->config->limits[i].name, key, name_len) != 0)
			continue;
		known->last = i;
		return true;
	}
	return false;
}
