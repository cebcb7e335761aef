/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/import_opendkim.h"

#include "common/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ---- */

/* Adds a key; its strings are the key's from then on. */
static bool add_key(struct opendkim *from, const struct table_key *key)
{
	struct table_key *keys =
	    reallocarray(from->keys, from->keys_count + 1, sizeof(*keys));
	if (!keys)
		return false;
	from->keys = keys;
	keys[from->keys_count++] = *key;
	return key->name && key->domain && key->selector && key->file &&
	       json_object_set_new(
		   from->key_names, key->name,
		   json_integer((json_int_t)from->keys_count)) == 0;
}

static char *absolute(const struct opendkim *from, const char *file)
{
	char path[OPENDKIM_PATH_BYTES];
	if (file[0] == '/')
		return strdup(file);
	snprintf(path, sizeof(path), "%s/%s", from->folder, file);
	return strdup(path);
}

/* NULL: good, and *ret is set; else why not. */
static const char *parse_key(
    const struct opendkim *from, const struct opendkim_statement *line,
    struct table_key *ret)
{
	char domain[ADDRESS_DOMAIN_MAX + 1] = "%";
	const char *colon = strchr(line->value, ':');
	const char *second = colon ? strchr(colon + 1, ':') : NULL;
	if (!second)
		return "no DOMAIN:SELECTOR:FILE; it never signed";
	if (!opendkim_is_utf8(line->name) || !opendkim_is_utf8(line->value))
		return opendkim_no_utf8;
	size_t len = (size_t)(colon - line->value);
	if (!(len == 1 && line->value[0] == '%') &&
	    !domain_canonical(line->value, len, domain))
		return "its domain is none";
	const char *file = second + 1;
	if (file[0] != '/' && strncmp(file, "./", 2) != 0 && strncmp(file, "../", 3) != 0)
		return "the key itself stands in the table; write it to a PEM file "
		       "(mode 0600) and name that";
	ret->name = strdup(line->name);
	ret->domain = strdup(domain);
	ret->selector = strndup(colon + 1, (size_t)(second - colon - 1));
	ret->file = absolute(from, file);
	ret->postern[0] = '\0';
	return NULL;
}

void opendkim_read_key_table(
    struct opendkim *from, const struct opendkim_statement *named)
{
	struct opendkim_statements table = {0};
	enum opendkim_set kind;

	opendkim_read_table(from, named, &table, &kind);
	for (size_t i = 0; i < table.count; i++) {
		const struct opendkim_statement *line = &table.items[i];
		struct table_key key;
		if (json_object_get(from->key_names, line->name)) {
			opendkim_say(
			    from, line, IMPORT_REFUSED, "the name stands here before");
			continue;
		}
		const char *wrong = parse_key(from, line, &key);
		if (wrong)
			opendkim_say(from, line, IMPORT_REFUSED, "%s", wrong);
		else if (!add_key(from, &key))
			from->import->no_memory = true;
		else
			opendkim_say(
			    from, line, IMPORT_CONVERTED, "selector %s", key.selector);
	}
	opendkim_statements_done(&table);
}

/* A name as milter.dkim.keys takes it, that no other key has. */
static void choose_name(struct opendkim *from, const char *wanted, char *ret)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	char base[OPENDKIM_NAME_BYTES - 12];
	json_t *taken = json_object_get(
	    json_object_get(json_object_get(from->import->fragment, "milter"), "dkim"),
	    "keys");

	snprintf(base, 52, "%s", wanted[0] ? wanted : "key");
	for (char *at = base; *at; at++)
		if (!strchr(letters, *at))
			*at = '_';
	snprintf(ret, OPENDKIM_NAME_BYTES, "%s", base);
	for (unsigned n = 2; json_object_get(taken, ret); n++)
		snprintf(ret, OPENDKIM_NAME_BYTES, "%s-%u", base, n);
}

/* Puts @text with each % replaced by @domain. */
static char *fill_in(const char *text, const char *domain)
{
	char path[OPENDKIM_PATH_BYTES];
	size_t len = 0;
	for (; *text && len + ADDRESS_DOMAIN_MAX + 1 < sizeof(path); text++) {
		if (*text == '%')
			len += (size_t)snprintf(
			    path + len, sizeof(path) - len, "%s", domain);
		else
			path[len++] = *text;
	}
	path[len] = '\0';
	return strdup(path);
}

static void put_key(
    struct opendkim *from, const char *name, const struct table_key *key,
    const char *domain)
{
	char path[OPENDKIM_NAME_BYTES + 32];
	char *file = fill_in(key->file, domain);
	snprintf(path, sizeof(path), "milter\ndkim\nkeys\n%s", name);
	import_set(from->import, path, "selector", json_string(key->selector));
	import_set(from->import, path, "file", file ? json_string(file) : NULL);
	free(file);
}

/*
 * The key's name in the fragment for mail of @domain. A key without % is one, whoever
 * uses it, and fixes d= when it is used for another domain than its own; with % in its
 * file there is one for each domain.
 */
static const char *use_key(
    struct opendkim *from, struct table_key *key, const char *domain,
    char buf[static OPENDKIM_NAME_BYTES])
{
	char path[OPENDKIM_NAME_BYTES + 32];
	if (strchr(key->file, '%')) {
		choose_name(from, domain, buf);
		put_key(from, buf, key, domain);
		return buf;
	}
	if (!key->postern[0]) {
		choose_name(from, key->name, key->postern);
		put_key(from, key->postern, key, domain);
	}
	if (key->domain[0] != '%' && strcmp(key->domain, domain) != 0) {
		snprintf(path, sizeof(path), "milter\ndkim\nkeys\n%s", key->postern);
		import_set(from->import, path, "domain", json_string(key->domain));
	}
	return key->postern;
}

/* ---- whom they sign for ---- */

/* Remembers that @what ("example.org", ".example.org") has a line. True: the first. */
static bool is_first(struct opendkim *from, const char *what)
{
	if (json_object_get(from->closed, what))
		return false;
	if (json_object_set_new(from->closed, what, json_true()) < 0)
		from->import->no_memory = true;
	return true;
}

/* Mail of the subdomains of @domain alone; the domain's own line stands apart. */
static void sign_for_subdomains(
    struct opendkim *from, const struct opendkim_statement *line, struct table_key *key,
    const char *domain)
{
	char path[ADDRESS_DOMAIN_MAX + 16], dotted[ADDRESS_DOMAIN_MAX + 2];
	char name[OPENDKIM_NAME_BYTES];

	snprintf(path, sizeof(path), "domains\n%s", domain);
	snprintf(dotted, sizeof(dotted), ".%s", domain);
	if (!is_first(from, dotted) && !from->several) {
		opendkim_say(
		    from, line, IMPORT_REFUSED,
		    "an earlier line has these subdomains, and without "
		    "MultipleSignatures it alone signed");
		return;
	}
	json_t *keys = json_object_get(import_object(from->import, path), "dkim");
	const char *used = use_key(from, key, domain, name);
	bool own = json_array_size(keys) > 0;
	if (own && strcmp(json_string_value(json_array_get(keys, 0)), used) != 0) {
		opendkim_say(
		    from, line, IMPORT_REFUSED,
		    "subdomains sign with the keys of their domain; list them in "
		    "\"domains\" to give them another key");
		return;
	}
	import_add(from->import, path, "dkim", used);
	import_set(from->import, path, "subdomains", json_true());
	if (key->domain[0] == '%')
		opendkim_say(
		    from, line, IMPORT_CHANGED,
		    "mail of a subdomain is signed with d=%s, the domain that is listed",
		    domain);
	else if (!own)
		opendkim_say(
		    from, line, IMPORT_CHANGED, "mail of %s itself is signed too",
		    domain);
	else
		opendkim_say(from, line, IMPORT_CONVERTED, "subdomains of %s", domain);
}

static void sign_for(
    struct opendkim *from, const struct opendkim_statement *line, struct table_key *key,
    const char *domain)
{
	char path[ADDRESS_DOMAIN_MAX + 16], name[OPENDKIM_NAME_BYTES];
	bool first = is_first(from, domain);

	if (!first && !from->several) {
		opendkim_say(
		    from, line, IMPORT_REFUSED,
		    "an earlier line has %s, and without MultipleSignatures it alone "
		    "signed",
		    domain);
		return;
	}
	snprintf(path, sizeof(path), "domains\n%s", domain);
	import_add(from->import, path, "dkim", use_key(from, key, domain, name));
	if (first)
		opendkim_say(from, line, IMPORT_CONVERTED, "domains.%s", domain);
	else
		opendkim_say(
		    from, line, IMPORT_CHANGED,
		    "one key of each algorithm signs: of two RSA keys the first one "
		    "whose record is published");
}

/*
 * What a pattern of the SigningTable covers. NULL and *ret (@size bytes), or why it
 * cannot be said here. A plain table has "domain", ".domain", "user@domain", "*"; a
 * refile has wildcards: "*@domain", "*@*.domain", "*domain".
 */
static const char *parse_pattern(
    const char *pattern, bool wildcards, char ret[static ADDRESS_DOMAIN_MAX + 1],
    bool *ret_subdomains)
{
	const char *at = strrchr(pattern, '@');
	const char *domain = at ? at + 1 : pattern;

	*ret_subdomains = false;
	if (strcmp(pattern, "*") == 0 || strcmp(pattern, "*@*") == 0)
		return "it signs for every domain there is; Postern signs for those in "
		       "\"domains\": list them, with this key";
	if (at && !(wildcards && at == pattern + 1 && pattern[0] == '*'))
		return "it is the key of single addresses; Postern's keys are a "
		       "domain's";
	if (wildcards && !at)
		return "a pattern without \"*@\" matches parts of names; write *@DOMAIN";
	if (wildcards && domain[0] == '*' && domain[1] == '.') {
		*ret_subdomains = true;
		domain += 2;
	} else if (!wildcards && domain[0] == '.') {
		*ret_subdomains = true;
		domain++;
	}
	if (strpbrk(domain, "*?") || !domain_canonical(domain, strlen(domain), ret))
		return "its domain is none, or a pattern that is more than *@DOMAIN and "
		       "*@*.DOMAIN";
	return NULL;
}

/* The key that a SigningTable line names in its first word. */
static struct table_key *key_of(struct opendkim *from, const char *value)
{
	char name[256];
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(value, ": \t"), value);
	json_t *index = json_object_get(from->key_names, name);
	return index ? &from->keys[json_integer_value(index) - 1] : NULL;
}

void opendkim_read_signing_table(
    struct opendkim *from, const struct opendkim_statement *named)
{
	struct opendkim_statements table = {0};
	enum opendkim_set kind;

	opendkim_read_table(from, named, &table, &kind);
	for (size_t i = 0; i < table.count; i++) {
		const struct opendkim_statement *line = &table.items[i];
		char domain[ADDRESS_DOMAIN_MAX + 1];
		bool subdomains;
		const char *wrong = parse_pattern(
		    line->name, kind == OPENDKIM_SET_REFILE, domain, &subdomains);
		struct table_key *key = key_of(from, line->value);
		if (wrong)
			opendkim_say(from, line, IMPORT_REFUSED, "%s", wrong);
		else if (!key)
			opendkim_say(
			    from, line, IMPORT_REFUSED,
			    "the KeyTable has no such key, or it was refused");
		else if (subdomains)
			sign_for_subdomains(from, line, key, domain);
		else
			sign_for(from, line, key, domain);
	}
	opendkim_statements_done(&table);
}

void opendkim_read_single(struct opendkim *from)
{
	const struct opendkim_statement *domains = opendkim_find(from, "Domain");
	const struct opendkim_statement *selector = opendkim_find(from, "Selector");
	const struct opendkim_statement *file = opendkim_find(from, "KeyFile");
	struct opendkim_statements list = {0};
	enum opendkim_set kind;

	if (!domains || !selector || !file)
		return;
	if (!opendkim_is_utf8(selector->value) || !opendkim_is_utf8(file->value)) {
		static const char text[] =
		    "Selector or KeyFile is not written in UTF-8, as "
		    "JSON must be";
		opendkim_say(from, domains, IMPORT_REFUSED, "%s", text);
		opendkim_say(from, selector, IMPORT_REFUSED, "%s", text);
		opendkim_say(from, file, IMPORT_REFUSED, "%s", text);
		return;
	}
	struct table_key key = {
	    .name = strdup(selector->value),
	    .domain = strdup("%"),
	    .selector = strdup(selector->value),
	    .file = absolute(from, file->value),
	};
	if (!add_key(from, &key)) {
		from->import->no_memory = true;
		return;
	}
	opendkim_say(from, selector, IMPORT_CONVERTED, "%s", "");
	opendkim_say(from, file, IMPORT_CONVERTED, "%s", "");
	opendkim_read_table(from, domains, &list, &kind);
	for (size_t i = 0; i < list.count; i++) {
		const struct opendkim_statement *line = &list.items[i];
		char domain[ADDRESS_DOMAIN_MAX + 1];
		struct table_key *last = &from->keys[from->keys_count - 1];
		if (domain_canonical(line->name, strlen(line->name), domain)) {
			sign_for(from, line, last, domain);
			if (opendkim_is_true(opendkim_find(from, "SubDomains")))
				sign_for_subdomains(from, line, last, domain);
		} else {
			opendkim_say(from, line, IMPORT_REFUSED, "not a domain");
		}
	}
	opendkim_statements_done(&list);
}

void opendkim_keys_done(struct opendkim *from)
{
	for (size_t i = 0; i < from->keys_count; i++) {
		free(from->keys[i].name);
		free(from->keys[i].domain);
		free(from->keys[i].selector);
		free(from->keys[i].file);
	}
	free(from->keys);
	json_decref(from->key_names);
	json_decref(from->closed);
}
