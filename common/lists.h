/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/address.h"
#include "common/ip.h"
#include "common/where.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Access lists: hosts, addresses, SASL users. Built once, immutable afterwards, read by
 * all threads without a lock. Sized for a million entries each: 16 MiB of IPv4 ranges (28
 * of IPv6), 64 MiB of mail addresses with their text, no pointer per entry.
 *
 * Building: list_new(), list_add() for every entry, list_seal(). The caller brings where
 * each entry stands; a match gives it back, so that a log line or `postern explain` can
 * name it.
 */

/* What one entry carries besides itself. */
struct list_entry {
	const char *reason; /* NULL, or shown in log and reply; copied by list_add */
	struct where where; /* file is copied, once per file; NULL becomes "" */
	uint32_t
	    payload; /* the caller's own, 0 for none (relay.hosts: the rule's number) */
};

/* The entry that matched. Strings live as long as the list. */
struct list_match {
	const char *reason; /* or NULL */
	struct where where;
	uint32_t payload;
	char text[ADDRESS_TEXT_MAX]; /* the entry in canonical form */
};

/* ---- hosts ---- */

struct host_list;

/* The client as Postfix tells it. */
struct client {
	struct ip ip;
	/* Forward-confirmed name, lower case, no final dot; "" when Postfix says
	 * `unknown` or nothing: then entries by name cannot tell. */
	char name[ADDRESS_DOMAIN_MAX + 1];
};

enum host_result {
	HOST_NO_MATCH,
	HOST_MATCH,
	HOST_EXCEPTION, /* an !ENTRY: no match, whatever lesser entries say */
	/* An entry by name, and the client's name is not known; or its name matches, its
	 * address is not known, and the list has written exceptions. An entry from DNS
	 * that was never resolved and may concern the client. */
	HOST_CANNOT_TELL,
};

/* NAME, NAME/a, NAME/aaaa, NAME/mx, NAME/spf: what is asked for. */
enum host_dns_kind {
	HOST_DNS_BOTH, /* addresses of both families */
	HOST_DNS_A,
	HOST_DNS_AAAA,
	HOST_DNS_MX,
	HOST_DNS_SPF,
};

int host_list_new(struct host_list **ret);

/*
 * Adds one written entry. @grants: the list gives permission, so catch-alls are refused.
 * Returns NULL, or what is wrong and what was expected (static, or in @errbuf), a phrase
 * to stand behind the entry and a colon.
 *
 * Among written addresses the most specific wins, an exception at equal length; any
 * written address beats every name; an exception by name beats the entries by name. `any`
 * and `*` match every client, also one whose address is not known; every other address
 * entry needs an address.
 *
 * Entries from DNS (common/names.h resolves them) come last: every written address and
 * every exception beats them. An exception from DNS is as specific as the network that
 * DNS gives, and beats names, entries from DNS, and written addresses that are no more
 * specific.
 */
const char *host_list_add(
    struct host_list *list, const char *text, size_t len, bool grants,
    const struct list_entry *entry, char errbuf[static 256]);

/*
 * Sorts and indexes. Returns 0 and in *ret_repeated how many entries repeat or are
 * covered by another; -ENOMEM or another failure of the system; or -EEXIST: one prefix or
 * name stands twice with different payloads, host_list_conflict() says where. After a
 * failure the list is good for these two calls alone: conflict and free.
 */
int host_list_seal(struct host_list *list, size_t *ret_repeated);

/* Both entries of an -EEXIST, in the order in which they were added. */
void host_list_conflict(
    const struct host_list *list, struct list_match *ret_first,
    struct list_match *ret_second);

struct host_list *host_list_free(struct host_list *list);

/* @ret may be NULL; otherwise good on HOST_MATCH and HOST_EXCEPTION, and undefined on the
 * others. A NULL list is empty. */
enum host_result host_list_match(
    const struct host_list *list, const struct client *client, struct list_match *ret);

/*
 * The same for a list that takes something away (block.hosts, a limit's when.hosts): an
 * exception that DNS has not told yet keeps nobody out of it, where in every other list
 * it puts all matches in doubt.
 */
enum host_result host_list_match_block(
    const struct host_list *list, const struct client *client, struct list_match *ret);

/* The entries that come from DNS, for common/names.c; NULL: the list has none. */
struct host_dns *host_list_dns(const struct host_list *list);

/* True when the list has no entry (an "only these" list is then off). NULL is empty.
 * The count is of the entries added, repeated ones included. */
bool host_list_empty(const struct host_list *list);
size_t host_list_count(const struct host_list *list);

/* ---- mail addresses ---- */

struct address_list;

int address_list_new(struct address_list **ret);
/*
 * Entries: user@domain, @domain or domain, .domain (subdomains), user@ (any domain, and
 * none), <>. Several match: the address wins, then user@, @domain, the nearest .domain.
 */
const char *address_list_add(
    struct address_list *list, const char *text, size_t len, const char *delimiters,
    const struct list_entry *entry, char errbuf[static 256]);
/* As host_list_seal() and host_list_conflict(). */
int address_list_seal(struct address_list *list, size_t *ret_repeated);
void address_list_conflict(
    const struct address_list *list, struct list_match *ret_first,
    struct list_match *ret_second);
struct address_list *address_list_free(struct address_list *list);

/* ADDRESS_ABSENT and ADDRESS_BAD match nothing. @ret may be NULL. A NULL list is empty.
 */
bool address_list_match(
    const struct address_list *list, const struct address *address,
    struct list_match *ret);
/* @address will be looked for in a moment: a list of a million begins to fetch where it
 * would stand. */
void address_list_prefetch(
    const struct address_list *list, const struct address *address);
bool address_list_empty(const struct address_list *list);
size_t address_list_count(const struct address_list *list);

/* ---- SASL users ---- */

struct user_list;

int user_list_new(struct user_list **ret);
/* Entries: a SASL user name, or @realm; the name wins. */
const char *user_list_add(
    struct user_list *list, const char *text, size_t len, const struct list_entry *entry,
    char errbuf[static 256]);
/* As host_list_seal() and host_list_conflict(). */
int user_list_seal(struct user_list *list, size_t *ret_repeated);
void user_list_conflict(
    const struct user_list *list, struct list_match *ret_first,
    struct list_match *ret_second);
struct user_list *user_list_free(struct user_list *list);
bool user_list_match(
    const struct user_list *list, const struct address *user, struct list_match *ret);
bool user_list_empty(const struct user_list *list);
size_t user_list_count(const struct user_list *list);

/*
 * Splits a line of a `file:` list into entry and reason: the entry is the first word
 * (quotes of a quoted local part respected), a `#` at the line's start or after white
 * space begins a comment, the rest is the reason, outer blanks stripped. A byte order
 * mark at the line's start is skipped. False: nothing on this line. Points into @line.
 */
bool list_line_split(
    const char *line, size_t len, const char **ret_entry, size_t *ret_entry_len,
    const char **ret_reason, size_t *ret_reason_len);
