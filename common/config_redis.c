/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_build.h"

#include "common/secret_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * `redis`: whether there is such a section, what its options mean together, and with
 * CONFIG_LOAD_REDIS the password.
 */

/* Redis 7 reads no longer command line than this where nobody is logged in. */
#define PASSWORD_MAX 4096

static bool was_set(
    const struct config_build *build, const char *path, struct config_value *ret)
{
	return config_again(&build->origins[config_option_find(path)], NULL, path, ret);
}

/* The section where it stands first. False: there is none. */
static bool find_section(const struct config_build *build, struct config_value *ret)
{
	for (size_t i = 0; i < build->files_count; i++) {
		struct config_value root = config_root(build->files[i]);
		if (!root.json || !config_member(&root, "redis", ret))
			continue;
		struct config_origin origin = config_origin(ret);
		return config_again(&origin, NULL, "redis", ret);
	}
	return false;
}

static void check_servers(struct config_build *build, const struct config_value *section)
{
	const struct config *config = build->config;
	enum redis_mode mode = config->redis.mode;
	struct config_value value;

	if (!was_set(build, "redis.servers", &value)) {
		if (mode != REDIS_STANDALONE)
			config_error(
			    build, section, "\"servers\" is missing: name %s",
			    mode == REDIS_SENTINEL ? "the sentinels (their port is 26379)"
						   : "some nodes of the cluster");
		return;
	}
	if (config->redis.servers_count == 0)
		config_error(
		    build, &value,
		    "no server, expected at least one; leave \"redis\" out to count in "
		    "the daemon");
	if (mode == REDIS_STANDALONE && config->redis.servers_count > 1)
		config_error(
		    build, &value,
		    "%zu servers, expected one; for several see redis.mode",
		    config->redis.servers_count);
	if (config->redis.servers_count > REDIS_SERVERS_MAX)
		config_error(
		    build, &value, "%zu servers, expected at most %d",
		    config->redis.servers_count, REDIS_SERVERS_MAX);
	for (size_t i = 0; i < config->redis.servers_count; i++)
		if (mode == REDIS_CLUSTER &&
		    config->redis.servers[i].kind == ENDPOINT_UNIX)
			config_error(
			    build, &value,
			    "unix:%s: the nodes of a cluster are reached over TCP "
			    "alone, expected HOST:PORT",
			    config->redis.servers[i].path);
}

static void check_together(struct config_build *build, const struct config_value *section)
{
	const struct config *config = build->config;
	struct config_value value;

	check_servers(build, section);
	if (config->redis.mode == REDIS_CLUSTER && config->redis.db != 0 &&
	    was_set(build, "redis.db", &value))
		config_error(
		    build, &value,
		    "the number %u, expected 0: a cluster has one database, tell "
		    "installations apart by redis.prefix",
		    config->redis.db);
	if (config->redis.username[0] && !config->redis.password_file[0] &&
	    was_set(build, "redis.username", &value))
		config_error(
		    build, &value,
		    "a user without a password, expected "
		    "redis.password_file too");
}

static bool keep_password(struct config_build *build, struct secret_text *text)
{
	/* Editors end a file with a newline; a password's own never is its last byte. */
	while (text->len > 0 &&
	       (text->bytes[text->len - 1] == '\n' || text->bytes[text->len - 1] == '\r'))
		text->bytes[--text->len] = '\0';
	if (text->len == 0 || strlen(text->bytes) != text->len ||
	    strpbrk(text->bytes, "\r\n"))
		return false;
	build->config->redis.password = config_copy(build, text->bytes);
	return true;
}

static void load_password(struct config_build *build)
{
	const char *path = build->config->redis.password_file;
	struct secret_text text = {0};
	struct config_value value;
	char errbuf[4096 + 512];
	uid_t uid;

	if (!path[0] || !was_set(build, "redis.password_file", &value) ||
	    !config_service_uid(build, "policyd.user", build->config->policyd.user, &uid))
		return;
	if (secret_file_read(
		"password file", path, uid, PASSWORD_MAX, &text, errbuf, sizeof(errbuf)) <
	    0)
		config_error(build, &value, "%s", errbuf);
	else if (!keep_password(build, &text))
		config_error(
		    build, &value,
		    "password file %s does not hold one line with the password", path);
	secret_text_done(&text);
}

void config_redis_finish(struct config_build *build)
{
	struct config_value section;

	if (!find_section(build, &section) || !json_is_object(section.json))
		return;
	build->config->has_redis = true;
	/* Values that were refused are reported; what is left of them says nothing. */
	if (build->errors_count > 0)
		return;
	check_together(build, &section);
	if (build->flags & CONFIG_LOAD_REDIS)
		load_password(build);
}
