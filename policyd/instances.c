/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/instances.h"

#include "common/digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/*
 * A ring of fixed-size names with an open-addressing index over it. Postfix's instances
 * are short ("2a3c.6740f1b2.9f1e8.0"); a longer one stands as its digest.
 */

#define NAME_MAX_LEN 71

struct name {
	uint8_t len;
	char text[NAME_MAX_LEN];
};

struct instances {
	pthread_mutex_t lock;
	atomic_size_t used; /* names in the ring; 0 answers without the lock */
	size_t max;
	size_t next; /* where the ring is written next */
	size_t mask; /* of the index: a power of two, at least twice @max */
	struct name *ring;
	uint32_t *index; /* ring position + 1; 0 is free */
};

static void set_name(struct slice instance, struct name *ret)
{
	if (instance.len <= NAME_MAX_LEN) {
		ret->len = (uint8_t)instance.len;
		memcpy(ret->text, instance.data, instance.len);
		return;
	}
	char hex[DIGEST_HEX_LEN + 1];
	digest_hex(instance.data, instance.len, hex);
	ret->len = DIGEST_HEX_LEN;
	memcpy(ret->text, hex, DIGEST_HEX_LEN);
}

/* FNV-1a: the names come from our own Postfix, and the table is bounded anyway. */
static size_t hash(const struct name *name)
{
	uint64_t value = 14695981039346656037U;

	for (size_t i = 0; i < name->len; i++)
		value = (value ^ (uint8_t)name->text[i]) * 1099511628211U;
	return (size_t)(value ^ value >> 32);
}

static bool same(const struct name *a, const struct name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* The slot that holds @name, or the free one where it would stand. */
static size_t find_slot(const struct instances *table, const struct name *name)
{
	size_t slot = hash(name) & table->mask;

	while (table->index[slot] != 0 &&
	       !same(&table->ring[table->index[slot] - 1], name))
		slot = (slot + 1) & table->mask;
	return slot;
}

/* Frees @slot and moves back what had to step over it (Knuth, 6.4 R). */
static void remove_slot(struct instances *table, size_t slot)
{
	size_t hole = slot;

	for (;;) {
		table->index[hole] = 0;
		for (;;) {
			slot = (slot + 1) & table->mask;
			if (table->index[slot] == 0)
				return;
			size_t home =
			    hash(&table->ring[table->index[slot] - 1]) & table->mask;
			bool stays = hole <= slot ? hole < home && home <= slot
						  : hole < home || home <= slot;
			if (!stays)
				break;
		}
		table->index[hole] = table->index[slot];
		hole = slot;
	}
}

int instances_new(size_t max, struct instances **ret)
{
	struct instances *table = calloc(1, sizeof(*table));
	size_t slots = 2;

	if (!table)
		return -ENOMEM;
	while (slots < 2 * max)
		slots *= 2;
	table->max = max;
	table->mask = slots - 1;
	table->ring = calloc(max, sizeof(*table->ring));
	table->index = calloc(slots, sizeof(*table->index));
	if (!table->ring || !table->index ||
	    pthread_mutex_init(&table->lock, NULL) != 0) {
		free(table->ring);
		free(table->index);
		free(table);
		return -ENOMEM;
	}
	*ret = table;
	return 0;
}

struct instances *instances_free(struct instances *table)
{
	if (!table)
		return NULL;
	pthread_mutex_destroy(&table->lock);
	free(table->ring);
	free(table->index);
	free(table);
	return NULL;
}

void instances_set_granted(struct instances *table, struct slice instance)
{
	struct name name;

	if (instance.len == 0)
		return;
	set_name(instance, &name);
	pthread_mutex_lock(&table->lock);
	size_t slot = find_slot(table, &name);
	if (table->index[slot] == 0) {
		struct name *place = &table->ring[table->next];
		if (table->used == table->max) {
			remove_slot(table, find_slot(table, place));
			slot = find_slot(table, &name);
		} else {
			table->used++;
		}
		*place = name;
		table->index[slot] = (uint32_t)table->next + 1;
		table->next = (table->next + 1) % table->max;
	}
	pthread_mutex_unlock(&table->lock);
}

bool instances_was_granted(struct instances *table, struct slice instance)
{
	struct name name;

	if (instance.len == 0 || table->used == 0)
		return false;
	set_name(instance, &name);
	pthread_mutex_lock(&table->lock);
	bool found = table->index[find_slot(table, &name)] != 0;
	pthread_mutex_unlock(&table->lock);
	return found;
}
