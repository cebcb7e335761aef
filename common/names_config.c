/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/names_config.h"

#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A question's own bound (common/dns.h): by then every name was tried once. */
#define TIMEOUTS_AT_LOAD 3
/* What a start, a reload and an end can be held up at most. */
#define WAIT_MAX_MS 5000

/* The five lists of the configuration itself; and every limit may have one. */
#define LISTS_FIXED 5

struct taken {
	struct config *config;
	size_t count;
	struct names_list lists[LISTS_FIXED + LIMITS_MAX];
};

static void release(void *owner)
{
	struct taken *taken = owner;

	config_unref(taken->config);
	free(taken);
}

static void add_list(
    struct taken *taken, const char *label, const char *name,
    const struct host_list *list)
{
	struct host_dns *dns = host_list_dns(list);

	if (!dns)
		return;
	struct names_list *added = &taken->lists[taken->count++];
	snprintf(added->label, sizeof(added->label), "%s%.100s", label, name);
	added->dns = dns;
}

static void add_lists(
    struct taken *taken, const struct config *config, enum names_scope scope)
{
	add_list(taken, "relay.hosts", "", config->relay.hosts);
	if (scope == NAMES_RELAY)
		return;
	add_list(taken, "auth.tls_exempt", "", config->auth.tls_exempt);
	add_list(taken, "auth.submission_hosts", "", config->auth.submission_hosts);
	add_list(taken, "block.hosts", "", config->block.hosts);
	add_list(taken, "trusted.hosts", "", config->trusted.hosts);
	for (size_t i = 0; i < config->limits_count; i++)
		add_list(
		    taken, "hosts of limit ", config->limits[i].name,
		    config->limits[i].when.hosts);
}

int names_take_config(struct names *names, struct config *config, enum names_scope scope)
{
	struct taken *taken = calloc(1, sizeof(*taken));
	uint32_t wait_ms = TIMEOUTS_AT_LOAD * config->dns_timeout_ms;

	if (!taken)
		return -ENOMEM;
	taken->config = config_ref(config);
	add_lists(taken, config, scope);
	struct names_work work = {
	    .dns =
		{
		    .servers = config->dns_servers.items,
		    .servers_count = config->dns_servers.count,
		    .timeout_ms = config->dns_timeout_ms,
		},
	    .lists = taken->lists,
	    .lists_count = taken->count,
	    .owner = taken,
	    .release = release,
	};
	return names_take(names, &work, wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS);
}

static void say(enum log_level level, const char *line)
{
	log_line(level, "%s", line);
}

static void say_nothing(enum log_level level, const char *line)
{
	(void)level;
	(void)line;
}

int names_start(bool quiet, struct names **ret)
{
	return names_new(&names_times, quiet ? say_nothing : say, ret);
}

int names_keep_beside(struct names *names, const char *state, bool save_too)
{
	char *path;

	if (state[0] == '\0')
		return 0;
	if (asprintf(&path, "%s.names", state) < 0)
		return -ENOMEM;
	int r = names_keep(names, path, save_too);
	free(path);
	return r;
}

void names_resolve_once(struct config *config)
{
	struct taken taken = {0};
	struct names *names;

	add_lists(&taken, config, NAMES_ALL);
	if (!taken.count || names_start(true, &names) < 0)
		return;
	/* What was published stays with the lists. */
	names_take_config(names, config, NAMES_ALL);
	names_free(names);
}
