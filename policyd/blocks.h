/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/blocked.h"
#include "policyd/core/facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Blocks that an operator or a limit made at run time: who, until when, why and by whom.
 * One table of this node, read by every request; the cluster's other nodes get each
 * change over Redis (policyd/roster.h), and all of it lies in the state file.
 *
 * Bounded. Thread-safe; looking up costs next to nothing while there is no block.
 */

#define BLOCKS_MAX   100000
#define BLOCK_BY_MAX 72

struct block {
	enum block_kind kind;
	/* Canonical. Client: an address or CIDR range; user: a SASL user or "@realm";
	 * sender, recipient: an address, "@domain", or "<>" (sender). */
	char subject[ADDRESS_TEXT_MAX + 1];
	int64_t since_s, until_s; /* wall clock; until_s 0: until it is lifted */
	char reason[BLOCK_REASON_MAX];
	char by[BLOCK_BY_MAX]; /* "root@gw1", "limit ban on gw1" */
	bool automatic;        /* by a limit */
};

struct blocks;

int blocks_new(size_t max, struct blocks **ret);
struct blocks *blocks_free(struct blocks *blocks);

/* Sets ret->blocked from what holds at @now_s. Trusted and relay hosts are found too: who
 * blocks them by hand means it. */
void blocks_look(
    struct blocks *blocks, const struct config *config, int64_t now_s, struct facts *ret);

/*
 * Adds one, or replaces that of the same kind and subject; counted in postern_blocks.
 * 0; -ENOSPC: the table is full (expired ones are dropped first); -ENOMEM.
 */
int blocks_put(struct blocks *blocks, const struct block *block);

/* True: there was one. */
bool blocks_remove(struct blocks *blocks, enum block_kind kind, const char *subject);

/* Those that hold at @now_s, in no order, under a lock: @seen is short and does not call
 * back. */
typedef void block_seen(void *context, const struct block *block);
void blocks_each(struct blocks *blocks, int64_t now_s, block_seen *seen, void *context);

/* Changes since the start: a reader that keeps a copy knows whether it is outdated. */
uint64_t blocks_generation(const struct blocks *blocks);
