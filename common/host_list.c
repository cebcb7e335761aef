/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/host_dns.h"
#include "common/list_table.h"
#include "common/lists.h"
#include "common/prefix_table.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * Written addresses of both families in prefix tables; names ("mail.example.org" exact,
 * ".example.org" subdomains) in text tables, one for entries and one for exceptions;
 * entries from DNS in a struct host_dns.
 */
struct host_list {
	struct list_places places; /* of the prefixes; the names keep their own */
	struct prefix_table v4, v6;
	struct list_table names, name_exceptions;
	struct host_dns *dns; /* NULL: no entry comes from DNS */
	size_t count;
	size_t any_count;

	/* The winner of all `any` and `!any`: what holds for a client without address. */
	bool has_any;
	struct prefix_entry any;
	bool has_address_exceptions;

	/* After host_list_seal() said -EEXIST. */
	enum { CONFLICT_NONE, CONFLICT_PREFIX, CONFLICT_NAME, CONFLICT_DNS } conflict;
	struct ip conflict_network;
	struct prefix_entry conflict_entries[2];
};

/* One entry being added. */
struct adding {
	struct host_list *list;
	const char *text;
	size_t len;
	bool exception;
	bool grants;
	const struct list_entry *entry;
	char *errbuf;
};

#define ERRBUF_SIZE 256

static const char no_memory[] = "out of memory";
static const char catch_all[] =
    "would let every host in, which a list that grants does not take";
static const char expected[] =
    "expected an address, a range like 192.0.2.0/24, 192.0.2., .example.org, "
    "host:mail.example.org, a name to resolve like mail.example.org, or "
    "example.org/mx (/a, /aaaa, /spf), or one of these after !";

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(text, word, len) == 0;
}

static bool has_prefix(const char *text, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len >= n && strncasecmp(text, prefix, n) == 0;
}

/* Digits, dots and slashes: IPv4, or to be IPv4. */
static bool looks_like_v4(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < '.' || text[i] > '9')
			return false;
	return len > 0;
}

/* ---- adding ---- */

static const char *add_prefix(
    const struct adding *adding, const struct ip_prefix *prefix, bool any)
{
	struct host_list *list = adding->list;
	struct prefix_entry entry = {
	    .line = adding->entry->where.line,
	    .length = prefix->length,
	    .exception = adding->exception,
	    .any = any,
	};

	/* "any" itself has been judged by its word. */
	if (adding->grants && !adding->exception && !any && !prefix->length)
		return catch_all;
	if (list_places_add(&list->places, adding->entry, &entry.file, &entry.side))
		return no_memory;
	if (prefix_table_add(
		prefix->ip.family == IP_V4 ? &list->v4 : &list->v6, &prefix->ip, &entry))
		return no_memory;
	if (any && (!list->has_any || (entry.exception && !list->any.exception)))
		list->any = entry;
	list->has_any |= any;
	list->has_address_exceptions |= adding->exception;
	return NULL;
}

static const char *add_any(const struct adding *adding)
{
	struct ip_prefix v4 = {.ip.family = IP_V4}, v6 = {.ip.family = IP_V6};

	if (adding->grants && !adding->exception)
		return catch_all;
	const char *error = add_prefix(adding, &v4, true);
	if (!error)
		error = add_prefix(adding, &v6, true);
	adding->list->any_count += !error;
	return error;
}

static const char *add_range(const struct adding *adding)
{
	struct ip_prefix prefix;
	char network[IP_TEXT_MAX];
	const char *error = ip_prefix_parse(adding->text, adding->len, &prefix);

	if (error == ip_host_bits_set) {
		snprintf(
		    adding->errbuf, ERRBUF_SIZE, "%s: the network is %s", error,
		    ip_prefix_print(&prefix, network));
		return adding->errbuf;
	}
	return error ? error : add_prefix(adding, &prefix, false);
}

/* "192.168.1.": one to three octets and the dot. */
static const char *add_octets(const struct adding *adding)
{
	char text[IP_TEXT_MAX];
	struct ip_prefix prefix = {0};
	unsigned octets = 0;

	for (size_t i = 0; i < adding->len; i++)
		octets += adding->text[i] == '.';
	if (octets > 3 || adding->len > 12)
		return "not an address prefix, expected 1 to 3 octets and a dot like "
		       "192.168.1.";
	memcpy(text, adding->text, adding->len);
	memcpy(text + adding->len, "0.0.0", 2 * (4 - octets));
	size_t len = adding->len + 2 * (4 - octets) - 1;
	if (!ip_parse(text, len, &prefix.ip))
		return "not an address prefix, expected 1 to 3 octets and a dot like "
		       "192.168.1.";
	/* Nobody has these addresses; who writes them means every host. */
	if (adding->grants && !adding->exception && !prefix.ip.bytes[0])
		return catch_all;
	prefix.length = (uint8_t)(8 * octets);
	return add_prefix(adding, &prefix, false);
}

/* @text behind "host:" or with its dot. */
static const char *add_name(const struct adding *adding, const char *text, size_t len)
{
	char name[1 + ADDRESS_DOMAIN_MAX + 1];
	size_t dot = text[0] == '.';
	size_t n = domain_canonical(text + dot, len - dot, name + dot);

	if (!n || name[dot] == '[')
		return "not a host name, expected .example.org or host:mail.example.org";
	if (!dot && is_word(name, n, "unknown"))
		return "is what Postfix calls a client without a confirmed name, and "
		       "never matches";
	name[0] = dot ? '.' : name[0];
	if (list_table_add(
		adding->exception ? &adding->list->name_exceptions : &adding->list->names,
		name, n + dot, adding->entry))
		return no_memory;
	return NULL;
}

static const char *add_dns(const struct adding *adding)
{
	char domain[ADDRESS_DOMAIN_MAX + 1];
	enum host_dns_kind kind;

	if (!host_dns_parse(adding->text, adding->len, &kind, domain))
		return expected;
	adding->list->has_address_exceptions |= adding->exception;
	return host_dns_add(
		   &adding->list->dns, kind, domain, adding->exception, adding->entry)
		   ? no_memory
		   : NULL;
}

static const char *add_entry(const struct adding *adding)
{
	const char *text = adding->text;
	size_t len = adding->len;

	if (!len || is_word(text, len, ".") || text[0] == '!')
		return expected;
	if (text[0] != '.' && text[0] != '/' && looks_like_v4(text, len))
		return text[len - 1] == '.' ? add_octets(adding) : add_range(adding);
	if (is_word(text, len, "any") || is_word(text, len, "*"))
		return add_any(adding);
	if (has_prefix(text, len, "host:")) {
		if (len > 5 && text[5] == '.')
			return "not a host name, expected .example.org or "
			       "host:mail.example.org";
		return len == 5 ? expected : add_name(adding, text + 5, len - 5);
	}
	if (text[0] == '.')
		return add_name(adding, text, len);
	if (memchr(text, ':', len))
		return add_range(adding);
	return add_dns(adding);
}

int host_list_new(struct host_list **ret)
{
	struct host_list *list = calloc(1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	*ret = list;
	return 0;
}

const char *host_list_add(
    struct host_list *list, const char *text, size_t len, bool grants,
    const struct list_entry *entry, char errbuf[static ERRBUF_SIZE])
{
	bool exception = len && text[0] == '!';
	struct adding adding = {
	    .list = list,
	    .text = text + exception,
	    .len = len - exception,
	    .exception = exception,
	    .grants = grants,
	    .entry = entry,
	    .errbuf = errbuf,
	};
	const char *error = add_entry(&adding);

	list->count += !error;
	return error;
}

/* ---- sealing ---- */

/* A prefix_same: exceptions carry nothing. */
static bool same_rights(
    void *context, const struct prefix_entry *a, const struct prefix_entry *b)
{
	const struct list_places *places = context;

	return a->exception || list_places_payload(places, a->side) ==
				   list_places_payload(places, b->side);
}

static int seal_prefixes(struct host_list *list, size_t *repeated)
{
	struct prefix_table *tables[] = {&list->v4, &list->v6};
	int r = 0;

	list_places_seal(&list->places);
	for (size_t i = 0; !r && i < 2; i++)
		r = prefix_table_seal(
		    tables[i], same_rights, &list->places, repeated,
		    &list->conflict_network, list->conflict_entries);
	if (r == -EEXIST)
		list->conflict = CONFLICT_PREFIX;
	/* "any" stands in both tables. */
	if (!r && list->any_count > 1)
		*repeated -= list->any_count - 1;
	return r;
}

int host_list_seal(struct host_list *list, size_t *ret_repeated)
{
	size_t repeated = 0;
	int r = seal_prefixes(list, &repeated);

	if (r)
		return r;
	r = list_table_seal(&list->names, &repeated);
	if (r == -EEXIST)
		list->conflict = CONFLICT_NAME;
	if (!r)
		r = list_table_seal(&list->name_exceptions, &repeated);
	if (r)
		return r;
	r = host_dns_seal(list->dns, &repeated);
	if (r == -EEXIST)
		list->conflict = CONFLICT_DNS;
	if (!r)
		*ret_repeated = repeated;
	return r;
}

struct host_list *host_list_free(struct host_list *list)
{
	if (!list)
		return NULL;
	list_places_done(&list->places);
	prefix_table_done(&list->v4);
	prefix_table_done(&list->v6);
	list_table_done(&list->names);
	list_table_done(&list->name_exceptions);
	host_dns_free(list->dns);
	free(list);
	return NULL;
}

/* ---- looking up ---- */

static void get_prefix_match(
    const struct host_list *list, const struct ip *network,
    const struct prefix_entry *entry, struct list_match *ret)
{
	struct ip_prefix prefix = {.ip = *network, .length = entry->length};
	char text[IP_TEXT_MAX] = "any";

	list_places_get(&list->places, entry->file, entry->line, entry->side, ret);
	if (!entry->any)
		ip_prefix_print(&prefix, text);
	ret->text[0] = '!';
	strcpy(ret->text + entry->exception, text);
}

/* *ret_length: of the prefix that matched. */
static enum host_result match_address(
    const struct host_list *list, const struct client *client, struct list_match *ret,
    unsigned *ret_length)
{
	struct prefix_entry entry = {0};
	struct ip network = {0};
	bool found = false;

	switch (client->ip.family) {
	case IP_NONE:
		entry = list->any;
		found = list->has_any;
		break;
	case IP_V4:
		found = prefix_table_find(&list->v4, &client->ip, &network, &entry);
		break;
	case IP_V6:
		found = prefix_table_find(&list->v6, &client->ip, &network, &entry);
		break;
	}
	if (!found)
		return HOST_NO_MATCH;
	if (ret)
		get_prefix_match(list, &network, &entry, ret);
	*ret_length = entry.length;
	return entry.exception ? HOST_EXCEPTION : HOST_MATCH;
}

/* The name itself, then ".parent" from the nearest. */
static bool find_name(
    const struct list_table *table, const char *name, struct list_match *ret)
{
	if (!table->count)
		return false;
	if (list_table_find(table, name, strlen(name), ret))
		return true;
	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
		if (list_table_find(table, dot, strlen(dot), ret))
			return true;
	return false;
}

static enum host_result match_name(
    const struct host_list *list, const struct client *client, struct list_match *ret)
{
	/* Exceptions matter where there is something to except from. */
	if (!list->names.count && !(list->dns && list->name_exceptions.count))
		return HOST_NO_MATCH;
	if (!client->name[0])
		return list->names.count ? HOST_CANNOT_TELL : HOST_NO_MATCH;
	if (find_name(&list->name_exceptions, client->name, ret)) {
		if (ret) {
			memmove(ret->text + 1, ret->text, strlen(ret->text) + 1);
			ret->text[0] = '!';
		}
		return HOST_EXCEPTION;
	}
	if (!find_name(&list->names, client->name, ret))
		return HOST_NO_MATCH;
	/* Without an address nobody can say that no exception takes the client out. */
	if (client->ip.family == IP_NONE && list->has_address_exceptions)
		return HOST_CANNOT_TELL;
	return HOST_MATCH;
}

/* Whether an exception from DNS outdoes the written address that matched. */
static bool exception_wins(
    const struct host_dns_finding *dns, const struct client *client, unsigned length)
{
	unsigned bits = client->ip.family == IP_V4 ? 32 : 128;

	return dns->exception >= 0 && client->ip.family != IP_NONE &&
	       dns->exception_hosts <= ip_number_hosts(bits - length);
}

/*
 * With entries from DNS. @address: what the written addresses said; @doubtful: false
 * where exceptions that cannot be told hold nobody out.
 */
static enum host_result match_with_dns(
    const struct host_list *list, const struct client *client, bool doubtful,
    enum host_result address, unsigned length, struct list_match *ret)
{
	struct host_dns_finding dns;

	host_dns_find(list->dns, &client->ip, &dns);
	bool in_doubt = doubtful && dns.unresolved_exceptions;
	if (address == HOST_MATCH && !exception_wins(&dns, client, length))
		return in_doubt ? HOST_CANNOT_TELL : HOST_MATCH;
	if (dns.exception >= 0) {
		if (ret)
			host_dns_get(list->dns, dns.exception, ret);
		return HOST_EXCEPTION;
	}
	enum host_result name = match_name(list, client, ret);
	if (name == HOST_EXCEPTION)
		return name;
	if (name == HOST_MATCH)
		return in_doubt ? HOST_CANNOT_TELL : name;
	if (dns.match >= 0) {
		/* A client whose name is not known now may be one of the exceptions. */
		in_doubt |= doubtful && !client->name[0] && list->name_exceptions.count;
		if (!in_doubt && ret)
			host_dns_get(list->dns, dns.match, ret);
		return in_doubt ? HOST_CANNOT_TELL : HOST_MATCH;
	}
	return dns.unresolved ? HOST_CANNOT_TELL : name;
}

static enum host_result match(
    const struct host_list *list, const struct client *client, bool doubtful,
    struct list_match *ret)
{
	unsigned length = 0;

	if (!list)
		return HOST_NO_MATCH;
	enum host_result result = match_address(list, client, ret, &length);
	if (list->dns && result != HOST_EXCEPTION)
		return match_with_dns(list, client, doubtful, result, length, ret);
	return result == HOST_NO_MATCH ? match_name(list, client, ret) : result;
}

enum host_result host_list_match(
    const struct host_list *list, const struct client *client, struct list_match *ret)
{
	return match(list, client, true, ret);
}

enum host_result host_list_match_block(
    const struct host_list *list, const struct client *client, struct list_match *ret)
{
	return match(list, client, false, ret);
}

struct host_dns *host_list_dns(const struct host_list *list)
{
	return list ? list->dns : NULL;
}

void host_list_conflict(
    const struct host_list *list, struct list_match *ret_first,
    struct list_match *ret_second)
{
	assert(list->conflict != CONFLICT_NONE);
	if (list->conflict == CONFLICT_NAME) {
		list_table_conflict(&list->names, ret_first, ret_second);
		return;
	}
	if (list->conflict == CONFLICT_DNS) {
		host_dns_conflict(list->dns, ret_first, ret_second);
		return;
	}
	get_prefix_match(
	    list, &list->conflict_network, &list->conflict_entries[0], ret_first);
	get_prefix_match(
	    list, &list->conflict_network, &list->conflict_entries[1], ret_second);
}

bool host_list_empty(const struct host_list *list)
{
	return !list || !list->count;
}

size_t host_list_count(const struct host_list *list)
{
	return list ? list->count : 0;
}
