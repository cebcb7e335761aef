/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/dkim_key.h"

#include <stddef.h>
#include <stdint.h>

/* What the milter counts; see common/metrics.h. Any thread. */

enum counted_message {
	COUNTED_UNTOUCHED, /* nothing to do for it, known at MAIL */
	COUNTED_SIGNED,    /* masked or not */
	COUNTED_UNSIGNED,  /* it was to be signed, and was not; the log says why */
	COUNTED_MASKED,    /* nobody asked for a signature */
	COUNTED_DEFERRED,
	COUNTED_REFUSED,
	COUNTED_MESSAGES,
};

/* The series of all of them, at 0: a page shows what did not happen yet. */
void counts_init(void);

void counts_message(enum counted_message what);
/* So far; of all processes that share the arena. */
uint64_t counts_messages(enum counted_message what);
const char *counts_message_name(enum counted_message what);
void counts_signature(enum dkim_algorithm algorithm);
void counts_masked(size_t fields);
/* Received fields of all signed and unsigned messages, of all processes of the arena. */
uint64_t counts_received_masked(void);
