/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/config_options.h"

#include "common/config_values.h"

#include <stdio.h>
#include <string.h>

#define AT(field)        offsetof(struct config_snapshot, config.field)
#define PRIVATE(field)   offsetof(struct config_snapshot, field)
#define IN_DOMAIN(field) offsetof(struct domain, field)
#define IN_KEY(field)    offsetof(struct config_key_draft, field)
#define IN_LIMIT(field)  offsetof(struct limit, field)
#define NOWHERE          OPTION_NOWHERE

#define SECONDS_MAX_DAY   86400
#define SECONDS_MAX_MONTH (30 * 86400)
#define SECONDS_MAX_YEAR  (366 * 86400)

static const struct option_choice sender_choices[] = {
    {"any", SENDER_ANY, false},
    {"domain", SENDER_DOMAIN, false},
    {"user", SENDER_USER, false},
    {NULL, 0, false},
};

static const struct option_choice charge_choices[] = {
    {"end-of-message", CHARGE_AT_END_OF_MESSAGE, false},
    {"data", CHARGE_AT_DATA, false},
    {NULL, 0, false},
};

static const struct option_choice canonicalization_choices[] = {
    {"relaxed/relaxed", CANON_RELAXED * 2 + CANON_RELAXED, false},
    {"relaxed/simple", CANON_RELAXED * 2 + CANON_SIMPLE, false},
    {"simple/relaxed", CANON_SIMPLE * 2 + CANON_RELAXED, false},
    {"simple/simple", CANON_SIMPLE * 2 + CANON_SIMPLE, false},
    {NULL, 0, false},
};

static const struct option_choice match_choices[] = {
    {"any", SIGN_MATCH_ANY, false},
    {"envelope", SIGN_MATCH_ENVELOPE, false},
    {"user", SIGN_MATCH_USER, false},
    {NULL, 0, false},
};

static const struct option_choice on_error_choices[] = {
    {"tempfail", 0, false},
    {"accept", 1, false},
    {NULL, 0, false},
};

static const struct option_choice upstream_choices[] = {
    {"keep", UPSTREAM_KEEP, false},
    {"mask", UPSTREAM_MASK, false},
    {"remove", UPSTREAM_REMOVE, false},
    {NULL, 0, false},
};

static const struct option_choice per_choices[] = {
    {"client", PER_CLIENT, false},
    {"user", PER_USER, false},
    {"sender", PER_SENDER, false},
    {"sender_domain", PER_SENDER_DOMAIN, false},
    {"recipient", PER_RECIPIENT, true},
    {"recipient_domain", PER_RECIPIENT_DOMAIN, true},
    {"everyone", PER_EVERYONE, false},
    {"message", PER_MESSAGE, false},
    {NULL, 0, false},
};

static const struct option_choice count_choices[] = {
    {"messages", COUNT_MESSAGES, false}, {"recipients", COUNT_RECIPIENTS, false},
    {"bytes", COUNT_BYTES, false},       {"refusals", COUNT_REFUSALS, true},
    {"clients", COUNT_CLIENTS, true},    {"countries", COUNT_COUNTRIES, true},
    {"senders", COUNT_SENDERS, true},    {NULL, 0, false},
};

/* "filter:TRANSPORT:NEXTHOP" is the fifth; its reader takes it. */
static const struct option_choice over_choices[] = {
    {"defer", OVER_DEFER, false},
    {"reject", OVER_REJECT, false},
    {"hold", OVER_HOLD, false},
    {"warn", OVER_WARN, false},
    {NULL, 0, false},
};

static const struct option_choice mode_choices[] = {
    {"standalone", 0, false},
    {"sentinel", 1, false},
    {"cluster", 2, false},
    {NULL, 0, false},
};

static const struct option_choice on_failure_choices[] = {
    {"local", 0, false},
    {"allow", 1, false},
    {"defer", 2, false},
    {NULL, 0, false},
};

static const struct option_choice level_choices[] = {
    {"error", LOG_LEVEL_ERROR, false},
    {"warning", LOG_LEVEL_WARNING, false},
    {"info", LOG_LEVEL_INFO, false},
    {"debug", LOG_LEVEL_DEBUG, false},
    {NULL, 0, false},
};

static const struct option_choice event_choices[] = {
    {"block", 0, false}, {"over", 0, false}, {"redis", 0, false},
    {"dkim", 0, false},  {NULL, 0, false},
};

const struct config_option config_options[] = {
    {.path = "hostname",
     .type = OPTION_TEXT,
     .check = check_hostname,
     .offset = AT(hostname),
     .help = "Name of this host in logs and masked headers; by default the system's."},
    {.path = "recipient_delimiter",
     .type = OPTION_TEXT,
     .fallback = "\"+\"",
     .check = check_delimiter,
     .flags = OPTION_EMPTY_OK,
     .offset = AT(recipient_delimiter),
     .help = "Characters that begin an address extension, as Postfix's parameter."},
    {.path = "include",
     .type = OPTION_INCLUDE,
     .fallback = "[]",
     .offset = NOWHERE,
     .help = "Further files or patterns, read in byte order; in the main file alone."},

    {.path = "defaults",
     .type = OPTION_SECTION,
     .help = "What holds for a domain that does not say otherwise."},
    {.path = "defaults.auth",
     .type = OPTION_BOOL,
     .fallback = "true",
     .offset = AT(defaults.auth),
     .help = "May users of a domain relay with SMTP AUTH."},
    {.path = "defaults.dkim",
     .type = OPTION_STRINGS,
     .fallback = "[]",
     .offset = AT(defaults.dkim),
     .help = "DKIM key names in order of preference."},

    {.path = "domains",
     .type = OPTION_DOMAINS,
     .fallback = "{}",
     .offset = NOWHERE,
     .help = "Sender domains served here."},
    {.path = "domains.*", .type = OPTION_SECTION, .help = "One sender domain."},
    {.path = "domains.*.auth",
     .type = OPTION_BOOL,
     .offset = IN_DOMAIN(auth),
     .help = "May its users relay with SMTP AUTH; by default defaults.auth."},
    {.path = "domains.*.subdomains",
     .type = OPTION_BOOL,
     .fallback = "false",
     .offset = IN_DOMAIN(subdomains),
     .help = "Its subdomains are served like itself."},
    {.path = "domains.*.dkim",
     .type = OPTION_NAMES,
     .offset = NOWHERE,
     .help = "DKIM key names in order of preference; by default defaults.dkim."},
    {.path = "domains.*.limits",
     .type = OPTION_MAXIMA,
     .offset = NOWHERE,
     .help = "Limit names and another max for this domain; null for none."},

    {.path = "relay", .type = OPTION_SECTION, .help = "Who may relay."},
    {.path = "relay.hosts",
     .type = OPTION_RELAY_HOSTS,
     .fallback = "[]",
     .flags = OPTION_APPENDS | OPTION_GRANTS,
     .offset = AT(relay.hosts),
     .help = "Clients that relay without AUTH, for domains served here and the null "
	     "sender."},
    {.path = "relay.hosts[]",
     .type = OPTION_SECTION,
     .help = "A relay host with a rule of its own."},
    {.path = "relay.hosts[].host",
     .type = OPTION_TEXT,
     .offset = NOWHERE,
     .help = "One host list entry."},
    {.path = "relay.hosts[].hosts",
     .type = OPTION_HOSTS,
     .flags = OPTION_GRANTS,
     .offset = NOWHERE,
     .help = "A host list; instead of \"host\"."},
    {.path = "relay.hosts[].senders",
     .type = OPTION_ADDRESSES,
     .offset = offsetof(struct relay_host_rule, senders),
     .help = "Exactly these envelope senders; <> is the null sender."},
    {.path = "relay.hosts[].unknown_domains",
     .type = OPTION_BOOL,
     .fallback = "false",
     .offset = offsetof(struct relay_host_rule, unknown_domains),
     .help = "Any sender domain, for this entry alone."},
    {.path = "relay.hosts[].reason",
     .type = OPTION_TEXT,
     .check = check_reason,
     .offset = NOWHERE,
     .help = "Shown in log and reply."},
    {.path = "relay.unknown_domains",
     .type = OPTION_BOOL,
     .fallback = "false",
     .offset = AT(relay.unknown_domains),
     .help = "Relay hosts may use sender domains that are not served here."},
    {.path = "relay.users",
     .type = OPTION_RELAY_USERS,
     .fallback = "true",
     .flags = OPTION_APPENDS,
     .offset = AT(relay.users),
     .help = "Authenticated users relay: true, false or a user list."},
    {.path = "relay.anyone_from",
     .type = OPTION_ADDRESSES,
     .fallback = "[]",
     .flags = OPTION_APPENDS | OPTION_FORGEABLE,
     .note = "lets anybody relay who claims such an envelope sender",
     .offset = AT(relay.anyone_from),
     .help = "Envelope senders that relay from anywhere: forgeable."},
    {.path = "relay.anyone_to",
     .type = OPTION_ADDRESSES,
     .fallback = "[]",
     .flags = OPTION_APPENDS | OPTION_FORGEABLE,
     .note = "lets anybody relay to such a recipient",
     .offset = AT(relay.anyone_to),
     .help = "Recipients that anyone may relay to."},
    {.path = "relay.login_grace",
     .type = OPTION_TIME,
     .fallback = "\"0s\"",
     .max = SECONDS_MAX_DAY,
     .state = OPTION_NOT_BUILT,
     .note = "relaying after a POP or IMAP login",
     .offset = AT(relay.login_grace_s),
     .help = "How long a recorded POP or IMAP login counts; 0s is off."},

    {.path = "auth", .type = OPTION_SECTION, .help = "Rules for SMTP AUTH."},
    {.path = "auth.blocked_ports",
     .type = OPTION_PORTS,
     .fallback = "[25]",
     .offset = AT(auth.blocked_ports),
     .help = "Ports on which an authenticated session is refused."},
    {.path = "auth.require_tls",
     .type = OPTION_BOOL,
     .fallback = "true",
     .offset = AT(auth.require_tls),
     .help = "AUTH without TLS is refused."},
    {.path = "auth.tls_exempt",
     .type = OPTION_HOSTS,
     .fallback = "[]",
     .flags = OPTION_GRANTS,
     .offset = AT(auth.tls_exempt),
     .help = "Clients that need no TLS; loopback never does."},
    {.path = "auth.submission_ports",
     .type = OPTION_PORTS,
     .fallback = "[587, 465]",
     .offset = AT(auth.submission_ports),
     .help = "The ports for submission."},
    {.path = "auth.required_on_submission",
     .type = OPTION_BOOL,
     .fallback = "true",
     .offset = AT(auth.required_on_submission),
     .help = "No AUTH on a submission port: refused, relay hosts excepted."},
    {.path = "auth.submission_hosts",
     .type = OPTION_HOSTS,
     .fallback = "[]",
     .offset = AT(auth.submission_hosts),
     .help = "When not empty: only these clients may use the submission ports."},
    {.path = "auth.default_realm",
     .type = OPTION_DOMAIN,
     .fallback = "\"\"",
     .flags = OPTION_EMPTY_OK,
     .offset = AT(auth.default_realm),
     .help = "The domain of a SASL user name that has none."},
    {.path = "auth.sender",
     .type = OPTION_CHOICE,
     .fallback = "\"domain\"",
     .choices = sender_choices,
     .offset = AT(auth.sender),
     .help = "Which envelope senders a SASL user may use."},
    {.path = "auth.sender_logins",
     .type = OPTION_SENDER_LOGINS,
     .fallback = "[]",
     .offset = AT(auth.sender_logins),
     .help = "Further pairs \"sender user[,user]\"."},
    {.path = "auth.countries",
     .type = OPTION_STRINGS,
     .fallback = "[]",
     .check = check_country,
     .state = OPTION_NOT_BUILT,
     .note = "looking at countries",
     .offset = AT(auth.countries),
     .help = "When not empty: AUTH only from these ISO countries."},

    {.path = "block", .type = OPTION_SECTION, .help = "Who is refused."},
    {.path = "block.hosts",
     .type = OPTION_HOSTS,
     .fallback = "[]",
     .flags = OPTION_APPENDS,
     .offset = AT(block.hosts),
     .help = "Clients."},
    {.path = "block.users",
     .type = OPTION_USERS,
     .fallback = "[]",
     .flags = OPTION_APPENDS,
     .offset = AT(block.users),
     .help = "SASL users."},
    {.path = "block.senders",
     .type = OPTION_ADDRESSES,
     .fallback = "[]",
     .flags = OPTION_APPENDS,
     .offset = AT(block.senders),
     .help = "Envelope senders."},
    {.path = "block.recipients",
     .type = OPTION_ADDRESSES,
     .fallback = "[]",
     .flags = OPTION_APPENDS,
     .offset = AT(block.recipients),
     .help = "Recipients."},
    {.path = "block.countries",
     .type = OPTION_STRINGS,
     .fallback = "[]",
     .check = check_country,
     .flags = OPTION_APPENDS,
     .state = OPTION_NOT_BUILT,
     .note = "looking at countries",
     .offset = AT(block.countries),
     .help = "ISO countries of clients."},
    {.path = "block.forged_senders",
     .type = OPTION_BOOL,
     .fallback = "false",
     .offset = AT(block.forged_senders),
     .help = "Unauthenticated strangers using a sender domain served here."},

    {.path = "trusted",
     .type = OPTION_SECTION,
     .help = "A class for \"when\" in limits; never blocked automatically."},
    {.path = "trusted.hosts",
     .type = OPTION_HOSTS,
     .fallback = "[]",
     .flags = OPTION_APPENDS | OPTION_GRANTS,
     .offset = AT(trusted.hosts),
     .help = "Clients; relay hosts belong to them."},
    {.path = "trusted.users",
     .type = OPTION_USERS,
     .fallback = "[]",
     .flags = OPTION_APPENDS,
     .offset = AT(trusted.users),
     .help = "SASL users."},

    {.path = "shadow",
     .type = OPTION_STRINGS,
     .fallback = "[]",
     .offset = AT(shadow),
     .help = "Checks, and \"limits/NAME\", that only log what they would do."},

    {.path = "limits",
     .type = OPTION_LIMITS,
     .fallback = "[]",
     .flags = OPTION_APPENDS,
     .offset = NOWHERE,
     .help = "How much may be relayed."},
    {.path = "limits[]", .type = OPTION_SECTION, .help = "One limit."},
    {.path = "limits[].name",
     .type = OPTION_TEXT,
     .check = check_limit_name,
     .flags = OPTION_REQUIRED,
     .offset = IN_LIMIT(name),
     .help = "Its name in logs, replies and metrics."},
    {.path = "limits[].per",
     .type = OPTION_CHOICES,
     .choices = per_choices,
     .flags = OPTION_REQUIRED,
     .offset = IN_LIMIT(per),
     .help = "What is counted per: one subject or an array of them."},
    {.path = "limits[].count",
     .type = OPTION_CHOICE,
     .choices = count_choices,
     .flags = OPTION_REQUIRED,
     .offset = IN_LIMIT(count),
     .help = "What is counted."},
    {.path = "limits[].max",
     .type = OPTION_AMOUNT,
     .flags = OPTION_REQUIRED,
     .offset = IN_LIMIT(max),
     .help = "How much fits; 0 lets nothing through."},
    {.path = "limits[].window",
     .type = OPTION_TIME,
     .min = 1,
     .max = SECONDS_MAX_YEAR,
     .offset = IN_LIMIT(window_s),
     .help = "The sliding window; none for a limit per message."},
    {.path = "limits[].over",
     .type = OPTION_OVER,
     .choices = over_choices,
     .offset = NOWHERE,
     .help = "What happens to what does not fit; \"defer\" unless said."},
    {.path = "limits[].block",
     .type = OPTION_TIME,
     .max = SECONDS_MAX_YEAR,
     .state = OPTION_NOT_BUILT,
     .note = "blocking by a limit",
     .offset = IN_LIMIT(block_s),
     .help = "Also block the subject for this long."},
    {.path = "limits[].when",
     .type = OPTION_SECTION,
     .help = "The limit counts only when all of this holds."},
    {.path = "limits[].when.authenticated",
     .type = OPTION_TERNARY,
     .offset = IN_LIMIT(when.authenticated),
     .help = "The session is authenticated, or is not."},
    {.path = "limits[].when.trusted",
     .type = OPTION_TERNARY,
     .offset = IN_LIMIT(when.trusted),
     .help = "The client or user is trusted, or is not."},
    {.path = "limits[].when.relayed",
     .type = OPTION_TERNARY,
     .offset = IN_LIMIT(when.relayed),
     .help = "A recipient was granted by Postern, or none was."},
    {.path = "limits[].when.ports",
     .type = OPTION_PORTS,
     .flags = OPTION_NOT_EMPTY,
     .offset = IN_LIMIT(when.ports),
     .help = "The session came to one of these ports."},
    {.path = "limits[].when.hosts",
     .type = OPTION_HOSTS,
     .flags = OPTION_NOT_EMPTY,
     .offset = IN_LIMIT(when.hosts),
     .help = "The client is one of these."},
    {.path = "limits[].when.users",
     .type = OPTION_USERS,
     .flags = OPTION_NOT_EMPTY,
     .offset = IN_LIMIT(when.users),
     .help = "The SASL user is one of these."},
    {.path = "limits[].when.sender_domains",
     .type = OPTION_ADDRESSES,
     .check = check_domain_entry,
     .flags = OPTION_NOT_EMPTY,
     .offset = IN_LIMIT(when.sender_domains),
     .help = "The envelope sender's domain is one of these."},
    {.path = "limits[].override",
     .type = OPTION_MAXIMA,
     .offset = NOWHERE,
     .help = "A subject, @domain or CIDR range to another max; null for none."},

    {.path = "redis",
     .type = OPTION_SECTION,
     .state = OPTION_NOT_BUILT,
     .note = "counting in Redis",
     .help = "Counters shared by several nodes; absent: they live in the daemon."},
    {.path = "redis.servers",
     .type = OPTION_STRINGS,
     .fallback = "[\"127.0.0.1:6379\"]",
     .check = check_server,
     .offset = NOWHERE,
     .help = "Servers, sentinels or cluster nodes."},
    {.path = "redis.mode",
     .type = OPTION_CHOICE,
     .fallback = "\"standalone\"",
     .choices = mode_choices,
     .offset = NOWHERE,
     .help = "What the servers are."},
    {.path = "redis.master",
     .type = OPTION_TEXT,
     .fallback = "\"mymaster\"",
     .offset = NOWHERE,
     .help = "The master's name, for sentinels."},
    {.path = "redis.username",
     .type = OPTION_TEXT,
     .fallback = "\"\"",
     .flags = OPTION_EMPTY_OK,
     .offset = NOWHERE,
     .help = "ACL user."},
    {.path = "redis.password_file",
     .type = OPTION_PATH,
     .fallback = "\"\"",
     .flags = OPTION_EMPTY_OK,
     .offset = NOWHERE,
     .help = "File that holds the password."},
    {.path = "redis.db",
     .type = OPTION_COUNT,
     .fallback = "0",
     .max = 65535,
     .offset = NOWHERE,
     .help = "Database number."},
    {.path = "redis.prefix",
     .type = OPTION_TEXT,
     .fallback = "\"postern:\"",
     .flags = OPTION_EMPTY_OK,
     .offset = NOWHERE,
     .help = "What every key begins with."},
    {.path = "redis.timeout",
     .type = OPTION_TIME_MS,
     .fallback = "\"100ms\"",
     .min = 1,
     .max = 10000,
     .offset = NOWHERE,
     .help = "No mail waits longer for Redis."},
    {.path = "redis.on_failure",
     .type = OPTION_CHOICE,
     .fallback = "\"local\"",
     .choices = on_failure_choices,
     .offset = NOWHERE,
     .help = "What counts while Redis is away."},
    {.path = "nodes",
     .type = OPTION_COUNT,
     .fallback = "1",
     .min = 1,
     .max = 1000,
     .offset = AT(nodes),
     .help = "How many nodes share the limits."},

    {.path = "geoip", .type = OPTION_SECTION, .help = "Where a client is."},
    {.path = "geoip.country",
     .type = OPTION_PATH,
     .fallback = "\"\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_BUILT,
     .note = "looking at countries",
     .offset = AT(geoip_country),
     .help = "Country database (MaxMind DB)."},

    {.path = "dns", .type = OPTION_SECTION, .help = "Name resolution."},
    {.path = "dns.servers",
     .type = OPTION_STRINGS,
     .fallback = "[]",
     .check = check_dns_server,
     .state = OPTION_NOT_WRITTEN,
     .note = "nothing asks these servers yet",
     .offset = AT(dns_servers),
     .help = "Servers to ask; by default those of resolv.conf."},
    {.path = "dns.timeout",
     .type = OPTION_TIME_MS,
     .fallback = "\"2s\"",
     .min = 10,
     .max = 60000,
     .offset = AT(dns_timeout_ms),
     .help = "How long an answer may take."},

    {.path = "policyd", .type = OPTION_SECTION, .help = "The policy daemon."},
    {.path = "policyd.listen",
     .type = OPTION_ENDPOINTS,
     .fallback = "[\"unix:/var/spool/postfix/postern/policy\"]",
     .offset = AT(policyd.listen),
     .help = "Addresses to listen on; not opened with socket activation."},
    {.path = "policyd.socket_mode",
     .type = OPTION_MODE,
     .fallback = "\"0660\"",
     .offset = AT(policyd.socket_mode),
     .help = "Mode of unix sockets."},
    {.path = "policyd.socket_group",
     .type = OPTION_TEXT,
     .fallback = "\"postfix\"",
     .check = check_account,
     .flags = OPTION_EMPTY_OK,
     .offset = AT(policyd.socket_group),
     .help = "Group of unix sockets; \"\": unchanged."},
    {.path = "policyd.user",
     .type = OPTION_TEXT,
     .fallback = "\"\"",
     .check = check_account,
     .flags = OPTION_EMPTY_OK,
     .offset = AT(policyd.user),
     .help = "User to become when started as root; \"\": stay."},
    {.path = "policyd.workers",
     .type = OPTION_COUNT,
     .fallback = "0",
     .max = 256,
     .offset = AT(policyd.workers),
     .help = "Event loops; 0: one per core."},
    {.path = "policyd.max_connections",
     .type = OPTION_COUNT,
     .fallback = "10000",
     .min = 1,
     .max = 1000000,
     .offset = AT(policyd.max_connections),
     .help = "Connections at a time."},
    {.path = "policyd.idle_timeout",
     .type = OPTION_TIME,
     .fallback = "\"10m\"",
     .min = 1,
     .max = SECONDS_MAX_DAY,
     .offset = AT(policyd.idle_timeout_s),
     .help = "A connection without a request is closed after this time."},
    {.path = "policyd.charge_at",
     .type = OPTION_CHOICE,
     .fallback = "\"end-of-message\"",
     .choices = charge_choices,
     .offset = AT(policyd.charge_at),
     .help = "The protocol state at which limits are charged."},
    {.path = "policyd.control",
     .type = OPTION_ENDPOINT,
     .fallback = "\"unix:/run/postern/policyd\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_WRITTEN,
     .note = "no control socket is opened yet",
     .offset = AT(policyd.control),
     .help = "Socket of the operator's command."},
    {.path = "policyd.login_socket",
     .type = OPTION_ENDPOINT,
     .fallback = "\"\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_BUILT,
     .note = "a socket for logins",
     .offset = AT(policyd.login_socket),
     .help = "A second control socket that takes logins alone."},
    {.path = "policyd.login_mode",
     .type = OPTION_MODE,
     .fallback = "\"0660\"",
     .offset = NOWHERE,
     .help = "Mode of login_socket."},
    {.path = "policyd.login_group",
     .type = OPTION_TEXT,
     .fallback = "\"\"",
     .check = check_account,
     .flags = OPTION_EMPTY_OK,
     .offset = NOWHERE,
     .help = "Group of login_socket; \"\": unchanged."},
    {.path = "policyd.state",
     .type = OPTION_PATH,
     .fallback = "\"/var/lib/postern/state.json\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_WRITTEN,
     .note = "counters do not survive a restart yet",
     .offset = AT(policyd.state),
     .help = "File in which the counters survive a restart; \"\" is off."},
    {.path = "policyd.status",
     .type = OPTION_ENDPOINT,
     .fallback = "\"127.0.0.1:8725\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_WRITTEN,
     .note = "no status page is served yet",
     .offset = AT(policyd.status),
     .help = "Address of status page and metrics; \"\" is off."},

    {.path = "milter", .type = OPTION_SECTION, .help = "The milter."},
    {.path = "milter.listen",
     .type = OPTION_ENDPOINTS,
     .fallback = "[\"unix:/var/spool/postfix/postern/milter\"]",
     .offset = AT(milter.listen),
     .help = "Addresses to listen on; not opened with socket activation."},
    {.path = "milter.socket_mode",
     .type = OPTION_MODE,
     .fallback = "\"0660\"",
     .offset = AT(milter.socket_mode),
     .help = "Mode of unix sockets."},
    {.path = "milter.socket_group",
     .type = OPTION_TEXT,
     .fallback = "\"postfix\"",
     .check = check_account,
     .flags = OPTION_EMPTY_OK,
     .offset = AT(milter.socket_group),
     .help = "Group of unix sockets; \"\": unchanged."},
    {.path = "milter.user",
     .type = OPTION_TEXT,
     .fallback = "\"\"",
     .check = check_account,
     .flags = OPTION_EMPTY_OK,
     .offset = AT(milter.user),
     .help = "User to become when started as root; \"\": stay."},
    {.path = "milter.children",
     .type = OPTION_COUNT,
     .fallback = "1",
     .min = 1,
     .max = 64,
     .offset = AT(milter.children),
     .help = "Processes that do the work."},
    {.path = "milter.control",
     .type = OPTION_ENDPOINT,
     .fallback = "\"unix:/run/postern/milter\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_WRITTEN,
     .note = "no control socket is opened yet",
     .offset = AT(milter.control),
     .help = "Socket of the operator's command."},
    {.path = "milter.status",
     .type = OPTION_ENDPOINT,
     .fallback = "\"127.0.0.1:8726\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_WRITTEN,
     .note = "no status page is served yet",
     .offset = AT(milter.status),
     .help = "Address of status page and metrics; \"\" is off."},
    {.path = "milter.dkim", .type = OPTION_SECTION, .help = "Signatures."},
    {.path = "milter.dkim.keys",
     .type = OPTION_KEYS,
     .fallback = "{}",
     .offset = NOWHERE,
     .help = "Key names, as domains use them."},
    {.path = "milter.dkim.keys.*", .type = OPTION_SECTION, .help = "One key."},
    {.path = "milter.dkim.keys.*.selector",
     .type = OPTION_TEXT,
     .check = check_selector,
     .flags = OPTION_REQUIRED,
     .offset = IN_KEY(config.selector),
     .help = "Selector, the s= of the signature."},
    {.path = "milter.dkim.keys.*.file",
     .type = OPTION_PATH,
     .flags = OPTION_REQUIRED,
     .offset = IN_KEY(config.file),
     .help = "Private key, PEM."},
    {.path = "milter.dkim.keys.*.domain",
     .type = OPTION_DOMAIN,
     .offset = IN_KEY(config.domain),
     .help = "Fixes d=; by default the author domain."},
    {.path = "milter.dkim.keys.*.require_dns",
     .type = OPTION_TERNARY,
     .offset = IN_KEY(require_dns),
     .help = "For this key instead of milter.dkim.require_dns."},
    {.path = "milter.dkim.canonicalization",
     .type = OPTION_CHOICE,
     .fallback = "\"relaxed/relaxed\"",
     .choices = canonicalization_choices,
     .offset = PRIVATE(canonicalization),
     .help = "Of header and body."},
    {.path = "milter.dkim.oversign",
     .type = OPTION_STRINGS,
     .fallback = "[\"from\", \"to\", \"cc\", \"subject\", \"date\", \"reply-to\", "
		 "\"mime-version\", \"content-type\"]",
     .check = check_signed_header,
     .flags = OPTION_LOWER,
     .offset = AT(milter.dkim.oversign),
     .help = "Headers that nobody may add to after signing."},
    {.path = "milter.dkim.require_dns",
     .type = OPTION_BOOL,
     .fallback = "true",
     .offset = PRIVATE(require_dns),
     .help = "Sign only once the published record matches the key."},
    {.path = "milter.dkim.recheck",
     .type = OPTION_TIME,
     .fallback = "\"5m\"",
     .min = 10,
     .max = SECONDS_MAX_DAY,
     .offset = AT(milter.dkim.recheck_s),
     .help = "How often published records are looked at."},
    {.path = "milter.dkim.settle",
     .type = OPTION_TIME,
     .fallback = "\"1h\"",
     .max = SECONDS_MAX_MONTH,
     .offset = AT(milter.dkim.settle_s),
     .help = "How long DNS must have shown a new key before it takes over."},
    {.path = "milter.dkim.state",
     .type = OPTION_PATH,
     .fallback = "\"/var/lib/postern/dkim.json\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_WRITTEN,
     .note = "nothing is kept there yet",
     .offset = AT(milter.dkim.state),
     .help = "File that keeps what DNS showed; \"\" is off."},
    {.path = "milter.dkim.match",
     .type = OPTION_CHOICE,
     .fallback = "\"envelope\"",
     .choices = match_choices,
     .offset = AT(milter.dkim.match),
     .help = "What the author domain must agree with."},
    {.path = "milter.dkim.on_error",
     .type = OPTION_CHOICE,
     .fallback = "\"tempfail\"",
     .choices = on_error_choices,
     .offset = PRIVATE(on_error),
     .help = "What happens to mail when signing itself fails."},
    {.path = "milter.mask", .type = OPTION_SECTION, .help = "Masked Received headers."},
    {.path = "milter.mask.ports",
     .type = OPTION_PORTS,
     .fallback = "[587, 465]",
     .offset = AT(milter.mask.ports),
     .help = "Ports whose mail is masked."},
    {.path = "milter.mask.upstream",
     .type = OPTION_CHOICE,
     .fallback = "\"mask\"",
     .choices = upstream_choices,
     .offset = AT(milter.mask.upstream),
     .help = "What happens to Received headers that came along."},
    {.path = "milter.mask.remove",
     .type = OPTION_STRINGS,
     .fallback = "[\"X-Originating-IP\"]",
     .check = check_removed_header,
     .offset = AT(milter.mask.remove),
     .help = "Headers that are removed."},
    {.path = "milter.mask.token_keys",
     .type = OPTION_STRINGS,
     .fallback = "[]",
     .state = OPTION_NOT_BUILT,
     .note = "a sealed token in masked headers",
     .offset = AT(milter.mask.token_keys),
     .help = "Key files of the token; the first seals, all open."},

    {.path = "log", .type = OPTION_SECTION, .help = "Logging."},
    {.path = "log.level",
     .type = OPTION_CHOICE,
     .fallback = "\"info\"",
     .choices = level_choices,
     .offset = AT(log.level),
     .help = "The least severe lines that are logged."},
    {.path = "log.decisions",
     .type = OPTION_PATH,
     .fallback = "\"/var/log/postern/decisions.jsonl\"",
     .flags = OPTION_EMPTY_OK,
     .state = OPTION_NOT_WRITTEN,
     .note = "no decision log is written yet",
     .offset = AT(log.decisions),
     .help = "One JSON line per message and refusal; \"\" is off."},

    {.path = "notify", .type = OPTION_SECTION, .help = "Telling somebody."},
    {.path = "notify.command",
     .type = OPTION_STRINGS,
     .fallback = "[]",
     .state = OPTION_NOT_BUILT,
     .note = "running a command on events",
     .offset = NOWHERE,
     .help = "Program and arguments; one JSON object on its standard input."},
    {.path = "notify.events",
     .type = OPTION_STRINGS,
     .fallback = "[\"block\", \"over\", \"redis\", \"dkim\"]",
     .choices = event_choices,
     .offset = NOWHERE,
     .help = "The events it is run for."},
};

const size_t config_options_count = sizeof(config_options) / sizeof(config_options[0]);

/* The part of a child's path behind its parent's, or NULL when it is not below it. */
static const char *below(size_t parent, size_t row)
{
	const char *path = config_options[row].path;
	if (parent == SIZE_MAX)
		return path;
	size_t len = strlen(config_options[parent].path);
	if (strncmp(path, config_options[parent].path, len) != 0)
		return NULL;
	return path[len] == '.' ? path + len + 1 : path[len] == '[' ? path + len : NULL;
}

size_t config_option_next_child(size_t parent, size_t after)
{
	size_t row = after != SIZE_MAX ? after + 1 : parent == SIZE_MAX ? 0 : parent + 1;
	for (; row < config_options_count; row++) {
		const char *rest = below(parent, row);
		if (!rest)
			break;
		if (!strpbrk(rest, ".[") || strcmp(rest, "[]") == 0)
			return row;
	}
	return SIZE_MAX;
}

size_t config_option_child(size_t parent, const char *key, size_t key_len)
{
	for (size_t row = config_option_next_child(parent, SIZE_MAX); row != SIZE_MAX;
	     row = config_option_next_child(parent, row)) {
		const char *name = config_option_name(&config_options[row]);
		if (strlen(name) == key_len && memcmp(name, key, key_len) == 0)
			return row;
	}
	return SIZE_MAX;
}

size_t config_option_find(const char *path)
{
	for (size_t row = 0; row < config_options_count; row++)
		if (strcmp(config_options[row].path, path) == 0)
			return row;
	return SIZE_MAX;
}

const char *config_option_name(const struct config_option *option)
{
	const char *dot = strrchr(option->path, '.');
	return dot ? dot + 1 : option->path;
}

bool config_option_is_in_item(const struct config_option *option)
{
	return strpbrk(option->path, "*[") != NULL;
}

static const char *choices_text(
    const struct config_option *option, const char *lead, char *buf, size_t size)
{
	int used = snprintf(buf, size, "%s", lead);
	const char *comma = "";
	for (const struct option_choice *c = option->choices; c->name; c++) {
		if (used < 0 || (size_t)used >= size)
			break;
		used +=
		    snprintf(buf + used, size - (size_t)used, "%s\"%s\"", comma, c->name);
		comma = ", ";
	}
	return buf;
}

const char *config_option_expects(
    const struct config_option *option, char *buf, size_t size)
{
	char low[32], high[32];

	switch (option->type) {
	case OPTION_SECTION:
	case OPTION_DOMAINS:
	case OPTION_KEYS:
		return "an object { ... }";
	case OPTION_INCLUDE:
		return "an array of file names and patterns";
	case OPTION_BOOL:
	case OPTION_TERNARY:
		return "true or false";
	case OPTION_COUNT:
		snprintf(
		    buf, size, "a whole number from %llu to %llu",
		    (unsigned long long)option->min, (unsigned long long)option->max);
		return buf;
	case OPTION_AMOUNT:
		return "a whole number, or a size such as \"25M\"";
	case OPTION_TIME:
		snprintf(
		    buf, size, "a time with its unit from \"%s\" to \"%s\"",
		    time_print(option->min * 1000, low),
		    time_print(option->max * 1000, high));
		return buf;
	case OPTION_TIME_MS:
		snprintf(
		    buf, size, "a time with its unit from \"%s\" to \"%s\"",
		    time_print(option->min, low), time_print(option->max, high));
		return buf;
	case OPTION_CHOICE:
		return choices_text(option, "one of ", buf, size);
	case OPTION_CHOICES:
		return choices_text(option, "one or an array of ", buf, size);
	case OPTION_OVER:
		return choices_text(
		    option, "\"filter:TRANSPORT:NEXTHOP\" or one of ", buf, size);
	case OPTION_TEXT:
		return "a string";
	case OPTION_DOMAIN:
		return "a domain name";
	case OPTION_PATH:
		return "a file name";
	case OPTION_ENDPOINT:
		return "an address: unix:PATH, HOST:PORT or [V6]:PORT";
	case OPTION_ENDPOINTS:
		return "an array of addresses: unix:PATH, HOST:PORT or [V6]:PORT";
	case OPTION_MODE:
		return "an octal mode in quotes, such as \"0660\"";
	case OPTION_PORTS:
		return "an array of ports from 1 to 65535";
	case OPTION_STRINGS:
		if (option->choices)
			return choices_text(option, "an array of ", buf, size);
		return "an array of strings";
	case OPTION_NAMES:
		return "an array of key names";
	case OPTION_HOSTS:
		return "an array of hosts, each a string";
	case OPTION_ADDRESSES:
		return "an array of mail addresses and domains, each a string";
	case OPTION_USERS:
		return "an array of SASL user names and @realms, each a string";
	case OPTION_RELAY_HOSTS:
		return "an array of hosts, each a string or an object";
	case OPTION_RELAY_USERS:
		return "true, false or an array of SASL user names and @realms";
	case OPTION_SENDER_LOGINS:
		return "an array of strings \"sender user[,user]\"";
	case OPTION_LIMITS:
		return "an array of objects";
	case OPTION_MAXIMA:
		return "an object of names, each with a whole number, a size or null";
	case OPTION_TYPE_COUNT:
		break;
	}
	return "something else";
}
