/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys that `postern dkim` is asked about, and the names of their records.
 */
#include "common/dkim_record.h"
#include "common/near_key.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "ctl/dkim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int out_of_memory(const char *command)
{
	fprintf(stderr, "postern %s: out of memory\n", command);
	return EXIT_FAILURE;
}

/* Whoever owns the file: who may sign with it is a question for `postern check`. */
static int load(
    struct dkim_uses *uses, const char *file, const char *command, struct dkim_key **ret)
{
	char errbuf[1024];
	struct stat st;
	struct dkim_key *key;

	uid_t owner = stat(file, &st) == 0 ? st.st_uid : geteuid();
	if (dkim_key_load(file, owner, &key, errbuf, sizeof(errbuf)) < 0) {
		fprintf(stderr, "postern %s: %s\n", command, errbuf);
		return EXIT_CONFIG;
	}
	struct dkim_key **keys =
	    reallocarray(uses->keys, uses->keys_count + 1, sizeof(struct dkim_key *));
	if (!keys) {
		dkim_key_free(key);
		return out_of_memory(command);
	}
	uses->keys = keys;
	uses->keys[uses->keys_count++] = *ret = key;
	return 0;
}

static int add(struct dkim_uses *uses, struct dkim_use use, const char *command)
{
	struct dkim_use *items =
	    reallocarray(uses->items, uses->count + 1, sizeof(*items));

	if (!items)
		return out_of_memory(command);
	uses->items = items;
	use.name = dkim_record_name(use.selector, use.domain);
	if (!use.name)
		return out_of_memory(command);
	uses->items[uses->count++] = use;
	return 0;
}

int dkim_uses_add_file(
    struct dkim_uses *uses, const char *file, const char *selector, const char *domain,
    const char *command)
{
	struct dkim_key *key;
	int code = load(uses, file, command, &key);

	if (code != 0)
		return code;
	return add(
	    uses,
	    (struct dkim_use){
		.key_name = file, .selector = selector, .domain = domain, .key = key},
	    command);
}

static bool lists(const struct domain *domain, size_t index)
{
	for (size_t i = 0; i < domain->dkim_count; i++)
		if (domain->dkim[i] == index)
			return true;
	return false;
}

int dkim_uses_add(
    struct dkim_uses *uses, const struct config *config, size_t index,
    const char *command)
{
	const struct dkim_key_config *of = &config->milter.dkim.keys[index];
	struct dkim_use use = {.key_name = of->name, .selector = of->selector};
	const struct domain *domain = NULL;
	struct dkim_key *key;
	int code = load(uses, of->file, command, &key);

	use.key = key;
	if (code == 0 && of->domain[0]) {
		use.domain = of->domain;
		return add(uses, use, command);
	}
	while (code == 0 && (domain = config_domain_next(config, domain))) {
		if (!lists(domain, index))
			continue;
		use.domain = domain->name;
		code = add(uses, use, command);
	}
	return code;
}

void dkim_uses_done(struct dkim_uses *uses)
{
	for (size_t i = 0; i < uses->count; i++)
		free(uses->items[i].name);
	for (size_t i = 0; i < uses->keys_count; i++)
		dkim_key_free(uses->keys[i]);
	free(uses->items);
	free(uses->keys);
}

static bool same_file(const char *a, const char *b)
{
	struct stat of_a, of_b;

	return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
	       of_a.st_ino == of_b.st_ino;
}

size_t dkim_find_key(const struct config *config, const char *name)
{
	size_t count = config->milter.dkim.keys_count;

	for (size_t i = 0; i < count; i++)
		if (strcmp(config->milter.dkim.keys[i].name, name) == 0)
			return i;
	for (size_t i = 0; i < count; i++)
		if (same_file(config->milter.dkim.keys[i].file, name))
			return i;
	return count;
}

int dkim_no_key(const struct config *config, const char *name, const char *command)
{
	struct near_key near;
	char shown[128];

	near_key_init(&near, name, strlen(name));
	for (size_t i = 0; i < config->milter.dkim.keys_count; i++)
		near_key_try(&near, config->milter.dkim.keys[i].name);
	printable(shown, sizeof(shown), name, strlen(name));
	fprintf(
	    stderr, "postern %s: there is no key \"%s\" in milter.dkim.keys", command,
	    shown);
	if (near.best)
		fprintf(stderr, ", did you mean \"%s\"?", near.best);
	fputc('\n', stderr);
	return EXIT_NOT_FOUND;
}
