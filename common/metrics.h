/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Counters for Prometheus. One table of rows (metrics.c) says which metrics exist: name,
 * help, type, labels. A row with its label values is a series: asked for once, by who
 * starts a thing, then counted by its number.
 *
 * Counting takes no lock and no system call: a thread adds to its own shard with relaxed
 * atomics, a scrape adds the shards up. Counts survive reloads, because a series asked
 * for again is the same one.
 *
 * Label values come from the program and its configuration. No address, user or sender is
 * ever one: a client must not be able to make series.
 *
 * Processes that share one arena (a milter's children) count into one page, whichever of
 * them prints it; what a dead one counted stays.
 */

enum metric {
	METRIC_POLICY_REQUESTS,
	METRIC_POLICY_DECISIONS,
	METRIC_POLICY_REQUEST_SECONDS,
	METRIC_POLICY_CONNECTIONS,
	METRIC_POLICY_PROTOCOL_ERRORS,
	METRIC_LIMIT_EXCEEDED,
	METRIC_STORE_UP,
	METRIC_STORE_REQUEST_SECONDS,
	METRIC_BLOCKS,
	METRIC_MILTER_MESSAGES,
	METRIC_DKIM_SIGNATURES,
	METRIC_DKIM_KEY_PUBLISHED,
	METRIC_RECEIVED_MASKED,
	METRIC_CONFIG_RELOAD_SUCCESSFUL,
	METRIC_CONFIG_RELOAD_TIME,
	METRIC_LOG_DROPPED,
	METRIC_BUILD_INFO,
	METRICS,
};

/* Where counts go that have no series: never printed. */
#define METRICS_NO_SERIES 0

/*
 * The series of @metric with these label values; NULL where the row has no such label.
 * The same values give the same series, at 0 at first. METRICS_NO_SERIES: the table is
 * full (about a thousand series; after some hundred reloads with new limit names).
 * Any thread; takes a lock: not for the hot path.
 */
uint32_t metrics_series(enum metric metric, const char *label, const char *label2);

/* A counter; or a gauge that threads add to and take from, with (uint64_t)-1. */
void metrics_add(uint32_t series, uint64_t amount);

/* A gauge that one place sets. */
void metrics_set(uint32_t series, uint64_t value);

/*
 * Of @metric, a gauge, these series alone are printed from now on: those that a reload
 * took away would say something for ever. One that is asked for again is back.
 */
void metrics_keep(enum metric metric, const uint32_t *series, size_t count);

/* A histogram. */
void metrics_observe(uint32_t series, uint64_t ns);

/* The sum over all shards, of a histogram the number of observations; for tests and the
 * status page. */
uint64_t metrics_value(uint32_t series);

/* CLOCK_MONOTONIC, for metrics_observe(). */
uint64_t metrics_clock_ns(void);

/*
 * The Prometheus text format, version 0.0.4, malloc'd in *ret (NUL-terminated). Rows
 * without a series are left out. 0 or -ENOMEM.
 */
int metrics_print(char **ret, size_t *ret_len);

/* The same as rows of an HTML table, escaped; histograms by count and mean. */
int metrics_print_html(char **ret, size_t *ret_len);

/*
 * A descriptor (close-on-exec is off: children inherit it) of an empty arena; negative
 * errno on failure.
 */
int metrics_arena_new(void);

/*
 * From now on this process counts into the arena @fd. Before its other threads start and
 * before it asks for a series. 0 or negative errno, with the private arena in use on.
 */
int metrics_arena_use(int fd);
