/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/decision_log.h"

#include "common/metrics.h"
#include "tests/unit/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	char folder[64], path[96], other[96];
	uint32_t metric;
	uint64_t lost_before;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->folder, "/tmp/postern-decisions-XXXXXX");
	assert_non_null(mkdtemp(fixture->folder));
	snprintf(fixture->path, sizeof(fixture->path), "%s/log", fixture->folder);
	snprintf(fixture->other, sizeof(fixture->other), "%s/other", fixture->folder);
	fixture->metric = metrics_series(METRIC_LOG_DROPPED, NULL, NULL);
	fixture->lost_before = metrics_value(fixture->metric);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	unlink(fixture->path);
	unlink(fixture->other);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static uint64_t lost(const struct fixture *fixture)
{
	return metrics_value(fixture->metric) - fixture->lost_before;
}

static const char *content(const char *path)
{
	static char buf[1 << 16];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

/* Waits until @path holds @expected; inotify tells when to look. */
static void wait_for(
    const struct fixture *fixture, const char *path, const char *expected)
{
	int watch = inotify_init1(IN_NONBLOCK);
	char events[4096];

	inotify_add_watch(watch, fixture->folder, IN_CREATE | IN_MODIFY);
	while (strcmp(content(path), expected) != 0) {
		struct pollfd poll_fd = {.fd = watch, .events = POLLIN};
		if (poll(&poll_fd, 1, 5000) <= 0)
			fail_msg(
			    "%s holds %s instead of %s", path, content(path), expected);
		(void)!read(watch, events, sizeof(events));
	}
	close(watch);
}

static void put(struct decision_log *log, const char *line)
{
	decision_log_write(log, line, strlen(line));
}

static void lines_are_there_soon(void **state)
{
	struct fixture *fixture = *state;
	struct decision_log *log;
	struct stat st;
	mode_t old = umask(077);

	assert_int_equal(decision_log_new(fixture->path, &log), 0);
	assert_true(decision_log_is_on(log));
	put(log, "{\"n\":1}\n");
	put(log, "{\"n\":2}\n");
	wait_for(fixture, fixture->path, "{\"n\":1}\n{\"n\":2}\n");
	umask(old);
	assert_int_equal(stat(fixture->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	/* What is queued at the end is written, not waited for. */
	put(log, "{\"n\":3}\n");
	decision_log_free(log);
	assert_string_equal(content(fixture->path), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
	assert_int_equal(lost(fixture), 0);
}

static void off_takes_nothing(void **state)
{
	struct decision_log *log;
	(void)state;

	assert_false(decision_log_is_on(NULL));
	assert_int_equal(decision_log_new("", &log), 0);
	assert_false(decision_log_is_on(log));
	decision_log_free(log);
}

static void rotation(void **state)
{
	struct fixture *fixture = *state;
	struct decision_log *log;

	assert_int_equal(decision_log_new(fixture->path, &log), 0);
	put(log, "1\n");
	wait_for(fixture, fixture->path, "1\n");
	/* Renamed, no signal: the next line goes to a new file. */
	assert_int_equal(rename(fixture->path, fixture->other), 0);
	put(log, "2\n");
	wait_for(fixture, fixture->path, "2\n");
	assert_string_equal(content(fixture->other), "1\n");
	/* Removed. */
	unlink(fixture->path);
	put(log, "3\n");
	wait_for(fixture, fixture->path, "3\n");
	/* Truncated in place. */
	assert_int_equal(truncate(fixture->path, 0), 0);
	put(log, "4\n");
	wait_for(fixture, fixture->path, "4\n");
	/* The reload names another one; what came before it stays in the old. */
	unlink(fixture->other);
	put(log, "5\n");
	assert_int_equal(decision_log_reopen(log, fixture->other), 0);
	put(log, "6\n");
	decision_log_free(log);
	assert_string_equal(content(fixture->path), "4\n5\n");
	assert_string_equal(content(fixture->other), "6\n");
	assert_int_equal(lost(fixture), 0);
}

static void a_half_line_of_before_stays_alone(void **state)
{
	struct fixture *fixture = *state;
	struct decision_log *log;
	int fd = open(fixture->path, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, "whole\nhal", 9), 9);
	close(fd);
	assert_int_equal(decision_log_new(fixture->path, &log), 0);
	put(log, "1\n");
	decision_log_free(log);
	assert_string_equal(content(fixture->path), "whole\nhal\n1\n");
}

/* Reads what was logged until @count lines stand there. */
static void lines_logged(int fd, char *buf, size_t size, int count)
{
	size_t len = 0;

	for (int lines = 0; lines < count;) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		if (poll(&poll_fd, 1, 5000) <= 0)
			fail_msg("%d lines instead of %d: %s", lines, count, buf);
		ssize_t n = read(fd, buf + len, size - 1 - len);
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			lines += buf[len + (size_t)i] == '\n';
		len += (size_t)n;
		buf[len] = '\0';
	}
}

/* A disk that is full after so many bytes: RLIMIT_FSIZE cuts the write in the same way,
 * with a part written first, and its signal is blocked in the thread. */
static void a_full_disk(void **state)
{
	struct fixture *fixture = *state;
	struct decision_log *log;
	struct capture capture;
	struct rlimit old, full = {.rlim_cur = 25};
	char said[4096] = "", rest[4096];

	getrlimit(RLIMIT_FSIZE, &old);
	full.rlim_max = old.rlim_max;
	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(decision_log_new(fixture->path, &log), 0);
	put(log, "{\"n\":1}\n");
	wait_for(fixture, fixture->path, "{\"n\":1}\n");

	/* Two lines fit, of the third 1 byte, of the fourth nothing. */
	setrlimit(RLIMIT_FSIZE, &full);
	put(log, "{\"n\":2}\n");
	put(log, "{\"n\":3}\n");
	put(log, "{\"n\":4}\n");
	put(log, "{\"n\":5}\n");
	lines_logged(capture.pipe[0], said, sizeof(said), 1);
	assert_non_null(strstr(said, "2 lines lost"));
	assert_non_null(strstr(said, fixture->path));
	assert_string_equal(content(fixture->path), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
	assert_int_equal(lost(fixture), 2);

	/* Room again: said once, and no half line in between. */
	setrlimit(RLIMIT_FSIZE, &old);
	put(log, "{\"n\":6}\n");
	lines_logged(capture.pipe[0], said, sizeof(said), 1);
	assert_non_null(strstr(said, "written again, 2 lines were lost"));
	decision_log_free(log);
	assert_int_equal(capture_end(&capture, rest, sizeof(rest)), 0);
	assert_string_equal(
	    content(fixture->path), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":6}\n");
}

static void no_folder(void **state)
{
	struct fixture *fixture = *state;
	struct decision_log *log;
	struct capture capture;
	char said[4096] = "", path[128];

	snprintf(path, sizeof(path), "%s/sub/log", fixture->folder);
	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(decision_log_new(path, &log), 0);
	/* Said at the start, not when the first line is lost. */
	lines_logged(capture.pipe[0], said, sizeof(said), 1);
	assert_non_null(strstr(said, "No such file or directory"));
	for (int i = 0; i < 100; i++)
		put(log, "x\n");
	decision_log_free(log);
	assert_int_equal(capture_end(&capture, said, sizeof(said)), 0);
	assert_int_equal(lost(fixture), 100);

	/* Made later: picked up with the next line. */
	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(decision_log_new(path, &log), 0);
	lines_logged(capture.pipe[0], said, sizeof(said), 1);
	char folder[128];
	snprintf(folder, sizeof(folder), "%s/sub", fixture->folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	put(log, "there\n");
	decision_log_free(log);
	assert_string_equal(content(path), "there\n");
	capture_end(&capture, said, sizeof(said));
	assert_non_null(strstr(said, "written again"));
	unlink(path);
	rmdir(folder);
}

static void a_device_that_is_full(void **state)
{
	struct fixture *fixture = *state;
	struct decision_log *log;
	struct capture capture;
	char said[4096];

	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(decision_log_new("/dev/full", &log), 0);
	put(log, "x\n");
	put(log, "y\n");
	decision_log_free(log);
	capture_end(&capture, said, sizeof(said));
	assert_non_null(strstr(said, "No space left on device"));
	assert_int_equal(lost(fixture), 2);
}

/* A pipe nobody reads takes nothing: decisions go on at once, memory does not grow, every
 * line is either there or counted. */
static void nobody_waits(void **state)
{
	enum { LINES = 20000 };
	struct fixture *fixture = *state;
	struct decision_log *log;
	struct capture capture;
	static char line[600], said[4096];

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(mkfifo(fixture->path, 0600), 0);
	/* A pipe keeps what was written only while somebody has it open. */
	int reader = open(fixture->path, O_RDONLY | O_NONBLOCK);
	assert_true(reader >= 0);
	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(decision_log_new(fixture->path, &log), 0);
	/* Would one of these wait, the test would never end. */
	for (int i = 0; i < LINES; i++)
		decision_log_write(log, line, sizeof(line));
	decision_log_free(log);
	capture_end(&capture, said, sizeof(said));
	size_t there = 0;
	static char data[1 << 20];
	for (ssize_t n; (n = read(reader, data, sizeof(data))) > 0;)
		for (ssize_t i = 0; i < n; i++)
			there += data[i] == '\n';
	close(reader);
	assert_in_range(there, 1, LINES - 1);
	assert_int_equal(lost(fixture) + there, LINES);
}

enum { WRITERS = 4, EACH = 3000 };

static void *write_many(void *context)
{
	for (int i = 0; i < EACH; i++)
		put(context, "0123456789\n");
	return NULL;
}

static void no_line_of_any_thread_is_lost_or_torn(void **state)
{
	struct fixture *fixture = *state;
	struct decision_log *log;
	pthread_t threads[WRITERS];
	char line[32];
	int lines = 0;

	assert_int_equal(decision_log_new(fixture->path, &log), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_create(&threads[i], NULL, write_many, log);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	decision_log_free(log);
	FILE *file = fopen(fixture->path, "r");
	while (fgets(line, sizeof(line), file)) {
		assert_string_equal(line, "0123456789\n");
		lines++;
	}
	fclose(file);
	assert_int_equal(lines + (int)lost(fixture), WRITERS * EACH);
	assert_int_equal(lost(fixture), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(lines_are_there_soon, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(off_takes_nothing, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(rotation, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		a_half_line_of_before_stays_alone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_full_disk, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_folder, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_device_that_is_full, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(nobody_waits, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		no_line_of_any_thread_is_lost_or_torn, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
