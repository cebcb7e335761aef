/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/address.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Blocks at run time, made by `postern block` or by a limit with "block": what the checks
 * see of them. The lists of the configuration are another thing.
 */

enum block_kind { BLOCK_CLIENT, BLOCK_USER, BLOCK_SENDER, BLOCK_RECIPIENT, BLOCK_KINDS };

#define BLOCK_REASON_MAX 160
#define BLOCK_BY_MAX     72
#define BLOCK_SHOWN_MAX  96

/* One kind, for one request. */
struct blocked {
	bool is_set; /* there are blocks of this kind, of whatever subject */
	/* Only the two above count unless it is true. */
	bool is_blocked;
	int64_t until_s;               /* wall clock; 0: until it is lifted */
	char reason[BLOCK_REASON_MAX]; /* printable; may be "" */
	char by[BLOCK_BY_MAX];         /* who made it; printable */
	char subject[BLOCK_SHOWN_MAX]; /* of the block that matched; printable, cut */
};

/* What a limit that is over asks for: block @subject for so long. */
struct block_order {
	enum block_kind kind;
	uint32_t seconds;
	const char *limit; /* its name; the snapshot's string */
	/* Canonical: an address, an IPv6 /64, a SASL user, a sender or recipient, or
	 * "@" and a domain. */
	char subject[ADDRESS_TEXT_MAX + 1];
};
