/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/blocks.h"
#include "policyd/logins.h"
#include "policyd/state_clock.h"
#include "policyd/store_memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writes and reads the state file (policyd/state_text.h), whole. Blocks on the disk, so
 * never on a serving thread; memory does not grow with the number of counters, only with
 * that of blocks and logins, which are bounded. Does not log.
 *
 * Written to FILE.new beside it, synced, and renamed: there is always one whole file.
 */

struct state_parts {
	struct store *memory; /* of store_memory_new() */
	struct blocks *blocks;
	struct logins *logins;
	bool serves; /* loading: others use the parts already */
};

/*
 * Tokens that are saved: the newest, about so many at most. Postfix asks again within
 * some seconds: these are those of 4,000 charges a second. Each is 100 bytes of a file
 * that is written anew after each block.
 */
#define STATE_TOKENS_MAX 20000

struct state_saved {
	uint64_t counters, tokens, blocks, lifted, logins;
	const char *step; /* what failed, "write"; NULL: nothing */
};

/*
 * Leaves out counters that have run out and those of limits that @config has not. With
 * Redis they are what this node counted while it was away. 0 or a negative errno; the old
 * file is then as it was.
 */
int state_file_save(
    const char *path, const struct state_parts *parts, const struct config *config,
    const struct state_clock *now, struct state_saved *ret);

/* Can it be written there? As state_file_save(), and leaves nothing. */
int state_file_probe(const char *path, struct state_saved *ret);

struct state_loaded {
	uint64_t counters, tokens, blocks, lifted, logins;
	uint64_t dropped;       /* counters of limits that are no more, or that ended */
	uint64_t ageless;       /* logins of which nobody knows how old they are */
	uint64_t no_room;       /* the tables were full */
	uint64_t skipped;       /* lines that are no records */
	uint64_t first_skipped; /* number of the first such line */
	bool is_cut_off;        /* the last line is missing, or its count is another */
};

/* It is no state file of this version. */
#define STATE_FOREIGN 1

/*
 * 0; STATE_FOREIGN and nothing was taken from it; -ENOENT: there is none; -EINVAL: it is
 * no regular file; another negative errno: it could not be read, or not to its end.
 *
 * The windows are as they were, unless the clock was set since (policyd/state_clock.h):
 * then they are moved, and so are blocks and logins when it is known by how much. When it
 * is not, and the clock went back, logins are dropped: they grant something.
 */
int state_file_load(
    const char *path, const struct state_parts *parts, const struct config *config,
    const struct state_clock *now, struct state_loaded *ret);
