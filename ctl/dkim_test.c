/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `postern dkim test [KEY...]`: what DNS has against the keys, by name server: each of
 * dns.servers, or of resolv.conf, is asked by itself, because one that lags behind is
 * what verifiers meet. Exits with 0 whatever they have.
 */
#include "common/cleanup.h"
#include "common/dkim_record.h"
#include "common/dns.h"
#include "common/printable.h"
#include "common/service.h"
#include "ctl/ctl.h"
#include "ctl/dkim.h"
#include "ctl/options.h"
#include "ctl/table.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct config, config_unref)
DEFINE_CLEANUP(struct table, table_free)

#define COMMAND "dkim test"

#define RESOLV_CONF "/etc/resolv.conf"

/* resolv.conf(5) reads three. */
#define SERVERS_MAX 16

/* Questions under way at the same time. */
#define RUNNING_MAX 64

enum result { RESULT_MATCH, RESULT_MISSING, RESULT_DIFFERENT, RESULT_NO_ANSWER };

static const char *const result_names[] = {
    [RESULT_MATCH] = "match",
    [RESULT_MISSING] = "missing",
    [RESULT_DIFFERENT] = "different",
    [RESULT_NO_ANSWER] = "no answer",
};

/* One record at one server. */
struct finding {
	const struct dkim_use *use;
	const char *server;
	enum result result;
	char said[DKIM_RECORD_TEXT_MAX];
};

struct servers {
	char *items[SERVERS_MAX];
	size_t count;
};

static void servers_done(struct servers *servers)
{
	for (size_t i = 0; i < servers->count; i++)
		free(servers->items[i]);
}

static void findings_freep(struct finding **findings)
{
	free(*findings);
}

static void add_server(struct servers *servers, const char *text)
{
	if (servers->count < SERVERS_MAX)
		servers->items[servers->count++] = strdup(text);
}

/* False: there is none. */
static bool find_servers(const struct config *config, struct servers *ret)
{
	char line[256], word[128];

	for (size_t i = 0; i < config->dns_servers.count; i++)
		add_server(ret, config->dns_servers.items[i]);
	if (ret->count > 0)
		return true;
	FILE *file = fopen(RESOLV_CONF, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "nameserver %127s", word) == 1)
			add_server(ret, word);
	if (file)
		fclose(file);
	return ret->count > 0;
}

/* ---- asking ---- */

static void take_found(struct finding *finding, const struct dns_answer *answer)
{
	switch (dkim_record_judge(finding->use->key, answer, finding->said)) {
	case DKIM_RECORD_MATCHES:
		finding->result = RESULT_MATCH;
		return;
	case DKIM_RECORD_OTHER_KEY:
	case DKIM_RECORD_REVOKED:
	case DKIM_RECORD_UNUSABLE:
		finding->result = RESULT_DIFFERENT;
		return;
	case DKIM_RECORD_NONE:
		finding->result = RESULT_MISSING;
		return;
	}
}

static void answered(void *context, struct dns_answer *answer)
{
	struct finding *finding = context;
	const char *said = "";

	finding->result = RESULT_NO_ANSWER;
	if (!answer) {
		said = "out of memory";
	} else {
		switch (answer->status) {
		case DNS_FOUND:
			take_found(finding, answer);
			dns_answer_free(answer);
			return;
		case DNS_NO_DATA:
			finding->result = RESULT_MISSING;
			said = "no TXT record there";
			break;
		case DNS_NO_NAME:
			finding->result = RESULT_MISSING;
			said = "no such name";
			break;
		case DNS_FAILED:
			said = answer->error;
			break;
		}
	}
	snprintf(finding->said, sizeof(finding->said), "%s", said);
	dns_answer_free(answer);
}

static void ask(
    const struct config *config, char *server, const struct dkim_uses *uses,
    struct finding *findings)
{
	char *servers[] = {server};
	struct dns_settings settings = {servers, 1, config->dns_timeout_ms};
	struct dns *dns = NULL;

	if (!server || dns_new(&settings, &dns) < 0)
		dns = NULL;
	for (size_t i = 0; i < uses->count; i++) {
		findings[i].use = &uses->items[i];
		findings[i].server = server ? server : "";
		if (!dns) {
			findings[i].result = RESULT_NO_ANSWER;
			snprintf(
			    findings[i].said, sizeof(findings[i].said),
			    "it cannot be asked");
			continue;
		}
		while (dns_open(dns) >= RUNNING_MAX)
			dns_wait(dns, -1, -1);
		dns_ask(dns, uses->items[i].name, DNS_TXT, answered, &findings[i]);
	}
	while (dns && dns_open(dns) > 0)
		dns_wait(dns, -1, -1);
	dns_free(dns);
}

/* ---- telling ---- */

/* What to do about it; "" for nothing. */
static void remedy(const struct finding *finding, char *buf, size_t size)
{
	const char *key = finding->use->key_name;

	buf[0] = '\0';
	switch (finding->result) {
	case RESULT_MATCH:
		return;
	case RESULT_MISSING:
		snprintf(
		    buf, size, "publish what \"postern dkim record %s\" prints", key);
		return;
	case RESULT_DIFFERENT:
		snprintf(
		    buf, size,
		    "publish what \"postern dkim record %s\" prints, or give the key a "
		    "selector of its own",
		    key);
		return;
	case RESULT_NO_ANSWER:
		snprintf(
		    buf, size,
		    "see that this name server answers, or change dns.servers");
		return;
	}
}

static json_t *to_json(const struct finding *finding)
{
	const struct dkim_use *use = finding->use;
	char advice[300];

	remedy(finding, advice, sizeof(advice));
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "key", use->key_name, "domain",
	    use->domain, "selector", use->selector, "name", use->name, "server",
	    finding->server, "result", result_names[finding->result], "detail",
	    finding->said, "remedy", advice);
}

static int print_json(const struct finding *findings, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, to_json(&findings[i]));
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(list);
	return 0;
}

static int print_text(const struct finding *findings, size_t count)
{
	static const char *const headings[] = {
	    "record", "key", "server", "result", "DNS has"};
	CLEANUP(table_freep) struct table *table = table_new(headings, 5);

	for (size_t i = 0; table && i < count; i++) {
		const struct finding *finding = &findings[i];
		table_add(table, finding->use->name);
		table_add(table, finding->use->key_name);
		table_add(table, finding->server);
		table_add(table, result_names[finding->result]);
		table_add(table, finding->said);
	}
	if (!table || !table_print(table)) {
		fputs("postern dkim test: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	/* Once for each record that wants it. */
	for (size_t i = 0; i < count; i++) {
		char advice[300], shown[600];
		bool said = false;
		remedy(&findings[i], advice, sizeof(advice));
		for (size_t j = 0; j < i && !said; j++)
			said = findings[j].use == findings[i].use &&
			       findings[j].result == findings[i].result;
		if (!advice[0] || said)
			continue;
		printable(shown, sizeof(shown), advice, strlen(advice));
		printf("%s: %s\n", findings[i].use->name, shown);
	}
	return 0;
}

static int test(const struct config *config, const struct dkim_uses *uses, bool json)
{
	CLEANUP(servers_done) struct servers servers = {0};

	if (!find_servers(config, &servers)) {
		fputs(
		    "postern dkim test: there is no name server in dns.servers or "
		    "in " RESOLV_CONF "\n",
		    stderr);
		return EXIT_FAILURE;
	}
	size_t count = servers.count * uses->count;
	CLEANUP(findings_freep)
	struct finding *findings = calloc(count + 1, sizeof(*findings));
	if (!findings) {
		fputs("postern dkim test: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	for (size_t i = 0; i < servers.count; i++)
		ask(config, servers.items[i], uses, findings + i * uses->count);
	return json ? print_json(findings, count) : print_text(findings, count);
}

static int collect(
    const struct config *config, const struct ctl_line *line, struct dkim_uses *uses)
{
	size_t keys = config->milter.dkim.keys_count;
	int code = 0;

	for (size_t i = 0; !line->argument[0] && i < keys && code == 0; i++)
		code = dkim_uses_add(uses, config, i, COMMAND);
	for (size_t i = 0; i < CTL_ARGUMENTS_MAX && line->argument[i]; i++) {
		size_t index = dkim_find_key(config, line->argument[i]);
		if (index == keys)
			return dkim_no_key(config, line->argument[i], COMMAND);
		size_t before = uses->count;
		code = dkim_uses_add(uses, config, index, COMMAND);
		if (code != 0)
			return code;
		if (uses->count == before)
			fprintf(
			    stderr,
			    "postern dkim test: no domain has key %s in its \"dkim\" "
			    "list\n",
			    config->milter.dkim.keys[index].name);
	}
	return code;
}

int dkim_test(int argc, char **argv)
{
	struct ctl_line line = {
	    .usage = "usage: postern dkim test [KEY...] [-c FILE] [--json]\n",
	};
	CLEANUP(config_unrefp) struct config *config = NULL;
	CLEANUP(dkim_uses_done) struct dkim_uses uses = {0};

	for (size_t i = 0; i < CTL_ARGUMENTS_MAX; i++)
		line.arguments[i] = "KEY";
	int code = ctl_line_parse(&line, argc, argv);
	if (code >= 0)
		return code;
	code = ctl_load_config(line.file, 0, &config);
	if (code == 0)
		code = collect(config, &line, &uses);
	return code ? code : test(config, &uses, line.json);
}
