/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/names.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The configuration in force, and the thread that replaces it: reads the files anew off
 * the serving threads, checks them, publishes all of it or nothing, and frees what is not
 * used any more (a million entries take a while, which no request should wait for).
 */

struct reload;

/* Called on the loader's thread after a publication. */
typedef void reload_published(void *context, const struct config *config);

/* Takes @first, which was read from @path; starts no thread yet. @names resolves what
 * comes from DNS, and outlives this. */
int reload_new(
    const char *path, struct config *first, struct names *names, struct reload **ret);
int reload_start(struct reload *reload, reload_published *published, void *context);

/* Asks for one more reload. Asked again before it has begun it is the same one, while it
 * runs it is another. Any thread. */
void reload_request(struct reload *reload);

/* What became of the last load, for `postern status`. */
struct reload_report {
	int64_t at_s; /* wall clock */
	bool taken;
	char why[512]; /* the first error, when not; one line */
};

/* Any thread. */
void reload_last(struct reload *reload, struct reload_report *ret);

/* Waits for a reload under way and ends the thread. Later requests are not heard. */
void reload_stop(struct reload *reload);

/* After reload_stop() and when no view is left. */
struct reload *reload_free(struct reload *reload);

/* What one thread holds of the configuration. Zero at first. */
struct config_view {
	struct config *config;
	unsigned long generation;
};

/*
 * The configuration in force, for the thread that owns @view: valid until it asks again
 * or references it. An outdated one is handed to the loader, to be freed there.
 */
struct config *reload_view(struct reload *reload, struct config_view *view);
void reload_view_done(struct reload *reload, struct config_view *view);
