/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is said of answers that were missing: the log lines, read back from standard
 * error. The link's own news are the test's.
 */
#include "policyd/redis_health.h"

#include "policyd/redis_conn.h"
#include "policyd/redis_news.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static bool link_knew;
static int64_t asked_at_ms;

bool redis_news_knew(int64_t at_ms)
{
	asked_at_ms = at_ms;
	return link_knew;
}

int64_t redis_now_ms(void)
{
	return 4711;
}

/* What redis_health_tell_missed() writes, "" is nothing. */
static const char *told(enum store_failure on_failure)
{
	static char text[2000];
	FILE *file = tmpfile();

	assert_non_null(file);
	fflush(stderr);
	int saved = dup(STDERR_FILENO);
	assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
	redis_health_tell_missed(on_failure, 2, "192.0.2.1:6379");
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	size_t len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

static void miss(unsigned count, const char *error, const char *remedy)
{
	redis_health_why(error, remedy);
	for (unsigned i = 0; i < count; i++)
		redis_health_missed();
}

static void assert_says(const char *line, const char *part)
{
	assert_non_null(line);
	if (!strstr(line, part))
		fail_msg("\"%s\" does not say \"%s\"", line, part);
}

/* One process, one state: the steps of one story. */
static void each_hiccup_is_told_once(void **state)
{
	(void)state;
	assert_string_equal(told(STORE_FAILURE_LOCAL), "");

	/* The link has told why: nothing to add, and nothing is left over. */
	link_knew = true;
	miss(3, "Connection refused", NULL);
	assert_string_equal(told(STORE_FAILURE_LOCAL), "");
	assert_int_equal(asked_at_ms, 4711);
	link_knew = false;

	/* As long as a loop has found it away there is nobody to say it is over. */
	redis_health_away();
	miss(2, "no answer in time", NULL);
	assert_string_equal(told(STORE_FAILURE_LOCAL), "");
	redis_health_back();

	const char *line = told(STORE_FAILURE_LOCAL);
	assert_says(line, "warning: redis 192.0.2.1:6379: ");
	assert_says(line, "the limits of 2 requests (no answer in time)");
	assert_says(line, "limits count in this daemon alone, up to 1/2 of each max");
	assert_says(line, "raise redis.timeout");
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);

	/* The next one of the same minute waits for the next line, and is counted. */
	miss(4, "too many hops", "finish it");
	assert_string_equal(told(STORE_FAILURE_DEFER), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_hiccup_is_told_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
