/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <stdbool.h>
#include <stddef.h>

/* The sockets that Postfix connects to: opened here, or passed by systemd. */

struct listener {
	int fd;
	char *name;                /* as `listen` writes it; for the log */
	struct endpoint *endpoint; /* NULL: systemd's, not ours to remove */
};

struct listeners {
	size_t count;
	struct listener *items;
};

/*
 * Takes systemd's sockets, or without any opens those of policyd.listen: all, or none is
 * left behind. Returns 0, or -1 with one sentence in @errbuf.
 */
int listeners_open(
    const struct config *config, struct listeners *ret, char *errbuf, size_t errsize);

/* Nobody can connect any more: removes the unix paths that were opened here. Those who
 * have connected already can still be accepted. */
void listeners_unlink(struct listeners *listeners);

/* Removes, closes, frees. */
void listeners_close(struct listeners *listeners);
