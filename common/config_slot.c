/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct config_slot {
	pthread_mutex_t lock; /* covers `current` and the reference taken of it */
	struct config *current;
	atomic_ulong generation;
};

int config_slot_new(struct config *first, struct config_slot **ret)
{
	struct config_slot *slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	int r = pthread_mutex_init(&slot->lock, NULL);
	if (r) {
		free(slot);
		return -r;
	}
	slot->current = first;
	atomic_init(&slot->generation, 1);
	*ret = slot;
	return 0;
}

struct config_slot *config_slot_free(struct config_slot *slot)
{
	if (slot) {
		config_unref(slot->current);
		pthread_mutex_destroy(&slot->lock);
		free(slot);
	}
	return NULL;
}

struct config *config_slot_get(struct config_slot *slot)
{
	pthread_mutex_lock(&slot->lock);
	struct config *config = config_ref(slot->current);
	pthread_mutex_unlock(&slot->lock);
	return config;
}

void config_slot_set(struct config_slot *slot, struct config *next)
{
	pthread_mutex_lock(&slot->lock);
	struct config *old = slot->current;
	slot->current = next;
	atomic_fetch_add(&slot->generation, 1);
	pthread_mutex_unlock(&slot->lock);
	/* Freeing a million entries takes long: outside the lock. */
	config_unref(old);
}

unsigned long config_slot_generation(struct config_slot *slot)
{
	return atomic_load(&slot->generation);
}
