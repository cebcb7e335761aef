/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/log.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/capture.h"

static const struct {
	const char *name;
	bool good;
	enum log_level level;
} level_rows[] = {
    {"error", true, LOG_LEVEL_ERROR},
    {"warning", true, LOG_LEVEL_WARNING},
    {"info", true, LOG_LEVEL_INFO},
    {"debug", true, LOG_LEVEL_DEBUG},
    {"Error", false, 0},
    {"", false, 0},
    {"warn", false, 0},
};

static void test_level_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(level_rows) / sizeof(level_rows[0]); i++) {
		enum log_level level = LOG_LEVEL_DEBUG;
		bool good = log_level_parse(level_rows[i].name, &level);
		if (good != level_rows[i].good || (good && level != level_rows[i].level))
			fail_msg("\"%s\": %d, level %d", level_rows[i].name, good, level);
	}
}

static void test_before_start(void **state)
{
	(void)state;
	struct capture capture;
	char buf[1024];
	assert_int_equal(capture_begin(&capture), 0);
	log_warning("early %d", 7);
	capture_end(&capture, buf, sizeof(buf));
	assert_string_equal(buf, "postern: warning: early 7\n");
}

static void test_lines(void **state)
{
	(void)state;
	struct capture capture;
	char buf[16384], long_text[6000];
	memset(long_text, 'a', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';

	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(log_start("postern-test", false, LOG_LEVEL_INFO), 0);
	log_error("one");
	log_warning("two");
	log_info("three");
	log_debug("unseen");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("unseen");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("four");
	log_info("a\nb\rc\033d\x7f");
	log_info("%s", long_text);
	log_stop();
	log_info("after");
	size_t len = capture_end(&capture, buf, sizeof(buf));

	static const char head[] = "postern-test: error: one\n"
				   "postern-test: warning: two\n"
				   "postern-test: three\n"
				   "postern-test: debug: four\n"
				   "postern-test: a?b?c?d?\n"
				   "postern-test: aaaa";
	static const char tail[] = "aaa...\npostern-test: after\n";
	buf[sizeof(buf) - 1] = '\0';
	if (strncmp(buf, head, sizeof(head) - 1) != 0)
		fail_msg("got: %s", buf);
	assert_string_equal(buf + len - (sizeof(tail) - 1), tail);
	assert_true(len < 4096 + 512);
	log_set_level(LOG_LEVEL_INFO);
}

static void test_journal_prefix(void **state)
{
	(void)state;
	struct capture capture;
	char buf[1024], stream[64];
	struct stat st;
	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(
	    stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	assert_int_equal(log_start("postern-test", false, LOG_LEVEL_INFO), 0);
	unsetenv("JOURNAL_STREAM");
	log_error("one");
	log_info("two");
	log_stop();
	capture_end(&capture, buf, sizeof(buf));
	assert_string_equal(buf, "<3>error: one\n<6>two\n");
}

struct reader {
	int fd;
	char *buf;
	size_t size, len;
};

static void *read_all(void *context)
{
	struct reader *reader = context;
	for (ssize_t n; (n = read(
			     reader->fd, reader->buf + reader->len,
			     reader->size - 1 - reader->len)) > 0;)
		reader->len += (size_t)n;
	reader->buf[reader->len] = '\0';
	return NULL;
}

/* Nobody reads: the callers go on all the same, and the loss is counted and said. */
static void test_blocked_reader(void **state)
{
	(void)state;
	enum { LINES = 40000 };
	struct capture capture;
	unsigned long before = log_dropped();
	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(log_start("postern-test", false, LOG_LEVEL_INFO), 0);
	for (int i = 0; i < LINES; i++)
		log_info("line %d of a flood that nobody reads", i);
	unsigned long lost = log_dropped() - before;
	assert_true(lost > 0);
	assert_true(lost < LINES);

	struct reader reader = {.fd = capture.pipe[0], .size = 8 * 1024 * 1024};
	reader.buf = malloc(reader.size);
	assert_non_null(reader.buf);
	pthread_t thread;
	assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
	log_stop();
	dup2(capture.old, STDERR_FILENO); /* the last writer's end: the reader ends */
	close(capture.old);
	pthread_join(thread, NULL);
	close(capture.pipe[0]);

	unsigned long lines = 0, said = 0, n;
	char *rest = reader.buf;
	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		if (strstr(line, " of a flood "))
			lines++;
		else if (
		    sscanf(line, "postern-test: warning: %lu log lines dropped", &n) == 1)
			said += n;
		else
			fail_msg("unexpected line: %s", line);
	}
	assert_int_equal(said, lost);
	assert_int_equal(lines + lost, LINES);
	free(reader.buf);
}

static void *flood(void *context)
{
	for (int i = 0; i < 500; i++)
		log_info("thread %s line %d", (const char *)context, i);
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	static char buf[256 * 1024];
	static char names[4][2] = {"a", "b", "c", "d"};
	struct capture capture;
	assert_int_equal(capture_begin(&capture), 0);
	assert_int_equal(log_start("t", false, LOG_LEVEL_INFO), 0);
	struct reader reader = {.fd = capture.pipe[0], .size = sizeof(buf), .buf = buf};
	pthread_t reading, threads[4];
	assert_int_equal(pthread_create(&reading, NULL, read_all, &reader), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, flood, names[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	log_stop();
	dup2(capture.old, STDERR_FILENO);
	close(capture.old);
	pthread_join(reading, NULL);
	close(capture.pipe[0]);

	/* Every line whole, each thread's in order. */
	int next[4] = {0};
	char *rest = buf;
	for (char *line; (line = strsep(&rest, "\n")) && *line;) {
		char name;
		int number;
		if (sscanf(line, "t: thread %c line %d", &name, &number) != 2 ||
		    name < 'a' || name > 'd' || number != next[name - 'a']++)
			fail_msg("unexpected line: %s", line);
	}
	for (int i = 0; i < 4; i++)
		assert_int_equal(next[i], 500);
}

/* What comes closely together is not written line by line, and no write cuts a line. */
static void test_lines_gather(void **state)
{
	(void)state;
	enum { LINES = 2000 };
	char buf[PIPE_BUF + 1];
	int next = 0, writes = 0, ends[2], old = dup(STDERR_FILENO);
	/* Of such a pipe a read() returns what one write() put there. */
	assert_int_equal(pipe2(ends, O_DIRECT), 0);
	assert_true(fcntl(ends[1], F_SETPIPE_SZ, 1024 * 1024) > 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	assert_int_equal(log_start("t", false, LOG_LEVEL_INFO), 0);
	for (int i = 0; i < LINES; i++)
		log_info("line %d", i);
	log_error("line %d", LINES);
	log_stop();
	dup2(old, STDERR_FILENO);
	close(old);
	for (ssize_t n; (n = read(ends[0], buf, PIPE_BUF)) > 0; writes++) {
		assert_int_equal(buf[n - 1], '\n');
		buf[n] = '\0';
		char *rest = buf;
		for (char *line; (line = strsep(&rest, "\n")) && *line; next++) {
			int number = -1;
			if ((sscanf(line, "t: line %d", &number) != 1 &&
			     sscanf(line, "t: error: line %d", &number) != 1) ||
			    number != next)
				fail_msg("unexpected line: %s", line);
		}
	}
	close(ends[0]);
	assert_int_equal(next, LINES + 1);
	assert_true(writes < LINES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_level_parse),    cmocka_unit_test(test_before_start),
	    cmocka_unit_test(test_lines),          cmocka_unit_test(test_journal_prefix),
	    cmocka_unit_test(test_blocked_reader), cmocka_unit_test(test_threads),
	    cmocka_unit_test(test_lines_gather),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
