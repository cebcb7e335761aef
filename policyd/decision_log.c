/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/decision_log.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/thread.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Two buffers: decisions fill one under a lock that nobody holds while writing, the
 * thread takes it whole and writes it while the other is filled. A thousand lines of the
 * usual 700 bytes fit: a stall of the disk for some seconds at a usual rate.
 */
#define BUFFER_BYTES (1024 * 1024)

/* How long the thread lets lines gather: far fewer wake-ups and writes under load, and
 * still soon enough for who waits for a line. */
#define GATHER_MS 50

#define STOP_WAIT_S 2

/* Said anew after so long while lines are being lost. */
#define REPORT_S 60

struct buffer {
	size_t len;
	char *data; /* BUFFER_BYTES */
};

/* The thread's own. */
struct output {
	char *path;
	int fd;
	bool torn;      /* what we wrote last ends in half a line */
	int trouble;    /* errno of what is wrong now; 0: nothing */
	size_t lost;    /* lines since it began */
	int64_t said_s; /* when it was last said */
	uint32_t metric;
};

struct decision_log {
	struct output out;
	pthread_t thread;
	atomic_bool on;

	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake, left;
	struct buffer filling, writing;
	size_t overrun;   /* lines that found no room */
	char *new_path;   /* NULL: none */
	size_t reopen_at; /* of what is filling, so much belongs to the old file */
	bool reopen, stopping, done;
};

static int64_t clock_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void output_close(struct output *out)
{
	if (out->fd >= 0)
		close(out->fd);
	out->fd = -1;
	out->torn = false;
}

/* A crash, or somebody else, may have left half a line. */
static bool ends_torn(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char last;

	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/* 0 or errno. Never waits for somebody to read a pipe. */
static int output_open(struct output *out)
{
	int flags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(out->path, flags);

	if (fd < 0 && errno == ENOENT) {
		fd = open(out->path, flags | O_CREAT | O_EXCL, 0640);
		/* Whatever the umask. */
		if (fd >= 0)
			fchmod(fd, 0640);
	}
	if (fd < 0)
		return errno;
	out->fd = fd;
	out->torn = ends_torn(fd);
	return 0;
}

/* Renamed or removed: rotation without a signal. */
static bool output_moved(const struct output *out)
{
	struct stat open_file, named;

	return fstat(out->fd, &open_file) < 0 || stat(out->path, &named) < 0 ||
	       open_file.st_dev != named.st_dev || open_file.st_ino != named.st_ino;
}

static void output_report(struct output *out)
{
	out->said_s = clock_s();
	log_error(
	    "decision log %s: %s; %zu lines lost so far, decisions go on without them; "
	    "make room or mend the path, it is tried again by itself",
	    out->path, strerror(out->trouble), out->lost);
}

/* @lines are lost for reason @error. */
static void output_lose(struct output *out, int error, size_t lines)
{
	bool begins = out->trouble == 0;

	out->trouble = error;
	out->lost += lines;
	metrics_add(out->metric, lines);
	if (begins || clock_s() - out->said_s >= REPORT_S)
		output_report(out);
}

static void output_well(struct output *out)
{
	if (out->trouble == 0)
		return;
	log_info(
	    "decision log %s: written again, %zu lines were lost", out->path, out->lost);
	out->trouble = 0;
	out->lost = 0;
}

/* Half a line, @len bytes of it, was written: takes it back, if it is still the end of a
 * file. False: it stays. */
static bool output_take_back(const struct output *out, size_t len)
{
	off_t end = lseek(out->fd, 0, SEEK_CUR);
	struct stat st;

	return end >= (off_t)len && fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size == end && ftruncate(out->fd, end - (off_t)len) == 0;
}

static size_t count_lines(const char *data, size_t len)
{
	size_t lines = 0;

	for (const char *at = data; (at = memchr(at, '\n', len - (size_t)(at - data)));
	     at++)
		lines++;
	return lines;
}

/* Bytes of @data up to and with its last newline. */
static size_t whole_lines(const char *data, size_t len)
{
	const char *last = memrchr(data, '\n', len);

	return last ? (size_t)(last - data) + 1 : 0;
}

/* Writes lines. Returns how many bytes of them are there as whole lines; *ret_error. */
static size_t write_lines(
    struct output *out, const char *data, size_t len, int *ret_error)
{
	size_t at = 0, begin = 0; /* @begin: of the line that @at is in */

	*ret_error = 0;
	while (at < len && *ret_error == 0) {
		ssize_t n = write(out->fd, data + at, len - at);
		if (n < 0) {
			*ret_error = errno == EINTR ? 0 : errno;
			continue;
		}
		size_t before = at;
		at += (size_t)n;
		begin += whole_lines(data + begin, at - begin);
		/* Cut short in a line: the next write says why, or goes on. */
		if (at > begin && output_take_back(out, at - begin)) {
			at = begin;
			if (at <= before)
				*ret_error = ENOSPC; /* it would be cut again */
		}
	}
	out->torn = at > begin;
	return begin;
}

static void output_write(struct output *out, const char *data, size_t len)
{
	if (len == 0 || out->path[0] == '\0')
		return;
	if (out->fd >= 0 && output_moved(out))
		output_close(out);
	int error = out->fd < 0 ? output_open(out) : 0;
	if (error) {
		output_lose(out, error, count_lines(data, len));
		return;
	}
	if (out->torn) {
		if (write(out->fd, "\n", 1) != 1) {
			output_lose(out, errno, count_lines(data, len));
			return;
		}
		out->torn = false;
	}
	size_t written = write_lines(out, data, len, &error);
	if (error)
		output_lose(out, error, count_lines(data + written, len - written));
	else
		output_well(out);
}

/* Without a line: says at once whether the file can be had. */
static void output_reopen(struct output *out, char *new_path)
{
	output_close(out);
	if (new_path) {
		if (strcmp(new_path, out->path) != 0) {
			out->trouble = 0;
			out->lost = 0;
		}
		free(out->path);
		out->path = new_path;
	}
	if (out->path[0] == '\0')
		return;
	int error = output_open(out);
	if (error)
		output_lose(out, error, 0);
}

/* Under the lock: until there is something to do. */
static void wait_for_work(struct decision_log *log)
{
	while (log->filling.len == 0 && log->overrun == 0 && !log->reopen &&
	       !log->stopping)
		pthread_cond_wait(&log->wake, &log->lock);
	if (log->reopen || log->stopping)
		return;
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GATHER_MS * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (log->filling.len < BUFFER_BYTES / 2 && !log->reopen && !log->stopping)
		if (pthread_cond_timedwait(&log->wake, &log->lock, &until) == ETIMEDOUT)
			break;
}

static void *writer(void *context)
{
	struct decision_log *log = context;
	bool stopping = false;

	pthread_mutex_lock(&log->lock);
	while (!stopping) {
		wait_for_work(log);
		stopping = log->stopping;
		bool reopen = log->reopen;
		size_t overrun = log->overrun;
		char *new_path = TAKE(log->new_path);
		size_t before = reopen ? log->reopen_at : log->filling.len;
		struct buffer full = log->filling;
		log->filling = log->writing;
		log->writing = full;
		log->filling.len = 0;
		log->reopen = false;
		log->overrun = 0;
		pthread_mutex_unlock(&log->lock);

		output_write(&log->out, full.data, before);
		if (overrun > 0)
			output_lose(&log->out, ENOBUFS, overrun);
		if (reopen)
			output_reopen(&log->out, new_path);
		output_write(&log->out, full.data + before, full.len - before);
		pthread_mutex_lock(&log->lock);
	}
	log->done = true;
	pthread_cond_signal(&log->left);
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

static struct decision_log *log_forget(struct decision_log *log)
{
	output_close(&log->out);
	free(log->out.path);
	free(log->filling.data);
	free(log->writing.data);
	free(log->new_path);
	pthread_cond_destroy(&log->wake);
	pthread_cond_destroy(&log->left);
	pthread_mutex_destroy(&log->lock);
	free(log);
	return NULL;
}

struct decision_log *decision_log_free(struct decision_log *log)
{
	struct timespec until;
	int r = 0;

	if (!log)
		return NULL;
	pthread_mutex_lock(&log->lock);
	log->stopping = true;
	pthread_cond_signal(&log->wake);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_WAIT_S;
	while (!log->done && r == 0)
		r = pthread_cond_timedwait(&log->left, &log->lock, &until);
	bool done = log->done;
	pthread_mutex_unlock(&log->lock);
	/* A disk that hangs: the thread ends with the process, and keeps what is its. */
	if (!done) {
		log_error(
		    "decision log: the disk does not answer; its last lines are lost");
		pthread_detach(log->thread);
		return NULL;
	}
	pthread_join(log->thread, NULL);
	return log_forget(log);
}

static void init_sync(struct decision_log *log)
{
	thread_cond_init(&log->wake);
	thread_cond_init(&log->left);
	pthread_mutex_init(&log->lock, NULL);
}

int decision_log_new(const char *path, struct decision_log **ret)
{
	struct decision_log *log = calloc(1, sizeof(*log));

	if (!log)
		return -ENOMEM;
	init_sync(log);
	log->out.fd = -1;
	log->out.metric = metrics_series(METRIC_LOG_DROPPED, NULL, NULL);
	log->out.path = strdup(path);
	log->filling.data = malloc(BUFFER_BYTES);
	log->writing.data = malloc(BUFFER_BYTES);
	log->on = path[0] != '\0';
	log->reopen = log->on; /* the first thing that the thread does */
	if (!log->out.path || !log->filling.data || !log->writing.data) {
		log_forget(log);
		return -ENOMEM;
	}
	/* Signals are blocked in it: SIGXFSZ, too, is an errno there. */
	int r = thread_start(&log->thread, "decisions", writer, log);
	if (r < 0) {
		log_forget(log);
		return r;
	}
	*ret = log;
	return 0;
}

bool decision_log_is_on(const struct decision_log *log)
{
	return log && atomic_load_explicit(&log->on, memory_order_relaxed);
}

void decision_log_write(struct decision_log *log, const char *line, size_t len)
{
	pthread_mutex_lock(&log->lock);
	bool first = log->filling.len == 0 && log->overrun == 0;
	size_t before = log->filling.len;
	if (BUFFER_BYTES - before < len) {
		log->overrun++;
	} else {
		memcpy(log->filling.data + before, line, len);
		log->filling.len += len;
	}
	bool half = before < BUFFER_BYTES / 2 && log->filling.len >= BUFFER_BYTES / 2;
	pthread_mutex_unlock(&log->lock);
	/* The thread needs no more calls than these while lines gather. */
	if (first || half)
		pthread_cond_signal(&log->wake);
}

int decision_log_reopen(struct decision_log *log, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&log->lock);
	free(log->new_path);
	log->new_path = copy;
	log->reopen = true;
	log->reopen_at = log->filling.len;
	atomic_store(&log->on, path[0] != '\0');
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	return 0;
}
