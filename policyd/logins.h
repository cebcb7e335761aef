/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/ip.h"
#include "policyd/core/facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;
struct record;

/*
 * POP and IMAP logins, for relay.login_grace: from which address, when, and as whom. One
 * table of this node, kept like the blocks (policyd/blocks.h). Bounded: the oldest go
 * first. Thread-safe.
 */

#define LOGINS_MAX     200000
#define LOGIN_USER_MAX 128
/* Logins are kept so long: the largest relay.login_grace. */
#define LOGINS_KEEP_S 86400

struct login {
	struct ip ip;
	int64_t at_s;              /* wall clock */
	char user[LOGIN_USER_MAX]; /* printable; may be "" */
	bool restored;             /* put back from a file: it was then, not now */
};

struct logins;

int logins_new(size_t max, struct logins **ret);
struct logins *logins_free(struct logins *logins);

/* A later login from the same address replaces an earlier one, never the reverse. 0 or
 * -ENOMEM. */
int logins_put(struct logins *logins, const struct login *login);

/*
 * Was there one within @grace_s before @now_s? LOGIN_CANNOT_TELL: not here, and the other
 * nodes cannot be asked now. A clock set back prolongs no login.
 */
enum login_state logins_look(
    struct logins *logins, const struct ip *ip, int64_t now_s, uint32_t grace_s);

/* Those at or after @since_s, under a lock: @seen is short and does not call back. */
typedef void login_seen(void *context, const struct login *login);
void logins_each(struct logins *logins, int64_t since_s, login_seen *seen, void *context);

uint64_t logins_generation(const struct logins *logins);

/* Whether what other nodes record arrives here: true at first (there are none). Any
 * thread. */
void logins_set_complete(struct logins *logins, bool is_complete);

/* For roster.c, as of the blocks. */
struct ledger *logins_ledger(struct logins *logins);
bool logins_accept(const struct record *record);
