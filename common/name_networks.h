/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/dns.h"
#include "common/ip_set.h"
#include "common/lists.h"

/*
 * From DNS answers to networks: what a list entry that comes from DNS stands for.
 *
 * Nothing here asks or waits. Answers come from a source, which may not have one yet: it
 * notes the question then, and everything is worked out anew once it has. So what one
 * name needs is asked for side by side, and the whole is pure and tested with tables.
 */

struct name_source {
	/* The answer, or NULL: not there yet. */
	const struct dns_answer *(*look_up)(
	    void *context, const char *name, enum dns_type type);
	void *context;
};

enum name_result {
	NAME_FOUND,
	NAME_EMPTY,     /* DNS says that there is nothing */
	NAME_PENDING,   /* answers are missing */
	NAME_TEMPORARY, /* DNS failed */
	NAME_PERMANENT, /* DNS answers, and the answer cannot be used */
};

/* Networks of one entry: more would be a mistake, or an attack on memory. */
#define NAME_NETWORKS_MAX 4096
/* RFC 7208, 4.6.4; the same for /mx. */
#define NAME_EXCHANGES_MAX 10

struct name_networks {
	struct ip_set v4, v6;
	uint32_t ttl_s;  /* the least of all answers used */
	char error[256]; /* NAME_EMPTY, NAME_TEMPORARY, NAME_PERMANENT: what is wrong */
	char note[256];  /* NAME_FOUND: what was left out and why; or "" */
};

/*
 * Works out @kind of @domain (canonical). Returns an enum name_result and *ret, which the
 * caller gives to name_networks_done() in any case, or -ENOMEM.
 */
int name_networks_find(
    enum host_dns_kind kind, const char *domain, const struct name_source *source,
    struct name_networks *ret);

void name_networks_done(struct name_networks *networks);

/* ---- the parts, for common/spf.c ---- */

/*
 * The addresses of @name, or of its mail exchangers, in one family, each widened to
 * @length; added to @set. NAME_EMPTY: no such record (of exchangers: no MX record; ones
 * without an address are NAME_FOUND). Lowers @about's ttl_s, or sets its error.
 */
int name_addresses_find(
    const struct name_source *source, const char *name, enum ip_family family,
    uint8_t length, struct ip_set *set, struct name_networks *about);
int name_exchanges_find(
    const struct name_source *source, const char *name, enum ip_family family,
    uint8_t length, struct ip_set *set, struct name_networks *about);

/* One answer's status as a result, noted in @about. NULL is NAME_PENDING. */
int name_answer_result(
    const struct dns_answer *answer, const char *name, enum dns_type type,
    struct name_networks *about);
