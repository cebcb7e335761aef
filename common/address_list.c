/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/list_table.h"
#include "common/lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The texts in the table are pieces of a canonical address: all of it, "user@",
 * "@domain", ".parent" (which stands at the end of "user@sub.parent"), and "<>". None can
 * be mistaken for another: a domain holds no @, and a local part is never empty.
 */
struct address_list {
	struct list_table table;
	/* Forms that the list has at all; the others need no look-up. */
	bool has_addresses, has_users, has_domains, has_parents;
};

static const char no_memory[] = "out of memory";
static const char null_sender[] = "<>";

static const char *put(
    struct address_list *list, const char *text, size_t len,
    const struct list_entry *entry, bool *has)
{
	if (list_table_add(&list->table, text, len, entry))
		return no_memory;
	*has = true;
	return NULL;
}

/* "@example.org", "example.org", ".example.org". */
static const char *add_domain(
    struct address_list *list, const char *text, size_t len,
    const struct list_entry *entry)
{
	char domain[1 + ADDRESS_DOMAIN_MAX + 1];
	bool parent = len && text[0] == '.';
	size_t skip = parent || (len && text[0] == '@');
	size_t n = domain_canonical(text + skip, len - skip, domain + 1);

	if (!n || (parent && domain[1] == '['))
		return "not a mail address or domain, expected user@example.org, "
		       "example.org, .example.org, user@ or <>";
	domain[0] = parent ? '.' : '@';
	return put(
	    list, domain, n + 1, entry, parent ? &list->has_parents : &list->has_domains);
}

/* "user@": canonical as an address without a domain. */
static const char *add_user(
    struct address_list *list, const char *text, size_t len, const char *delimiters,
    const struct list_entry *entry)
{
	struct address address;

	address_canonical(text, len - 1, delimiters, &address);
	if (address.kind != ADDRESS_OK || address.domain_len)
		return "not a local part in front of the final @, expected user@";
	address.text[address.len] = '@';
	return put(list, address.text, (size_t)address.len + 1, entry, &list->has_users);
}

int address_list_new(struct address_list **ret)
{
	struct address_list *list = calloc(1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	*ret = list;
	return 0;
}

const char *address_list_add(
    struct address_list *list, const char *text, size_t len, const char *delimiters,
    const struct list_entry *entry, char errbuf[static 256])
{
	const char *at = memrchr(text, '@', len);
	struct address address;

	(void)errbuf;
	if (len == 2 && memcmp(text, null_sender, 2) == 0)
		return put(list, text, len, entry, &list->has_addresses);
	if (!at || at == text)
		return add_domain(list, text, len, entry);
	if (at == text + len - 1)
		return add_user(list, text, len, delimiters, entry);
	address_canonical(text, len, delimiters, &address);
	if (address.kind != ADDRESS_OK)
		return "not a mail address, expected user@example.org";
	return put(list, address.text, address.len, entry, &list->has_addresses);
}

int address_list_seal(struct address_list *list, size_t *ret_repeated)
{
	size_t repeated = 0;
	int r = list_table_seal(&list->table, &repeated);

	if (!r)
		*ret_repeated = repeated;
	return r;
}

struct address_list *address_list_free(struct address_list *list)
{
	if (list)
		list_table_done(&list->table);
	free(list);
	return NULL;
}

/* "user@", also for an address that has no domain. */
static bool find_user(
    const struct address_list *list, const struct address *address,
    struct list_match *ret)
{
	char user[ADDRESS_LOCAL_MAX + 1];
	size_t len = address->local_len;

	if (address->domain_len)
		return list_table_find(&list->table, address->text, len + 1, ret);
	memcpy(user, address->text, len);
	user[len] = '@';
	return list_table_find(&list->table, user, len + 1, ret);
}

static bool find_parent(
    const struct address_list *list, const char *domain, struct list_match *ret)
{
	for (const char *dot = strchr(domain, '.'); dot; dot = strchr(dot + 1, '.'))
		if (list_table_find(&list->table, dot, strlen(dot), ret))
			return true;
	return false;
}

static bool find_address(
    const struct address_list *list, const struct address *address,
    struct list_match *ret)
{
	if (list->has_addresses && address->domain_len &&
	    list_table_find(&list->table, address->text, address->len, ret))
		return true;
	if (list->has_users && find_user(list, address, ret))
		return true;
	if (list->has_domains && address->domain_len &&
	    list_table_find(
		&list->table, address->text + address->local_len,
		(size_t)address->domain_len + 1, ret))
		return true;
	return list->has_parents && find_parent(list, address_domain(address), ret);
}

bool address_list_match(
    const struct address_list *list, const struct address *address,
    struct list_match *ret)
{
	if (!list)
		return false;
	switch (address->kind) {
	case ADDRESS_ABSENT:
	case ADDRESS_BAD:
		return false;
	case ADDRESS_NULL:
		return list_table_find(&list->table, null_sender, 2, ret);
	case ADDRESS_OK:
		return find_address(list, address, ret);
	}
	return false;
}

void address_list_prefetch(const struct address_list *list, const struct address *address)
{
	if (list && list->has_addresses && address->kind == ADDRESS_OK)
		list_table_prefetch(&list->table, address->text, address->len);
}

void address_list_conflict(
    const struct address_list *list, struct list_match *ret_first,
    struct list_match *ret_second)
{
	list_table_conflict(&list->table, ret_first, ret_second);
}

bool address_list_empty(const struct address_list *list)
{
	return !list || !list->table.count;
}

size_t address_list_count(const struct address_list *list)
{
	return list ? list->table.count : 0;
}
