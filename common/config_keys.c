/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/dkim_key.h"
#include "common/near_key.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/*
 * milter.dkim.keys: their names, whether they need DNS, and with CONFIG_LOAD_KEYS the
 * key files.
 */

struct config_key_name {
	char *name;
	size_t index;
	UT_hash_handle hh;
};

void config_key_names_free(struct config_build *build)
{
	struct config_key_name *name, *next;
	HASH_ITER (hh, build->key_names, name, next) {
		HASH_DELETE(hh, build->key_names, name);
		free(name->name);
		free(name);
	}
}

void dkim_key_config_done(struct dkim_key_config *key)
{
	free(key->name);
	free(key->selector);
	free(key->file);
	free(key->domain);
	dkim_key_free(key->key);
}

static struct config_key_name *find_name(
    const struct config_build *build, const char *name, size_t len)
{
	struct config_key_name *found = NULL;
	HASH_FIND(hh, build->key_names, name, len, found);
	return found;
}

static bool add_name(
    struct config_build *build, const char *text, size_t len, size_t index)
{
	struct config_key_name *name = calloc(1, sizeof(*name));
	if (name)
		name->name = strndup(text, len);
	if (!name || !name->name) {
		free(name);
		build->no_memory = true;
		return false;
	}
	name->index = index;
	HASH_ADD_KEYPTR(hh, build->key_names, name->name, len, name);
	if (!name->hh.tbl) {
		free(name->name);
		free(name);
		build->no_memory = true;
		return false;
	}
	return true;
}

/* Room for one more key and its origin. */
static bool make_room(struct config_build *build)
{
	struct config *config = build->config;
	size_t count = config->milter.dkim.keys_count, room = build->key_origins_room;
	if (count < room)
		return true;

	room = room ? room * 2 : 8;
	struct dkim_key_config *keys =
	    reallocarray(config->milter.dkim.keys, room, sizeof(*keys));
	if (keys)
		config->milter.dkim.keys = keys;
	struct config_origin *origins =
	    keys ? reallocarray(build->key_origins, room, sizeof(*origins)) : NULL;
	if (!origins) {
		build->no_memory = true;
		return false;
	}
	build->key_origins = origins;
	build->key_origins_room = room;
	return true;
}

/* A name that goes into logs and metrics. */
static bool is_key_name(const char *name, size_t len)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "0123456789._-";
	for (size_t i = 0; i < len; i++)
		if (!memchr(letters, name[i], sizeof(letters) - 1))
			return false;
	return len > 0 && len <= 64;
}

static void read_key(
    struct config_build *build, size_t row, const struct config_value *item)
{
	struct config *config = build->config;
	size_t index = config->milter.dkim.keys_count;

	if (!is_key_name(item->key, item->key_len)) {
		config_error_at_key(
		    build, item,
		    "not a key's name, expected 1 to 64 letters, digits, '.', '_' "
		    "or '-'");
		return;
	}
	const struct config_key_name *before = find_name(build, item->key, item->key_len);
	if (before) {
		struct where where = config->milter.dkim.keys[before->index].where;
		config_error_at_key(
		    build, item, "duplicate: first set at %s:%u:%u, expected it once",
		    where.file, where.line, where.column);
		return;
	}
	if (!make_room(build) || !add_name(build, item->key, item->key_len, index))
		return;

	struct config_key_draft draft = {.config.where = config_key_where(item)};
	draft.config.name = strndup(item->key, item->key_len);
	draft.config.domain = config_copy(build, "");
	if (!draft.config.name)
		build->no_memory = true;
	config_walk(build, row, item, &draft, NULL);
	/* Whether nothing was said is settled when the file's own require_dns is known.
	 */
	draft.config.require_dns = draft.require_dns == YES;
	build->key_origins[index] = config_origin(item);
	config->milter.dkim.keys[index] = draft.config;
	config->milter.dkim.keys_count++;
}

void config_read_keys(
    struct config_build *build, size_t row, const struct config_value *value)
{
	if (!json_is_object(value->json)) {
		config_type_error(build, value, "an object { ... } of key names");
		return;
	}
	for (struct config_each each = config_each(value); config_next(&each);)
		read_key(build, config_option_next_child(row, SIZE_MAX), &each.value);
}

size_t config_key_by_name(
    struct config_build *build, const struct config_value *value, const char *name)
{
	const struct config_key_name *found = find_name(build, name, strlen(name));
	if (found)
		return found->index;

	struct near_key near;
	char shown[128];
	near_key_init(&near, name, strlen(name));
	for (size_t i = 0; i < build->config->milter.dkim.keys_count; i++)
		near_key_try(&near, build->config->milter.dkim.keys[i].name);
	config_shown(name, strlen(name), shown);
	if (near.best)
		config_error(
		    build, value, "there is no DKIM key \"%s\", did you mean \"%s\"?",
		    shown, near.best);
	else
		config_error(
		    build, value,
		    "there is no DKIM key \"%s\", expected a name from "
		    "milter.dkim.keys",
		    shown);
	return SIZE_MAX;
}

bool config_service_uid(
    struct config_build *build, const char *option, const char *user, uid_t *ret)
{
	struct config_value value;

	*ret = geteuid();
	if (!user || !user[0])
		return true;
	struct passwd entry, *found = NULL;
	char strings[4096];
	if (getpwnam_r(user, &entry, strings, sizeof(strings), &found) == 0 && found) {
		*ret = entry.pw_uid;
		return true;
	}
	if (config_again(
		&build->origins[config_option_find(option)], NULL, option, &value))
		config_error(
		    build, &value,
		    "there is no user \"%s\" on this system, expected one that "
		    "may read its secrets",
		    user);
	return false;
}

/* RFC 8301: verifiers need not take less than 1024, signers should not use less than
 * this.
 */
#define RSA_BITS_GOOD 2048

static void load_key(
    struct config_build *build, struct dkim_key_config *key,
    const struct config_value *value, uid_t uid)
{
	char errbuf[512];

	if (!key->file) /* reported as missing */
		return;
	if (dkim_key_load(key->file, uid, &key->key, errbuf, sizeof(errbuf)))
		config_error(build, value, "%s", errbuf);
	else if (key->key->algorithm == DKIM_RSA_SHA256 && key->key->bits < RSA_BITS_GOOD)
		config_notice(
		    build, value, "RSA with %u bits is weak, expected at least %d",
		    key->key->bits, RSA_BITS_GOOD);
}

void config_keys_finish(struct config_build *build)
{
	struct config *config = build->config;
	bool load = (build->flags & CONFIG_LOAD_KEYS) && config->milter.dkim.keys_count;
	uid_t uid = 0;

	if (load && !config_service_uid(build, "milter.user", config->milter.user, &uid))
		load = false;
	for (size_t i = 0; i < config->milter.dkim.keys_count; i++) {
		struct dkim_key_config *key = &config->milter.dkim.keys[i];
		struct config_value value, member;
		char path[96];

		snprintf(path, sizeof(path), "milter.dkim.keys.%s", key->name);
		config_again(&build->key_origins[i], NULL, path, &value);
		if (!config_member(&value, "require_dns", &member))
			key->require_dns = build->snapshot->require_dns;
		if (load)
			load_key(build, key, &value, uid);
	}
}
