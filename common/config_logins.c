/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * sender_logins: which SASL users may use which further envelope senders. The form and
 * the order of look-up are smtpd_sender_login_maps(5)'s: user@domain first, and only when
 * that is not listed, @domain.
 *
 * One text with all names in it and a sorted array of pairs: 8 bytes a pair besides its
 * text, no pointer.
 */

struct pair {
	uint32_t sender, user; /* offsets into text */
};

struct sender_logins {
	char *text;
	size_t text_len, text_room;
	struct pair *pairs;
	size_t count, room;
};

int sender_logins_new(struct sender_logins **ret)
{
	struct sender_logins *logins = calloc(1, sizeof(*logins));
	if (!logins)
		return -ENOMEM;
	*ret = logins;
	return 0;
}

struct sender_logins *sender_logins_free(struct sender_logins *logins)
{
	if (logins) {
		free(logins->text);
		free(logins->pairs);
		free(logins);
	}
	return NULL;
}

/* Copies @name behind the others; its offset is *ret. */
static bool keep_name(struct sender_logins *logins, const char *name, uint32_t *ret)
{
	size_t len = strlen(name) + 1;
	if (logins->text_len + len > UINT32_MAX)
		return false;
	if (logins->text_len + len > logins->text_room) {
		size_t room = logins->text_room ? logins->text_room * 2 : 256;
		while (room < logins->text_len + len)
			room *= 2;
		char *text = realloc(logins->text, room);
		if (!text)
			return false;
		logins->text = text;
		logins->text_room = room;
	}
	memcpy(logins->text + logins->text_len, name, len);
	*ret = (uint32_t)logins->text_len;
	logins->text_len += len;
	return true;
}

static bool keep_pair(struct sender_logins *logins, uint32_t sender, uint32_t user)
{
	if (logins->count == logins->room) {
		size_t room = logins->room ? logins->room * 2 : 16;
		struct pair *pairs = reallocarray(logins->pairs, room, sizeof(*pairs));
		if (!pairs)
			return false;
		logins->pairs = pairs;
		logins->room = room;
	}
	logins->pairs[logins->count++] = (struct pair){sender, user};
	return true;
}

/* user@domain, @domain or domain, in canonical form with its @. NULL: good. */
static const char *canonical_sender(
    const char *text, size_t len, const char *delimiters,
    char ret[static ADDRESS_TEXT_MAX])
{
	const char *at = memrchr(text, '@', len);
	struct address address;

	if (at && at != text) {
		address_canonical(text, len, delimiters, &address);
		if (address.kind != ADDRESS_OK || !address.domain_len)
			return "expected a sender: user@domain, @domain or domain";
		strcpy(ret, address.text);
		return NULL;
	}
	size_t skip = at ? 1 : 0;
	char domain[ADDRESS_DOMAIN_MAX + 1];
	if (!domain_canonical(text + skip, len - skip, domain))
		return "expected a sender: user@domain, @domain or domain";
	ret[0] = '@';
	strcpy(ret + 1, domain);
	return NULL;
}

/* A SASL user name or @realm. */
static const char *canonical_user(
    const char *text, size_t len, char ret[static ADDRESS_TEXT_MAX])
{
	if (text[0] == '@') {
		char domain[ADDRESS_DOMAIN_MAX + 1];
		if (!domain_canonical(text + 1, len - 1, domain))
			return "expected a realm that is a domain behind the @";
		ret[0] = '@';
		strcpy(ret + 1, domain);
		return NULL;
	}
	struct address user;
	user_canonical(text, len, &user);
	if (user.kind != ADDRESS_OK)
		return "expected a SASL user name or @realm";
	strcpy(ret, user.text);
	return NULL;
}

const char *sender_logins_add(
    struct sender_logins *logins, const char *sender, size_t sender_len,
    const char *users, size_t users_len, const char *delimiters, char errbuf[static 256])
{
	static const char separators[] = ", \t";
	char name[ADDRESS_TEXT_MAX];
	uint32_t sender_at, user_at;
	size_t added = 0;

	(void)errbuf;
	const char *wrong = canonical_sender(sender, sender_len, delimiters, name);
	if (wrong)
		return wrong;
	if (!keep_name(logins, name, &sender_at))
		return "too many senders for the memory";

	for (size_t i = 0; i < users_len;) {
		if (strchr(separators, users[i])) {
			i++;
			continue;
		}
		size_t len = 0;
		while (i + len < users_len && !strchr(separators, users[i + len]))
			len++;
		wrong = canonical_user(users + i, len, name);
		if (wrong)
			return wrong;
		if (!keep_name(logins, name, &user_at) ||
		    !keep_pair(logins, sender_at, user_at))
			return "too many users for the memory";
		i += len;
		added++;
	}
	return added ? NULL : "expected the SASL users behind the sender";
}

static int compare_pairs(const void *a, const void *b, void *context)
{
	const char *text = context;
	const struct pair *x = a, *y = b;
	int r = strcmp(text + x->sender, text + y->sender);
	return r ? r : strcmp(text + x->user, text + y->user);
}

int sender_logins_seal(struct sender_logins *logins, size_t *ret_repeated)
{
	*ret_repeated = 0;
	if (logins->count == 0)
		return 0;
	qsort_r(
	    logins->pairs, logins->count, sizeof(*logins->pairs), compare_pairs,
	    logins->text);
	for (size_t i = 1; i < logins->count; i++)
		if (compare_pairs(
			&logins->pairs[i - 1], &logins->pairs[i], logins->text) == 0)
			(*ret_repeated)++;
	return 0;
}

size_t sender_logins_count(const struct sender_logins *logins)
{
	return logins ? logins->count : 0;
}

/* The first pair not below (@sender, @user); @user NULL: the sender's first. */
static size_t lower_bound(
    const struct sender_logins *logins, const char *sender, const char *user)
{
	size_t low = 0, high = logins->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct pair *pair = &logins->pairs[middle];
		int r = strcmp(logins->text + pair->sender, sender);
		if (r == 0 && user)
			r = strcmp(logins->text + pair->user, user);
		else if (r == 0)
			r = 1;
		if (r < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_sender(const struct sender_logins *logins, size_t i, const char *sender)
{
	return i < logins->count &&
	       strcmp(logins->text + logins->pairs[i].sender, sender) == 0;
}

static bool has_pair(
    const struct sender_logins *logins, const char *sender, const char *user)
{
	size_t i = lower_bound(logins, sender, user);
	return is_sender(logins, i, sender) &&
	       strcmp(logins->text + logins->pairs[i].user, user) == 0;
}

bool sender_logins_allow(
    const struct sender_logins *logins, const struct address *sender,
    const struct address *user)
{
	char domain[ADDRESS_DOMAIN_MAX + 2] = "@", realm[ADDRESS_DOMAIN_MAX + 2] = "@";

	if (!logins || sender->kind != ADDRESS_OK || !sender->domain_len ||
	    user->kind != ADDRESS_OK)
		return false;
	strcpy(domain + 1, address_domain(sender));
	strcpy(realm + 1, address_domain(user));

	const char *listed = sender->text;
	if (!is_sender(logins, lower_bound(logins, listed, NULL), listed))
		listed = domain;
	return has_pair(logins, listed, user->text) ||
	       (user->domain_len && has_pair(logins, listed, realm));
}
