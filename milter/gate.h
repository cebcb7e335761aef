/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/log.h"
#include "milter/gate_view.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The DNS gate: looks up the record of every key in the background, at each load and each
 * milter.dkim.recheck, and lets sign only keys whose record is published. One thread, off
 * those that serve, which read the result from a struct gate_view without a lock.
 *
 * What is known outlives a reload, and a restart where milter.dkim.state names a file.
 * Each change is told once. While DNS does not answer it is asked again after 5 s,
 * doubled up to recheck.
 *
 * Every child of the milter has its own gate; the first one tells, counts and saves.
 */

struct gate;

typedef void gate_say(enum log_level level, const char *line);

/*
 * @say is called on the gate's thread. @first: this process tells, counts and saves for
 * all. Starts the thread. 0 or a negative errno.
 */
int gate_new(gate_say *say, bool first, struct gate **ret);

/*
 * From now on @view is kept up to date, instead of the one before. Takes over what is
 * known already. To be called before the view serves. One thread at a time.
 */
void gate_take(struct gate *gate, struct gate_view *view);

/* Until every record that nothing is known of was asked for once; at most @wait_ms. */
void gate_wait(struct gate *gate, uint32_t wait_ms);

/*
 * The "keys" of the reply to "status": a list of {"key", "domain", "selector",
 * "algorithm", "state", "since" (null: never), "signing", "detail"}. NULL without
 * memory. Any thread.
 */
json_t *gate_status(struct gate *gate);

/* Saves what is not saved, ends the thread. NULL is fine. */
struct gate *gate_free(struct gate *gate);
