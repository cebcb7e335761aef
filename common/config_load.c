/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/cleanup.h"
#include "common/config_build.h"

#include "common/config_values.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * config_load(): the order of the work, and the checks between options of different
 * sections. See config_build.h.
 */

/* Where a row was set, as a value with its path. */
static bool origin_of(
    const struct config_build *build, const char *path, struct config_value *ret)
{
	return config_again(&build->origins[config_option_find(path)], NULL, path, ret);
}

/*
 * recipient_delimiter decides how every address list is read, wherever it stands itself.
 * A wrong one is reported by the walk.
 */
static void peek_delimiter(struct config_build *build)
{
	size_t row = config_option_find("recipient_delimiter");
	for (size_t i = 0; i < build->files_count; i++) {
		const json_t *root = build->files[i]->text.root;
		const char *text =
		    json_string_value(json_object_get(root, "recipient_delimiter"));
		if (!text || config_options[row].check(text))
			continue;
		free(build->config->recipient_delimiter);
		build->config->recipient_delimiter = config_copy(build, text);
		return;
	}
}

/* A port on which AUTH is refused cannot be the one to submit on. */
static void check_ports(struct config_build *build)
{
	const struct config *config = build->config;
	struct config_value value;

	for (size_t i = 0; i < config->auth.submission_ports.count; i++) {
		uint16_t port = config->auth.submission_ports.ports[i];
		if (!port_list_has(&config->auth.blocked_ports, port))
			continue;
		if (origin_of(build, "auth.submission_ports", &value))
			config_error(
			    build, &value,
			    "port %u is in auth.blocked_ports too, expected it in "
			    "one of them",
			    port);
		else if (origin_of(build, "auth.blocked_ports", &value))
			config_error(
			    build, &value,
			    "port %u is in auth.submission_ports too, expected it "
			    "in one of them",
			    port);
	}
}

static void set_hostname(struct config_build *build)
{
	char name[256] = "";
	if (build->config->hostname)
		return;
	if (gethostname(name, sizeof(name) - 1) < 0 || check_hostname(name))
		strcpy(name, "localhost");
	build->config->hostname = config_copy(build, name);
}

/* Values that struct config shows in another form. */
static void derive(struct config_build *build)
{
	struct config_snapshot *snapshot = build->snapshot;
	struct config *config = &snapshot->config;

	config->milter.dkim.header_canon =
	    (enum canonicalization)(snapshot->canonicalization / 2);
	config->milter.dkim.body_canon =
	    (enum canonicalization)(snapshot->canonicalization % 2);
	config->milter.dkim.accept_on_error = snapshot->on_error == 1;
	set_hostname(build);
}

static void read_files(struct config_build *build, const char *path)
{
	struct config_value include;
	if (!config_file_add(build, path, NULL))
		return;
	struct config_value root = config_root(build->files[0]);
	if (config_member(&root, "include", &include))
		config_include(build, &include);
}

static void walk_files(struct config_build *build)
{
	for (size_t i = 0; i < build->files_count && !build->no_memory; i++) {
		if (!build->files[i]->text.root)
			continue;
		struct config_value root = config_root(build->files[i]);
		config_walk(build, SIZE_MAX, &root, build->snapshot, NULL);
	}
}

/*
 * Sealing needs the places of lists and no value: without the JSON trees a reload's peak
 * stays at twice the steady state, with a hundred thousand domains too.
 */
static void forget_values(struct config_build *build)
{
	for (size_t i = 0; i < build->files_count; i++)
		json_decref(TAKE(build->files[i]->text.root));
	/* Sealing asks for large blocks, which would not come from what was freed here.
	 */
	malloc_trim(0);
}

/* Everything but what the files say. False: no memory. */
static bool begin(struct config_build *build, const char *path)
{
	struct config_file here = {.name = path};

	build->folder = getcwd(NULL, 0);
	build->origins = calloc(config_options_count, sizeof(*build->origins));
	build->defaults = calloc(config_options_count, sizeof(*build->defaults));
	/* Without a folder to stand in, relative names stay relative. */
	if (!build->folder)
		build->folder = config_copy(build, ".");
	if (!build->origins || !build->defaults || !build->folder) {
		build->no_memory = true;
		return false;
	}
	const char *base = strrchr(path, '/');
	build->config->file = config_absolute_path(build, &here, base ? base + 1 : path);
	config_set_defaults(build, SIZE_MAX, build->snapshot);
	read_files(build, path);
	return !build->no_memory;
}

static void build_all(
    struct config_build *build, const char *path, config_look *look, void *context)
{
	if (!begin(build, path))
		return;
	peek_delimiter(build);
	walk_files(build);
	if (build->no_memory)
		return;
	derive(build);
	check_ports(build);
	config_domains_resolve(build);
	config_shadow_resolve(build);
	config_keys_finish(build);
	config_tokens_finish(build);
	config_redis_finish(build);
	config_geoip_finish(build);
	if (look && !build->no_memory && build->errors_count == 0)
		look(build, context);
	forget_values(build);
	if (!build->no_memory)
		config_lists_seal(build);
}

static void build_done(struct config_build *build)
{
	for (size_t i = 0; i < build->files_count; i++) {
		config_text_done(&build->files[i]->text);
		free(build->files[i]);
	}
	free(build->files);
	for (size_t i = 0; build->defaults && i < config_options_count; i++)
		config_text_done(&build->defaults[i].text);
	free(build->defaults);
	free(build->origins);
	free(build->folder);
	free(build->key_origins);
	config_key_names_free(build);
	config_lists_forget(build);
}

/* One value, wherever it stands. False: it is wrong. */
static bool peek(struct config_build *build, const char *section, const char *key)
{
	char path[64];
	size_t before = build->errors_count;

	snprintf(path, sizeof(path), "%s%s%s", section, section[0] ? "." : "", key);
	for (size_t i = 0; i < build->files_count; i++) {
		struct config_value root = config_root(build->files[i]), within, value;
		if (!root.json)
			continue;
		if (section[0] && !config_member(&root, section, &within))
			continue;
		if (config_member(section[0] ? &within : &root, key, &value))
			config_read(
			    build, config_option_find(path), &value, build->snapshot);
	}
	return build->errors_count == before;
}

/* False: it cannot be told where the daemons are. */
static bool build_sockets(struct config_build *build, const char *path)
{
	bool good = begin(build, path) && build->files_count > 0 &&
		    build->files[0]->text.root && peek(build, "policyd", "control") &&
		    peek(build, "policyd", "login_socket") &&
		    peek(build, "milter", "control");

	if (good)
		peek(build, "", "hostname");
	set_hostname(build);
	return good;
}

int config_load_with(
    const char *path, unsigned flags, config_look *look, void *context,
    struct config **ret, struct config_errors *reterrors)
{
	struct config_build build = {.flags = flags};
	struct config_snapshot *snapshot = calloc(1, sizeof(*snapshot));

	*reterrors = (struct config_errors){0};
	if (!snapshot)
		return -ENOMEM;
	atomic_init(&snapshot->references, 1);
	build.snapshot = snapshot;
	build.config = &snapshot->config;

	build_all(&build, path, look, context);
	bool wrong = build.errors_count;
	config_report_finish(&build, reterrors);
	build_done(&build);
	if (build.no_memory || wrong) {
		config_unref(&snapshot->config);
		return build.no_memory ? -ENOMEM : -EINVAL;
	}
	*ret = &snapshot->config;
	return 0;
}

int config_load_sockets(
    const char *path, struct config **ret, struct config_errors *reterrors)
{
	struct config_build build = {0};
	struct config_snapshot *snapshot = calloc(1, sizeof(*snapshot));

	*reterrors = (struct config_errors){0};
	if (!snapshot)
		return -ENOMEM;
	atomic_init(&snapshot->references, 1);
	build.snapshot = snapshot;
	build.config = &snapshot->config;
	bool good = build_sockets(&build, path);
	config_report_finish(&build, reterrors);
	build_done(&build);
	if (build.no_memory || !good) {
		config_unref(&snapshot->config);
		return build.no_memory ? -ENOMEM : -EINVAL;
	}
	*ret = &snapshot->config;
	return 0;
}

int config_load(
    const char *path, unsigned flags, struct config **ret,
    struct config_errors *reterrors)
{
	return config_load_with(path, flags, NULL, NULL, ret, reterrors);
}

void config_errors_done(struct config_errors *errors)
{
	config_strings_done(&errors->lines);
	errors->more = 0;
}
