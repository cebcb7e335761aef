/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/reload.h"
#include "policyd/state_file.h"

/*
 * Keeps the state file: loads it before the daemon serves, saves it each minute in which
 * something changed, within a second after a block or login did, and at the end. Its
 * thread is the only one that touches the disk, and gives way to the serving ones.
 *
 * Whatever goes wrong, mail goes on: each fault is one line in the log, tried again each
 * minute, and one line when it works again. A file that could not be read is not written
 * over; one that is no state file is renamed to FILE.broken.
 *
 * Saving a very large table takes a while: a changed block waits for four times as long
 * as the last saving took, so that no stream of logins keeps the disk busy.
 */

struct state;

/* @path is copied; the parts, @reload among them, outlive this. Loads. */
int state_new(
    const char *path, const struct state_parts *parts, const struct config *config,
    struct reload *reload, struct state **ret);

/* Starts the thread. */
int state_start(struct state *state);

/* Ends the thread and saves what changed since. After the threads that change anything;
 * NULL is fine. */
struct state *state_free(struct state *state);
