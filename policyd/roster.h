/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/blocks.h"
#include "policyd/logins.h"

#include <stdbool.h>

struct event_base;

/*
 * Keeps blocks and logins the same on all nodes, through Redis. Each node acts on its own
 * tables and needs Redis for nothing; Redis holds what all have in common.
 *
 * A change made here goes to Redis at once, and a message tells the others, who read what
 * has changed since they last did (changes are numbered there). The message only saves
 * time: every node asks each second, and reads everything after it was away, after a new
 * connection, when Redis has forgotten (what a node holds and Redis does not is written
 * again), and from time to time. The younger change of one subject wins, by the clock of
 * Redis: nodes say how long ago, never when. What is removed leaves a tombstone.
 *
 * All calls on the loop's thread.
 */

struct roster;

/* @blocks and @logins outlive it. 0 or negative errno. */
int roster_new(
    struct event_base *base, struct blocks *blocks, struct logins *logins,
    struct roster **ret);
struct roster *roster_free(struct roster *roster);

/* The configuration in force; before that nothing is shared. The same one again is fine.
 */
void roster_set(struct roster *roster, struct config *config);

/*
 * Calls back once all changes made until now are in Redis (@shared), or it is clear that
 * they cannot be now: there is none, or it is away. Perhaps before this returns.
 */
typedef void roster_told(void *context, bool shared);
void roster_when_told(struct roster *roster, roster_told *told, void *context);

/* For people: whether the other nodes hear of changes, and why not. */
struct roster_state {
	bool configured, shares;
	char trouble[200]; /* "" or one line */
};
void roster_state(const struct roster *roster, struct roster_state *ret);
