/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/import_opendkim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
		opendkim_say(from, line, IMPORT_CONVERTED, "%s", "");
		return;
	}
	opendkim_say(from, line, IMPORT_REFUSED, "no canonicalization");
}

static void convert_list(
    struct opendkim *from, const struct opendkim_statement *line, const char *path,
    const char *key)
{
	if (!opendkim_is_utf8(line->value)) {
		opendkim_say(from, line, IMPORT_REFUSED, "%s", opendkim_no_utf8);
		return;
	}
	char *copy = strdup(line->value), *rest = copy;
	for (char *one; copy && (one = strsep(&rest, ", \t"));)
		if (one[0] != '\0')
			import_add(from->import, path, key, one);
	from->import->no_memory = from->import->no_memory || !copy;
	free(copy);
	opendkim_say(from, line, IMPORT_CONVERTED, "%s", "");
}

static void convert_mode(struct opendkim *from, const struct opendkim_statement *line)
{
	if (!strchr(line->value, 's'))
		opendkim_say(
		    from, line, IMPORT_REFUSED,
		    "it only verified; Postern signs and does not verify");
	else if (strchr(line->value, 'v'))
		opendkim_say(
		    from, line, IMPORT_CHANGED,
		    "it signs and does not verify: keep a verifier for incoming mail");
	else
		opendkim_say(from, line, IMPORT_CONVERTED, "%s", "");
}

static void convert_on_error(struct opendkim *from, const struct opendkim_statement *line)
{
	bool accepts = line->value[0] == 'a' || line->value[0] == 'A';
	import_set(
	    from->import, "milter\ndkim", "on_error",
	    json_string(accepts ? "accept" : "tempfail"));
	opendkim_say(
	    from, line, IMPORT_CHANGED,
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
		complete = complete && (i == 3 || opendkim_find(from, single[i]));
	}
	if (opendkim_find(from, line->name) != line)
		opendkim_say(
		    from, line, IMPORT_REFUSED,
		    "it stands here again, and the last counts");
	else if (is_single && opendkim_find(from, "SigningTable"))
		opendkim_say(
		    from, line, IMPORT_REFUSED,
		    "the SigningTable says who signs for whom");
	else if (is_single && !complete)
		opendkim_say(
		    from, line, IMPORT_REFUSED,
		    "Domain, Selector and KeyFile sign together, and one is missing");
	else if (
	    strcasecmp(line->name, "SubDomains") == 0 ||
	    strcasecmp(line->name, "MultipleSignatures") == 0)
		opendkim_say(from, line, IMPORT_CONVERTED, "%s", "");
}

void opendkim_convert_parameter(
    struct opendkim *from, const struct opendkim_statement *line)
{
	size_t i = 0;
	while (i < PARAMETERS && strcasecmp(parameters[i].name, line->name) != 0)
		i++;
	if (i == PARAMETERS) {
		opendkim_say(from, line, IMPORT_REFUSED, "there is nothing like it here");
		return;
	}
	switch (parameters[i].treatment) {
	case DONE_ELSEWHERE:
		tell_unread(from, line);
		break;
	case NOT_NEEDED:
		opendkim_say(
		    from, line, IMPORT_REFUSED, "not needed: %s", parameters[i].why);
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
		opendkim_say(from, line, IMPORT_REFUSED, "%s", parameters[i].why);
		break;
	}
}
