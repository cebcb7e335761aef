/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <stdatomic.h>

/*
 * The option table: one row per key of postern.json, with its type, default, range and
 * help. The walker, the error texts, `postern config` and the tests of manual page and
 * example read this table; what is not in it does not exist.
 *
 * Paths: "a.b" a key in an object; "domains.*" any key in a map; "limits[]" an item of an
 * array. Children follow their parent.
 */

enum option_type {
	OPTION_SECTION,       /* an object with known keys */
	OPTION_INCLUDE,       /* file names and patterns */
	OPTION_BOOL,          /* bool */
	OPTION_TERNARY,       /* enum ternary; absent is EITHER */
	OPTION_COUNT,         /* uint32_t */
	OPTION_AMOUNT,        /* uint64_t: whole number, or size */
	OPTION_TIME,          /* uint32_t, seconds */
	OPTION_TIME_MS,       /* uint32_t, milliseconds */
	OPTION_CHOICE,        /* int-sized enum */
	OPTION_CHOICES,       /* unsigned: one choice or an array of them, or-ed */
	OPTION_TEXT,          /* char * */
	OPTION_DOMAIN,        /* char *, canonical */
	OPTION_PATH,          /* char *, made absolute; "" is off */
	OPTION_ENDPOINT,      /* char *; "" is off */
	OPTION_ENDPOINTS,     /* struct endpoint * and size_t behind it */
	OPTION_MODE,          /* mode_t */
	OPTION_PORTS,         /* struct port_list */
	OPTION_STRINGS,       /* struct string_list */
	OPTION_HOSTS,         /* struct host_list * */
	OPTION_ADDRESSES,     /* struct address_list * */
	OPTION_USERS,         /* struct user_list * */
	OPTION_RELAY_HOSTS,   /* config.relay.hosts and its rules */
	OPTION_RELAY_USERS,   /* config.relay.all_users and .users */
	OPTION_SENDER_LOGINS, /* struct sender_logins * */
	OPTION_DOMAINS,       /* the map of domains */
	OPTION_KEYS,          /* the map of DKIM keys */
	OPTION_LIMITS,        /* the array of limits */
	OPTION_NAMES,         /* key names in a domain, resolved at the end */
	OPTION_MAXIMA,        /* a map of names to amounts, resolved at the end */
	OPTION_OVER,          /* what a limit does; enum limit_over, and the filter */
	OPTION_TYPE_COUNT
};

enum option_state {
	OPTION_BUILT,
	OPTION_NOT_BUILT,   /* another value than empty is an error: not supported yet */
	OPTION_NOT_WRITTEN, /* accepted with one notice: nothing depends on it */
};

enum option_flags {
	OPTION_EMPTY_OK = 1 << 0,  /* "" is a value */
	OPTION_REQUIRED = 1 << 1,  /* the object is not complete without it */
	OPTION_APPENDS = 1 << 2,   /* a list that several files may add to */
	OPTION_GRANTS = 1 << 3,    /* a host list that gives permission */
	OPTION_LOWER = 1 << 4,     /* kept in lower case */
	OPTION_FORGEABLE = 1 << 5, /* warned about at each load when not empty */
	OPTION_NOT_EMPTY = 1 << 6, /* an empty list makes no sense here */
};

struct option_choice {
	const char *name; /* NULL ends the array */
	int value;
	bool not_built;
};

/* The field is not kept anywhere: validated alone. */
#define OPTION_NOWHERE ((size_t)-1)

struct config_option {
	const char *path;
	enum option_type type;
	const char *fallback; /* the default as JSON; NULL: absent */
	uint64_t min, max;    /* of numbers, times (s or ms) */
	const struct option_choice *choices;
	const char *(*check)(const char *text); /* what was expected, or NULL: good */
	unsigned flags;
	enum option_state state;
	const char *note; /* what is not built, for the error or notice */
	size_t offset;    /* into struct config_snapshot, or the item of a map or array */
	const char *help;
};

extern const struct config_option config_options[];
extern const size_t config_options_count;

/* What owns a configuration; more than config.h shows of it. */
struct config_snapshot {
	struct config config; /* first */
	atomic_ulong references;
	struct string_list files; /* what every where.file points into */
	/* Values that reach struct config in another form. */
	bool require_dns;
	int canonicalization; /* header_canon * 2 + body_canon */
	int on_error;
};

/* An item of milter.dkim.keys while it is read. */
struct config_key_draft {
	struct dkim_key_config config;
	enum ternary require_dns;
};

/* The row of the child @key of row @parent (SIZE_MAX: the root). SIZE_MAX: unknown. */
size_t config_option_child(size_t parent, const char *key, size_t key_len);

/* The row of @path exactly. SIZE_MAX: there is none. */
size_t config_option_find(const char *path);

/* The last part of the path: "sender" of "auth.sender". */
const char *config_option_name(const struct config_option *option);

/* The next child of @parent after @after (SIZE_MAX: the first). SIZE_MAX: no more. */
size_t config_option_next_child(size_t parent, size_t after);

/* Part of a map's or array's item: several of it may exist. */
bool config_option_is_in_item(const struct config_option *option);

/* "a whole number from 1 to 65535", "one of any, domain, user": what a value must be. */
const char *config_option_expects(
    const struct config_option *option, char *buf, size_t size);
