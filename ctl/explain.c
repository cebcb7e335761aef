/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern explain`: one policy request as the daemon would judge it, check by check.
 * Reads the configuration, asks no daemon, no store and no counter, charges nothing.
 * Lists with entries from DNS are resolved first. With --live the daemon says it, by its
 * blocks and counters.
 */
#include "policyd/core/explain.h"
#include "common/cleanup.h"
#include "common/config.h"
#include "common/names_config.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ask.h"
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
	bool json, live;
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
    "                       [--live] [-c FILE] [--json]\n"
    "       postern explain --attributes FILE [--live] [-c FILE] [--json]\n";

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
	OPTION_LIVE,
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
    {"live", no_argument, NULL, OPTION_LIVE},
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
	case OPTION_LIVE:
		explain->live = true;
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

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void print_shown(const char *text)
{
	char shown[4096];

	printable(shown, sizeof(shown), text, strlen(text));
	fputs(shown, stdout);
}

static void print_entry(const json_t *match)
{
	const json_t *line = json_object_get(match, "line");

	printf("%-18s  entry ", "");
	print_shown(text_of(match, "entry"));
	if (line) {
		fputs(" at ", stdout);
		print_shown(text_of(match, "file"));
		printf(":%" JSON_INTEGER_FORMAT, json_integer_value(line));
	}
	if (json_object_get(match, "reason")) {
		fputs(" (", stdout);
		print_shown(text_of(match, "reason"));
		putchar(')');
	}
	putchar('\n');
}

static void print_text(const json_t *root)
{
	const json_t *check, *limits = json_object_get(root, "limits");
	size_t i;

	json_array_foreach(json_object_get(root, "checks"), i, check)
	{
		const json_t *match = json_object_get(check, "match");
		bool shadow = json_is_true(json_object_get(check, "shadow"));
		char result[64];
		snprintf(
		    result, sizeof(result), "%s%s", text_of(check, "result"),
		    shadow ? " (shadow)" : "");
		printf("%-18s  %-17s  ", text_of(check, "check"), result);
		print_shown(text_of(check, "why"));
		putchar('\n');
		if (match)
			print_entry(match);
	}
	fputs("\nreply: ", stdout);
	print_shown(text_of(root, "reply"));
	putchar('\n');
	if (json_is_true(json_object_get(root, "live")))
		puts("Blocks and counters are the daemon's; nothing was charged.");
	else if (json_array_size(limits) > 0)
		puts(
		    json_is_true(json_object_get(root, "refused"))
			? "Nothing was counted: the daemon would count the refusal."
			: "Counters were not asked: a limit that is full would refuse.");
}

/* ---- by the daemon ---- */

static void put_attribute(FILE *out, const char *name, struct slice value)
{
	if (value.data)
		fprintf(out, "%s=%.*s\n", name, (int)value.len, value.data);
}

/* The request as Postfix would spell it; the caller's. */
static char *spell(const struct request *request)
{
	const struct {
		const char *name;
		struct slice value;
	} attributes[] = {
	    {"protocol_state", request->state_name},
	    {"helo_name", request->helo_name},
	    {"queue_id", request->queue_id},
	    {"sender", request->sender},
	    {"recipient", request->recipient},
	    {"recipient_count", request->recipient_count},
	    {"client_address", request->client_address},
	    {"client_name", request->client_name},
	    {"reverse_client_name", request->reverse_client_name},
	    {"server_port", request->server_port},
	    {"instance", request->instance},
	    {"size", request->size},
	    {"policy_context", request->policy_context},
	    {"sasl_method", request->sasl_method},
	    {"sasl_username", request->sasl_username},
	    {"encryption_protocol", request->encryption_protocol},
	};
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fputs("request=smtpd_access_policy\n", out);
	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
		put_attribute(out, attributes[i].name, attributes[i].value);
	putc('\n', out);
	fclose(out);
	return text;
}

/* 0 and the answer, or the exit code. */
static int ask_daemon(
    const struct config *config, const struct explain *explain, json_t **ret)
{
	char *text = spell(&explain->request);
	json_t *message = json_pack("{s:s, s:s?}", "command", "explain", "request", text);

	free(text);
	if (!message)
		return wrong_use("a value is no UTF-8");
	return ctl_ask("explain", config, message, ret);
}

/* ---- by the files ---- */

static json_t *ask_files(struct config *config, struct explain *explain)
{
	const struct explanation explanation = {
	    .config = config,
	    .plan = &explain->plan,
	    .trace = &explain->trace,
	    .verdict = &explain->plan.verdict,
	};

	names_resolve_once(config);
	facts_read(config, &explain->request, &explain->facts);
	decide(config, &explain->facts, &explain->plan, &explain->trace);
	return explain_json(&explanation);
}

int cmd_explain(int argc, char **argv)
{
	CLEANUP(config_unrefp) struct config *config = NULL;
	struct explain *explain = calloc(1, sizeof(*explain));
	json_t *root = NULL;

	if (!explain)
		return EXIT_FAILURE;
	int r = take_options(explain, argc, argv);
	if (r == 0)
		r = explain->live
			? ctl_load_sockets(explain->file, &config)
			: ctl_load_config(explain->file, CONFIG_LOAD_GEOIP, &config);
	if (r == 0 && explain->live)
		r = ask_daemon(config, explain, &root);
	else if (r == 0)
		root = ask_files(config, explain);
	if (r == 0 && explain->json)
		ctl_print_json(root);
	else if (r == 0)
		print_text(root);
	json_decref(root);
	free(explain);
	return r;
}
