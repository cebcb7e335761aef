/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/dns.h"
#include "common/lists.h"
#include "common/name_state.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Keeps the entries of host lists that come from DNS resolved: one thread, off those that
 * serve, which never wait for it (common/host_dns.h is where they read).
 *
 * What a name stands for is known by the name, not by the list: a reload takes over what
 * is known, and only new names are waited for, for a while.
 */

struct names;

/* What a daemon uses: TTLs between a minute and an hour, 5 s to the first retry, a day
 * for a last good answer. */
extern const struct name_times names_times;

/* @say is called on the thread of @names. Starts the thread. Returns 0 or a negative
 * errno. */
int names_new(const struct name_times *times, names_say *say, struct names **ret);

/*
 * Keeps what names stand for in the file @path (common/name_file.h): read with the first
 * work, for names that DNS has not answered for yet; written, where @save_too, when it
 * changed. Before the first names_take(). 0 or -ENOMEM.
 */
int names_keep(struct names *names, const char *path, bool save_too);

struct names_list {
	char label[128]; /* for messages: "relay.hosts" */
	struct host_dns *dns;
};

/* All that is to be kept resolved from now on, instead of what was before. */
struct names_work {
	struct dns_settings dns;
	const struct names_list *lists;
	size_t lists_count;
	/* Owns @lists, what is in them, and the servers' texts; released on the thread of
	 * @names. */
	void *owner;
	void (*release)(void *owner);
};

/*
 * Takes @work over: what is known already is published to its lists at once, the rest is
 * asked for; waits at most @wait_ms until every name has been tried. To be called before
 * the lists serve. The lists of earlier work stay as they are. One thread at a time.
 *
 * Returns 0, or -ENOMEM: the owner is released, and the earlier work goes on.
 */
int names_take(struct names *names, const struct names_work *work, uint32_t wait_ms);

/* Ends the thread and releases the owner. NULL is fine. */
struct names *names_free(struct names *names);
