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
 * Today it holds one thing, that Postern granted a recipient (relay.anyone_to knows it at
 * RCPT alone); a forgotten instance counts as not granted.
 */

struct instances;

int instances_new(size_t max, struct instances **ret);
struct instances *instances_free(struct instances *instances);

void instances_set_granted(struct instances *instances, struct slice instance);
bool instances_was_granted(struct instances *instances, struct slice instance);
