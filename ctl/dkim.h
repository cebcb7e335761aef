/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/dkim_key.h"

#include <stddef.h>

/*
 * `postern dkim`: the keys of a configuration from the operator's side. dkim.c finds the
 * subcommand; each has a file of its own.
 */

int dkim_genkey(int argc, char **argv);
int dkim_record(int argc, char **argv);
int dkim_test(int argc, char **argv);

/* One record: a key, and a domain that it signs as. */
struct dkim_use {
	const char *key_name; /* in milter.dkim.keys; else the file's */
	const char *selector, *domain;
	const struct dkim_key *key;
	char *name; /* SELECTOR._domainkey.DOMAIN */
};

struct dkim_uses {
	struct dkim_use *items;
	size_t count;
	struct dkim_key **keys; /* theirs */
	size_t keys_count;
};

/*
 * Loads key @index of @config and adds a record for each domain that it signs as; none
 * where no domain lists it. 0, or the exit code with a line on standard error (@command:
 * "dkim test").
 */
int dkim_uses_add(
    struct dkim_uses *uses, const struct config *config, size_t index,
    const char *command);

/* The same of a key file, with names that live as long as @uses. */
int dkim_uses_add_file(
    struct dkim_uses *uses, const char *file, const char *selector, const char *domain,
    const char *command);

void dkim_uses_done(struct dkim_uses *uses);

/* The key called @name, or whose file @name is; keys_count: there is none. */
size_t dkim_find_key(const struct config *config, const char *name);

/* There is none: says so, with the nearest name; returns EXIT_NOT_FOUND. */
int dkim_no_key(const struct config *config, const char *name, const char *command);
