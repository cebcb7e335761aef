/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/instances.h"

#include "common/cleanup.h"
#include "common/digest.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/*
 * Shards by hash, each with its lock, a ring of fixed-size names and an open-addressing
 * index over it; the index keeps the hash too, so that a probe looks at no other name.
 * Postfix's instances are short ("2a3c.6740f1b2.9f1e8.0"); a longer one stands as its
 * digest.
 */

#define SHARDS_MAX 16

/* A smaller table is one shard: then "the oldest" is exact. */
#define SHARD_NAMES_MIN 16384

#define NAME_MAX_LEN 71

/* All recipients of all shards together; beyond its part a shard's oldest instances lose
 * theirs. */
#define RECIPIENTS_BYTES_ALL (16 * 1024 * 1024)

/* The first room for recipients: one usual address. */
#define RECIPIENTS_BYTES_FIRST 48

struct name {
	uint32_t hash;
	uint8_t len;
	char text[NAME_MAX_LEN];
};

struct slot {
	uint32_t position; /* in the ring, + 1; 0 is free */
	uint32_t hash;
};

struct entry {
	struct name name;
	bool granted;
	uint16_t recipients_len, recipients_size;
	char *recipients; /* each ended by a NUL */
};

struct shard {
	pthread_mutex_t lock;
	size_t used; /* names in the ring */
	size_t max;
	size_t next; /* where the ring is written next */
	size_t mask; /* of the index: a power of two, at least twice @max */
	struct entry *ring;
	struct slot *index;
	size_t recipients_bytes, recipients_bytes_max;
	size_t shed; /* ring position after the last one whose recipients went */
};

struct instances {
	size_t count; /* of shards: a power of two */
	/* Since ever: without relay.anyone_to no request need look for its grant. */
	atomic_bool any_granted;
	struct shard shards[SHARDS_MAX];
};

/* FNV-1a: the names come from our own Postfix, and the table is bounded anyway. */
static uint32_t hash(const char *text, size_t len)
{
	uint64_t value = 14695981039346656037U;

	for (size_t i = 0; i < len; i++)
		value = (value ^ (uint8_t)text[i]) * 1099511628211U;
	return (uint32_t)(value ^ value >> 32);
}

static void set_name(struct slice instance, struct name *ret)
{
	char hex[DIGEST_HEX_LEN + 1];

	if (instance.len > NAME_MAX_LEN) {
		digest_hex(instance.data, instance.len, hex);
		instance = (struct slice){hex, DIGEST_HEX_LEN};
	}
	ret->len = (uint8_t)instance.len;
	memcpy(ret->text, instance.data, instance.len);
	ret->hash = hash(instance.data, instance.len);
}

static bool same(const struct name *a, const struct name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* The slot that holds @name, or the free one where it would stand. */
static size_t find_slot(const struct shard *table, const struct name *name)
{
	size_t at = name->hash & table->mask;

	for (;; at = (at + 1) & table->mask) {
		const struct slot *slot = &table->index[at];
		if (slot->position == 0 ||
		    (slot->hash == name->hash &&
		     same(&table->ring[slot->position - 1].name, name)))
			return at;
	}
}

/* Frees @slot and moves back what had to step over it (Knuth, 6.4 R). */
static void remove_slot(struct shard *table, size_t slot)
{
	size_t hole = slot;

	for (;;) {
		table->index[hole].position = 0;
		for (;;) {
			slot = (slot + 1) & table->mask;
			if (table->index[slot].position == 0)
				return;
			size_t home = table->index[slot].hash & table->mask;
			bool stays = hole <= slot ? hole < home && home <= slot
						  : hole < home || home <= slot;
			if (!stays)
				break;
		}
		table->index[hole] = table->index[slot];
		hole = slot;
	}
}

static int shard_init(struct shard *table, size_t max, size_t recipients_bytes_max)
{
	size_t slots = 2;

	while (slots < 2 * max)
		slots *= 2;
	if (pthread_mutex_init(&table->lock, NULL) != 0)
		return -ENOMEM;
	table->max = max;
	table->mask = slots - 1;
	table->recipients_bytes_max = recipients_bytes_max;
	table->ring = calloc(max, sizeof(*table->ring));
	table->index = calloc(slots, sizeof(*table->index));
	return table->ring && table->index ? 0 : -ENOMEM;
}

int instances_new(size_t max, struct instances **ret)
{
	struct instances *instances = calloc(1, sizeof(*instances));
	size_t shards = 1;

	if (!instances)
		return -ENOMEM;
	while (shards < SHARDS_MAX && max / (2 * shards) >= SHARD_NAMES_MIN)
		shards *= 2;
	for (size_t i = 0; i < shards; i++) {
		instances->count++;
		if (shard_init(
			&instances->shards[i], max / shards,
			RECIPIENTS_BYTES_ALL / shards) < 0) {
			instances_free(instances);
			return -ENOMEM;
		}
	}
	*ret = instances;
	return 0;
}

struct instances *instances_free(struct instances *instances)
{
	if (!instances)
		return NULL;
	for (size_t n = 0; n < instances->count; n++) {
		struct shard *table = &instances->shards[n];
		for (size_t i = 0; table->ring && i < table->max; i++)
			free(table->ring[i].recipients);
		pthread_mutex_destroy(&table->lock);
		free(table->ring);
		free(table->index);
	}
	free(instances);
	return NULL;
}

static void forget_recipients(struct shard *table, struct entry *entry)
{
	table->recipients_bytes -= entry->recipients_size;
	free(entry->recipients);
	entry->recipients = NULL;
	entry->recipients_len = entry->recipients_size = 0;
}

/* Locks the shard of @instance, whose name becomes *ret_name. */
static struct shard *lock_shard(
    struct instances *instances, struct slice instance, struct name *ret_name)
{
	set_name(instance, ret_name);
	/* The low bits choose the slot. */
	size_t n = ret_name->hash >> 24 & (instances->count - 1);
	struct shard *table = &instances->shards[n];
	pthread_mutex_lock(&table->lock);
	return table;
}

/* Under the lock. NULL: not known. */
static struct entry *find(struct shard *table, const struct name *name)
{
	uint32_t position = table->index[find_slot(table, name)].position;

	return position ? &table->ring[position - 1] : NULL;
}

/* Under the lock: the entry of @name, made if there is none. */
static struct entry *find_or_make(struct shard *table, const struct name *name)
{
	size_t slot = find_slot(table, name);

	if (table->index[slot].position != 0)
		return &table->ring[table->index[slot].position - 1];
	struct entry *place = &table->ring[table->next];
	if (table->used == table->max) {
		remove_slot(table, find_slot(table, &place->name));
		slot = find_slot(table, name);
		forget_recipients(table, place);
	} else {
		table->used++;
	}
	place->name = *name;
	place->granted = false;
	table->index[slot] = (struct slot){(uint32_t)table->next + 1, name->hash};
	table->next = (table->next + 1) % table->max;
	return place;
}

void instances_set_granted(struct instances *instances, struct slice instance)
{
	struct name name UNINITIALIZED;

	if (instance.len == 0)
		return;
	struct shard *table = lock_shard(instances, instance, &name);
	find_or_make(table, &name)->granted = true;
	atomic_store(&instances->any_granted, true);
	pthread_mutex_unlock(&table->lock);
}

bool instances_was_granted(struct instances *instances, struct slice instance)
{
	struct name name UNINITIALIZED;

	if (instance.len == 0 || !atomic_load(&instances->any_granted))
		return false;
	struct shard *table = lock_shard(instances, instance, &name);
	const struct entry *entry = find(table, &name);
	bool granted = entry && entry->granted;
	pthread_mutex_unlock(&table->lock);
	return granted;
}

static bool has_recipient(const struct entry *entry, struct slice recipient)
{
	const char *at = entry->recipients, *end = at + entry->recipients_len;

	while (at < end) {
		size_t len = strlen(at);
		if (len == recipient.len && memcmp(at, recipient.data, len) == 0)
			return true;
		at += len + 1;
	}
	return false;
}

/* Under the lock: room for @len more bytes. False: there is none. */
static bool grow(struct shard *table, struct entry *entry, size_t len)
{
	size_t need = entry->recipients_len + len, size = RECIPIENTS_BYTES_FIRST;

	if (need > INSTANCE_RECIPIENTS_BYTES)
		return false;
	if (need <= entry->recipients_size)
		return true;
	while (size < need)
		size *= 2;
	/* In the order of the ring, from where the last shedding ended: the oldest first,
	 * and no entry is looked at twice for nothing. */
	for (size_t i = 0; table->recipients_bytes + size > table->recipients_bytes_max &&
			   i < table->max;
	     i++) {
		struct entry *oldest = &table->ring[table->shed];
		table->shed = (table->shed + 1) % table->max;
		if (oldest != entry)
			forget_recipients(table, oldest);
	}
	char *recipients = realloc(entry->recipients, size);
	if (!recipients)
		return false;
	table->recipients_bytes += size - entry->recipients_size;
	entry->recipients = recipients;
	entry->recipients_size = (uint16_t)size;
	return true;
}

void instances_add_recipient(
    struct instances *instances, struct slice instance, struct slice recipient)
{
	struct name name UNINITIALIZED;

	if (instance.len == 0 || recipient.len == 0 ||
	    memchr(recipient.data, '\0', recipient.len))
		return;
	struct shard *table = lock_shard(instances, instance, &name);
	struct entry *entry = find_or_make(table, &name);
	if (!has_recipient(entry, recipient) && grow(table, entry, recipient.len + 1)) {
		char *end = entry->recipients + entry->recipients_len;
		memcpy(end, recipient.data, recipient.len);
		end[recipient.len] = '\0';
		entry->recipients_len += (uint16_t)(recipient.len + 1);
	}
	pthread_mutex_unlock(&table->lock);
}

size_t instances_recipients(
    struct instances *instances, struct slice instance,
    char buf[static INSTANCE_RECIPIENTS_BYTES])
{
	struct name name UNINITIALIZED;
	size_t len = 0;

	if (instance.len == 0)
		return 0;
	struct shard *table = lock_shard(instances, instance, &name);
	const struct entry *entry = find(table, &name);
	if (entry) {
		len = entry->recipients_len;
		if (len > 0)
			memcpy(buf, entry->recipients, len);
	}
	pthread_mutex_unlock(&table->lock);
	return len;
}
