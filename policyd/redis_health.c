/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_health.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/printable.h"
#include "policyd/redis_news.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* By then the link has found out whether its connection is to blame. */
#define SLOW_AFTER_S 2

#define BAD_KEY_EVERY_S 60
#define LOST_EVERY_S    3
#define MISSED_EVERY_S  60

static struct {
	pthread_mutex_t lock;
	unsigned away; /* loops */
	int64_t since_s;
	bool slow_said;
	bool bad_key_said;
	int64_t bad_key_s;
	unsigned long bad_keys_silent;
	bool lost_said;
	int64_t lost_s;
	char policy[64]; /* the last one that was warned of */
	bool missed_said;
	int64_t missed_s, missed_since_ms;
	char missed_error[200], missed_remedy[80]; /* of the last one */
} health = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Answers that were missing since that was told, or a cause was. */
static atomic_ulong missed;

static int64_t clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec;
}

static void set_up(bool up)
{
	metrics_set(metrics_series(METRIC_STORE_UP, "redis", NULL), up);
}

/* What limits do meanwhile. */
static void print_meanwhile(
    enum store_failure on_failure, unsigned nodes, char buf[static 120])
{
	switch (on_failure) {
	case STORE_FAILURE_LOCAL:
		snprintf(
		    buf, 120, "limits count in this daemon alone, up to 1/%u of each max",
		    nodes);
		break;
	case STORE_FAILURE_ALLOW:
		snprintf(buf, 120, "limits let everything pass, uncounted");
		break;
	case STORE_FAILURE_DEFER:
		snprintf(buf, 120, "mail under a limit is deferred with 451");
		break;
	}
}

void redis_health_away(void)
{
	pthread_mutex_lock(&health.lock);
	bool first = health.away++ == 0;
	if (first) {
		health.since_s = clock_s();
		health.slow_said = false;
	}
	pthread_mutex_unlock(&health.lock);
	if (first)
		set_up(false);
}

void redis_health_slow(
    enum store_failure on_failure, unsigned nodes, const char *server, const char *error)
{
	char meanwhile[120] = "";

	pthread_mutex_lock(&health.lock);
	bool say = health.away > 0 && !health.slow_said &&
		   clock_s() - health.since_s >= SLOW_AFTER_S;
	health.slow_said = health.slow_said || say;
	pthread_mutex_unlock(&health.lock);
	if (!say)
		return;
	print_meanwhile(on_failure, nodes, meanwhile);
	log_error(
	    "redis %s: does not answer limits within redis.timeout (%s); %s until it "
	    "does; "
	    "see to its load, or give it more time",
	    server, error, meanwhile);
}

void redis_health_back(void)
{
	pthread_mutex_lock(&health.lock);
	assert(health.away > 0);
	bool last = --health.away == 0, say = last && health.slow_said;
	int64_t after_s = clock_s() - health.since_s;
	if (say)
		atomic_store(&missed, 0);
	pthread_mutex_unlock(&health.lock);
	if (last)
		set_up(true);
	if (say)
		log_info(
		    "redis: answers limits in time again, after %lld s",
		    (long long)after_s);
}

void redis_health_why(const char *error, const char *remedy)
{
	if (!remedy)
		remedy = "see to its load, or raise redis.timeout";
	pthread_mutex_lock(&health.lock);
	snprintf(health.missed_error, sizeof(health.missed_error), "%s", error);
	snprintf(health.missed_remedy, sizeof(health.missed_remedy), "%s", remedy);
	pthread_mutex_unlock(&health.lock);
}

void redis_health_missed(void)
{
	if (atomic_fetch_add(&missed, 1) > 0)
		return;
	pthread_mutex_lock(&health.lock);
	health.missed_since_ms = redis_now_ms();
	pthread_mutex_unlock(&health.lock);
}

void redis_health_tell_missed(
    enum store_failure on_failure, unsigned nodes, const char *server)
{
	char meanwhile[120] = "", error[200], remedy[80];
	unsigned long count = 0;
	int64_t now_s = clock_s();

	if (atomic_load_explicit(&missed, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&health.lock);
	bool over = health.away == 0;
	bool known = over && redis_news_knew(health.missed_since_ms);
	bool say = over && !known &&
		   (!health.missed_said || now_s - health.missed_s >= MISSED_EVERY_S);
	if (known || say)
		count = atomic_exchange(&missed, 0);
	if (say) {
		health.missed_said = true;
		health.missed_s = now_s;
	}
	memcpy(error, health.missed_error, sizeof(error));
	memcpy(remedy, health.missed_remedy, sizeof(remedy));
	pthread_mutex_unlock(&health.lock);
	if (!say || count == 0)
		return;
	print_meanwhile(on_failure, nodes, meanwhile);
	log_warning(
	    "redis %s: no answer in time for the limits of %lu requests (%s); for such "
	    "%s; others are answered; %s",
	    server, count, error, meanwhile, remedy);
}

void redis_health_answers(void)
{
	pthread_mutex_lock(&health.lock);
	if (health.away == 0)
		set_up(true);
	pthread_mutex_unlock(&health.lock);
}

void redis_health_bad_key(const char *key, size_t len, const char *error)
{
	char shown[400];
	int64_t now_s = clock_s();

	pthread_mutex_lock(&health.lock);
	bool say = !health.bad_key_said || now_s - health.bad_key_s >= BAD_KEY_EVERY_S;
	unsigned long silent = health.bad_keys_silent;
	health.bad_keys_silent = say ? 0 : silent + 1;
	if (say) {
		health.bad_key_said = true;
		health.bad_key_s = now_s;
	}
	pthread_mutex_unlock(&health.lock);
	if (!say)
		return;
	printable(shown, sizeof(shown), key, len);
	log_error(
	    "key \"%s\" in Redis is not a counter of Postern's%s%s: mail under this "
	    "limit "
	    "is deferred with 451 until the key is gone; delete it, and give Postern a "
	    "redis.prefix of its own (%lu more such requests before)",
	    shown, error[0] ? ": " : "", error, silent);
}

void redis_health_lost(const char *server)
{
	int64_t now_s = clock_s();

	/* Each loop finds it for itself. */
	pthread_mutex_lock(&health.lock);
	bool again = health.lost_said && now_s - health.lost_s < LOST_EVERY_S;
	health.lost_said = true;
	health.lost_s = now_s;
	pthread_mutex_unlock(&health.lock);
	if (again)
		return;
	log_warning(
	    "limit state lost: the counters in Redis (%s) have gone, somebody flushed it "
	    "or a server without them took over; limits count from 0 again",
	    server);
}

void redis_health_eviction(const char *policy, size_t len)
{
	if (len >= sizeof(health.policy))
		return;
	pthread_mutex_lock(&health.lock);
	bool changed =
	    strlen(health.policy) != len || memcmp(health.policy, policy, len) != 0;
	if (changed) {
		memcpy(health.policy, policy, len);
		health.policy[len] = '\0';
	}
	pthread_mutex_unlock(&health.lock);
	if (!changed || len < 8 ||
	    (memcmp(policy, "allkeys-", 8) != 0 && memcmp(policy, "volatile", 8) != 0))
		return;
	log_warning(
	    "Redis has maxmemory-policy %.*s: when its memory is full it drops counters, "
	    "and limits start anew for those subjects; set noeviction",
	    (int)len, policy);
}
