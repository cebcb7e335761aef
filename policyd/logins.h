/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * POP and IMAP logins, for relay.login_grace: from which address, when, and as whom. One
 * table of this node, kept like the blocks (policyd/blocks.h). Bounded: the oldest go
 * first. Thread-safe.
 */

#define LOGINS_MAX     200000
#define LOGIN_USER_MAX 128

struct login {
	struct ip ip;
	int64_t at_s;              /* wall clock */
	char user[LOGIN_USER_MAX]; /* printable; may be "" */
};

struct logins;

int logins_new(size_t max, struct logins **ret);
struct logins *logins_free(struct logins *logins);

/* A later login from the same address replaces an earlier one, never the reverse. 0 or
 * -ENOMEM. */
int logins_put(struct logins *logins, const struct login *login);

/* True: there was one at or after @since_s. */
bool logins_recent(struct logins *logins, const struct ip *ip, int64_t since_s);

typedef void login_seen(void *context, const struct login *login);
void logins_each(struct logins *logins, int64_t since_s, login_seen *seen, void *context);

uint64_t logins_generation(const struct logins *logins);
