/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/log.h"

#include "common/metrics.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/*
 * Producers format on their own stack and copy the line into a ring of bytes under a
 * lock that nobody holds while writing; the writer thread prints from a copy of its own.
 * What is queued is whole lines: a header, then the text.
 */

#define LINE_BYTES 4096 /* a longer line is cut: syslogd and journald would, too */
#define RING_BYTES (256 * 1024)

/* How long log_stop() waits for a blocked reader before it leaves lines behind. */
#define STOP_WAIT_S 2

/* At most one line in so many seconds says how many were dropped. */
#define DROPPED_EVERY_S 1

struct header {
	uint32_t len;
	enum log_level level;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled, stopped;
	bool started, stopping, done;
	pthread_t thread;
	const char *ident;
	bool to_syslog, to_journal;
	unsigned long reported; /* of dropped; the writer's, as is report_s */
	time_t report_s;        /* the next report, not before */
	size_t begin, used;     /* of ring */
	char ring[RING_BYTES];
} state = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .filled = PTHREAD_COND_INITIALIZER,
    .stopped = PTHREAD_COND_INITIALIZER,
    .ident = "postern",
};

static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_ulong dropped;
static uint32_t dropped_metric; /* once started */

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

bool log_level_parse(const char *name, enum log_level *ret)
{
	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* As Postfix writes them: an ordinary line carries no word. */
static const char *level_word(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error: ";
	case LOG_LEVEL_WARNING:
		return "warning: ";
	case LOG_LEVEL_INFO:
		return "";
	case LOG_LEVEL_DEBUG:
		return "debug: ";
	}
	assert(0);
	return "";
}

static int level_priority(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return LOG_ERR;
	case LOG_LEVEL_WARNING:
		return LOG_WARNING;
	case LOG_LEVEL_INFO:
		return LOG_INFO;
	case LOG_LEVEL_DEBUG:
		return LOG_DEBUG;
	}
	assert(0);
	return LOG_ERR;
}

/* False: the line is lost, there is nobody to read it. */
static bool write_all(const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, data, len);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* Somebody who shares our standard error made it non-blocking. */
		struct pollfd poll_fd = {.fd = STDERR_FILENO, .events = POLLOUT};
		if (n < 0 && errno == EAGAIN && poll(&poll_fd, 1, -1) >= 0)
			continue;
		return false;
	}
	return true;
}

static void count_dropped(void)
{
	atomic_fetch_add(&dropped, 1);
	metrics_add(dropped_metric, 1);
}

/* @text is one line without its newline. */
static void print_line(enum log_level level, const char *text, size_t len)
{
	if (state.to_syslog) {
		syslog(
		    LOG_MAIL | level_priority(level), "%s%.*s", level_word(level),
		    (int)len, text);
		return;
	}
	char line[LINE_BYTES + 256];
	int n = state.to_journal
		    ? snprintf(
			  line, sizeof(line), "<%d>%s%.*s\n", level_priority(level),
			  level_word(level), (int)len, text)
		    : snprintf(
			  line, sizeof(line), "%.100s: %s%.*s\n", state.ident,
			  level_word(level), (int)len, text);
	assert(n > 0 && (size_t)n < sizeof(line));
	if (!write_all(line, (size_t)n))
		count_dropped();
}

static void ring_put(const void *data, size_t len)
{
	size_t end = (state.begin + state.used) % RING_BYTES;
	size_t first = len < RING_BYTES - end ? len : RING_BYTES - end;
	memcpy(state.ring + end, data, first);
	memcpy(state.ring, (const char *)data + first, len - first);
	state.used += len;
}

static void ring_take(void *data, size_t len)
{
	assert(len <= state.used);
	size_t first = len < RING_BYTES - state.begin ? len : RING_BYTES - state.begin;
	memcpy(data, state.ring + state.begin, first);
	memcpy((char *)data + first, state.ring, len - first);
	state.begin = (state.begin + len) % RING_BYTES;
	state.used -= len;
}

static bool may_report_dropped(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec >= state.report_s ||
	       now.tv_sec < state.report_s - DROPPED_EVERY_S;
}

/* Says how many lines were dropped since it last did. */
static void report_dropped(void)
{
	unsigned long now_dropped = atomic_load(&dropped);
	if (now_dropped == state.reported)
		return;
	char text[128];
	int n = snprintf(
	    text, sizeof(text),
	    "%lu log lines dropped: %s does not take them fast enough",
	    now_dropped - state.reported, state.to_syslog ? "syslog" : "standard error");
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	state.reported = now_dropped;
	state.report_s = now.tv_sec + DROPPED_EVERY_S;
	print_line(LOG_LEVEL_WARNING, text, (size_t)n);
}

/* Under the lock: waits for a line, the end, or the time to report a loss. */
static void wait_for_work(void)
{
	while (state.used == 0 && !state.stopping) {
		if (atomic_load(&dropped) == state.reported) {
			pthread_cond_wait(&state.filled, &state.lock);
			continue;
		}
		if (may_report_dropped())
			return;
		struct timespec until = {.tv_sec = state.report_s};
		pthread_cond_timedwait(&state.filled, &state.lock, &until);
	}
}

static void *writer(void *unused)
{
	(void)unused;
	char text[LINE_BYTES];
	bool leaving = false;

	pthread_mutex_lock(&state.lock);
	while (!leaving) {
		wait_for_work();
		struct header header = {0};
		bool line = state.used > 0;
		if (line) {
			ring_take(&header, sizeof(header));
			ring_take(text, header.len);
		}
		leaving = !line && state.stopping;
		pthread_mutex_unlock(&state.lock);
		if (line)
			print_line(header.level, text, header.len);
		if (leaving || may_report_dropped())
			report_dropped();
		pthread_mutex_lock(&state.lock);
	}
	state.done = true;
	pthread_cond_signal(&state.stopped);
	pthread_mutex_unlock(&state.lock);
	return NULL;
}

/* systemd names the journal's end of our standard error in the environment. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;
	return stream && sscanf(stream, "%ju:%ju", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

int log_start(const char *ident, bool to_syslog, enum log_level level)
{
	assert(!state.started);
	log_set_level(level);
	dropped_metric = metrics_series(METRIC_LOG_DROPPED, NULL, NULL);
	state.ident = ident;
	state.to_syslog = to_syslog;
	state.to_journal = !to_syslog && stderr_is_journal();
	if (to_syslog)
		openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
	state.stopping = state.done = false;

	/* Signals are the other threads' business. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&state.thread, NULL, writer, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return -r;
	pthread_mutex_lock(&state.lock);
	state.started = true;
	pthread_mutex_unlock(&state.lock);
	return 0;
}

void log_set_level(enum log_level level)
{
	atomic_store(&threshold, (int)level);
}

void log_stop(void)
{
	pthread_mutex_lock(&state.lock);
	if (!state.started) {
		pthread_mutex_unlock(&state.lock);
		return;
	}
	state.stopping = true;
	pthread_cond_signal(&state.filled);
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT_S;
	int r = 0;
	while (!state.done && r == 0)
		r = pthread_cond_timedwait(&state.stopped, &state.lock, &until);
	bool done = state.done;
	/* A blocked writer is left alone: it ends with the process, and until then the
	 * ring takes what still comes. */
	if (done)
		state.started = false;
	pthread_mutex_unlock(&state.lock);
	if (done)
		pthread_join(state.thread, NULL);
}

/* Cuts what vsnprintf() could not hold, at a character, and marks the cut. */
static size_t mark_cut(char *text, size_t size)
{
	size_t len = size - 1 - strlen("...");
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	strcpy(text + len, "...");
	return len + strlen("...");
}

/* One call, one line, whatever a caller forgot to escape. */
static void flatten(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c == 0x7f)
			text[i] = '?';
	}
}

void log_line(enum log_level level, const char *format, ...)
{
	if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	char text[LINE_BYTES];
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (n < 0)
		return;
	size_t len = (size_t)n < sizeof(text) ? (size_t)n : mark_cut(text, sizeof(text));
	flatten(text, len);

	pthread_mutex_lock(&state.lock);
	bool queue = state.started;
	struct header header = {.len = (uint32_t)len, .level = level};
	if (queue) {
		if (RING_BYTES - state.used < sizeof(header) + len) {
			count_dropped();
		} else {
			ring_put(&header, sizeof(header));
			ring_put(text, len);
			pthread_cond_signal(&state.filled);
		}
	}
	pthread_mutex_unlock(&state.lock);
	if (!queue)
		print_line(level, text, len);
}

unsigned long log_dropped(void)
{
	return atomic_load(&dropped);
}
