/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config.h"

#include "common/config_build.h"
#include "common/geoip.h"
#include "common/token.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

bool port_list_has(const struct port_list *list, uint16_t port)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->ports[i] == port)
			return true;
	return false;
}

bool config_sender_login_allows(
    const struct config *config, const struct address *sender, const struct address *user)
{
	return sender_logins_allow(config->auth.sender_logins, sender, user);
}

/* ---- references ---- */

static struct config_snapshot *snapshot_of(struct config *config)
{
	return (struct config_snapshot *)config; /* its first member */
}

static void free_relay(struct config *config)
{
	host_list_free(config->relay.hosts);
	for (size_t i = 0; i < config->relay.host_rules_count; i++)
		address_list_free(config->relay.host_rules[i].senders);
	free(config->relay.host_rules);
	user_list_free(config->relay.users);
	address_list_free(config->relay.anyone_from);
	address_list_free(config->relay.anyone_to);
}

static void free_access(struct config *config)
{
	host_list_free(config->auth.tls_exempt);
	host_list_free(config->auth.submission_hosts);
	free(config->auth.default_realm);
	sender_logins_free(config->auth.sender_logins);
	config_strings_done(&config->auth.countries);
	host_list_free(config->block.hosts);
	user_list_free(config->block.users);
	address_list_free(config->block.senders);
	address_list_free(config->block.recipients);
	config_strings_done(&config->block.countries);
	host_list_free(config->trusted.hosts);
	user_list_free(config->trusted.users);
	config_strings_done(&config->shadow);
}

static void free_limits(struct config *config)
{
	for (size_t i = 0; i < config->limits_count; i++)
		limit_done(&config->limits[i]);
	free(config->limits);
}

static void free_daemons(struct config *config)
{
	free(config->policyd.listen);
	free(config->policyd.socket_group);
	free(config->policyd.user);
	free(config->policyd.control);
	free(config->policyd.login_socket);
	free(config->policyd.login_group);
	free(config->policyd.state);
	free(config->policyd.status);
	free(config->milter.listen);
	free(config->milter.socket_group);
	free(config->milter.user);
	free(config->milter.control);
	free(config->milter.status);
	for (size_t i = 0; i < config->milter.dkim.keys_count; i++)
		dkim_key_config_done(&config->milter.dkim.keys[i]);
	free(config->milter.dkim.keys);
	config_strings_done(&config->milter.dkim.oversign);
	free(config->milter.dkim.state);
	config_strings_done(&config->milter.mask.remove);
	config_strings_done(&config->milter.mask.token_keys);
	token_keys_free(config->milter.mask.tokens);
}

static void free_redis(struct config *config)
{
	free(config->redis.servers);
	free(config->redis.master);
	free(config->redis.username);
	free(config->redis.password_file);
	if (config->redis.password)
		explicit_bzero(config->redis.password, strlen(config->redis.password));
	free(config->redis.password);
	free(config->redis.prefix);
}

static void snapshot_free(struct config_snapshot *snapshot)
{
	struct config *config = &snapshot->config;

	free_relay(config);
	free_access(config);
	free_limits(config);
	free_daemons(config);
	domain_table_free(config->domains);
	config_strings_done(&config->defaults.dkim);
	config_strings_done(&config->dns_servers);
	config_strings_done(&config->notices);
	free(config->file);
	free(config->hostname);
	free(config->recipient_delimiter);
	free_redis(config);
	free(config->geoip_country);
	geoip_free(config->geoip);
	free(config->log.decisions);
	config_strings_done(&snapshot->files);
	free(snapshot);
}

struct config *config_ref(struct config *config)
{
	atomic_fetch_add(&snapshot_of(config)->references, 1);
	return config;
}

struct config *config_unref(struct config *config)
{
	if (config && atomic_fetch_sub(&snapshot_of(config)->references, 1) == 1)
		snapshot_free(snapshot_of(config));
	return NULL;
}

static bool copy_text(const char *text, char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return *ret || !text;
}

int config_copy_redis(const struct config *config, struct config **ret)
{
	struct config_snapshot *snapshot = calloc(1, sizeof(*snapshot));
	size_t servers_size = config->redis.servers_count * sizeof(struct endpoint);

	if (!snapshot)
		return -ENOMEM;
	atomic_init(&snapshot->references, 1);
	struct config *copy = &snapshot->config;
	copy->has_redis = config->has_redis;
	copy->redis.servers = malloc(servers_size);
	copy->redis.servers_count = config->redis.servers_count;
	copy->redis.mode = config->redis.mode;
	copy->redis.db = config->redis.db;
	copy->redis.timeout_ms = config->redis.timeout_ms;
	copy->redis.on_failure = config->redis.on_failure;
	if (!copy->redis.servers ||
	    !copy_text(config->redis.master, &copy->redis.master) ||
	    !copy_text(config->redis.username, &copy->redis.username) ||
	    !copy_text(config->redis.password_file, &copy->redis.password_file) ||
	    !copy_text(config->redis.password, &copy->redis.password) ||
	    !copy_text(config->redis.prefix, &copy->redis.prefix)) {
		config_unref(copy);
		return -ENOMEM;
	}
	memcpy(copy->redis.servers, config->redis.servers, servers_size);
	*ret = copy;
	return 0;
}

/* ---- what a reload cannot change ---- */

static bool same_endpoints(
    const struct endpoint *a, size_t a_count, const struct endpoint *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (a[i].kind != b[i].kind || strcmp(a[i].path, b[i].path) != 0 ||
		    strcmp(a[i].host, b[i].host) != 0 ||
		    strcmp(a[i].port, b[i].port) != 0)
			return false;
	return true;
}

static const char *policyd_change(const struct config *a, const struct config *b)
{
	if (!same_endpoints(
		a->policyd.listen, a->policyd.listen_count, b->policyd.listen,
		b->policyd.listen_count))
		return "policyd.listen";
	if (a->policyd.socket_mode != b->policyd.socket_mode)
		return "policyd.socket_mode";
	if (strcmp(a->policyd.socket_group, b->policyd.socket_group) != 0)
		return "policyd.socket_group";
	if (strcmp(a->policyd.user, b->policyd.user) != 0)
		return "policyd.user";
	if (a->policyd.workers != b->policyd.workers)
		return "policyd.workers";
	if (strcmp(a->policyd.control, b->policyd.control) != 0)
		return "policyd.control";
	if (strcmp(a->policyd.login_socket, b->policyd.login_socket) != 0)
		return "policyd.login_socket";
	if (a->policyd.login_mode != b->policyd.login_mode)
		return "policyd.login_mode";
	if (strcmp(a->policyd.login_group, b->policyd.login_group) != 0)
		return "policyd.login_group";
	if (strcmp(a->policyd.state, b->policyd.state) != 0)
		return "policyd.state";
	if (strcmp(a->policyd.status, b->policyd.status) != 0)
		return "policyd.status";
	return NULL;
}

static const char *milter_change(const struct config *a, const struct config *b)
{
	if (!same_endpoints(
		a->milter.listen, a->milter.listen_count, b->milter.listen,
		b->milter.listen_count))
		return "milter.listen";
	if (a->milter.socket_mode != b->milter.socket_mode)
		return "milter.socket_mode";
	if (strcmp(a->milter.socket_group, b->milter.socket_group) != 0)
		return "milter.socket_group";
	if (strcmp(a->milter.user, b->milter.user) != 0)
		return "milter.user";
	if (a->milter.children != b->milter.children)
		return "milter.children";
	if (strcmp(a->milter.control, b->milter.control) != 0)
		return "milter.control";
	if (strcmp(a->milter.status, b->milter.status) != 0)
		return "milter.status";
	if (strcmp(a->milter.dkim.state, b->milter.dkim.state) != 0)
		return "milter.dkim.state";
	return NULL;
}

const char *config_needs_restart(
    const struct config *old, const struct config *new, const char *section)
{
	return strcmp(section, "policyd") == 0 ? policyd_change(old, new)
					       : milter_change(old, new);
}
