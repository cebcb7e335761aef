/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "milter/gate.h"
#include "milter/generation.h"

#include <stdbool.h>

/*
 * milter.control: what `postern` asks the milter. The parent opens the socket, and the
 * first child answers, because what is asked for is known there: the parent reads no key.
 * While that child is being started again, who asks waits in the socket's queue.
 *
 *	status	how the milter is: since when, the last reload, messages, keys
 *
 * A thread with an event loop of its own. Mail never depends on it.
 */

struct control;

/* @fd: listening, the caller's. @gate and @slot must outlive it. 0 or negative errno. */
int control_new(
    int fd, struct generation_slot *slot, struct gate *gate, struct control **ret);

/* A reload ended; @why: in one line what it failed for, NULL when it was taken. Any
 * thread; @control may be NULL. */
void control_reloaded(struct control *control, const char *why);

struct control *control_free(struct control *control); /* NULL is fine */
