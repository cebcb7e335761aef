/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_news.h"

#include "common/config.h"
#include "common/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

/* So long after the connection is back loops may not have noticed. */
#define AFTERMATH_MS 2000

/* One process, one Redis, one log. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned troubled;         /* links */
static uint64_t said_kinds;       /* faults that were logged since the trouble began */
static int64_t since_ms, over_ms; /* when it began, and when the last one was over */
static char last_line[600];

static const char *consequence(const struct config *config)
{
	if (!config)
		return "limits are shared";
	switch (config->redis.on_failure) {
	case STORE_FAILURE_LOCAL:
		return "limits count in this daemon alone until then";
	case STORE_FAILURE_ALLOW:
		return "limits do not count and let everything pass until then";
	case STORE_FAILURE_DEFER:
		return "mail that a limit looks at is deferred until then";
	}
	return "";
}

void redis_news_trouble(
    struct redis_reporter *reporter, const char *server, const struct redis_fault *fault,
    const struct config *config)
{
	uint64_t bit = UINT64_C(1) << fault->kind;

	pthread_mutex_lock(&lock);
	if (!reporter->troubled) {
		reporter->troubled = true;
		if (troubled++ == 0) {
			said_kinds = 0;
			since_ms = redis_now_ms();
		}
	}
	bool news = !(said_kinds & bit);
	said_kinds |= bit;
	pthread_mutex_unlock(&lock);
	if (!news)
		return;
	const char *remedy = fault->remedy;
	if (!remedy)
		remedy = "see whether Redis runs there, and redis.servers";
	log_line(
	    fault->result == REDIS_CONFIGURATION ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
	    "redis %s: %s; %s, blocks and logins of other nodes are not heard; %s",
	    server, fault->text, consequence(config), remedy);
}

void redis_news_good(struct redis_reporter *reporter, const char *server)
{
	pthread_mutex_lock(&lock);
	bool over = reporter->troubled && --troubled == 0;
	reporter->troubled = false;
	int64_t now_ms = redis_now_ms(), ms = now_ms - since_ms;
	if (over)
		over_ms = now_ms;
	pthread_mutex_unlock(&lock);
	if (over)
		log_info(
		    "redis %s: is back after %" PRId64 ".%" PRId64
		    " s; limits are shared again",
		    server, ms / 1000, ms % 1000 / 100);
}

void redis_news_forget(struct redis_reporter *reporter)
{
	pthread_mutex_lock(&lock);
	if (reporter->troubled && --troubled == 0)
		over_ms = redis_now_ms();
	reporter->troubled = false;
	pthread_mutex_unlock(&lock);
}

bool redis_news_knew(int64_t at_ms)
{
	pthread_mutex_lock(&lock);
	bool knew = troubled > 0 || (over_ms > 0 && over_ms + AFTERMATH_MS >= at_ms);
	pthread_mutex_unlock(&lock);
	return knew;
}

void redis_news_said(enum log_level level, const char *line)
{
	pthread_mutex_lock(&lock);
	bool news = strncmp(last_line, line, sizeof(last_line) - 1) != 0;
	strncpy(last_line, line, sizeof(last_line) - 1);
	pthread_mutex_unlock(&lock);
	if (news)
		log_line(level, "%s", line);
}
