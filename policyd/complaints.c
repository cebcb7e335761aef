/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/complaints.h"

#include "common/log.h"
#include "common/metrics.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MINUTE_S 60

/* Room for a client's name and a reason; the log cuts at its own bound. */
#define TEXT_BYTES 512

static const struct {
	unsigned a_minute; /* logged in full */
	bool is_protocol;  /* METRIC_POLICY_PROTOCOL_ERRORS counts it */
	const char *name;  /* in the line that counts the others */
} kinds[COMPLAINTS] = {
    [COMPLAINT_PROTOCOL] = {10, true, "connections closed for protocol errors"},
    [COMPLAINT_SLOW] = {10, true, "connections closed for requests that did not end"},
    [COMPLAINT_UNREAD] = {10, true, "connections closed for answers that nobody read"},
    [COMPLAINT_MEMORY] = {1, false, "connections closed for lack of memory"},
    [COMPLAINT_FULL] = {1, false, "connections closed for policyd.max_connections"},
    [COMPLAINT_DESCRIPTORS] = {1, false, "pauses in accepting connections"},
};

struct complaints {
	uint32_t protocol_errors; /* the metric */
	pthread_mutex_t lock;
	struct {
		int64_t begin_s; /* of the minute counted in */
		unsigned long count;
	} minutes[COMPLAINTS];
};

int complaints_new(struct complaints **ret)
{
	struct complaints *complaints = calloc(1, sizeof(*complaints));
	if (!complaints)
		return -ENOMEM;
	pthread_mutex_init(&complaints->lock, NULL);
	complaints->protocol_errors =
	    metrics_series(METRIC_POLICY_PROTOCOL_ERRORS, NULL, NULL);
	*ret = complaints;
	return 0;
}

struct complaints *complaints_free(struct complaints *complaints)
{
	if (!complaints)
		return NULL;
	pthread_mutex_destroy(&complaints->lock);
	free(complaints);
	return NULL;
}

/* Under the lock: ends the minute if it is over; returns how many it did not log. */
static unsigned long roll(
    struct complaints *complaints, enum complaint kind, int64_t now_s)
{
	unsigned long count = complaints->minutes[kind].count;
	if (count == 0) {
		complaints->minutes[kind].begin_s = now_s;
		return 0;
	}
	if (now_s < complaints->minutes[kind].begin_s + MINUTE_S)
		return 0;
	complaints->minutes[kind].begin_s = now_s;
	complaints->minutes[kind].count = 0;
	return count > kinds[kind].a_minute ? count - kinds[kind].a_minute : 0;
}

bool complaints_count(
    struct complaints *complaints, enum complaint kind, int64_t now_s,
    unsigned long *ret_silent)
{
	pthread_mutex_lock(&complaints->lock);
	*ret_silent = roll(complaints, kind, now_s);
	bool loud = ++complaints->minutes[kind].count <= kinds[kind].a_minute;
	pthread_mutex_unlock(&complaints->lock);
	return loud;
}

static int64_t clock_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void log_silent(enum complaint kind, unsigned long silent)
{
	if (silent > 0)
		log_warning("%lu more %s in the last minute", silent, kinds[kind].name);
}

void complain(struct complaints *complaints, enum complaint kind, const char *format, ...)
{
	unsigned long silent;
	if (kinds[kind].is_protocol)
		metrics_add(complaints->protocol_errors, 1);
	bool loud = complaints_count(complaints, kind, clock_s(), &silent);
	log_silent(kind, silent);
	if (!loud)
		return;
	char text[TEXT_BYTES];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_warning("%s", text);
}

void complaints_report(struct complaints *complaints)
{
	int64_t now_s = clock_s();
	for (int kind = 0; kind < COMPLAINTS; kind++) {
		pthread_mutex_lock(&complaints->lock);
		unsigned long silent = roll(complaints, (enum complaint)kind, now_s);
		pthread_mutex_unlock(&complaints->lock);
		log_silent((enum complaint)kind, silent);
	}
}
