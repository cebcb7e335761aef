/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/told.h"

#include "common/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_cond_t told_more;
static char told[200000];

static void prepare(void)
{
	thread_cond_init(&told_more);
}

void told_say(enum log_level level, const char *line)
{
	pthread_once(&once, prepare);
	pthread_mutex_lock(&lock);
	size_t len = strlen(told);
	snprintf(told + len, sizeof(told) - len, "%d %s\n", (int)level, line);
	pthread_cond_broadcast(&told_more);
	pthread_mutex_unlock(&lock);
}

void told_wait_for(const char *text)
{
	struct timespec until;
	int r = 0;

	pthread_once(&once, prepare);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PATIENCE_MS / 1000;
	pthread_mutex_lock(&lock);
	while (!strstr(told, text) && r == 0)
		r = pthread_cond_timedwait(&told_more, &lock, &until);
	bool found = strstr(told, text) != NULL;
	pthread_mutex_unlock(&lock);
	if (!found)
		fail_msg("\"%s\" was not told, but:\n%s", text, told);
}

size_t told_times(const char *text)
{
	size_t count = 0;

	pthread_mutex_lock(&lock);
	for (const char *at = told; (at = strstr(at, text)) != NULL; at++)
		count++;
	pthread_mutex_unlock(&lock);
	return count;
}

const char *told_all(void)
{
	return told;
}

void told_forget(void)
{
	pthread_mutex_lock(&lock);
	told[0] = '\0';
	pthread_mutex_unlock(&lock);
}
