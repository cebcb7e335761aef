/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/lists.h"
#include "common/log.h"
#include "common/sockets.h"
#include "common/where.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The configuration as an immutable, reference-counted snapshot: everything parsed,
 * canonical and cross-checked, lists loaded. Built beside the old one, published whole
 * through a config_slot. Fields mirror postern.json(5), which documents them.
 *
 * Nothing in here changes after config_load(); any thread may read what it holds a
 * reference to.
 */

struct dkim_key;   /* common/dkim_key.h */
struct geoip;      /* common/geoip.h */
struct token_keys; /* common/token.h */

/* Limits in one configuration; bounds a plan and one store call. */
#define LIMITS_MAX     64
#define LIMIT_NAME_MAX 64

/* The largest max of a limit: the largest integer up to which doubles (Lua in Redis) are
 * exact. */
#define LIMIT_AMOUNT_MAX ((UINT64_C(1) << 53) - 1)

/* The largest max of a distinct count: it bounds the set that each subject has. */
#define LIMIT_DISTINCT_MAX 10000

/* Addresses in redis.servers; nodes of a Cluster may be more. */
#define REDIS_SERVERS_MAX 64

enum sender_policy { SENDER_ANY, SENDER_DOMAIN, SENDER_USER };
enum signature_match { SIGN_MATCH_ANY, SIGN_MATCH_ENVELOPE, SIGN_MATCH_USER };
enum upstream_received { UPSTREAM_KEEP, UPSTREAM_MASK, UPSTREAM_REMOVE };
enum charge_at { CHARGE_AT_END_OF_MESSAGE, CHARGE_AT_DATA };
enum canonicalization { CANON_SIMPLE, CANON_RELAXED };

/* What a limit counts per: a set, because `per` may be an array. */
enum limit_per {
	PER_CLIENT = 1 << 0, /* IPv4 address, IPv6 /64 */
	PER_USER = 1 << 1,
	PER_SENDER = 1 << 2,
	PER_SENDER_DOMAIN = 1 << 3,
	PER_RECIPIENT = 1 << 4,
	PER_RECIPIENT_DOMAIN = 1 << 5,
	PER_EVERYONE = 1 << 6,
	PER_MESSAGE = 1 << 7,
};

enum limit_count {
	COUNT_MESSAGES,
	COUNT_RECIPIENTS,
	COUNT_BYTES,
	COUNT_REFUSALS,
	COUNT_CLIENTS,
	COUNT_COUNTRIES,
	COUNT_SENDERS,
};

/* In order of strictness, the strictest first: the strictest answer of several wins. */
enum limit_over { OVER_REJECT, OVER_DEFER, OVER_HOLD, OVER_FILTER, OVER_WARN };

enum redis_mode { REDIS_STANDALONE, REDIS_SENTINEL, REDIS_CLUSTER };

/* What limits do while Redis is slow or away. */
enum store_failure { STORE_FAILURE_LOCAL, STORE_FAILURE_ALLOW, STORE_FAILURE_DEFER };

/* Yes, no, or not asked. */
enum ternary { EITHER, NO, YES };

#define PORTS_MAX 32

struct port_list {
	size_t count;
	uint16_t ports[PORTS_MAX];
};

bool port_list_has(const struct port_list *list, uint16_t port);

/* `when`: all that is asked must hold; an absent fact does not hold. */
struct limit_when {
	enum ternary authenticated, trusted, relayed;
	struct port_list ports;              /* empty: any */
	struct host_list *hosts;             /* NULL: any */
	struct user_list *users;             /* NULL: any */
	struct address_list *sender_domains; /* NULL: any */
};

/* One `override`: the subject's canonical text, @domain or CIDR, to another max. */
struct limit_override {
	char *subject;           /* "" when @prefix is meant */
	struct ip_prefix prefix; /* ip.family IP_NONE unless a CIDR range or address */
	bool unlimited;          /* null */
	uint64_t max;
};

struct limit {
	char *name;
	struct where where;
	unsigned per; /* set of enum limit_per */
	enum limit_count count;
	uint64_t max;
	uint32_t window_s; /* 0 for per message */
	enum limit_over over;
	char *filter;        /* TRANSPORT:NEXTHOP, OVER_FILTER only */
	uint32_t block_s;    /* 0: none */
	bool has_domain_max; /* a domain has another max for it */
	struct limit_when when;
	struct limit_override *overrides;
	size_t overrides_count;
	bool shadow;
};

/* A per-domain max of a limit ("limits" in a domain). */
struct domain_limit {
	size_t limit; /* index into config.limits */
	bool unlimited;
	uint64_t max;
};

struct domain {
	char *name;    /* canonical */
	size_t number; /* from 0, in the order of the files */
	struct where where;
	bool auth;
	bool subdomains;
	size_t *dkim; /* indices into config.milter.dkim.keys, in order of preference */
	size_t dkim_count;
	struct domain_limit *limits;
	size_t limits_count;
};

/* The rule of a relay.hosts entry written as an object; list payload N is rules[N - 1].
 */
struct relay_host_rule {
	struct address_list *senders; /* NULL: the domain rule holds */
	bool unknown_domains;
};

struct dkim_key_config {
	char *name;
	struct where where;
	char *selector;
	char *file;   /* absolute */
	char *domain; /* canonical, fixes d=; "" for the author domain */
	bool require_dns;
	struct dkim_key *key; /* loaded with CONFIG_LOAD_KEYS, else NULL */
};

struct string_list {
	size_t count;
	char **items;
};

struct config {
	char *file; /* the main file, absolute */
	char *hostname;
	char *recipient_delimiter;

	struct {
		bool auth;
		struct string_list dkim;
	} defaults;
	struct domain_table *domains; /* config_domain_*() */

	struct {
		struct host_list *hosts;
		struct relay_host_rule *host_rules;
		size_t host_rules_count;
		bool unknown_domains;
		bool all_users;          /* "users": true */
		struct user_list *users; /* "users": [...]; NULL otherwise */
		struct address_list *anyone_from;
		struct address_list *anyone_to;
		uint32_t login_grace_s;
	} relay;

	struct {
		struct port_list blocked_ports;
		bool require_tls;
		struct host_list *tls_exempt;
		struct port_list submission_ports;
		bool required_on_submission;
		struct host_list *submission_hosts;
		char *default_realm; /* canonical or "" */
		enum sender_policy sender;
		struct sender_logins *sender_logins; /* config_sender_login_allows() */
		struct string_list countries;
	} auth;

	struct {
		struct host_list *hosts;
		struct user_list *users;
		struct address_list *senders;
		struct address_list *recipients;
		struct string_list countries;
		bool forged_senders;
	} block;

	struct {
		struct host_list *hosts;
		struct user_list *users;
	} trusted;

	/* Names of checks (of limits: limit.shadow). Bits are policyd/core's CHECK_*. */
	struct string_list shadow;

	struct limit *limits;
	size_t limits_count;

	bool has_redis; /* there is a "redis" section; else nothing of @redis counts */
	struct {
		struct endpoint *servers; /* of Sentinel: the sentinels */
		size_t servers_count;
		enum redis_mode mode;
		char *master; /* its name in Sentinel */
		char *username, *password_file;
		char
		    *password; /* read with CONFIG_LOAD_REDIS; else, and without one, NULL
				*/
		uint32_t db;
		char *prefix;
		uint32_t timeout_ms;
		enum store_failure on_failure;
	} redis;
	uint32_t nodes;
	char *geoip_country; /* absolute or "" */
	struct geoip *geoip; /* loaded with CONFIG_LOAD_GEOIP, else NULL */
	struct string_list dns_servers;
	uint32_t dns_timeout_ms;

	struct {
		struct endpoint *listen;
		size_t listen_count;
		mode_t socket_mode;
		char *socket_group;
		char *user;
		uint32_t workers; /* 0: one per core */
		uint32_t max_connections;
		uint32_t idle_timeout_s;
		enum charge_at charge_at;
		char *control, *login_socket, *state, *status; /* "" is off */
		mode_t login_mode;
		char *login_group;
	} policyd;

	struct {
		struct endpoint *listen;
		size_t listen_count;
		mode_t socket_mode;
		char *socket_group;
		char *user;
		uint32_t children;
		char *control, *status;
		struct {
			struct dkim_key_config *keys;
			size_t keys_count;
			enum canonicalization header_canon, body_canon;
			struct string_list oversign; /* lower case */
			uint32_t recheck_s, settle_s;
			char *state;
			enum signature_match match;
			bool accept_on_error; /* on_error: accept */
		} dkim;
		struct {
			struct port_list ports;
			enum upstream_received upstream;
			struct string_list remove;     /* header names */
			struct string_list token_keys; /* absolute */
			struct token_keys *tokens;     /* loaded with
							  CONFIG_LOAD_TOKENS; NULL: none */
		} mask;
	} milter;

	struct {
		enum log_level level;
		char *decisions; /* "" is off */
	} log;

	/* One line each, ready for the log: observability keys accepted but not built
	 * yet, lists with repeated entries, forgeable grants, weak keys. */
	struct string_list notices;
};

enum config_flags {
	CONFIG_LOAD_KEYS = 1 << 0,   /* read and check the DKIM key files too */
	CONFIG_LOAD_GEOIP = 1 << 1,  /* the database of countries too */
	CONFIG_LOAD_TOKENS = 1 << 2, /* the keys of the token too */
	CONFIG_LOAD_REDIS = 1 << 3,  /* the password for Redis too */
};

/* Every error of a load, formatted FILE:LINE:COLUMN: path: text; the first 100. */
struct config_errors {
	struct string_list lines;
	size_t more; /* errors beyond those in @lines */
};

/*
 * Reads @path, its includes and every file they name, and checks all of it. Returns 0 and
 * a snapshot with one reference in *ret, or -EINVAL with at least one line in @reterrors
 * (the caller frees it with config_errors_done() in both cases), or -ENOMEM. Blocks on
 * files: never called on a serving thread.
 */
int config_load(
    const char *path, unsigned flags, struct config **ret,
    struct config_errors *reterrors);
void config_errors_done(struct config_errors *errors);

/*
 * What finds the running daemons and no more: hostname, policyd.control,
 * policyd.login_socket, milter.control; nothing else of *ret may be looked at. For
 * commands that ask them: no list is read, so a million entries cost nothing, and a file
 * that is broken elsewhere, which the daemons then do not use, is no hindrance. As
 * config_load() otherwise.
 */
int config_load_sockets(
    const char *path, struct config **ret, struct config_errors *reterrors);

struct config *config_ref(struct config *config);
struct config *config_unref(struct config *config); /* returns NULL; NULL is fine */

/* A snapshot of the redis section of @config and no more; nothing else of *ret may be
 * looked at. For who needs that longer than the lists, which may be large. 0 or -ENOMEM.
 */
int config_copy_redis(const struct config *config, struct config **ret);

#define CONFIG_DEFAULT_PATH "/etc/postern/postern.json"

/*
 * What two snapshots may not differ in without a restart, for the daemon whose keys begin
 * with @section
 * ("policyd" or "milter"): listen, socket_mode, socket_group, user, workers, children,
 * control, status, state. NULL: nothing; else the dotted name of the first such key.
 */
const char *config_needs_restart(
    const struct config *old, const struct config *new, const char *section);

/*
 * The served domain that @domain (canonical) belongs to: itself, or the nearest ancestor
 * with "subdomains". NULL: not served here.
 */
const struct domain *config_domain_find(const struct config *config, const char *domain);
size_t config_domain_count(const struct config *config);
/* All of them in turn: the one behind @domain (NULL: the first); NULL at the end. */
const struct domain *config_domain_next(
    const struct config *config, const struct domain *domain);

/*
 * True when sender_logins gives @user the envelope sender @sender. Entries are looked up
 * as Postfix's smtpd_sender_login_maps(5): user@domain, user@ is not a form there,
 * @domain.
 */
bool config_sender_login_allows(
    const struct config *config, const struct address *sender,
    const struct address *user);

/*
 * The place a running daemon publishes its snapshot in. The lock covers only "read
 * pointer and count"; the old snapshot is freed outside it.
 */
struct config_slot;
int config_slot_new(struct config *first, struct config_slot **ret); /* takes @first */
struct config_slot *config_slot_free(struct config_slot *slot);
struct config *config_slot_get(struct config_slot *slot);            /* a new reference */
void config_slot_set(struct config_slot *slot, struct config *next); /* takes @next */
/* Counts the publications; lets a thread keep its reference until it moved. */
unsigned long config_slot_generation(struct config_slot *slot);
