/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "milter/generation.h"

#include <stddef.h>

/*
 * libmilter's side: turns its callbacks into session_*() calls and their answers into its
 * own, and nothing else. libmilter is one per process, and so is this.
 */

/*
 * Registers and takes the listening socket @fd, which libmilter then owns. Connections
 * are taken from callbacks_serve() on. @slot must outlive the process's last callback.
 * @descriptors: as many as the process may have; sessions that would need the last of
 * them are turned away, because libmilter spins when it can accept no more. 0, or -1
 * after a line in the log.
 */
int callbacks_open(int fd, struct generation_slot *slot, size_t descriptors);

/* Serves for good: returns only when libmilter gave up. */
void callbacks_serve(void);
