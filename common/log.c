/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/log.h"

#include "common/metrics.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
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
 *
 * The first line after a pause is written at once. Those that follow it closely gather
 * for a moment and go out together: waking a thread and writing for each costs the
 * serving threads more than anything else about a line. Errors and warnings do not wait.
 */

#define LINE_BYTES 4096 /* a longer line is cut: syslogd and journald would, too */
#define RING_BYTES (256 * 1024)

/* For ordinary lines: nobody sees it, and a thousand lines a second are 200 writes. */
#define GATHER_MS 5

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
	bool gathering; /* the writer waits, and not for ordinary lines */
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

static void count_dropped(unsigned long lines)
{
	atomic_fetch_add(&dropped, lines);
	metrics_add(dropped_metric, lines);
}

/* Lines that go out by one write(). */
struct batch {
	size_t len;
	unsigned long lines;
	char bytes[LINE_BYTES + 256]; /* any line, with what stands before it */
};

static void flush(struct batch *batch)
{
	if (batch->len > 0 && !write_all(batch->bytes, batch->len))
		count_dropped(batch->lines);
	batch->len = batch->lines = 0;
}

static int format_line(
    enum log_level level, const char *text, size_t len, char *buf, size_t size)
{
	if (state.to_journal)
		return snprintf(
		    buf, size, "<%d>%s%.*s\n", level_priority(level), level_word(level),
		    (int)len, text);
	return snprintf(
	    buf, size, "%.100s: %s%.*s\n", state.ident, level_word(level), (int)len,
	    text);
}

/*
 * @text is one line without its newline. Several processes write to one pipe: what is
 * not longer than PIPE_BUF goes into it whole.
 */
static void add_line(
    struct batch *batch, enum log_level level, const char *text, size_t len)
{
	if (state.to_syslog) {
		syslog(
		    LOG_MAIL | level_priority(level), "%s%.*s", level_word(level),
		    (int)len, text);
		return;
	}
	char line[sizeof(batch->bytes)];
	int n = format_line(level, text, len, line, sizeof(line));
	assert(n > 0 && (size_t)n < sizeof(line));
	if (batch->len + (size_t)n > PIPE_BUF)
		flush(batch);
	memcpy(batch->bytes + batch->len, line, (size_t)n);
	batch->len += (size_t)n;
	batch->lines++;
}

static void print_line(enum log_level level, const char *text, size_t len)
{
	struct batch batch = {0};
	add_line(&batch, level, text, len);
	flush(&batch);
}

static void ring_put(const void *data, size_t len)
{
	size_t end = (state.begin + state.used) % RING_BYTES;
	size_t first = len < RING_BYTES - end ? len : RING_BYTES - end;
	memcpy(state.ring + end, data, first);
	memcpy(state.ring, (const char *)data + first, len - first);
	state.used += len;
}

static void ring_look(void *data, size_t len)
{
	assert(len <= state.used);
	size_t first = len < RING_BYTES - state.begin ? len : RING_BYTES - state.begin;
	memcpy(data, state.ring + state.begin, first);
	memcpy((char *)data + first, state.ring, len - first);
}

static void ring_take(void *data, size_t len)
{
	ring_look(data, len);
	state.begin = (state.begin + len) % RING_BYTES;
	state.used -= len;
}

/* Whole lines with their headers, as many as fit; returns the bytes. */
static size_t ring_take_lines(char *data, size_t size)
{
	size_t taken = 0;
	while (state.used > 0) {
		struct header header;
		ring_look(&header, sizeof(header));
		if (taken + sizeof(header) + header.len > size)
			break;
		ring_take(data + taken, sizeof(header) + header.len);
		taken += sizeof(header) + header.len;
	}
	return taken;
}

static void print_lines(const char *data, size_t size)
{
	struct batch batch = {0};
	for (size_t at = 0; at < size;) {
		struct header header;
		memcpy(&header, data + at, sizeof(header));
		at += sizeof(header);
		add_line(&batch, header.level, data + at, header.len);
		at += header.len;
	}
	flush(&batch);
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

/* Under the lock, when all is written. */
static void let_gather(void)
{
	struct timespec until;
	if (state.used > 0 || state.stopping)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	state.gathering = true;
	pthread_cond_clockwait(&state.filled, &state.lock, CLOCK_MONOTONIC, &until);
	state.gathering = false;
}

/* Under the lock, after a line was queued. */
static void tell_writer(enum log_level level)
{
	if (!state.gathering || level <= LOG_LEVEL_WARNING || state.used > RING_BYTES / 4)
		pthread_cond_signal(&state.filled);
}

static void *writer(void *unused)
{
	(void)unused;
	char lines[sizeof(struct header) + LINE_BYTES];
	bool leaving = false;

	pthread_mutex_lock(&state.lock);
	while (!leaving) {
		wait_for_work();
		size_t size = ring_take_lines(lines, sizeof(lines));
		leaving = size == 0 && state.stopping;
		pthread_mutex_unlock(&state.lock);
		print_lines(lines, size);
		if (leaving || may_report_dropped())
			report_dropped();
		pthread_mutex_lock(&state.lock);
		let_gather();
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
			count_dropped(1);
		} else {
			ring_put(&header, sizeof(header));
			ring_put(text, len);
			tell_writer(level);
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
