/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/list_table.h"
#include "common/lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Canonical names, and "@realm", which no name is: its local part is never empty. */
struct user_list {
	struct list_table table;
};

static const char no_memory[] = "out of memory";

int user_list_new(struct user_list **ret)
{
	struct user_list *list = calloc(1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	*ret = list;
	return 0;
}

const char *user_list_add(
    struct user_list *list, const char *text, size_t len, const struct list_entry *entry,
    char errbuf[static 256])
{
	(void)errbuf;
	if (len && text[0] == '@') {
		char realm[1 + ADDRESS_DOMAIN_MAX + 1] = "@";
		size_t n = domain_canonical(text + 1, len - 1, realm + 1);
		if (!n)
			return "not a realm, expected @example.org";
		return list_table_add(&list->table, realm, n + 1, entry) ? no_memory
									 : NULL;
	}

	struct address user;
	user_canonical(text, len, &user);
	if (user.kind != ADDRESS_OK)
		return "not a SASL user name, expected a name like ada or "
		       "ada@example.org, or @example.org";
	return list_table_add(&list->table, user.text, user.len, entry) ? no_memory
									: NULL;
}

int user_list_seal(struct user_list *list, size_t *ret_repeated)
{
	size_t repeated = 0;
	int r = list_table_seal(&list->table, &repeated);

	if (!r)
		*ret_repeated = repeated;
	return r;
}

struct user_list *user_list_free(struct user_list *list)
{
	if (list)
		list_table_done(&list->table);
	free(list);
	return NULL;
}

bool user_list_match(
    const struct user_list *list, const struct address *user, struct list_match *ret)
{
	if (!list || user->kind != ADDRESS_OK)
		return false;
	if (list_table_find(&list->table, user->text, user->len, ret))
		return true;
	return user->domain_len && list_table_find(
				       &list->table, user->text + user->local_len,
				       (size_t)user->domain_len + 1, ret);
}

void user_list_conflict(
    const struct user_list *list, struct list_match *ret_first,
    struct list_match *ret_second)
{
	list_table_conflict(&list->table, ret_first, ret_second);
}

bool user_list_empty(const struct user_list *list)
{
	return !list || !list->table.count;
}

size_t user_list_count(const struct user_list *list)
{
	return list ? list->table.count : 0;
}
