/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/config_options.h"
#include "common/config_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What config_*.c share while a configuration is built: the files with their texts, the
 * snapshot that grows, the errors found so far.
 *
 * Order of the work: read every file; walk each by the option table on its own (nothing
 * is merged as JSON); then resolve what refers to other places, seal the lists, load the
 * keys. A function that finds an error reports it and goes on; only running out of memory
 * stops the build.
 */

/* A file of the configuration. */
struct config_file {
	const char *name; /* as messages show it; owned by the snapshot */
	bool is_main;
	struct config_text text;
};

/*
 * A value and its place. Lives on the stack of who walks; @parent leads to the root and
 * makes the path. The path's part of this value is @key, or [@index] when key is NULL.
 */
struct config_value {
	const struct config_file *file;
	const struct config_node *node;
	json_t *json;
	const struct config_value *parent;
	const char *key; /* not NUL-terminated */
	size_t key_len;
	size_t index;
};

/* Where a value stands, to be taken up again when everything is read. */
struct config_origin {
	const struct config_file *file; /* NULL: nowhere, the default */
	const struct config_node *node;
	json_t *json;
};

/* One message; kept apart until all are sorted. */
struct config_message {
	size_t file; /* order of the file in the snapshot */
	uint32_t line, column;
	size_t sequence;
	char *text;
};

#define CONFIG_ERRORS_MAX 100

struct config_list;     /* config_lists.c: a list that waits to be sealed */
struct config_key_name; /* config_keys.c */

struct config_build {
	struct config_snapshot *snapshot;
	struct config *config; /* snapshot->config */
	unsigned flags;
	bool no_memory;

	struct config_file **files;
	size_t files_count;
	char *folder; /* where the process stands, for absolute paths */

	struct config_message errors[CONFIG_ERRORS_MAX];
	size_t errors_count, errors_more;

	/* By row: where it was set, and its default as parsed. */
	struct config_origin *origins;
	struct config_file *defaults;

	struct config_list *lists;
	size_t lists_count, lists_room;

	struct config_origin *key_origins; /* in the order of the keys */
	size_t key_origins_room;
	struct config_key_name *key_names; /* uthash */
};

/* ---- config_report.c ---- */

/* The value's place as the snapshot keeps it. */
struct where config_where(const struct config_value *value);
struct where config_key_where(const struct config_value *value);

/* @value: what is wrong, what was expected. */
__attribute__((format(printf, 3, 4))) void config_error(
    struct config_build *build, const struct config_value *value, const char *format,
    ...);

/* The same at the key instead of the value. */
__attribute__((format(printf, 3, 4))) void config_error_at_key(
    struct config_build *build, const struct config_value *value, const char *format,
    ...);

/* The same at another place (a line of a list file) with @value's path; @value NULL: no
 * path. */
__attribute__((format(printf, 4, 5))) void config_error_at(
    struct config_build *build, struct where where, const struct config_value *value,
    const char *format, ...);

/* One line for the log at each load. */
__attribute__((format(printf, 3, 4))) void config_notice(
    struct config_build *build, const struct config_value *value, const char *format,
    ...);

/* "the string \"100\", expected a whole number from 1 to 65535". */
void config_type_error(
    struct config_build *build, const struct config_value *value, const char *expected);

/* The value in words: `the string "100"`, `an array`. Returns @buf. */
const char *config_describe(const struct config_value *value, char buf[static 128]);

/* "milter.dkim.keys.default": the path as messages show it. Returns @buf. */
const char *config_path_text(const struct config_value *value, char *buf, size_t size);

/* Foreign text for a message. Returns @buf. */
const char *config_shown(const char *text, size_t len, char buf[static 128]);

/* A name for where.file that lives as long as the snapshot; NULL: no memory. */
const char *config_file_name(struct config_build *build, const char *name);

/* Moves the errors, sorted by place, to @ret. */
void config_report_finish(struct config_build *build, struct config_errors *ret);

/* ---- config_value.c ---- */

/* The member @key of an object, with its place. False: it has none. */
bool config_member(
    const struct config_value *object, const char *key, struct config_value *ret);

/* for (each = config_each(value); config_next(&each);) ... each.value: the children of an
 * object or array, without repeated keys; of other values none. */
struct config_each {
	struct config_value value;
	uint32_t next, end;
	size_t count;
};
struct config_each config_each(const struct config_value *parent);
bool config_next(struct config_each *each);

/* Takes up a value again, @path as its whole path. False: it was never set. */
bool config_again(
    const struct config_origin *origin, const struct config_value *parent,
    const char *path, struct config_value *ret);
struct config_origin config_origin(const struct config_value *value);

/* The root of a file. */
struct config_value config_root(const struct config_file *file);

/* False, [], {}, "", 0, or a time of 0: asks for nothing. */
bool config_asks_nothing(const struct config_value *value);

/* ---- config_load.c ---- */

/* config_load(), and @look (may be NULL) sees the build while the values are there,
 * unless there are errors already. */
typedef void config_look(struct config_build *build, void *context);
int config_load_with(
    const char *path, unsigned flags, config_look *look, void *context,
    struct config **ret, struct config_errors *reterrors);

/* ---- config_walk.c ---- */

/*
 * Walks the object @value by the children of row @parent; @base is what their offsets are
 * in. *ret_seen (may be NULL) tells which children were there: bit n for the n-th.
 */
void config_walk(
    struct config_build *build, size_t parent, const struct config_value *value,
    void *base, uint64_t *ret_seen);

/* Sets the defaults of the direct and nested children of @parent. */
void config_set_defaults(struct config_build *build, size_t parent, void *base);

/* True when bit of child @name of row @parent is in @seen. */
bool config_seen(size_t parent, const char *name, uint64_t seen);

/* ---- config_read.c ---- */

/* Reads one value by its row into @base. False: reported, nothing kept. */
bool config_read(
    struct config_build *build, size_t row, const struct config_value *value, void *base);

/* A whole number, or a size as string, or null where @ret_unlimited is not NULL. */
bool config_read_amount(
    struct config_build *build, const struct config_value *value, uint64_t *ret,
    bool *ret_unlimited);

/* A string without control characters or outer blanks; NULL was reported. */
const char *config_read_text(
    struct config_build *build, const struct config_value *value, const char *expected);

/* strdup() of a string; sets no_memory. */
char *config_copy(struct config_build *build, const char *text);
bool config_strings_add(
    struct config_build *build, struct string_list *list, const char *text);
void config_strings_done(struct string_list *list);
/* @path, relative to the folder of @file. malloc'd; NULL: no memory. */
char *config_path_from(
    struct config_build *build, const struct config_file *file, const char *path);
/* The same and absolute. */
char *config_absolute_path(
    struct config_build *build, const struct config_file *file, const char *path);

/* ---- config_lists.c ---- */

bool config_read_hosts(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct host_list **list);
bool config_read_addresses(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct address_list **list);
bool config_read_users(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct user_list **list);
bool config_read_sender_logins(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct sender_logins **logins);
bool config_read_relay_hosts(
    struct config_build *build, size_t row, const struct config_value *value);
/* Sorts all lists; notices of repeated entries. */
void config_lists_seal(struct config_build *build);
void config_lists_forget(struct config_build *build);

/* ---- config_logins.c ---- */

int sender_logins_new(struct sender_logins **ret);
/* @users: separated by commas or blanks. Returns NULL or what is wrong. */
const char *sender_logins_add(
    struct sender_logins *logins, const char *sender, size_t sender_len,
    const char *users, size_t users_len, const char *delimiters, char errbuf[static 256]);
int sender_logins_seal(struct sender_logins *logins, size_t *ret_repeated);
struct sender_logins *sender_logins_free(struct sender_logins *logins);
bool sender_logins_allow(
    const struct sender_logins *logins, const struct address *sender,
    const struct address *user);
size_t sender_logins_count(const struct sender_logins *logins);

/* ---- config_domains.c ---- */

void config_read_domains(
    struct config_build *build, size_t row, const struct config_value *value);
void config_domains_resolve(struct config_build *build);
struct domain_table *domain_table_free(struct domain_table *table);

/* ---- config_keys.c ---- */

void config_read_keys(
    struct config_build *build, size_t row, const struct config_value *value);
/* require_dns, and with CONFIG_LOAD_KEYS the keys themselves. */
void config_keys_finish(struct config_build *build);

/* Who besides root may own the milter's secrets: the user it becomes, or who we are.
 * False: that user does not exist, which is reported. */
bool config_service_uid(
    struct config_build *build, const char *option, const char *user, uid_t *ret);

/* ---- config_tokens.c ---- */

void config_tokens_finish(struct config_build *build);
/* The key's index, or SIZE_MAX after an error at @value that names the nearest. */
size_t config_key_by_name(
    struct config_build *build, const struct config_value *value, const char *name);
void config_key_names_free(struct config_build *build);
void dkim_key_config_done(struct dkim_key_config *key);

/* ---- config_limits.c ---- */

void config_read_limits(
    struct config_build *build, size_t row, const struct config_value *value);
bool config_read_over(
    struct config_build *build, const struct config_option *row,
    const struct config_value *value, struct limit *limit);
/* One member of a domain's `limits`. False: reported. */
bool config_read_maximum(
    struct config_build *build, const struct config_value *value,
    struct domain_limit *ret);
void limit_done(struct limit *limit);
/* `shadow`: check names, and limits/NAME. */
void config_shadow_resolve(struct config_build *build);

/* ---- config_geoip.c ---- */

/* With CONFIG_LOAD_GEOIP the database of countries; a notice where a list lacks it. */
void config_geoip_finish(struct config_build *build);

/* ---- config_redis.c ---- */

/* has_redis, what its options mean together, with CONFIG_LOAD_REDIS the password. */
void config_redis_finish(struct config_build *build);

/* ---- config_file.c ---- */

/* Opens a regular file for reading, quickly whatever it is. -1: a sentence in @errbuf. */
int config_file_open(const char *path, char errbuf[static 256]);
/*
 * Reads and parses @name into a new file of the build. False: reported (at @by when it is
 * included from there).
 */
bool config_file_add(
    struct config_build *build, const char *name, const struct config_value *by);
/* The files that `include` of the main file names. */
void config_include(struct config_build *build, const struct config_value *include);
