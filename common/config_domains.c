/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/*
 * `domains`: a hash table by canonical name. Keys and limits that a domain names may
 * stand in any file, so they are resolved when all are read.
 */

struct domain_entry {
	struct domain domain; /* first */
	bool auth_given;
	struct config_origin origin;
	UT_hash_handle hh;
};

struct domain_table {
	struct domain_entry *entries; /* uthash, in the order of the files */
};

static struct domain_entry *domain_entry_free(struct domain_entry *entry)
{
	if (entry) {
		free(entry->domain.name);
		free(entry->domain.dkim);
		free(entry->domain.limits);
		free(entry);
	}
	return NULL;
}

struct domain_table *domain_table_free(struct domain_table *table)
{
	struct domain_entry *entry, *next;
	if (!table)
		return NULL;
	HASH_ITER (hh, table->entries, entry, next) {
		HASH_DELETE(hh, table->entries, entry);
		domain_entry_free(entry);
	}
	free(table);
	return NULL;
}

static struct domain_entry *find(const struct domain_table *table, const char *name)
{
	struct domain_entry *entry = NULL;
	if (table)
		HASH_FIND(hh, table->entries, name, strlen(name), entry);
	return entry;
}

const struct domain *config_domain_find(const struct config *config, const char *domain)
{
	const struct domain_entry *entry = find(config->domains, domain);
	if (entry)
		return &entry->domain;
	for (const char *dot = strchr(domain, '.'); dot; dot = strchr(dot + 1, '.')) {
		entry = find(config->domains, dot + 1);
		if (entry && entry->domain.subdomains)
			return &entry->domain;
	}
	return NULL;
}

size_t config_domain_count(const struct config *config)
{
	return config->domains ? HASH_COUNT(config->domains->entries) : 0;
}

const struct domain *config_domain_next(
    const struct config *config, const struct domain *domain)
{
	const struct domain_entry *entry;
	if (domain) /* it is the first member of its entry */
		entry = ((const struct domain_entry *)(const void *)domain)->hh.next;
	else
		entry = config->domains ? config->domains->entries : NULL;
	return entry ? &entry->domain : NULL;
}

/* An empty entry in the table. NULL: no memory. */
static struct domain_entry *add(struct config_build *build, const char *name)
{
	struct domain_table *table = build->config->domains;
	struct domain_entry *entry = calloc(1, sizeof(*entry));
	if (entry) {
		entry->domain.name = strdup(name);
		entry->domain.number = HASH_COUNT(table->entries);
	}
	if (entry && entry->domain.name)
		HASH_ADD_KEYPTR(
		    hh, table->entries, entry->domain.name, strlen(name), entry);
	if (!entry || !entry->domain.name || !entry->hh.tbl) {
		domain_entry_free(entry);
		build->no_memory = true;
		return NULL;
	}
	return entry;
}

static void read_domain(
    struct config_build *build, size_t row, const struct config_value *item)
{
	char name[ADDRESS_DOMAIN_MAX + 1];
	uint64_t seen = 0;

	if (!item->key_len || strchr("@.*[", item->key[0]) ||
	    !domain_canonical(item->key, item->key_len, name)) {
		const char *hint = item->key_len && strchr(".*", item->key[0])
				       ? " and \"subdomains\": true for those below it"
				       : "";
		config_error_at_key(
		    build, item,
		    "not a domain, expected a name such as \"example.org\"%s", hint);
		return;
	}
	const struct domain_entry *before = find(build->config->domains, name);
	if (before) {
		const struct where *where = &before->domain.where;
		config_error_at_key(
		    build, item, "duplicate: first set at %s:%u:%u, expected it once",
		    where->file, where->line, where->column);
		return;
	}
	struct domain_entry *entry = add(build, name);
	if (!entry)
		return;
	entry->domain.where = config_key_where(item);
	entry->origin = config_origin(item);
	config_walk(build, row, item, &entry->domain, &seen);
	entry->auth_given = config_seen(row, "auth", seen);
}

void config_read_domains(
    struct config_build *build, size_t row, const struct config_value *value)
{
	if (!json_is_object(value->json)) {
		config_type_error(build, value, "an object { ... } of domains");
		return;
	}
	if (!build->config->domains) {
		build->config->domains = calloc(1, sizeof(struct domain_table));
		if (!build->config->domains) {
			build->no_memory = true;
			return;
		}
	}
	for (struct config_each each = config_each(value); config_next(&each);)
		read_domain(build, config_option_next_child(row, SIZE_MAX), &each.value);
}

/* ---- what a domain names ---- */

/* The keys that the array @names names, in order; each once. */
static void resolve_keys(
    struct config_build *build, const struct config_value *names, size_t **ret,
    size_t *ret_count)
{
	size_t room = json_is_array(names->json) ? json_array_size(names->json) : 0,
	       n = 0;
	size_t *keys = room ? calloc(room, sizeof(*keys)) : NULL;
	if (room && !keys) {
		build->no_memory = true;
		return;
	}
	for (struct config_each each = config_each(names); room && config_next(&each);) {
		const char *name = json_string_value(each.value.json);
		if (!name)
			continue;
		size_t key = config_key_by_name(build, &each.value, name);
		bool twice = false;
		for (size_t i = 0; i < n; i++)
			twice = twice || keys[i] == key;
		if (key != SIZE_MAX && twice)
			config_error(
			    build, &each.value, "\"%s\" stands here before", name);
		else if (key != SIZE_MAX)
			keys[n++] = key;
	}
	*ret = keys;
	*ret_count = n;
}

static void resolve_limits(
    struct config_build *build, const struct config_value *map, struct domain *domain)
{
	size_t room = json_is_object(map->json) ? json_object_size(map->json) : 0;
	if (!room)
		return;
	domain->limits = calloc(room, sizeof(*domain->limits));
	if (!domain->limits) {
		build->no_memory = true;
		return;
	}
	for (struct config_each each = config_each(map); config_next(&each);)
		if (domain->limits_count < room &&
		    config_read_maximum(
			build, &each.value, &domain->limits[domain->limits_count]))
			domain->limits_count++;
}

static bool copy_keys(
    struct config_build *build, const size_t *keys, size_t count, struct domain *domain)
{
	if (!count)
		return true;
	domain->dkim = calloc(count, sizeof(*keys));
	if (!domain->dkim) {
		build->no_memory = true;
		return false;
	}
	memcpy(domain->dkim, keys, count * sizeof(*keys));
	domain->dkim_count = count;
	return true;
}

void config_domains_resolve(struct config_build *build)
{
	struct config *config = build->config;
	struct config_value value, member;
	size_t *default_keys = NULL, default_count = 0;

	if (config_again(
		&build->origins[config_option_find("defaults.dkim")], NULL,
		"defaults.dkim", &value))
		resolve_keys(build, &value, &default_keys, &default_count);

	struct domain_entry *entry = config->domains ? config->domains->entries : NULL;
	for (; entry && !build->no_memory; entry = entry->hh.next) {
		struct domain *domain = &entry->domain;
		char path[ADDRESS_DOMAIN_MAX + 16];

		if (!entry->auth_given)
			domain->auth = config->defaults.auth;
		snprintf(path, sizeof(path), "domains.%s", domain->name);
		config_again(&entry->origin, NULL, path, &value);
		if (config_member(&value, "dkim", &member))
			resolve_keys(build, &member, &domain->dkim, &domain->dkim_count);
		else
			copy_keys(build, default_keys, default_count, domain);
		if (config_member(&value, "limits", &member))
			resolve_limits(build, &member, domain);
	}
	free(default_keys);
}
