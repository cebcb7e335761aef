/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opendkim.conf(5) to postern.json(5): keys, whom they sign for, and the hosts whose mail
 * is signed. What OpenDKIM does and Postern does otherwise (verifying, l=, keys for one
 * address) is refused by name, never left out silently.
 */
#include "ctl/import.h"

#include "common/address.h"
#include "common/cleanup.h"
#include "common/ip.h"
#include "common/utf8.h"
#include "ctl/opendkim_conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define PATH_BYTES 4096
#define NAME_BYTES 72

/* One line of the KeyTable, or what Domain, Selector and KeyFile say together. */
struct table_key {
	char *name;   /* in OpenDKIM */
	char *domain; /* canonical, or "%" */
	char *selector, *file;
	char postern[NAME_BYTES]; /* its name in the fragment; "" until it is used */
};

struct opendkim {
	struct import *import;
	struct opendkim_statements conf;
	const char *folder; /* of opendkim.conf; relative names begin here */
	struct table_key *keys;
	size_t keys_count;
	json_t *key_names; /* OpenDKIM's name to its index + 1 */
	json_t *closed;    /* domains for which a later line no longer counts */
	bool several;      /* MultipleSignatures */
};

static struct import_place place_of(
    const struct opendkim_statement *statement, char *buf, size_t size)
{
	snprintf(
	    buf, size, "%s%s%s", statement->name, statement->value[0] ? " " : "",
	    statement->value);
	return (struct import_place){statement->file, statement->line, buf};
}

/* The last one counts, as in OpenDKIM. */
static const struct opendkim_statement *find(
    const struct opendkim *from, const char *name)
{
	for (size_t i = from->conf.count; i > 0; i--)
		if (strcasecmp(from->conf.items[i - 1].name, name) == 0)
			return &from->conf.items[i - 1];
	return NULL;
}

static bool is_true(const struct opendkim_statement *statement)
{
	return statement && strchr("TtYy1", statement->value[0]) && statement->value[0];
}

__attribute__((format(printf, 4, 5))) static void say(
    const struct opendkim *from, const struct opendkim_statement *statement,
    enum import_result result, const char *format, ...)
{
	char text[1024], why[512];
	struct import_place place = place_of(statement, text, sizeof(text));
	va_list args;
	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	import_line(from->import, &place, result, "%s", why);
}

/* JSON takes nothing else. */
static bool is_utf8(const char *text)
{
	size_t len = strlen(text), n = 1;
	uint32_t c;
	for (; len > 0 && n > 0; text += n, len -= n)
		n = utf8_decode(text, len, &c);
	return n > 0;
}

static const char no_utf8[] = "it is not written in UTF-8, as JSON must be";

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
	char path[PATH_BYTES];
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
	if (!is_utf8(line->name) || !is_utf8(line->value))
		return no_utf8;
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

/* The data set that @named names, or a word on why it cannot be read. */
static void read_table(
    const struct opendkim *from, const struct opendkim_statement *named,
    struct opendkim_statements *ret, enum opendkim_set *ret_kind)
{
	char why[512];

	if (opendkim_read_set(
		named->value, named->file, named->line, ret, ret_kind, why, sizeof(why)) <
	    0)
		say(from, named, IMPORT_REFUSED, "%s", why);
	else if (*ret_kind != OPENDKIM_SET_LIST)
		say(from, named, IMPORT_CONVERTED, "each of its lines is told of");
}

static void read_key_table(struct opendkim *from, const struct opendkim_statement *named)
{
	struct opendkim_statements table = {0};
	enum opendkim_set kind;

	read_table(from, named, &table, &kind);
	for (size_t i = 0; i < table.count; i++) {
		const struct opendkim_statement *line = &table.items[i];
		struct table_key key;
		if (json_object_get(from->key_names, line->name)) {
			say(from, line, IMPORT_REFUSED, "the name stands here before");
			continue;
		}
		const char *wrong = parse_key(from, line, &key);
		if (wrong)
			say(from, line, IMPORT_REFUSED, "%s", wrong);
		else if (!add_key(from, &key))
			from->import->no_memory = true;
		else
			say(from, line, IMPORT_CONVERTED, "selector %s", key.selector);
	}
	opendkim_statements_done(&table);
}

/* A name as milter.dkim.keys takes it, that no other key has. */
static void choose_name(struct opendkim *from, const char *wanted, char *ret)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	char base[NAME_BYTES - 12];
	json_t *taken = json_object_get(
	    json_object_get(json_object_get(from->import->fragment, "milter"), "dkim"),
	    "keys");

	snprintf(base, 52, "%s", wanted[0] ? wanted : "key");
	for (char *at = base; *at; at++)
		if (!strchr(letters, *at))
			*at = '_';
	snprintf(ret, NAME_BYTES, "%s", base);
	for (unsigned n = 2; json_object_get(taken, ret); n++)
		snprintf(ret, NAME_BYTES, "%s-%u", base, n);
}

/* Puts @text with each % replaced by @domain. */
static char *fill_in(const char *text, const char *domain)
{
	char path[PATH_BYTES];
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
	char path[NAME_BYTES + 32];
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
    char buf[static NAME_BYTES])
{
	char path[NAME_BYTES + 32];
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
	char name[NAME_BYTES];

	snprintf(path, sizeof(path), "domains\n%s", domain);
	snprintf(dotted, sizeof(dotted), ".%s", domain);
	if (!is_first(from, dotted) && !from->several) {
		say(from, line, IMPORT_REFUSED,
		    "an earlier line has these subdomains, and without "
		    "MultipleSignatures it alone signed");
		return;
	}
	json_t *keys = json_object_get(import_object(from->import, path), "dkim");
	const char *used = use_key(from, key, domain, name);
	bool own = json_array_size(keys) > 0;
	if (own && strcmp(json_string_value(json_array_get(keys, 0)), used) != 0) {
		say(from, line, IMPORT_REFUSED,
		    "subdomains sign with the keys of their domain; list them in "
		    "\"domains\" to give them another key");
		return;
	}
	import_add(from->import, path, "dkim", used);
	import_set(from->import, path, "subdomains", json_true());
	if (key->domain[0] == '%')
		say(from, line, IMPORT_CHANGED,
		    "mail of a subdomain is signed with d=%s, the domain that is listed",
		    domain);
	else if (!own)
		say(from, line, IMPORT_CHANGED, "mail of %s itself is signed too",
		    domain);
	else
		say(from, line, IMPORT_CONVERTED, "subdomains of %s", domain);
}

static void sign_for(
    struct opendkim *from, const struct opendkim_statement *line, struct table_key *key,
    const char *domain)
{
	char path[ADDRESS_DOMAIN_MAX + 16], name[NAME_BYTES];
	bool first = is_first(from, domain);

	if (!first && !from->several) {
		say(from, line, IMPORT_REFUSED,
		    "an earlier line has %s, and without MultipleSignatures it alone "
		    "signed",
		    domain);
		return;
	}
	snprintf(path, sizeof(path), "domains\n%s", domain);
	import_add(from->import, path, "dkim", use_key(from, key, domain, name));
	if (first)
		say(from, line, IMPORT_CONVERTED, "domains.%s", domain);
	else
		say(from, line, IMPORT_CHANGED,
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

static void read_signing_table(
    struct opendkim *from, const struct opendkim_statement *named)
{
	struct opendkim_statements table = {0};
	enum opendkim_set kind;

	read_table(from, named, &table, &kind);
	for (size_t i = 0; i < table.count; i++) {
		const struct opendkim_statement *line = &table.items[i];
		char domain[ADDRESS_DOMAIN_MAX + 1];
		bool subdomains;
		const char *wrong = parse_pattern(
		    line->name, kind == OPENDKIM_SET_REFILE, domain, &subdomains);
		struct table_key *key = key_of(from, line->value);
		if (wrong)
			say(from, line, IMPORT_REFUSED, "%s", wrong);
		else if (!key)
			say(from, line, IMPORT_REFUSED,
			    "the KeyTable has no such key, or it was refused");
		else if (subdomains)
			sign_for_subdomains(from, line, key, domain);
		else
			sign_for(from, line, key, domain);
	}
	opendkim_statements_done(&table);
}

/* Domain, Selector and KeyFile: one key for all of Domain. */
static void read_single(struct opendkim *from)
{
	const struct opendkim_statement *domains = find(from, "Domain");
	const struct opendkim_statement *selector = find(from, "Selector");
	const struct opendkim_statement *file = find(from, "KeyFile");
	struct opendkim_statements list = {0};
	enum opendkim_set kind;

	if (!domains || !selector || !file)
		return;
	if (!is_utf8(selector->value) || !is_utf8(file->value)) {
		static const char text[] =
		    "Selector or KeyFile is not written in UTF-8, as "
		    "JSON must be";
		say(from, domains, IMPORT_REFUSED, "%s", text);
		say(from, selector, IMPORT_REFUSED, "%s", text);
		say(from, file, IMPORT_REFUSED, "%s", text);
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
	say(from, selector, IMPORT_CONVERTED, "%s", "");
	say(from, file, IMPORT_CONVERTED, "%s", "");
	read_table(from, domains, &list, &kind);
	for (size_t i = 0; i < list.count; i++) {
		const struct opendkim_statement *line = &list.items[i];
		char domain[ADDRESS_DOMAIN_MAX + 1];
		struct table_key *last = &from->keys[from->keys_count - 1];
		if (domain_canonical(line->name, strlen(line->name), domain)) {
			sign_for(from, line, last, domain);
			if (is_true(find(from, "SubDomains")))
				sign_for_subdomains(from, line, last, domain);
		} else {
			say(from, line, IMPORT_REFUSED, "not a domain");
		}
	}
	opendkim_statements_done(&list);
}

/* ---- hosts ---- */

/* An entry of InternalHosts as relay.hosts has it: NULL and *ret, or why not. */
static const char *convert_host(
    const char *text, char *ret, size_t size, enum import_result *ret_result)
{
	const char *no = text[0] == '!' ? "!" : "";
	const char *name = text + strlen(no);
	char domain[ADDRESS_DOMAIN_MAX + 1];
	struct ip_prefix prefix;

	*ret_result = IMPORT_CONVERTED;
	const char *wrong = ip_prefix_parse(name, strlen(name), &prefix);
	if (wrong == ip_host_bits_set) {
		*ret_result = IMPORT_CHANGED;
		wrong = NULL;
	}
	if (!wrong) {
		char network[IP_TEXT_MAX];
		if (prefix.length == 0)
			return "it is the whole Internet: everybody could relay";
		snprintf(ret, size, "%s%s", no, ip_prefix_print(&prefix, network));
		return NULL;
	}
	bool within = name[0] == '.';
	if (!domain_canonical(name + within, strlen(name + within), domain) ||
	    name[strspn(name, "0123456789./:")] == '\0')
		return "neither an address, a range nor a host name";
	snprintf(ret, size, "%s%s%s", no, within ? "." : "host:", domain);
	*ret_result = within ? IMPORT_CONVERTED : IMPORT_CHANGED;
	return NULL;
}

static void read_hosts(struct opendkim *from)
{
	static const char may_relay[] =
	    "its mail is signed as before; in relay.hosts it may also relay without AUTH";
	const struct opendkim_statement *named = find(from, "InternalHosts");
	struct opendkim_statements list = {0};
	enum opendkim_set kind;
	char host[512];

	if (!named) {
		const struct import_place place = {NULL, 0, "InternalHosts 127.0.0.1"};
		import_add(from->import, "relay", "hosts", "127.0.0.1");
		import_line(from->import, &place, IMPORT_CHANGED, "%s", may_relay);
		return;
	}
	read_table(from, named, &list, &kind);
	for (size_t i = 0; i < list.count; i++) {
		enum import_result result;
		const struct opendkim_statement *line = &list.items[i];
		const char *wrong = convert_host(line->name, host, sizeof(host), &result);
		if (wrong) {
			say(from, line, IMPORT_REFUSED, "%s", wrong);
			continue;
		}
		import_add(from->import, "relay", "hosts", host);
		if (host[0] == '!')
			say(from, line, result, "\"%s\"", host);
		else
			say(from, line, IMPORT_CHANGED, "\"%s\": %s", host, may_relay);
	}
	opendkim_statements_done(&list);
}

/* ---- the rest of opendkim.conf ---- */

enum treatment {
	DONE_ELSEWHERE, /* told of where it is read */
	NOT_NEEDED,     /* Postern has its own way for it */
	CANONICALIZATION,
	OVERSIGN,
	ON_ERROR,
	NAMESERVERS,
	MODE,
	NOT_THERE, /* refused, with why */
};

static const struct {
	const char *name;
	enum treatment treatment;
	const char *why;
} parameters[] = {
    {"KeyTable", DONE_ELSEWHERE, NULL},
    {"SigningTable", DONE_ELSEWHERE, NULL},
    {"InternalHosts", DONE_ELSEWHERE, NULL},
    {"Domain", DONE_ELSEWHERE, NULL},
    {"Selector", DONE_ELSEWHERE, NULL},
    {"KeyFile", DONE_ELSEWHERE, NULL},
    {"SubDomains", DONE_ELSEWHERE, NULL},
    {"MultipleSignatures", DONE_ELSEWHERE, NULL},
    {"Canonicalization", CANONICALIZATION, NULL},
    {"OversignHeaders", OVERSIGN, NULL},
    {"On-Default", ON_ERROR, NULL},
    {"On-InternalError", ON_ERROR, NULL},
    {"Nameservers", NAMESERVERS, NULL},
    {"Mode", MODE, NULL},
    {"ExternalIgnoreList", NOT_THERE,
     "it only silenced a warning about hosts that were not signed for; nothing is "
     "logged of them here"},
    {"PeerList", NOT_THERE,
     "mail of these hosts was not looked at; Postern signs for relay.hosts, users and "
     "local mail alone"},
    {"SignatureAlgorithm", NOT_NEEDED, "the key's type says it"},
    {"RequireSafeKeys", NOT_NEEDED, "keys are always checked"},
    {"MinimumKeyBits", NOT_NEEDED, "RSA under 1024 bits is refused"},
    {"Socket", NOT_NEEDED, "milter.listen; main.cf names it"},
    {"UserID", NOT_NEEDED, "milter.user"},
    {"UMask", NOT_NEEDED, "milter.socket_mode"},
    {"PidFile", NOT_NEEDED, "it stays in the foreground"},
    {"Background", NOT_NEEDED, "it stays in the foreground"},
    {"AutoRestart", NOT_NEEDED, "the parent starts a child again"},
    {"AutoRestartRate", NOT_NEEDED, "the parent starts a child again"},
    {"Syslog", NOT_NEEDED, "log"},
    {"SyslogFacility", NOT_NEEDED, "facility mail"},
    {"SyslogSuccess", NOT_NEEDED, "log.level"},
    {"LogWhy", NOT_NEEDED, "the log always says why a message was not signed"},
    {"LogResults", NOT_NEEDED, "the log has a line for each signed message"},
    {"TemporaryDirectory", NOT_NEEDED, "nothing is written to disk"},
    {"TrustAnchorFile", NOT_NEEDED, "no DNSSEC of its own: ask a resolver that checks"},
    {"UnboundConfigFile", NOT_NEEDED, "dns.servers"},
    {"SignHeaders", NOT_THERE,
     "the signed headers are fixed (RFC 6376, 5.4.1, and those of MIME, lists and "
     "feedback)"},
    {"OmitHeaders", NOT_THERE, "the signed headers are fixed; Received is never signed"},
    {"SenderHeaders", NOT_THERE, "the author of From decides, no other header"},
    {"BodyLengthDB", NOT_THERE, "l= lets anybody add to a signed message"},
    {"MaximumSignedBytes", NOT_THERE, "l= lets anybody add to a signed message"},
    {"SignatureTTL", NOT_THERE, "signatures do not expire"},
    {"DiagnosticDirectory", NOT_THERE, "z= and copies of mail are not made"},
    {"Diagnostics", NOT_THERE, "z= and copies of mail are not made"},
    {"BaseDirectory", NOT_NEEDED, "paths are absolute here"},
    {"MacroList", NOT_THERE,
     "signing by macros; users, relay.hosts and local mail are signed"},
    {"MTA", NOT_THERE,
     "signing by daemon name; users, relay.hosts and local mail are signed"},
};

#define PARAMETERS (sizeof(parameters) / sizeof(parameters[0]))

static void convert_canonicalization(
    struct opendkim *from, const struct opendkim_statement *line)
{
	static const char *const known[] = {
	    "simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"};
	char text[64];
	/* One word is the header's; the body's is then simple (RFC 6376, 3.5). */
	snprintf(
	    text, sizeof(text), "%.40s%s", line->value,
	    strchr(line->value, '/') ? "" : "/simple");
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcasecmp(text, known[i]) != 0)
			continue;
		import_set(
		    from->import, "milter\ndkim", "canonicalization",
		    json_string(known[i]));
		say(from, line, IMPORT_CONVERTED, "%s", "");
		return;
	}
	say(from, line, IMPORT_REFUSED, "no canonicalization");
}

static void convert_list(
    struct opendkim *from, const struct opendkim_statement *line, const char *path,
    const char *key)
{
	if (!is_utf8(line->value)) {
		say(from, line, IMPORT_REFUSED, "%s", no_utf8);
		return;
	}
	char *copy = strdup(line->value), *rest = copy;
	for (char *one; copy && (one = strsep(&rest, ", \t"));)
		if (one[0] != '\0')
			import_add(from->import, path, key, one);
	from->import->no_memory = from->import->no_memory || !copy;
	free(copy);
	say(from, line, IMPORT_CONVERTED, "%s", "");
}

static void convert_mode(struct opendkim *from, const struct opendkim_statement *line)
{
	if (!strchr(line->value, 's'))
		say(from, line, IMPORT_REFUSED,
		    "it only verified; Postern signs and does not verify");
	else if (strchr(line->value, 'v'))
		say(from, line, IMPORT_CHANGED,
		    "it signs and does not verify: keep a verifier for incoming mail");
	else
		say(from, line, IMPORT_CONVERTED, "%s", "");
}

static void convert_on_error(struct opendkim *from, const struct opendkim_statement *line)
{
	bool accepts = line->value[0] == 'a' || line->value[0] == 'A';
	import_set(
	    from->import, "milter\ndkim", "on_error",
	    json_string(accepts ? "accept" : "tempfail"));
	say(from, line, IMPORT_CHANGED,
	    "milter.dkim.on_error: faults of our own; what cannot be signed right is "
	    "refused");
}

/* What is read elsewhere is told of there, unless it is not read at all. */
static void tell_unread(struct opendkim *from, const struct opendkim_statement *line)
{
	static const char *const single[] = {
	    "Domain", "Selector", "KeyFile", "SubDomains"};
	bool is_single = false, complete = true;

	for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
		is_single = is_single || strcasecmp(line->name, single[i]) == 0;
		complete = complete && (i == 3 || find(from, single[i]));
	}
	if (find(from, line->name) != line)
		say(from, line, IMPORT_REFUSED,
		    "it stands here again, and the last counts");
	else if (is_single && find(from, "SigningTable"))
		say(from, line, IMPORT_REFUSED,
		    "the SigningTable says who signs for whom");
	else if (is_single && !complete)
		say(from, line, IMPORT_REFUSED,
		    "Domain, Selector and KeyFile sign together, and one is missing");
	else if (
	    strcasecmp(line->name, "SubDomains") == 0 ||
	    strcasecmp(line->name, "MultipleSignatures") == 0)
		say(from, line, IMPORT_CONVERTED, "%s", "");
}

static void convert_parameter(
    struct opendkim *from, const struct opendkim_statement *line)
{
	size_t i = 0;
	while (i < PARAMETERS && strcasecmp(parameters[i].name, line->name) != 0)
		i++;
	if (i == PARAMETERS) {
		say(from, line, IMPORT_REFUSED, "there is nothing like it here");
		return;
	}
	switch (parameters[i].treatment) {
	case DONE_ELSEWHERE:
		tell_unread(from, line);
		break;
	case NOT_NEEDED:
		say(from, line, IMPORT_REFUSED, "not needed: %s", parameters[i].why);
		break;
	case CANONICALIZATION:
		convert_canonicalization(from, line);
		break;
	case OVERSIGN:
		convert_list(from, line, "milter\ndkim", "oversign");
		break;
	case ON_ERROR:
		convert_on_error(from, line);
		break;
	case NAMESERVERS:
		convert_list(from, line, "dns", "servers");
		break;
	case MODE:
		convert_mode(from, line);
		break;
	case NOT_THERE:
		say(from, line, IMPORT_REFUSED, "%s", parameters[i].why);
		break;
	}
}

/* Both programs sign without an envelope sender that agrees, and without DNS, only when
 * told to. */
static void tell_defaults(struct opendkim *from)
{
	const struct import_place match = {NULL, 0, "the author domain alone decides"};
	const struct import_place auth = {NULL, 0, "domains are there to be signed for"};
	const struct import_place dns = {NULL, 0, "signs without looking at DNS"};
	const struct import_place canon = {NULL, 0, "Canonicalization simple/simple"};
	import_line(
	    from->import, &match, IMPORT_CHANGED,
	    "milter.dkim.match is \"envelope\": the envelope sender has to agree; "
	    "\"any\" "
	    "is as before, and lets one of your users sign as another's domain");
	import_line(
	    from->import, &auth, IMPORT_CHANGED,
	    "who stands in \"domains\" may also relay: from relay.hosts, and users of "
	    "these domains with AUTH; \"auth\": false takes the latter away");
	import_set(from->import, "milter\ndkim", "require_dns", json_false());
	import_line(
	    from->import, &dns, IMPORT_CONVERTED,
	    "milter.dkim.require_dns is false; take it out to sign only with keys that "
	    "DNS shows");
	if (!find(from, "Canonicalization")) {
		import_set(
		    from->import, "milter\ndkim", "canonicalization",
		    json_string("simple/simple"));
		import_line(
		    from->import, &canon, IMPORT_CONVERTED,
		    "relaxed/relaxed survives more of what happens on the way");
	}
}

static void opendkim_done(struct opendkim *from)
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
	opendkim_statements_done(&from->conf);
}

static void convert(struct opendkim *from)
{
	const struct opendkim_statement *keys = find(from, "KeyTable");
	const struct opendkim_statement *table = find(from, "SigningTable");

	from->several = is_true(find(from, "MultipleSignatures"));
	for (size_t i = 0; i < from->conf.count; i++)
		convert_parameter(from, &from->conf.items[i]);
	if (keys)
		read_key_table(from, keys);
	if (table)
		read_signing_table(from, table);
	else
		read_single(from);
	read_hosts(from);
	tell_defaults(from);
}

int import_opendkim(struct import *import, const char *path, char *errbuf, size_t errsize)
{
	struct opendkim from = {
	    .import = import,
	    .key_names = json_object(),
	    .closed = json_object(),
	};
	char file[PATH_BYTES], folder[PATH_BYTES];
	struct stat st;

	bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	snprintf(file, sizeof(file), "%s%s", path, is_folder ? "/opendkim.conf" : "");
	snprintf(folder, sizeof(folder), "%s", file);
	char *slash = strrchr(folder, '/');
	if (slash)
		*slash = '\0';
	from.folder = slash ? folder : ".";
	int r = from.key_names && from.closed ? 0 : -1;
	if (r < 0)
		snprintf(errbuf, errsize, "out of memory");
	else
		r = opendkim_read_conf(file, &from.conf, errbuf, errsize);
	if (r == 0)
		convert(&from);
	opendkim_done(&from);
	return r;
}
