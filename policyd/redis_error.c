/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_error.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AWAY   REDIS_UNAVAILABLE
#define MENDED REDIS_CONFIGURATION

/* The longer of two that begin alike stands first. */
static const struct redis_error errors[] = {
    {"NOSCRIPT", REDIS_NO_SCRIPT, REDIS_ACTION_ANSWER, false, NULL},

    {"READONLY", AWAY, REDIS_ACTION_RESOLVE, true,
     "it is a replica now: Sentinel or redis.servers must name the master"},
    {"MASTERDOWN", AWAY, REDIS_ACTION_RESOLVE, true,
     "it is a replica that lost its master"},
    {"LOADING", AWAY, REDIS_ACTION_ANSWER, true, "it will be done with that by itself"},
    {"OOM", AWAY, REDIS_ACTION_ANSWER, true,
     "raise its maxmemory, or give Postern a Redis of its own"},
    {"MISCONF", AWAY, REDIS_ACTION_ANSWER, true,
     "its disk is full or not writable: see the log of Redis"},
    {"NOREPLICAS", AWAY, REDIS_ACTION_ANSWER, true,
     "bring its replicas back, or lower min-replicas-to-write"},
    {"BUSY", AWAY, REDIS_ACTION_ANSWER, true,
     "somebody's script runs for ever: SCRIPT KILL ends it"},
    {"UNKILLABLE", AWAY, REDIS_ACTION_ANSWER, true,
     "somebody's script runs for ever: restart Redis"},
    {"ERR max number of clients reached", AWAY, REDIS_ACTION_ANSWER, true,
     "raise its maxclients, or see who holds connections (CLIENT LIST)"},

    {"WRONGTYPE", REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false, NULL},
    {"CROSSSLOT", REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false, NULL},
    {"ERR value is not", REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false, NULL},
    {"ERR hash value is not", REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false, NULL},
    {"ERR user_script:", REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false, NULL},
    {"ERR Error running script", REDIS_BAD_KEY, REDIS_ACTION_ANSWER, false, NULL},

    {"NOAUTH", MENDED, REDIS_ACTION_ANSWER, true, "set redis.password_file"},
    {"WRONGPASS", MENDED, REDIS_ACTION_ANSWER, true,
     "mend redis.username or the file redis.password_file, then reload"},
    {"ERR invalid password", MENDED, REDIS_ACTION_ANSWER, true,
     "mend the file redis.password_file, then reload"},
    {"NOPERM", MENDED, REDIS_ACTION_ANSWER, true,
     "grant it with ACL SETUSER; postern.json(5) lists what is needed"},
    {"ERR The user executing the script", MENDED, REDIS_ACTION_ANSWER, true,
     "grant what the scripts call with ACL SETUSER; docs/redis.md lists it"},
    {"ERR ACL failure in script", MENDED, REDIS_ACTION_ANSWER, true,
     "grant what the scripts call with ACL SETUSER; docs/redis.md lists it"},
    {"DENIED", MENDED, REDIS_ACTION_ANSWER, true,
     "it is in protected mode: give it a password or a bind address"},
    {"ERR AUTH <password> called without any password", MENDED, REDIS_ACTION_ANSWER, true,
     "it wants no password: empty redis.password_file"},
    {"ERR Client sent AUTH, but no password", MENDED, REDIS_ACTION_ANSWER, true,
     "it wants no password: empty redis.password_file"},
    {"ERR DB index is out of range", MENDED, REDIS_ACTION_ANSWER, true,
     "it has fewer databases: mend redis.db"},
    {"ERR SELECT is not allowed in cluster mode", MENDED, REDIS_ACTION_ANSWER, true,
     "it is a cluster: set redis.mode"},
    {"ERR This instance has cluster support disabled", MENDED, REDIS_ACTION_ANSWER, true,
     "it is no cluster: set redis.mode"},
    {"ERR No such master with that name", MENDED, REDIS_ACTION_ANSWER, true,
     "mend redis.master"},
    {"ERR unknown command", MENDED, REDIS_ACTION_ANSWER, true,
     "that command was renamed or disabled there, or it is no Redis of 6.2 or later"},

    {"CLUSTERDOWN", AWAY, REDIS_ACTION_REFRESH, true,
     "bring its nodes back: redis-cli --cluster check"},
    {"MOVED", AWAY, REDIS_ACTION_MOVED, false,
     "it is a cluster: set redis.mode to cluster"},
    {"ASK", AWAY, REDIS_ACTION_ASK, false, "it is a cluster: set redis.mode to cluster"},
    {"TRYAGAIN", AWAY, REDIS_ACTION_AGAIN, false, NULL},

    {"", AWAY, REDIS_ACTION_ANSWER, true, NULL},
};

#define COUNT (sizeof(errors) / sizeof(errors[0]))
_Static_assert(COUNT <= REDIS_ERRORS_MAX, "rows have a bit each");

/* Redis before 7: "ERR Error running script (call to f_...): @user_script:1: -OOM ...",
 * and without a code what its ACL does not allow there. */
static const char *inner_error(const char *text, size_t len, size_t *ret_len)
{
	static const char outer[] = "ERR Error running script", mark[] = ": -";
	static const char denied[] = "The user executing the script";
	static const char row[] = "ERR The user executing the script";
	if (len < sizeof(outer) || memcmp(text, outer, sizeof(outer) - 1) != 0)
		return NULL;
	if (memmem(text, len, denied, sizeof(denied) - 1)) {
		*ret_len = sizeof(row) - 1;
		return row;
	}
	const char *found = memmem(text, len, mark, sizeof(mark) - 1);
	if (!found)
		return NULL;
	found += sizeof(mark) - 1;
	*ret_len = len - (size_t)(found - text);
	return found;
}

static const struct redis_error *find(const char *text, size_t len)
{
	size_t i = 0;
	for (; i < COUNT - 1; i++) {
		size_t n = strlen(errors[i].begins);
		if (len >= n && memcmp(text, errors[i].begins, n) == 0)
			break;
	}
	return &errors[i];
}

const struct redis_error *redis_error_find(const char *text, size_t len)
{
	size_t inner_len = 0;
	assert(text);
	const char *inner = inner_error(text, len, &inner_len);
	if (inner) {
		const struct redis_error *error = find(inner, inner_len);
		if (error->begins[0])
			return error;
	}
	return find(text, len);
}

unsigned redis_error_index(const struct redis_error *error)
{
	return (unsigned)(error - errors);
}

/* A whole number under @limit, and nothing else. */
static bool parse_number(const char *text, unsigned limit, unsigned *ret)
{
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 5 || text[digits] != '\0')
		return false;
	*ret = (unsigned)strtoul(text, NULL, 10);
	return *ret < limit;
}

bool redis_redirect_parse(const char *text, size_t len, struct redis_redirect *ret)
{
	char line[320], *rest = line;
	unsigned port;

	if (len >= sizeof(line) || memchr(text, '\0', len))
		return false;
	memcpy(line, text, len);
	line[len] = '\0';
	(void)strsep(&rest, " "); /* MOVED or ASK */
	const char *slot = strsep(&rest, " ");
	if (!slot || !rest || strchr(rest, ' ') || !parse_number(slot, 16384, &ret->slot))
		return false;
	/* An IPv6 address stands there without brackets: the last colon counts. */
	char *colon = strrchr(rest, ':');
	if (!colon || (size_t)(colon - rest) >= sizeof(ret->host) ||
	    !parse_number(colon + 1, 65536, &port) || port == 0)
		return false;
	*colon = '\0';
	strcpy(ret->host, rest);
	snprintf(ret->port, sizeof(ret->port), "%u", port & 0xFFFF);
	return true;
}
