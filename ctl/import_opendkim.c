/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * opendkim.conf(5) to postern.json(5): keys, whom they sign for, and the hosts whose mail
 * is signed. What OpenDKIM does and Postern does otherwise (verifying, l=, keys for one
 * address) is refused by name, never left out silently.
 */
#include "ctl/import_opendkim.h"

#include "common/address.h"
#include "common/ip.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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
	const struct opendkim_statement *named = opendkim_find(from, "InternalHosts");
	struct opendkim_statements list = {0};
	enum opendkim_set kind;
	char host[512];

	if (!named) {
		const struct import_place place = {NULL, 0, "InternalHosts 127.0.0.1"};
		import_add(from->import, "relay", "hosts", "127.0.0.1");
		import_line(from->import, &place, IMPORT_CHANGED, "%s", may_relay);
		return;
	}
	opendkim_read_table(from, named, &list, &kind);
	for (size_t i = 0; i < list.count; i++) {
		enum import_result result;
		const struct opendkim_statement *line = &list.items[i];
		const char *wrong = convert_host(line->name, host, sizeof(host), &result);
		if (wrong) {
			opendkim_say(from, line, IMPORT_REFUSED, "%s", wrong);
			continue;
		}
		import_add(from->import, "relay", "hosts", host);
		if (host[0] == '!')
			opendkim_say(from, line, result, "\"%s\"", host);
		else
			opendkim_say(
			    from, line, IMPORT_CHANGED, "\"%s\": %s", host, may_relay);
	}
	opendkim_statements_done(&list);
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
	if (!opendkim_find(from, "Canonicalization")) {
		import_set(
		    from->import, "milter\ndkim", "canonicalization",
		    json_string("simple/simple"));
		import_line(
		    from->import, &canon, IMPORT_CONVERTED,
		    "relaxed/relaxed survives more of what happens on the way");
	}
}

static void convert(struct opendkim *from)
{
	const struct opendkim_statement *keys = opendkim_find(from, "KeyTable");
	const struct opendkim_statement *table = opendkim_find(from, "SigningTable");

	from->several = opendkim_is_true(opendkim_find(from, "MultipleSignatures"));
	for (size_t i = 0; i < from->conf.count; i++)
		opendkim_convert_parameter(from, &from->conf.items[i]);
	if (keys)
		opendkim_read_key_table(from, keys);
	if (table)
		opendkim_read_signing_table(from, table);
	else
		opendkim_read_single(from);
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
	char file[OPENDKIM_PATH_BYTES], folder[OPENDKIM_PATH_BYTES];
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
	opendkim_keys_done(&from);
	opendkim_statements_done(&from.conf);
	return r;
}
