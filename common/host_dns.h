/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/ip_set.h"
#include "common/lists.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The entries of one host list that come from DNS, and what they stand for at present.
 *
 * The entries are written once, like the rest of the list. What they stand for is an
 * immutable snapshot, replaced whole by whoever resolves them (common/names.c) and read
 * without a lock. Until the first publication no entry is resolved. Asks no DNS itself.
 */

struct host_dns;

struct host_dns_entry {
	const char *text; /* canonical, without "!" */
	const char *domain;
	enum host_dns_kind kind;
	bool exception;
	struct where where;
};

/* Parses NAME or NAME/KIND. False: neither. */
bool host_dns_parse(
    const char *text, size_t len, enum host_dns_kind *ret_kind,
    char domain[static ADDRESS_DOMAIN_MAX + 1]);

/* Adds to *dns, which is made when it is NULL. Returns 0 or -ENOMEM. */
int host_dns_add(
    struct host_dns **dns, enum host_dns_kind kind, const char *domain, bool exception,
    const struct list_entry *entry);

/* As host_list_seal(). NULL is fine, here and below. */
int host_dns_seal(struct host_dns *dns, size_t *repeated);
void host_dns_conflict(
    const struct host_dns *dns, struct list_match *ret_first,
    struct list_match *ret_second);

struct host_dns *host_dns_free(struct host_dns *dns);

size_t host_dns_count(const struct host_dns *dns);
const struct host_dns_entry *host_dns_entry(const struct host_dns *dns, size_t index);

/* What one entry stands for; both NULL: not resolved (yet, or any more). */
struct host_dns_networks {
	const struct ip_set *v4, *v6;
};

/*
 * Publishes what the entries stand for, @networks[i] for entry i; copies. Where two
 * entries have the same address, the first in the list is the one that matches. Returns
 * 0, or -ENOMEM: then all stays as it was. One thread at a time; waits for readers.
 */
int host_dns_publish(struct host_dns *dns, const struct host_dns_networks *networks);

/* What is known of one address. Entries are given by their index, or -1. */
struct host_dns_finding {
	long match, exception;
	ip_number exception_hosts; /* size of the exception's range, less one */
	bool unresolved, unresolved_exceptions; /* of the list, whatever the address */
};

void host_dns_find(
    const struct host_dns *dns, const struct ip *ip, struct host_dns_finding *ret);

/* Fills in all of @ret. */
void host_dns_get(const struct host_dns *dns, long index, struct list_match *ret);
