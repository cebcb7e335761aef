/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What was learnt of a message at RCPT, by Postfix's instance: Postfix may ask the later
 * states over another connection, so one table serves all loops. Bounded: the oldest go
 * first. Thread-safe.
 *
 * That is, whether Postern granted a recipient (relay.anyone_to knows it at RCPT alone),
 * and the recipients themselves, for the decision log. A forgotten instance counts as not
 * granted and has none.
 */

/* Bytes of recipients kept for one instance, their NULs included: more than the decision
 * log shows of one message. */
#define INSTANCE_RECIPIENTS_BYTES 3072

struct instances;

int instances_new(size_t max, struct instances **ret);
struct instances *instances_free(struct instances *instances);

void instances_set_granted(struct instances *instances, struct slice instance);
bool instances_was_granted(struct instances *instances, struct slice instance);

/* Keeps @recipient for @instance, once, if there is room for it. */
void instances_add_recipient(
    struct instances *instances, struct slice instance, struct slice recipient);

/* Copies the recipients of @instance, in the order they came, each ended by a NUL.
 * Returns the bytes, NULs included. */
size_t instances_recipients(
    struct instances *instances, struct slice instance,
    char buf[static INSTANCE_RECIPIENTS_BYTES]);
