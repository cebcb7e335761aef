/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "milter/gate_view.h"
#include "milter/sign.h"

/*
 * One generation of the configuration with what the milter makes of it: the snapshot and
 * the signer. Immutable and counted; a message keeps its own from MAIL to its end, so
 * that a reload in between changes nothing for it.
 */

struct generation {
	struct config *config;
	struct signer *signer;
	struct gate_view *gate; /* which keys sign */
	/* private */
	unsigned long references;
};

/* Takes @config on success. 0 or -ENOMEM. */
int generation_new(struct config *config, struct generation **ret);
struct generation *generation_ref(struct generation *generation);
struct generation *generation_unref(struct generation *generation); /* returns NULL */

/* Where the running one lies. The lock covers "read pointer and count", nothing more. */
struct generation_slot;

int generation_slot_new(struct generation *first, struct generation_slot **ret);
struct generation_slot *generation_slot_free(struct generation_slot *slot);
struct generation *generation_slot_get(struct generation_slot *slot); /* a reference */
/* Takes @next; the old one is freed outside the lock, by whoever drops it last. */
void generation_slot_set(struct generation_slot *slot, struct generation *next);
