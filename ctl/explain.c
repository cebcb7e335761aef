/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern explain`: one policy request as the daemon would judge it, check by check.
 * Reads the configuration, asks no daemon, no store and no counter, charges nothing.
 * Lists with entries from DNS are resolved first.
 */
#include "common/cleanup.h"
#include "common/config.h"
#include "common/names_config.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "policyd/core/decide.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct config, config_unref)

struct explain {
	const char *file;
	const char *attributes; /* a captured request, or NULL */
	char bytes[PROTOCOL_REQUEST_MAX + 1];
	bool json;
	struct request request;
	struct facts facts;
	struct plan plan;
	struct trace trace;
};

static const char usage[] =
    "usage: postern explain --client IP [--port N] [--user U] [--sender S]\n"
    "                       [--recipient R] [--state RCPT] [--tls] [--helo H] [--name "
    "N]\n"
    "                       [--recipients N] [--size BYTES] [--context TEXT]\n"
    "                       [-c FILE] [--json]\n"
    "       postern explain --attributes FILE [-c FILE] [--json]\n";

static struct slice slice(const char *text)
{
	return (struct slice){text, strlen(text)};
}

/* The state's spelling is the protocol's own: the parser decides. */
static bool set_state(const char *name, struct request *request)
{
	char bytes[128];
	struct protocol_scan scan = {0};
	struct request parsed;
	const char *error;
	size_t used;
	int len = snprintf(
	    bytes, sizeof(bytes), "request=smtpd_access_policy\nprotocol_state=%s\n\n",
	    name);

	if (len < 0 || (size_t)len >= sizeof(bytes) ||
	    protocol_parse(bytes, (size_t)len, &scan, &parsed, &used, &error) !=
		PROTOCOL_REQUEST)
		return false;
	request->state = parsed.state;
	request->state_name = slice(name);
	return parsed.state != STATE_UNKNOWN;
}

static int wrong_use(const char *what)
{
	fprintf(stderr, "postern explain: %s\n%s", what, usage);
	return EXIT_USAGE;
}

enum option_id {
	OPTION_CLIENT = 256,
	OPTION_PORT,
	OPTION_USER,
	OPTION_SENDER,
	OPTION_RECIPIENT,
	OPTION_STATE,
	OPTION_TLS,
	OPTION_HELO,
	OPTION_NAME,
	OPTION_RECIPIENTS,
	OPTION_SIZE,
	OPTION_CONTEXT,
	OPTION_ATTRIBUTES,
	OPTION_JSON,
};

static const struct option options[] = {
    {"client", required_argument, NULL, OPTION_CLIENT},
    {"port", required_argument, NULL, OPTION_PORT},
    {"user", required_argument, NULL, OPTION_USER},
    {"sender", required_argument, NULL, OPTION_SENDER},
    {"recipient", required_argument, NULL, OPTION_RECIPIENT},
    {"state", required_argument, NULL, OPTION_STATE},
    {"tls", no_argument, NULL, OPTION_TLS},
    {"helo", required_argument, NULL, OPTION_HELO},
    {"name", required_argument, NULL, OPTION_NAME},
    {"recipients", required_argument, NULL, OPTION_RECIPIENTS},
    {"size", required_argument, NULL, OPTION_SIZE},
    {"context", required_argument, NULL, OPTION_CONTEXT},
    {"attributes", required_argument, NULL, OPTION_ATTRIBUTES},
    {"json", no_argument, NULL, OPTION_JSON},
    {NULL, 0, NULL, 0},
};

/* One option with its value. NULL, or what is wrong. */
static const char *take_option(struct explain *explain, int id, const char *value)
{
	struct request *request = &explain->request;

	switch (id) {
	case OPTION_CLIENT:
		request->client_address = slice(value);
		break;
	case OPTION_PORT:
		if (value[0] == '\0' || strspn(value, "0123456789") != strlen(value) ||
		    atol(value) < 1 || atol(value) > UINT16_MAX)
			return "--port wants a number from 1 to 65535";
		request->server_port = slice(value);
		break;
	case OPTION_USER:
		request->sasl_username = slice(value);
		request->sasl_method = slice("PLAIN");
		break;
	case OPTION_SENDER:
		request->sender = slice(strcmp(value, "<>") == 0 ? "" : value);
		break;
	case OPTION_RECIPIENT:
		request->recipient = slice(value);
		break;
	case OPTION_STATE:
		if (!set_state(value, request))
			return "--state wants CONNECT, EHLO, MAIL, RCPT, DATA, "
			       "END-OF-MESSAGE, VRFY or ETRN";
		break;
	case OPTION_TLS:
		request->encryption_protocol = slice("TLSv1.3");
		break;
	case OPTION_HELO:
		request->helo_name = slice(value);
		break;
	case OPTION_NAME:
		request->client_name = slice(value);
		break;
	case OPTION_RECIPIENTS:
		request->recipient_count = slice(value);
		break;
	case OPTION_SIZE:
		request->size = slice(value);
		break;
	case OPTION_CONTEXT:
		request->policy_context = slice(value);
		break;
	case OPTION_ATTRIBUTES:
		explain->attributes = value;
		break;
	case OPTION_JSON:
		explain->json = true;
		break;
	case 'c':
		explain->file = value;
		break;
	default:
		return "wrong use";
	}
	return NULL;
}

/*
 * A request as it went over the socket: name=value lines, the first empty one ends it.
 * What stands there is all there is: nothing is filled in.
 */
static int read_attributes(struct explain *explain)
{
	FILE *file = fopen(explain->attributes, "re");
	struct protocol_scan scan = {0};
	const char *error = "it has no attributes";
	size_t used;

	if (!file) {
		fprintf(
		    stderr, "postern explain: %s: %s\n", explain->attributes,
		    strerror(errno));
		return EXIT_NOT_FOUND;
	}
	size_t len = fread(explain->bytes, 1, sizeof(explain->bytes) - 3, file);
	fclose(file);
	/* A capture may end with its last attribute. */
	memcpy(explain->bytes + len, "\n\n", 2);
	if (len > 0 && explain->bytes[len - 1] == '\n')
		len--;
	if (protocol_parse(
		explain->bytes, len + 2, &scan, &explain->request, &used, &error) ==
	    PROTOCOL_REQUEST)
		return 0;
	fprintf(
	    stderr, "postern explain: %s is no policy request: %s\n", explain->attributes,
	    error);
	return EXIT_USAGE;
}

static int take_options(struct explain *explain, int argc, char **argv)
{
	int id;

	explain->file = CONFIG_DEFAULT_PATH;
	explain->request.server_port = slice("25");
	explain->request.sender = slice("");
	set_state("RCPT", &explain->request);
	optind = 1;
	while ((id = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (id == '?')
			return wrong_use("an unknown option, or a value is missing");
		const char *error = take_option(explain, id, optarg);
		if (error)
			return wrong_use(error);
	}
	if (optind < argc)
		return wrong_use("an argument too many");
	struct ip ip;
	struct slice client = explain->request.client_address;
	if (explain->attributes)
		return client.data ? wrong_use("--attributes goes without --client")
				   : read_attributes(explain);
	if (!client.data)
		return wrong_use("--client is missing");
	if (!ip_parse(client.data, client.len, &ip))
		return wrong_use("--client wants an IP address");
	return 0;
}

static const char *result_word(enum check_result result, bool shadow)
{
	switch (result) {
	case CHECK_NOT_APPLICABLE:
		return "not applicable";
	case CHECK_PASSED:
		return "passed";
	case CHECK_OBJECTED:
		return shadow ? "objected (shadow)" : "objected";
	case CHECK_CANNOT_TELL:
		return "cannot tell";
	case CHECK_NOT_REACHED:
		return "not asked";
	}
	return "?";
}

/* What is counted, in the words of the configuration. */
static const char *unit(enum limit_count count)
{
	switch (count) {
	case COUNT_MESSAGES:
		return "messages";
	case COUNT_RECIPIENTS:
		return "recipients";
	case COUNT_BYTES:
		return "bytes";
	case COUNT_REFUSALS:
		return "refusals";
	case COUNT_CLIENTS:
		return "clients";
	case COUNT_COUNTRIES:
		return "countries";
	case COUNT_SENDERS:
		return "senders";
	}
	return "";
}

/* "looks at 1 messages for ada@example.org", "counts country DE for ...". */
static void explain_charge(
    const struct config *config, const struct charge *charge, char *buf, size_t size)
{
	const struct limit *limit = &config->limits[charge->limit];
	const char *does = charge->look ? "looks at" : "counts";
	char what[CHARGE_MEMBER_MAX + 32];

	if (charge->member_len > 0)
		snprintf(
		    what, sizeof(what), "%.*s among its %s", (int)charge->member_len,
		    charge->member, unit(limit->count));
	else
		snprintf(
		    what, sizeof(what), "%llu %s", (unsigned long long)charge->amount,
		    unit(limit->count));
	snprintf(
	    buf, size, "%s %s %s for %s (max %llu in %us)%s", limit->name, does, what,
	    charge->key + charge->subject_at, (unsigned long long)charge->max,
	    charge->window_s, limit->shadow ? " in shadow" : "");
}

/* The `limits` line: what would be asked, since no counter is. */
static void explain_limits(
    const struct config *config, const struct explain *explain, char *buf, size_t size)
{
	const struct plan *plan = &explain->plan;
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < plan->charges_count && len < size; i++) {
		char one[512];
		explain_charge(config, &plan->charges[i], one, sizeof(one));
		len += (size_t)snprintf(
		    buf + len, size - len, "%s%s", i > 0 ? "; " : "", one);
	}
	if (plan->charges_count == 0)
		snprintf(
		    buf, size, "%s",
		    plan->verdict.check == CHECK_LIMITS ? plan->verdict.text
							: "no limit counts this request");
}

/* The text of one check's line; points into @buf or static. */
static const char *why_text(
    const struct config *config, const struct explain *explain, enum check_id id,
    char *buf, size_t size)
{
	const struct finding *finding = &explain->trace.checks[id].finding;

	if (id == CHECK_LIMITS) {
		explain_limits(config, explain, buf, size);
		return buf;
	}
	return finding->why;
}

static enum check_result result_of(const struct explain *explain, enum check_id id)
{
	if (id != CHECK_LIMITS)
		return explain->trace.checks[id].finding.result;
	if (explain->plan.verdict.check == CHECK_LIMITS)
		return CHECK_OBJECTED;
	if (explain->plan.refused)
		return CHECK_NOT_REACHED;
	return explain->plan.charges_count > 0 ? CHECK_PASSED : CHECK_NOT_APPLICABLE;
}

static void print_entry(const struct list_match *match)
{
	char entry[256], reason[256];

	printable(entry, sizeof(entry), match->text, strlen(match->text));
	printf("%-18s  entry %s", "", entry);
	if (match->where.line > 0)
		printf(" at %s:%u", match->where.file, match->where.line);
	if (match->reason) {
		printable(reason, sizeof(reason), match->reason, strlen(match->reason));
		printf(" (%s)", reason);
	}
	putchar('\n');
}

static void print_text(const struct config *config, const struct explain *explain)
{
	char buf[2048], action[VERDICT_WIRE_MAX], shown[VERDICT_WIRE_MAX * 2];

	for (unsigned i = 0; i < CHECK_COUNT; i++) {
		enum check_id id = (enum check_id)i;
		const struct finding *finding = &explain->trace.checks[i].finding;
		printf(
		    "%-18s  %-17s  %s\n", check_name(id),
		    result_word(result_of(explain, id), explain->trace.checks[i].shadow),
		    why_text(config, explain, id, buf, sizeof(buf)));
		if (id != CHECK_LIMITS && finding->matched)
			print_entry(&finding->match);
	}
	verdict_action_text(&explain->plan.verdict, "", action);
	printable(shown, sizeof(shown), action, strlen(action));
	printf("\nreply: %s\n", shown);
	if (explain->plan.refused && explain->plan.charges_count > 0)
		printf("Nothing was counted: the daemon would count the refusal.\n");
	else if (explain->plan.charges_count > 0)
		printf("Counters were not asked: a limit that is full would refuse.\n");
}

static json_t *entry_json(const struct list_match *match)
{
	json_t *entry = json_object();

	json_object_set_new(entry, "entry", json_string(match->text));
	if (match->where.line > 0) {
		json_object_set_new(entry, "file", json_string(match->where.file));
		json_object_set_new(entry, "line", json_integer(match->where.line));
	}
	if (match->reason)
		json_object_set_new(entry, "reason", json_string(match->reason));
	return entry;
}

static json_t *limits_json(const struct config *config, const struct plan *plan)
{
	json_t *list = json_array();

	for (size_t i = 0; i < plan->charges_count; i++) {
		const struct charge *charge = &plan->charges[i];
		const struct limit *limit = &config->limits[charge->limit];
		json_t *one = json_pack(
		    "{s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "limit", limit->name,
		    "subject", charge->key + charge->subject_at, "count",
		    unit(limit->count), "amount", (json_int_t)charge->amount, "max",
		    (json_int_t)charge->max, "window", (json_int_t)charge->window_s,
		    "charges", !charge->look);
		if (charge->member_len > 0)
			json_object_set_new(
			    one, "member",
			    json_stringn(charge->member, charge->member_len));
		json_array_append_new(list, one);
	}
	return list;
}

static void print_json(const struct config *config, const struct explain *explain)
{
	char buf[2048], action[VERDICT_WIRE_MAX];
	json_t *root = json_object(), *checks = json_array();

	for (unsigned i = 0; i < CHECK_COUNT; i++) {
		enum check_id id = (enum check_id)i;
		const struct finding *finding = &explain->trace.checks[i].finding;
		json_t *check = json_object();
		json_object_set_new(check, "check", json_string(check_name(id)));
		json_object_set_new(
		    check, "result",
		    json_string(result_word(result_of(explain, id), false)));
		json_object_set_new(
		    check, "shadow", json_boolean(explain->trace.checks[i].shadow));
		json_object_set_new(
		    check, "why",
		    json_string(why_text(config, explain, id, buf, sizeof(buf))));
		if (id != CHECK_LIMITS && finding->matched)
			json_object_set_new(check, "match", entry_json(&finding->match));
		json_array_append_new(checks, check);
	}
	verdict_action_text(&explain->plan.verdict, "", action);
	json_object_set_new(root, "checks", checks);
	json_object_set_new(root, "limits", limits_json(config, &explain->plan));
	json_object_set_new(root, "reply", json_string(action));
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	putchar('\n');
	json_decref(root);
}

int cmd_explain(int argc, char **argv)
{
	CLEANUP(config_unrefp) struct config *config = NULL;
	struct explain *explain = calloc(1, sizeof(*explain));

	if (!explain)
		return EXIT_FAILURE;
	int r = take_options(explain, argc, argv);
	if (r == 0)
		r = ctl_load_config(explain->file, CONFIG_LOAD_GEOIP, &config);
	if (r == 0) {
		names_resolve_once(config);
		facts_read(config, &explain->request, &explain->facts);
		decide(config, &explain->facts, &explain->plan, &explain->trace);
		if (explain->json)
			print_json(config, explain);
		else
			print_text(config, explain);
	}
	free(explain);
	return r;
}
