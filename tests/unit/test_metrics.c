/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Each test counts into an arena of its own. */
static int fresh(void **state)
{
	(void)state;
	int fd = metrics_arena_new();
	int r = fd < 0 ? fd : metrics_arena_use(fd);

	close(fd);
	return r;
}

static char *page(void)
{
	char *text = NULL;
	size_t len = 0;

	assert_int_equal(metrics_print(&text, &len), 0);
	assert_int_equal(strlen(text), len);
	return text;
}

static void assert_has(const char *text, const char *part, const char *why)
{
	if (!strstr(text, part))
		fail_msg("%s: no\n%s\nin\n%s", why, part, text);
}

static void a_series_is_its_labels(void **state)
{
	(void)state;
	uint32_t ok = metrics_series(METRIC_POLICY_DECISIONS, "none", "ok");
	uint32_t defer = metrics_series(METRIC_POLICY_DECISIONS, "limits", "defer");
	uint32_t swapped = metrics_series(METRIC_POLICY_DECISIONS, "defer", "limits");

	assert_int_not_equal(ok, METRICS_NO_SERIES);
	assert_int_not_equal(ok, defer);
	assert_int_not_equal(defer, swapped);
	assert_int_equal(metrics_series(METRIC_POLICY_DECISIONS, "none", "ok"), ok);
	metrics_add(ok, 3);
	metrics_add(defer, 1);
	assert_int_equal(metrics_value(ok), 3);
	assert_int_equal(metrics_value(swapped), 0);
}

static uint32_t published(const char *key, const char *domain)
{
	return metrics_series(METRIC_DKIM_KEY_PUBLISHED, key, domain);
}

static void what_a_reload_took_away_is_not_told(void **state)
{
	(void)state;
	uint32_t series[] = {published("a", "a.example"), published("b", "a.example")};
	metrics_set(series[0], 1);
	metrics_set(series[1], 1);
	metrics_add(metrics_series(METRIC_POLICY_REQUESTS, "RCPT", NULL), 7);

	metrics_keep(METRIC_DKIM_KEY_PUBLISHED, &series[1], 1);
	char *text = page();
	assert_has(text, "published{key=\"b\",domain=\"a.example\"} 1\n", "one stays");
	assert_has(text, "requests_total{state=\"RCPT\"} 7\n", "another metric");
	assert_null(strstr(text, "key=\"a\""));
	free(text);
	assert_int_equal(metrics_print_html(&text, &(size_t){0}), 0);
	assert_null(strstr(text, "key=a "));
	free(text);

	metrics_keep(METRIC_DKIM_KEY_PUBLISHED, NULL, 0);
	text = page();
	assert_null(strstr(text, "postern_dkim_key_published"));
	free(text);

	assert_int_equal(published("a", "a.example"), series[0]);
	metrics_set(series[0], 0);
	text = page();
	assert_has(text, "published{key=\"a\",domain=\"a.example\"} 0\n", "it is back");
	assert_null(strstr(text, "key=\"b\""));
	free(text);
}

static void the_page_is_what_prometheus_reads(void **state)
{
	(void)state;
	metrics_add(metrics_series(METRIC_POLICY_REQUESTS, "RCPT", NULL), 7);
	metrics_add(metrics_series(METRIC_POLICY_REQUESTS, "DATA", NULL), 2);
	metrics_add(metrics_series(METRIC_POLICY_DECISIONS, "limits", "defer"), 1);
	uint32_t connections = metrics_series(METRIC_POLICY_CONNECTIONS, NULL, NULL);
	metrics_add(connections, 5);
	metrics_add(connections, (uint64_t)-2);
	metrics_set(metrics_series(METRIC_BUILD_INFO, "0.1", NULL), 1);

	char *text = page();
	assert_string_equal(
	    text,
	    "# HELP postern_policy_requests_total Policy requests by protocol state.\n"
	    "# TYPE postern_policy_requests_total counter\n"
	    "postern_policy_requests_total{state=\"RCPT\"} 7\n"
	    "postern_policy_requests_total{state=\"DATA\"} 2\n"
	    "# HELP postern_policy_decisions_total Answers by the check that objected "
	    "(none: no check did) and what was answered; shadow: what a check in shadow "
	    "would have refused, besides the answer.\n"
	    "# TYPE postern_policy_decisions_total counter\n"
	    "postern_policy_decisions_total{check=\"limits\",action=\"defer\"} 1\n"
	    "# HELP postern_policy_connections Open policy connections.\n"
	    "# TYPE postern_policy_connections gauge\n"
	    "postern_policy_connections 3\n"
	    "# HELP postern_build_info Always 1; the version is the label.\n"
	    "# TYPE postern_build_info gauge\n"
	    "postern_build_info{version=\"0.1\"} 1\n");
	free(text);
}

static void histograms_are_cumulative(void **state)
{
	static const struct {
		const char *why;
		uint64_t ns;
	} seen[] = {
	    {"zero belongs to the first", 0}, {"a bound belongs to its bucket", 10000},
	    {"one more to the next", 10001},  {"a second", 1000000000},
	    {"above all", 3600000000000},
	};
	static const struct {
		const char *why, *line;
	} rows[] = {
	    {"first bucket", "_bucket{le=\"1e-05\"} 2\n"},
	    {"cumulated", "_bucket{le=\"2.5e-05\"} 3\n"},
	    {"below the next value", "_bucket{le=\"0.5\"} 3\n"},
	    {"a second", "_bucket{le=\"1\"} 4\n"},
	    {"the last bound", "_bucket{le=\"10\"} 4\n"},
	    {"all of them", "_bucket{le=\"+Inf\"} 5\n"},
	    {"the sum in seconds", "_sum 3601.000020001\n"},
	    {"the count", "_count 5\n"},
	};
	(void)state;
	uint32_t series = metrics_series(METRIC_POLICY_REQUEST_SECONDS, NULL, NULL);
	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
		metrics_observe(series, seen[i].ns);

	char *text = page();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char line[128];
		snprintf(
		    line, sizeof(line), "\npostern_policy_request_seconds%s",
		    rows[i].line);
		assert_has(text, line, rows[i].why);
	}
	assert_int_equal(metrics_value(series), 5);
	free(text);
}

static void labels_cannot_leave_their_quotes(void **state)
{
	static const struct {
		const char *why, *value, *text, *html;
	} rows[] = {
	    {"a quote", "a\"} 1\nevil 2", "limit=\"a\\\"} 1\\\\x0aevil 2\"} 0\n",
	     "limit=a&quot;} 1\\x0aevil 2<"},
	    {"a backslash at the end", "b\\", "limit=\"b\\\\x5c\"} 0\n", "limit=b\\x5c<"},
	    {"markup", "<script>&'", "limit=\"<script>&'\"} 0\n",
	     "limit=&lt;script&gt;&amp;&#39;<"},
	    {"not UTF-8", "c\xff", "limit=\"c\\\\xff\"} 0\n", "limit=c\\xff<"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		metrics_series(METRIC_LIMIT_EXCEEDED, rows[i].value, NULL);

	char *text = page(), *html = NULL;
	size_t html_len;
	assert_int_equal(metrics_print_html(&html, &html_len), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_has(text, rows[i].text, rows[i].why);
		assert_has(html, rows[i].html, rows[i].why);
	}
	free(text);
	free(html);
}

enum { ROUNDS = 20000, THREADS = 100 };

static void *count_up(void *context)
{
	const uint32_t *series = context;

	for (int i = 0; i < ROUNDS; i++) {
		metrics_add(series[0], 1);
		metrics_observe(series[1], 20000);
	}
	return NULL;
}

/* More threads than shards: some share one. */
static void no_count_of_any_thread_is_lost(void **state)
{
	uint32_t series[] = {
	    metrics_series(METRIC_POLICY_PROTOCOL_ERRORS, NULL, NULL),
	    metrics_series(METRIC_STORE_REQUEST_SECONDS, NULL, NULL),
	};
	pthread_t threads[THREADS];
	(void)state;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, series), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(metrics_value(series[0]), THREADS * ROUNDS);
	assert_int_equal(metrics_value(series[1]), THREADS * ROUNDS);
}

/* A milter's children count into one page, and what a killed one counted stays. */
static void processes_share_an_arena(void **state)
{
	int fd = metrics_arena_new();
	(void)state;

	assert_true(fd >= 0);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			metrics_arena_use(fd);
			metrics_add(
			    metrics_series(METRIC_MILTER_MESSAGES, "signed", NULL), 5);
			raise(SIGKILL);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
	assert_int_equal(metrics_arena_use(fd), 0);
	close(fd);
	char *text = page();
	assert_has(
	    text, "\npostern_milter_messages_total{result=\"signed\"} 15\n",
	    "three children");
	free(text);
}

static void another_file_is_no_arena(void **state)
{
	int fds[2];
	(void)state;

	assert_int_equal(pipe(fds), 0);
	assert_true(metrics_arena_use(fds[0]) < 0);
	assert_true(metrics_arena_use(-1) < 0);
	close(fds[0]);
	close(fds[1]);
}

static void a_full_table_goes_on(void **state)
{
	uint32_t first = metrics_series(METRIC_LIMIT_EXCEEDED, "first", NULL),
		 last = first;
	char name[32];
	int made = 1;
	(void)state;

	for (int i = 0; i < 5000 && last != METRICS_NO_SERIES; i++, made++) {
		snprintf(name, sizeof(name), "limit-%d", i);
		last = metrics_series(METRIC_LIMIT_EXCEEDED, name, NULL);
	}
	assert_int_equal(last, METRICS_NO_SERIES);
	assert_true(made > 900);
	assert_int_equal(
	    metrics_series(METRIC_POLICY_REQUEST_SECONDS, NULL, NULL), METRICS_NO_SERIES);
	/* Counted nowhere, and harmless. */
	metrics_add(METRICS_NO_SERIES, 1000);
	metrics_set(METRICS_NO_SERIES, 1000);
	metrics_observe(METRICS_NO_SERIES, 1000);
	assert_int_equal(metrics_value(METRICS_NO_SERIES), 0);
	metrics_add(first, 1);
	assert_int_equal(metrics_series(METRIC_LIMIT_EXCEEDED, "first", NULL), first);
	assert_int_equal(metrics_value(first), 1);
	char *text = page();
	assert_null(strstr(text, " 1000\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_series_is_its_labels, fresh),
	    cmocka_unit_test_setup(what_a_reload_took_away_is_not_told, fresh),
	    cmocka_unit_test_setup(the_page_is_what_prometheus_reads, fresh),
	    cmocka_unit_test_setup(histograms_are_cumulative, fresh),
	    cmocka_unit_test_setup(labels_cannot_leave_their_quotes, fresh),
	    cmocka_unit_test_setup(no_count_of_any_thread_is_lost, fresh),
	    cmocka_unit_test_setup(processes_share_an_arena, fresh),
	    cmocka_unit_test_setup(another_file_is_no_arena, fresh),
	    cmocka_unit_test_setup(a_full_table_goes_on, fresh),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
