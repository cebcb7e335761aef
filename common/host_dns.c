/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/host_dns.h"

#include "common/cleanup.h"
#include "common/grace.h"
#include "common/list_places.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Entries by match and by exception, tagged with their index. */
struct snapshot {
	struct ip_set v4[2], v6[2]; /* [1]: exceptions */
	bool unresolved, unresolved_exceptions;
};

struct entry {
	struct host_dns_entry shown;
	uint32_t file, side;
};

struct host_dns {
	struct list_places places;
	struct entry *entries;
	uint32_t capacity;
	size_t count;
	uint32_t conflict[2];
	_Atomic(struct snapshot *) snapshot;
};

static const struct kind_row {
	const char *suffix;
} kinds[] = {
    [HOST_DNS_BOTH] = {""},  [HOST_DNS_A] = {"/a"},     [HOST_DNS_AAAA] = {"/aaaa"},
    [HOST_DNS_MX] = {"/mx"}, [HOST_DNS_SPF] = {"/spf"},
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static enum host_dns_kind kind_of(const char *text, size_t len, size_t *ret_suffix_len)
{
	for (size_t kind = 0; kind < KINDS; kind++) {
		size_t n = strlen(kinds[kind].suffix);
		if (n && len > n &&
		    strncasecmp(text + len - n, kinds[kind].suffix, n) == 0) {
			*ret_suffix_len = n;
			return (enum host_dns_kind)kind;
		}
	}
	*ret_suffix_len = 0;
	return HOST_DNS_BOTH;
}

bool host_dns_parse(
    const char *text, size_t len, enum host_dns_kind *ret_kind,
    char domain[static ADDRESS_DOMAIN_MAX + 1])
{
	size_t suffix_len;

	*ret_kind = kind_of(text, len, &suffix_len);
	if (!domain_canonical(text, len - suffix_len, domain) || domain[0] == '[')
		return false;
	/* No top-level domain is a number; this was to be addresses. */
	const char *dot = strrchr(domain, '.');
	const char *last = dot ? dot + 1 : domain;
	return strspn(last, "0123456789") != strlen(last);
}

/* ---- building ---- */

static int entry_init(
    struct host_dns *dns, enum host_dns_kind kind, const char *domain, bool exception,
    const struct list_entry *entry, struct entry *ret)
{
	char *text, *copy = strdup(domain);

	if (!copy)
		return -ENOMEM;
	if (asprintf(&text, "%s%s", domain, kinds[kind].suffix) < 0) {
		free(copy);
		return -ENOMEM;
	}
	*ret = (struct entry){
	    .shown = {
		.text = text,
		.domain = copy,
		.kind = kind,
		.exception = exception,
		.where = entry->where,
	    }};
	return list_places_add(&dns->places, entry, &ret->file, &ret->side);
}

static void entry_done(struct entry *entry)
{
	free((void *)(uintptr_t)entry->shown.text);
	free((void *)(uintptr_t)entry->shown.domain);
}

int host_dns_add(
    struct host_dns **dns, enum host_dns_kind kind, const char *domain, bool exception,
    const struct list_entry *entry)
{
	if (!*dns)
		*dns = calloc(1, sizeof(**dns));
	if (!*dns)
		return -ENOMEM;
	void *entries = (*dns)->entries;
	int r = list_grow(
	    &entries, &(*dns)->capacity, (*dns)->count + 1, sizeof(struct entry));
	(*dns)->entries = entries;
	struct entry added = {0};
	if (r == 0)
		r = entry_init(*dns, kind, domain, exception, entry, &added);
	if (r < 0) {
		entry_done(&added);
		return r;
	}
	(*dns)->entries[(*dns)->count++] = added;
	return 0;
}

static int compare_entries(const void *a, const void *b, void *context)
{
	const struct host_dns *dns = context;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	const struct host_dns_entry *x = &dns->entries[i].shown,
				    *y = &dns->entries[j].shown;
	int order = strcmp(x->text, y->text);

	if (!order)
		order = (int)x->exception - (int)y->exception;
	return order ? order : (i > j) - (i < j);
}

/* Counts repeated entries. -EEXIST: the same name with different rights. */
static int count_repeated(struct host_dns *dns, const uint32_t *sorted, size_t *repeated)
{
	for (size_t i = 1; i < dns->count; i++) {
		const struct entry *first = &dns->entries[sorted[i - 1]];
		const struct entry *second = &dns->entries[sorted[i]];
		if (strcmp(first->shown.text, second->shown.text) != 0 ||
		    first->shown.exception != second->shown.exception)
			continue;
		if (!first->shown.exception &&
		    list_places_payload(&dns->places, first->side) !=
			list_places_payload(&dns->places, second->side)) {
			dns->conflict[0] = sorted[i - 1];
			dns->conflict[1] = sorted[i];
			return -EEXIST;
		}
		++*repeated;
	}
	return 0;
}

int host_dns_seal(struct host_dns *dns, size_t *repeated)
{
	if (!dns)
		return 0;
	list_places_seal(&dns->places);
	for (uint32_t i = 0; i < dns->count; i++) {
		/* From here on the file's name is the list's own. */
		struct list_match match;
		struct entry *entry = &dns->entries[i];
		list_places_get(
		    &dns->places, entry->file, entry->shown.where.line, entry->side,
		    &match);
		entry->shown.where = match.where;
	}
	uint32_t *sorted = calloc(dns->count, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (uint32_t i = 0; i < dns->count; i++)
		sorted[i] = i;
	qsort_r(sorted, dns->count, sizeof(*sorted), compare_entries, dns);
	int r = count_repeated(dns, sorted, repeated);
	free(sorted);
	return r;
}

void host_dns_conflict(
    const struct host_dns *dns, struct list_match *ret_first,
    struct list_match *ret_second)
{
	host_dns_get(dns, dns->conflict[0], ret_first);
	host_dns_get(dns, dns->conflict[1], ret_second);
}

static struct snapshot *snapshot_free(struct snapshot *snapshot)
{
	if (!snapshot)
		return NULL;
	for (size_t i = 0; i < 2; i++) {
		ip_set_done(&snapshot->v4[i]);
		ip_set_done(&snapshot->v6[i]);
	}
	free(snapshot);
	return NULL;
}

DEFINE_CLEANUP(struct snapshot, snapshot_free)

struct host_dns *host_dns_free(struct host_dns *dns)
{
	if (!dns)
		return NULL;
	for (size_t i = 0; i < dns->count; i++)
		entry_done(&dns->entries[i]);
	free(dns->entries);
	list_places_done(&dns->places);
	snapshot_free(atomic_load(&dns->snapshot));
	free(dns);
	return NULL;
}

size_t host_dns_count(const struct host_dns *dns)
{
	return dns ? dns->count : 0;
}

const struct host_dns_entry *host_dns_entry(const struct host_dns *dns, size_t index)
{
	return &dns->entries[index].shown;
}

/* ---- publishing ---- */

/* Which of an entry's sets, for one of the four of a snapshot. */
struct choice {
	const struct host_dns *dns;
	const struct host_dns_networks *networks;
	bool v6, exception;
};

/*
 * The union over the entries @from to @to, the first entry winning. By halves, so that a
 * thousand entries of one address each cost no thousand copies of the whole.
 */
static int unite(const struct choice *choice, size_t from, size_t to, struct ip_set *ret)
{
	CLEANUP(ip_set_done) struct ip_set first = {0};
	CLEANUP(ip_set_done) struct ip_set second = {0};

	if (to - from == 1) {
		const struct ip_set *set =
		    choice->v6 ? choice->networks[from].v6 : choice->networks[from].v4;
		if (!set ||
		    choice->dns->entries[from].shown.exception != choice->exception)
			return 0;
		return ip_set_copy(set, (uint32_t)from, ret);
	}
	size_t middle = from + (to - from) / 2;
	if (unite(choice, from, middle, &first) < 0 ||
	    unite(choice, middle, to, &second) < 0 || ip_set_add(&first, &second) < 0)
		return -ENOMEM;
	*ret = first;
	first = (struct ip_set){0};
	return 0;
}

int host_dns_publish(struct host_dns *dns, const struct host_dns_networks *networks)
{
	CLEANUP(snapshot_freep) struct snapshot *next = calloc(1, sizeof(*next));

	if (!next)
		return -ENOMEM;
	for (size_t i = 0; i < 4; i++) {
		struct choice choice = {
		    .dns = dns, .networks = networks, .v6 = i & 1, .exception = i & 2};
		struct ip_set *sets = choice.v6 ? next->v6 : next->v4;
		if (unite(&choice, 0, dns->count, &sets[choice.exception]) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < dns->count; i++) {
		bool missing = !networks[i].v4 && !networks[i].v6;
		if (dns->entries[i].shown.exception)
			next->unresolved_exceptions |= missing;
		else
			next->unresolved |= missing;
	}
	struct snapshot *old = atomic_exchange(&dns->snapshot, TAKE(next));
	grace_wait();
	snapshot_free(old);
	return 0;
}

/* ---- looking up ---- */

static void find_in(
    const struct snapshot *snapshot, const struct ip *ip, struct host_dns_finding *ret)
{
	if (ip->family != IP_NONE) {
		const struct ip_set *sets =
		    ip->family == IP_V4 ? snapshot->v4 : snapshot->v6;
		const struct ip_range *match = ip_set_find(&sets[0], ip);
		const struct ip_range *exception = ip_set_find(&sets[1], ip);
		if (match)
			ret->match = match->tag;
		if (exception) {
			ret->exception = exception->tag;
			ret->exception_hosts = exception->last - exception->first;
		}
	}
	ret->unresolved = snapshot->unresolved;
	ret->unresolved_exceptions = snapshot->unresolved_exceptions;
}

/* Before the first publication. */
static void find_nothing(const struct host_dns *dns, struct host_dns_finding *ret)
{
	for (size_t i = 0; i < dns->count; i++) {
		ret->unresolved |= !dns->entries[i].shown.exception;
		ret->unresolved_exceptions |= dns->entries[i].shown.exception;
	}
}

void host_dns_find(
    const struct host_dns *dns, const struct ip *ip, struct host_dns_finding *ret)
{
	*ret = (struct host_dns_finding){.match = -1, .exception = -1};
	if (!dns)
		return;
	unsigned mark = grace_enter();
	const struct snapshot *snapshot = atomic_load(&dns->snapshot);
	if (snapshot)
		find_in(snapshot, ip, ret);
	else
		find_nothing(dns, ret);
	grace_leave(mark);
}

void host_dns_get(const struct host_dns *dns, long index, struct list_match *ret)
{
	const struct entry *entry = &dns->entries[index];

	list_places_get(
	    &dns->places, entry->file, entry->shown.where.line, entry->side, ret);
	snprintf(
	    ret->text, sizeof(ret->text), "%s%s", entry->shown.exception ? "!" : "",
	    entry->shown.text);
}
