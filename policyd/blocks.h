/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/blocked.h"
#include "policyd/core/facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;
struct record;

/*
 * Blocks that an operator or a limit made at run time: who, until when, why and by whom.
 * One table of this node, read by every request; the cluster's other nodes get each
 * change over Redis (policyd/roster.h), and all of it lies in the state file.
 *
 * Bounded. Thread-safe; looking up costs next to nothing while there is no block.
 */

#define BLOCKS_MAX 100000

/* Canonical forms, and what makes them, stand in policyd/block_subject.h. */
struct block {
	enum block_kind kind;
	/* Canonical. Client: an address or CIDR range; user: a SASL user or "@realm";
	 * sender, recipient: an address, "@domain", ".domain" (its subdomains), or "<>"
	 * (sender). */
	char subject[ADDRESS_TEXT_MAX + 1];
	int64_t since_s, until_s;      /* wall clock; until_s 0: until it is lifted */
	char reason[BLOCK_REASON_MAX]; /* printable */
	char by[BLOCK_BY_MAX];         /* "root@gw1", "limit ban on gw1" */
	bool automatic;                /* by a limit */
	bool restored; /* put back from a file: it was made then, not now */
	/* Of what the cluster shares (struct record of policyd/ledger.h); 0: not known.
	 */
	int64_t stamp_ms, base_ms;
};

/* A block that was lifted: remembered as long as it would have held somewhere, so that
 * nobody who has not heard of it brings it back. */
struct lifted_block {
	enum block_kind kind;
	char subject[ADDRESS_TEXT_MAX + 1];
	int64_t at_ms, until_ms;   /* wall clock: lifted, and no more to be remembered */
	int64_t stamp_ms, base_ms; /* as of a block */
};

struct blocks;

int blocks_new(size_t max, struct blocks **ret);
struct blocks *blocks_free(struct blocks *blocks);

/*
 * Whom no limit blocks: of clients trusted and relay hosts (which may share the IPv6 /64
 * of one that is blocked), of users trusted ones; and blocked senders and recipients do
 * not concern what the trusted send.
 */
bool blocks_spare(
    const struct config *config, const struct facts *facts, enum block_kind kind);

/*
 * Sets ret->blocked from what holds at @now_s; of several that match the one that holds
 * longest. Trusted and relay hosts are found too: who blocks them by hand means it.
 * Automatic ones do not hold for those who are spared.
 */
void blocks_look(
    struct blocks *blocks, const struct config *config, int64_t now_s, struct facts *ret);

#define BLOCKS_HELD 1

/*
 * Adds one, or replaces that of the same kind and subject; counted in postern_blocks. An
 * automatic one changes nothing where one holds: knocking prolongs no block; a restored
 * one nothing where something later is known, be it that it was lifted.
 *
 * 0; BLOCKS_HELD; -EINVAL: the subject is not canonical; -ENOSPC: the table is full
 * (expired ones are dropped first, and automatic ones leave an eighth of it to those by
 * hand); -ENOMEM.
 */
int blocks_put(struct blocks *blocks, const struct block *block);

/* True: there was one. */
bool blocks_remove(struct blocks *blocks, enum block_kind kind, const char *subject);

/* Those that hold at @now_s, in no order, under a lock: @seen is short and does not call
 * back. */
typedef void block_seen(void *context, const struct block *block);
void blocks_each(struct blocks *blocks, int64_t now_s, block_seen *seen, void *context);

/* The lifted ones that are remembered, as above; and puts one back from a file, unless
 * something later is known of its subject. 0, BLOCKS_HELD, or as blocks_put(). */
typedef void lifted_block_seen(void *context, const struct lifted_block *lifted);
void blocks_each_lifted(
    struct blocks *blocks, int64_t now_s, lifted_block_seen *seen, void *context);
int blocks_put_lifted(struct blocks *blocks, const struct lifted_block *lifted);

/* Changes since the start: a reader that keeps a copy knows whether it is outdated. */
uint64_t blocks_generation(const struct blocks *blocks);

/* "client", "user", "sender", "recipient"; and back, BLOCK_KINDS: none. */
const char *block_kind_name(enum block_kind kind);
enum block_kind block_kind_by_name(const char *name, size_t len);

/* For roster.c: what is shared. The table stays the blocks'. */
struct ledger *blocks_ledger(struct blocks *blocks);
/* A record that came from elsewhere says something that is a block's. */
bool blocks_accept(const struct record *record);
