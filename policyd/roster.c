/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/roster.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "policyd/ledger.h"
#include "policyd/redis_link.h"
#include "policyd/roster_set.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define TICK_S 1

/* Everything is read again so often, whatever the numbers say: a master may have lost
 * writes and counted on. */
#define WHOLE_S 600

/* The same trouble is not told again within so many seconds. */
#define TELL_S 60

enum set_id { SET_BLOCKS, SET_LOGINS, SETS };

static const struct roster_set_rules rules[SETS] = {
    [SET_BLOCKS] = {"blocks", BLOCKS_MAX, LEDGER_REFUSE, blocks_accept},
    [SET_LOGINS] = {"logins", LOGINS_MAX, LEDGER_DROP_OLDEST, logins_accept},
};

struct waiter {
	struct waiter *next;
	uint64_t change[SETS];
	roster_told *told;
	void *context;
};

struct roster {
	struct event_base *base;
	struct config *config;
	struct roster_place place;
	struct logins *logins;
	struct roster_set sets[SETS];
	struct event *tick, *wake;
	int wake_fd;
	bool away;
	int64_t told_ms;
	char trouble[200];
	struct waiter *waiters;
};

static int64_t steady_ms(const struct roster *roster)
{
	struct moment now;

	ledger_now(roster->sets[SET_BLOCKS].ledger, &now);
	return now.steady_ms;
}

static void want(struct roster *roster, enum roster_want what)
{
	for (unsigned i = 0; i < SETS; i++)
		roster_set_want(&roster->sets[i], what);
}

/* ---- who waits ---- */

static bool is_told(const struct roster *roster, const struct waiter *waiter)
{
	for (unsigned i = 0; i < SETS; i++) {
		uint64_t oldest = ledger_oldest_waiting(roster->sets[i].ledger);
		if (oldest != 0 && oldest <= waiter->change[i])
			return false;
	}
	return true;
}

/* @give_up: those that are not told will not be now. */
static void tell_waiters(struct roster *roster, bool give_up)
{
	struct waiter **place = &roster->waiters, *ready = NULL;

	while (*place) {
		struct waiter *waiter = *place;
		if (!give_up && !is_told(roster, waiter)) {
			place = &waiter->next;
			continue;
		}
		*place = waiter->next;
		waiter->next = ready;
		ready = waiter;
	}
	while (ready) {
		struct waiter *waiter = ready;
		ready = waiter->next;
		waiter->told(waiter->context, !give_up || is_told(roster, waiter));
		free(waiter);
	}
}

/* ---- what comes of it ---- */

static void on_away(void *context, const char *why, bool unheard)
{
	struct roster *roster = context;
	int64_t now = steady_ms(roster);

	snprintf(roster->trouble, sizeof(roster->trouble), "%s", why);
	for (unsigned i = 0; i < SETS; i++)
		roster_set_away(&roster->sets[i]);
	logins_set_complete(roster->logins, false);
	roster->away = true;
	if (unheard && (!roster->told_ms || now - roster->told_ms > TELL_S * 1000)) {
		log_error(
		    "redis: %s{roster}: %s; blocks and logins of other nodes are not "
		    "heard, this node goes on with those it knows; see who else writes "
		    "there, or give redis.prefix another value",
		    roster->place.prefix, why);
		roster->told_ms = now;
	}
	tell_waiters(roster, true);
}

static void on_changed(void *context)
{
	tell_waiters(context, false);
}

static void on_complete(void *context)
{
	struct roster *roster = context;

	if (roster->sets[SET_LOGINS].is_complete)
		logins_set_complete(roster->logins, true);
	for (unsigned i = 0; i < SETS; i++)
		if (!roster->sets[i].is_complete)
			return;
	roster->trouble[0] = '\0';
	roster->away = false;
}

static const struct roster_set_events set_events = {on_away, on_changed, on_complete};

/* ---- when to look ---- */

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct roster *roster = context;
	int64_t now = steady_ms(roster);

	for (unsigned i = 0; i < SETS; i++) {
		struct roster_set *set = &roster->sets[i];
		ledger_prune(set->ledger);
		if (now - set->whole_at_ms > WHOLE_S * 1000)
			roster_set_want(set, ROSTER_WANT_WHOLE);
		else
			roster_set_want(set, ROSTER_WANT_NEW);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct roster *roster = context;
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
	/* While Redis is away the tick asks often enough. */
	if (!roster->away)
		want(roster, ROSTER_WANT_WRITE);
}

/* Any thread. */
static void on_own_change(void *context)
{
	struct roster *roster = context;
	uint64_t one = 1;

	(void)!write(roster->wake_fd, &one, sizeof(one));
}

static void on_message(void *context, const char *data, size_t len)
{
	(void)data, (void)len;
	want(context, ROSTER_WANT_NEW);
}

static void on_lost(void *context)
{
	want(context, ROSTER_WANT_WHOLE);
}

/* ---- the configuration ---- */

static void leave_redis(struct roster *roster)
{
	/* Answers that come now are of no interest any more. */
	redis_link_free(TAKE(roster->place.link));
	for (unsigned i = 0; i < SETS; i++)
		roster_set_leave(&roster->sets[i]);
	roster->trouble[0] = '\0';
	roster->away = false;
	tell_waiters(roster, true);
	logins_set_complete(roster->logins, true);
}

static int join_redis(struct roster *roster, const char *prefix)
{
	struct roster_place *place = &roster->place;
	int r = redis_link_new(roster->base, "blocks and logins", &place->link);

	if (r < 0)
		return r;
	snprintf(place->prefix, sizeof(place->prefix), "%s", prefix);
	snprintf(
	    place->channel, sizeof(place->channel), "%s{roster}:changes", place->prefix);
	for (unsigned i = 0; i < SETS; i++)
		roster_set_join(&roster->sets[i]);
	logins_set_complete(roster->logins, false);
	return redis_link_subscribe(
	    place->link, place->channel, on_message, on_lost, roster);
}

void roster_set(struct roster *roster, struct config *config)
{
	struct roster_place *place = &roster->place;

	if (config == roster->config)
		return;
	struct config *old = roster->config;
	roster->config = config_ref(config);
	config_unref(old);
	if (place->link &&
	    (!config->has_redis || strcmp(config->redis.prefix, place->prefix) != 0))
		leave_redis(roster);
	if (!config->has_redis)
		return;
	int r = place->link ? 0 : join_redis(roster, config->redis.prefix);
	if (r < 0) {
		log_error(
		    "blocks and logins are not shared until the next reload: %s",
		    strerror(-r));
		leave_redis(roster);
		return;
	}
	redis_link_set(place->link, config);
	want(roster, ROSTER_WANT_NEW);
}

void roster_when_told(struct roster *roster, roster_told *told, void *context)
{
	struct waiter *waiter =
	    roster->place.link && !roster->away ? calloc(1, sizeof(*waiter)) : NULL;

	if (!waiter) {
		told(context, false);
		return;
	}
	waiter->told = told;
	waiter->context = context;
	waiter->next = roster->waiters;
	roster->waiters = waiter;
	for (unsigned i = 0; i < SETS; i++)
		waiter->change[i] = ledger_last_change(roster->sets[i].ledger);
	want(roster, ROSTER_WANT_WRITE);
	tell_waiters(roster, false);
}

void roster_state(const struct roster *roster, struct roster_state *ret)
{
	ret->configured = roster->place.link != NULL;
	ret->shares = ret->configured && !roster->away &&
		      roster->sets[SET_BLOCKS].is_complete &&
		      roster->sets[SET_LOGINS].is_complete;
	snprintf(ret->trouble, sizeof(ret->trouble), "%s", roster->trouble);
}

/* ---- life ---- */

struct roster *roster_free(struct roster *roster)
{
	if (!roster)
		return NULL;
	leave_redis(roster);
	for (unsigned i = 0; i < SETS; i++)
		ledger_on_change(roster->sets[i].ledger, NULL, NULL);
	if (roster->tick)
		event_free(roster->tick);
	if (roster->wake)
		event_free(roster->wake);
	if (roster->wake_fd >= 0)
		close(roster->wake_fd);
	config_unref(roster->config);
	free(roster);
	return NULL;
}

DEFINE_CLEANUP(struct roster, roster_free)

static int prepare_events(struct roster *roster)
{
	static const struct timeval often = {.tv_sec = TICK_S};

	roster->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (roster->wake_fd < 0)
		return -errno;
	roster->wake = event_new(
	    roster->base, roster->wake_fd, EV_READ | EV_PERSIST, on_wake, roster);
	roster->tick = event_new(roster->base, -1, EV_PERSIST, on_tick, roster);
	if (!roster->wake || !roster->tick || event_add(roster->wake, NULL) < 0 ||
	    event_add(roster->tick, &often) < 0)
		return -ENOMEM;
	return 0;
}

int roster_new(
    struct event_base *base, struct blocks *blocks, struct logins *logins,
    struct roster **ret)
{
	CLEANUP(roster_freep) struct roster *roster = calloc(1, sizeof(*roster));
	struct ledger *const ledgers[SETS] = {
	    [SET_BLOCKS] = blocks_ledger(blocks),
	    [SET_LOGINS] = logins_ledger(logins),
	};
	uint64_t nonce;

	if (!roster)
		return -ENOMEM;
	roster->base = base;
	roster->logins = logins;
	roster->wake_fd = -1;
	for (unsigned i = 0; i < SETS; i++)
		roster_set_init(
		    &roster->sets[i], &roster->place, &rules[i], ledgers[i], &set_events,
		    roster);
	if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
		return -EIO;
	snprintf(roster->place.nonce, sizeof(roster->place.nonce), "%016" PRIx64, nonce);
	int r = prepare_events(roster);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < SETS; i++)
		ledger_on_change(ledgers[i], on_own_change, roster);
	*ret = TAKE(roster);
	return 0;
}
