/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/memory_members.h"

#include <stdlib.h>
#include <string.h>

/* Most sets are of a few countries. */
#define FIRST_SLOTS 4

struct members *members_new(void)
{
	struct members *members = calloc(1, sizeof(*members));

	if (!members)
		return NULL;
	members->table = calloc(FIRST_SLOTS, sizeof(struct member *));
	if (!members->table) {
		free(members);
		return NULL;
	}
	members->slots = FIRST_SLOTS;
	return members;
}

struct members *members_free(struct members *members)
{
	if (!members)
		return NULL;
	members_age(members, true);
	free(members->table);
	free(members);
	return NULL;
}

static struct member **slot_of(const struct members *members, uint32_t hash)
{
	return &members->table[hash & (members->slots - 1)];
}

struct member *members_find(
    const struct members *members, uint32_t hash, const char *text, size_t len)
{
	struct member *member = *slot_of(members, hash);

	while (member && (member->hash != hash || member->len != len ||
			  memcmp(member->text, text, len) != 0))
		member = member->chain;
	return member;
}

/* Without memory for it chains become longer. */
static void grow(struct members *members)
{
	struct members larger = {.slots = 2 * members->slots};

	larger.table = calloc(larger.slots, sizeof(struct member *));
	if (!larger.table)
		return;
	for (uint32_t i = 0; i < members->slots; i++)
		for (struct member *member = members->table[i], *next; member;
		     member = next) {
			struct member **slot = slot_of(&larger, member->hash);
			next = member->chain;
			member->chain = *slot;
			*slot = member;
		}
	free(members->table);
	members->table = larger.table;
	members->slots = larger.slots;
}

struct member *members_add(
    struct members *members, uint32_t hash, const char *text, size_t len)
{
	struct member *member = malloc(sizeof(*member) + len);

	if (!member)
		return NULL;
	if (members->count >= members->slots)
		grow(members);
	struct member **slot = slot_of(members, hash);
	*member = (struct member){.chain = *slot, .hash = hash, .len = (uint8_t)len};
	memcpy(member->text, text, len);
	*slot = member;
	members->count++;
	return member;
}

void members_remove(struct members *members, struct member *member)
{
	struct member **link = slot_of(members, member->hash);

	while (*link != member)
		link = &(*link)->chain;
	*link = member->chain;
	members->count--;
	free(member);
}

uint32_t members_age(struct members *members, bool all)
{
	uint32_t gone = 0;

	for (uint32_t i = 0; i < members->slots; i++)
		for (struct member **link = &members->table[i]; *link;) {
			struct member *member = *link;
			if (!member->previous && !all) {
				member->previous = true;
				link = &member->chain;
				continue;
			}
			*link = member->chain;
			free(member);
			gone++;
		}
	members->count -= gone;
	return gone;
}
