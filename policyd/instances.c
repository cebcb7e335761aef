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

/* All recipients together; beyond it the oldest instances lose theirs. */
#define RECIPIENTS_BYTES_ALL (16 * 1024 * 1024)

/* The first room for recipients: one usual address. */
#define RECIPIENTS_BYTES_FIRST 48

struct name {
	uint8_t len;
	char text[NAME_MAX_LEN];
};

struct entry {
	struct name name;
	bool granted;
	uint16_t recipients_len, recipients_size;
	char *recipients; /* each ended by a NUL */
};

struct instances {
	pthread_mutex_t lock;
	atomic_size_t used; /* names in the ring; 0 answers without the lock */
	size_t max;
	size_t next; /* where the ring is written next */
	size_t mask; /* of the index: a power of two, at least twice @max */
	struct entry *ring;
	uint32_t *index; /* ring position + 1; 0 is free */
	size_t recipients_bytes;
	size_t shed; /* ring position after the last one whose recipients went */
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
	       !same(&table->ring[table->index[slot] - 1].name, name))
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
			    hash(&table->ring[table->index[slot] - 1].name) & table->mask;
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
	for (size_t i = 0; i < table->max; i++)
		free(table->ring[i].recipients);
	pthread_mutex_destroy(&table->lock);
	free(table->ring);
	free(table->index);
	free(table);
	return NULL;
}

static void forget_recipients(struct instances *table, struct entry *entry)
{
	table->recipients_bytes -= entry->recipients_size;
	free(entry->recipients);
	entry->recipients = NULL;
	entry->recipients_len = entry->recipients_size = 0;
}

/* Under the lock. NULL: not known. */
static struct entry *find(struct instances *table, struct slice instance)
{
	struct name name;

	set_name(instance, &name);
	uint32_t position = table->index[find_slot(table, &name)];
	return position ? &table->ring[position - 1] : NULL;
}

/* Under the lock: the entry of @instance, made if there is none. */
static struct entry *find_or_make(struct instances *table, struct slice instance)
{
	struct name name;

	set_name(instance, &name);
	size_t slot = find_slot(table, &name);
	if (table->index[slot] != 0)
		return &table->ring[table->index[slot] - 1];
	struct entry *place = &table->ring[table->next];
	if (table->used == table->max) {
		remove_slot(table, find_slot(table, &place->name));
		slot = find_slot(table, &name);
		forget_recipients(table, place);
	} else {
		table->used++;
	}
	place->name = name;
	place->granted = false;
	table->index[slot] = (uint32_t)table->next + 1;
	table->next = (table->next + 1) % table->max;
	return place;
}

void instances_set_granted(struct instances *table, struct slice instance)
{
	if (instance.len == 0)
		return;
	pthread_mutex_lock(&table->lock);
	find_or_make(table, instance)->granted = true;
	pthread_mutex_unlock(&table->lock);
}

bool instances_was_granted(struct instances *table, struct slice instance)
{
	if (instance.len == 0 || table->used == 0)
		return false;
	pthread_mutex_lock(&table->lock);
	const struct entry *entry = find(table, instance);
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
static bool grow(struct instances *table, struct entry *entry, size_t len)
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
	for (size_t i = 0;
	     table->recipients_bytes + size > RECIPIENTS_BYTES_ALL && i < table->max;
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
    struct instances *table, struct slice instance, struct slice recipient)
{
	if (instance.len == 0 || recipient.len == 0 ||
	    memchr(recipient.data, '\0', recipient.len))
		return;
	pthread_mutex_lock(&table->lock);
	struct entry *entry = find_or_make(table, instance);
	if (!has_recipient(entry, recipient) && grow(table, entry, recipient.len + 1)) {
		char *end = entry->recipients + entry->recipients_len;
		memcpy(end, recipient.data, recipient.len);
		end[recipient.len] = '\0';
		entry->recipients_len += (uint16_t)(recipient.len + 1);
	}
	pthread_mutex_unlock(&table->lock);
}

size_t instances_recipients(
    struct instances *table, struct slice instance,
    char buf[static INSTANCE_RECIPIENTS_BYTES])
{
	size_t len = 0;

	if (instance.len == 0)
		return 0;
	pthread_mutex_lock(&table->lock);
	const struct entry *entry = find(table, instance);
	if (entry) {
		len = entry->recipients_len;
		if (len > 0)
			memcpy(buf, entry->recipients, len);
	}
	pthread_mutex_unlock(&table->lock);
	return len;
}
