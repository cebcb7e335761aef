/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/logins.h"

#include "common/printable.h"
#include "policyd/ledger.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A key is the address as ip_print() prints it, the text is the user. */

struct logins {
	struct ledger *ledger;
	atomic_bool is_complete;
};

int logins_new(size_t max, struct logins **ret)
{
	struct logins *logins = calloc(1, sizeof(*logins));

	if (!logins)
		return -ENOMEM;
	int r = ledger_new(max, &logins->ledger);
	if (r < 0) {
		free(logins);
		return r;
	}
	atomic_init(&logins->is_complete, true);
	*ret = logins;
	return 0;
}

struct logins *logins_free(struct logins *logins)
{
	if (!logins)
		return NULL;
	ledger_free(logins->ledger);
	free(logins);
	return NULL;
}

struct ledger *logins_ledger(struct logins *logins)
{
	return logins->ledger;
}

uint64_t logins_generation(const struct logins *logins)
{
	return ledger_generation(logins->ledger);
}

void logins_set_complete(struct logins *logins, bool is_complete)
{
	atomic_store(&logins->is_complete, is_complete);
}

bool logins_accept(const struct record *record)
{
	char canonical[IP_TEXT_MAX];
	struct ip ip;

	return !record->removed &&
	       ledger_is_printable(record->text, record->text_len, LOGIN_USER_MAX) &&
	       ip_parse(record->key, record->key_len, &ip) &&
	       strlen(ip_print(&ip, canonical)) == record->key_len &&
	       memcmp(canonical, record->key, record->key_len) == 0;
}

int logins_put(struct logins *logins, const struct login *login)
{
	char key[IP_TEXT_MAX], user[LOGIN_USER_MAX];

	ledger_print(user, sizeof(user), login->user);
	ip_print(&login->ip, key);
	struct record record = {
	    .key = key,
	    .key_len = strlen(key),
	    .text = user,
	    .text_len = strlen(user),
	    .made_ms = login->at_s * 1000,
	    .until_ms = (login->at_s + LOGINS_KEEP_S) * 1000,
	    .restored = login->restored,
	};
	int r = ledger_put(logins->ledger, &record, LEDGER_LATER, LEDGER_DROP_OLDEST);
	return r < 0 ? r : 0;
}

enum login_state logins_look(
    struct logins *logins, const struct ip *ip, int64_t now_s, uint32_t grace_s)
{
	struct record record;
	char key[IP_TEXT_MAX];
	bool found = false;

	if (ledger_count(logins->ledger) > 0) {
		ip_print(ip, key);
		ledger_read(logins->ledger);
		found = ledger_find(
			    logins->ledger, key, strlen(key), now_s * 1000, &record) &&
			record.made_ms + (int64_t)grace_s * 1000 > now_s * 1000 &&
			record.age_ms < (int64_t)grace_s * 1000;
		ledger_leave(logins->ledger);
	}
	if (found)
		return LOGIN_RECENT;
	return atomic_load(&logins->is_complete) ? LOGIN_NONE : LOGIN_CANNOT_TELL;
}

struct each {
	int64_t since_s;
	login_seen *seen;
	void *context;
};

static void on_record(void *context, const struct record *record)
{
	const struct each *each = context;
	struct login login = {.at_s = record->made_ms / 1000};

	if (login.at_s < each->since_s ||
	    !ip_parse(record->key, record->key_len, &login.ip))
		return;
	memcpy(login.user, record->text, record->text_len);
	login.user[record->text_len] = '\0';
	each->seen(each->context, &login);
}

void logins_each(struct logins *logins, int64_t since_s, login_seen *seen, void *context)
{
	struct each each = {since_s, seen, context};

	/* Before all ends: what counts is when it was made. */
	ledger_each(logins->ledger, since_s * 1000, on_record, &each);
}
