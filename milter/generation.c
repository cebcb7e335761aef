/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/generation.h"

#include "common/cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct generation_slot {
	pthread_mutex_t lock;
	struct generation *current;
};

DEFINE_CLEANUP(struct generation, generation_unref)

int generation_new(struct config *config, struct generation **ret)
{
	CLEANUP(generation_unrefp)
	struct generation *generation = calloc(1, sizeof(*generation));
	if (!generation)
		return -ENOMEM;
	generation->references = 1;
	int r = signer_new(config, &generation->signer);
	if (r < 0)
		return r;
	r = gate_view_new(config, &generation->gate);
	if (r < 0)
		return r;
	generation->config = config;
	*ret = TAKE(generation);
	return 0;
}

struct generation *generation_ref(struct generation *generation)
{
	__atomic_add_fetch(&generation->references, 1, __ATOMIC_RELAXED);
	return generation;
}

struct generation *generation_unref(struct generation *generation)
{
	if (!generation ||
	    __atomic_sub_fetch(&generation->references, 1, __ATOMIC_ACQ_REL) > 0)
		return NULL;
	signer_free(generation->signer);
	gate_view_unref(generation->gate);
	config_unref(generation->config);
	free(generation);
	return NULL;
}

int generation_slot_new(struct generation *first, struct generation_slot **ret)
{
	struct generation_slot *slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	pthread_mutex_init(&slot->lock, NULL);
	slot->current = first;
	*ret = slot;
	return 0;
}

struct generation_slot *generation_slot_free(struct generation_slot *slot)
{
	if (!slot)
		return NULL;
	generation_unref(slot->current);
	pthread_mutex_destroy(&slot->lock);
	free(slot);
	return NULL;
}

struct generation *generation_slot_get(struct generation_slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	struct generation *generation = generation_ref(slot->current);
	pthread_mutex_unlock(&slot->lock);
	return generation;
}

void generation_slot_set(struct generation_slot *slot, struct generation *next)
{
	pthread_mutex_lock(&slot->lock);
	struct generation *old = slot->current;
	slot->current = next;
	pthread_mutex_unlock(&slot->lock);
	generation_unref(old);
}
