/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/memory_counters.h"
#include "policyd/store_memory.h"

#include <stddef.h>

/* Copies of some counters, made under a lock and read without it. All zero at first. */
struct memory_batch {
	char *bytes;
	size_t len, size;
	struct memory_member *members; /* of the one being shown */
	size_t members_size;
};

/* Under the lock. 0 or -ENOMEM. */
int memory_batch_add(struct memory_batch *batch, const struct counter *counter);

/* Shows and forgets them. 0, -ENOMEM or -ECANCELED. */
int memory_batch_show(
    struct memory_batch *batch, memory_counter_seen *seen, void *context);

void memory_batch_done(struct memory_batch *batch);
