/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/metrics.h"

#include "common/printable.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* One cell is one number of one series; a histogram has several. */
#define CELLS_MAX  2048
#define SERIES_MAX 1024

/* Threads beyond so many share shards: slower, never wrong. */
#define SHARDS_MAX 64

#define LABEL_MAX 96

enum type {
	COUNTER,
	GAUGE, /* set; cell of the first shard alone */
	LEVEL, /* a gauge that is the sum of what threads add */
	HISTOGRAM,
};

struct row {
	const char *name;
	enum type type;
	const char *labels[2];
	const char *help;
};

static const struct row rows[METRICS] = {
    [METRIC_POLICY_REQUESTS] =
	{"postern_policy_requests_total",
	 COUNTER,
	 {"state"},
	 "Policy requests by protocol state."},
    [METRIC_POLICY_DECISIONS] =
	{"postern_policy_decisions_total",
	 COUNTER,
	 {"check", "action"},
	 "Answers by the check that objected (none: no check did) and what was answered; "
	 "shadow: what a check in shadow would have refused, besides the answer."},
    [METRIC_POLICY_REQUEST_SECONDS] =
	{"postern_policy_request_seconds",
	 HISTOGRAM,
	 {NULL},
	 "Time from a whole policy request to its answer."},
    [METRIC_POLICY_CONNECTIONS] =
	{"postern_policy_connections", LEVEL, {NULL}, "Open policy connections."},
    [METRIC_POLICY_PROTOCOL_ERRORS] =
	{"postern_policy_protocol_errors_total",
	 COUNTER,
	 {NULL},
	 "Policy connections closed without a reply for what was sent, or not read."},
    [METRIC_LIMIT_EXCEEDED] =
	{"postern_limit_exceeded_total",
	 COUNTER,
	 {"limit"},
	 "Requests that found this limit over; of several the one that was answered."},
    [METRIC_STORE_UP] =
	{"postern_store_up", GAUGE, {"store"}, "1 while the store of counters answers."},
    [METRIC_STORE_REQUEST_SECONDS] =
	{"postern_store_request_seconds",
	 HISTOGRAM,
	 {NULL},
	 "Time the store of counters took for one request."},
    [METRIC_BLOCKS] =
	{"postern_blocks",
	 GAUGE,
	 {NULL},
	 "Blocks at run time, by command or by a limit, that this node obeys."},
    [METRIC_MILTER_MESSAGES] =
	{"postern_milter_messages_total",
	 COUNTER,
	 {"result"},
	 "Messages by what became of them in the milter."},
    [METRIC_DKIM_SIGNATURES] =
	{"postern_dkim_signatures_total",
	 COUNTER,
	 {"algorithm"},
	 "DKIM signatures made."},
    [METRIC_DKIM_KEY_PUBLISHED] =
	{"postern_dkim_key_published",
	 GAUGE,
	 {"key", "domain"},
	 "1 while DNS shows the record of this key for this signing domain; the first "
	 "256 "
	 "records alone."},
    [METRIC_RECEIVED_MASKED] =
	{"postern_received_masked_total",
	 COUNTER,
	 {NULL},
	 "Received header fields replaced or removed."},
    [METRIC_CONFIG_RELOAD_SUCCESSFUL] =
	{"postern_config_last_reload_successful",
	 GAUGE,
	 {NULL},
	 "1 when the last load of the configuration was taken, 0 when the old one goes "
	 "on."},
    [METRIC_CONFIG_RELOAD_TIME] =
	{"postern_config_last_reload_success_timestamp_seconds",
	 GAUGE,
	 {NULL},
	 "When the configuration in force was loaded, in seconds since 1970."},
    [METRIC_LOG_DROPPED] =
	{"postern_log_dropped_total",
	 COUNTER,
	 {NULL},
	 "Lines lost, of the log and of the decision log."},
    [METRIC_BUILD_INFO] =
	{"postern_build_info", GAUGE, {"version"}, "Always 1; the version is the label."},
};

/* Upper bounds; what is above the last counts in +Inf alone. The usual answer takes
 * microseconds; a store far away, up to its timeout. */
static const struct bucket {
	uint64_t ns;
	const char *label;
} buckets[] = {
    {10000, "1e-05"},    {25000, "2.5e-05"},  {50000, "5e-05"},    {100000, "0.0001"},
    {250000, "0.00025"}, {500000, "0.0005"},  {1000000, "0.001"},  {2500000, "0.0025"},
    {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"}, {50000000, "0.05"},
    {100000000, "0.1"},  {250000000, "0.25"}, {500000000, "0.5"},  {1000000000, "1"},
    {10000000000, "10"},
};

#define BUCKETS (sizeof(buckets) / sizeof(buckets[0]))

/* The buckets (not cumulated), +Inf, the sum in ns. */
#define HISTOGRAM_CELLS (BUCKETS + 2)

struct series {
	enum metric metric;
	uint32_t cell;
	atomic_bool is_gone; /* until it is asked for again */
	char labels[2][LABEL_MAX];
};

/* Two cache lines apart: the prefetcher fetches pairs. */
struct shard {
	_Alignas(128) _Atomic uint64_t cells[CELLS_MAX];
};

/* Readers go by series_count, which moves after a series is written. Cell and series 0
 * are the sink. */
struct arena {
	pthread_mutex_t lock;
	_Atomic uint32_t series_count, threads;
	uint32_t cells_used;
	struct series series[SERIES_MAX];
	struct shard shards[SHARDS_MAX];
};

static struct arena private_arena = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .series_count = 1, .cells_used = 1};
static struct arena *arena = &private_arena;
static _Thread_local struct shard *my_shard;

static _Atomic uint64_t *cell(uint32_t series, size_t offset)
{
	if (!my_shard)
		my_shard = &arena->shards
				[atomic_fetch_add_explicit(
				     &arena->threads, 1, memory_order_relaxed) %
				 SHARDS_MAX];
	return &my_shard->cells[arena->series[series].cell + offset];
}

static uint32_t cells_of(enum metric metric)
{
	return rows[metric].type == HISTOGRAM ? (uint32_t)HISTOGRAM_CELLS : 1;
}

static bool is_series(
    const struct series *series, enum metric metric, char labels[static 2][LABEL_MAX])
{
	return series->metric == metric && strcmp(series->labels[0], labels[0]) == 0 &&
	       strcmp(series->labels[1], labels[1]) == 0;
}

/* A process that died inside left whole series: the count moves last. */
static void lock(void)
{
	if (pthread_mutex_lock(&arena->lock) == EOWNERDEAD)
		pthread_mutex_consistent(&arena->lock);
}

uint32_t metrics_series(enum metric metric, const char *label, const char *label2)
{
	const char *values[2] = {label, label2};
	char labels[2][LABEL_MAX] = {"", ""};

	for (int i = 0; i < 2; i++) {
		assert(!values[i] == !rows[metric].labels[i]);
		if (values[i])
			printable(labels[i], LABEL_MAX, values[i], strlen(values[i]));
	}
	lock();
	uint32_t count = arena->series_count, found = METRICS_NO_SERIES;
	for (uint32_t i = 1; i < count && found == METRICS_NO_SERIES; i++)
		if (is_series(&arena->series[i], metric, labels))
			found = i;
	if (found == METRICS_NO_SERIES && count < SERIES_MAX &&
	    arena->cells_used + cells_of(metric) <= CELLS_MAX) {
		struct series *series = &arena->series[count];
		series->metric = metric;
		series->cell = arena->cells_used;
		memcpy(series->labels, labels, sizeof(labels));
		arena->cells_used += cells_of(metric);
		atomic_store_explicit(
		    &arena->series_count, count + 1, memory_order_release);
		found = count;
	}
	if (found != METRICS_NO_SERIES)
		arena->series[found].is_gone = false;
	pthread_mutex_unlock(&arena->lock);
	return found;
}

void metrics_keep(enum metric metric, const uint32_t *series, size_t count)
{
	assert(rows[metric].type == GAUGE);
	lock();
	for (uint32_t i = 1; i < arena->series_count; i++) {
		bool is_kept = arena->series[i].metric != metric;
		for (size_t n = 0; n < count && !is_kept; n++)
			is_kept = series[n] == i;
		if (!is_kept)
			arena->series[i].is_gone = true;
	}
	pthread_mutex_unlock(&arena->lock);
}

void metrics_add(uint32_t series, uint64_t amount)
{
	atomic_fetch_add_explicit(cell(series, 0), amount, memory_order_relaxed);
}

void metrics_set(uint32_t series, uint64_t value)
{
	if (series == METRICS_NO_SERIES)
		return;
	assert(rows[arena->series[series].metric].type == GAUGE);
	atomic_store_explicit(
	    &arena->shards[0].cells[arena->series[series].cell], value,
	    memory_order_relaxed);
}

void metrics_observe(uint32_t series, uint64_t ns)
{
	size_t bucket = 0;

	if (series == METRICS_NO_SERIES)
		return;
	assert(rows[arena->series[series].metric].type == HISTOGRAM);
	while (bucket < BUCKETS && ns > buckets[bucket].ns)
		bucket++;
	atomic_fetch_add_explicit(cell(series, bucket), 1, memory_order_relaxed);
	atomic_fetch_add_explicit(cell(series, BUCKETS + 1), ns, memory_order_relaxed);
}

uint64_t metrics_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t sum(const struct series *series, size_t offset)
{
	uint32_t threads = atomic_load_explicit(&arena->threads, memory_order_relaxed);
	uint64_t value = 0;

	/* The first shard holds the gauges that are set, whoever counts in it. */
	for (uint32_t i = 0; i < SHARDS_MAX && (i == 0 || i < threads); i++)
		value += atomic_load_explicit(
		    &arena->shards[i].cells[series->cell + offset], memory_order_relaxed);
	return value;
}

uint64_t metrics_value(uint32_t number)
{
	const struct series *series = &arena->series[number];
	uint64_t value = 0;

	if (number == METRICS_NO_SERIES)
		return 0;
	if (rows[series->metric].type != HISTOGRAM)
		return sum(series, 0);
	for (size_t i = 0; i <= BUCKETS; i++)
		value += sum(series, i);
	return value;
}

/* Label values are printable already; these three would end or bend them. */
static void print_label_value(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			putc('\\', out);
		putc(*value, out);
	}
}

static void print_html_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			putc(*text, out);
		}
	}
}

/* {a="1",b="2"}; @le is one label more, or NULL. */
static void print_labels(FILE *out, const struct series *series, const char *le)
{
	const struct row *row = &rows[series->metric];
	char before = '{';

	for (int i = 0; i < 2 && row->labels[i]; i++) {
		fprintf(out, "%c%s=\"", before, row->labels[i]);
		print_label_value(out, series->labels[i]);
		putc('"', out);
		before = ',';
	}
	if (le) {
		fprintf(out, "%cle=\"%s\"", before, le);
		before = ',';
	}
	if (before == ',')
		putc('}', out);
}

static void print_seconds(FILE *out, uint64_t ns)
{
	fprintf(out, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

static void print_histogram(FILE *out, const struct series *series)
{
	const char *name = rows[series->metric].name;
	uint64_t count = 0;

	for (size_t i = 0; i <= BUCKETS; i++) {
		count += sum(series, i);
		fprintf(out, "%s_bucket", name);
		print_labels(out, series, i < BUCKETS ? buckets[i].label : "+Inf");
		fprintf(out, " %" PRIu64 "\n", count);
	}
	fprintf(out, "%s_sum", name);
	print_labels(out, series, NULL);
	putc(' ', out);
	print_seconds(out, sum(series, BUCKETS + 1));
	fprintf(out, "\n%s_count", name);
	print_labels(out, series, NULL);
	fprintf(out, " %" PRIu64 "\n", count);
}

static void print_series(FILE *out, const struct series *series)
{
	const struct row *row = &rows[series->metric];

	if (row->type == HISTOGRAM) {
		print_histogram(out, series);
		return;
	}
	fputs(row->name, out);
	print_labels(out, series, NULL);
	/* A level may be below zero for a moment: its shards are read one by one. */
	if (row->type == LEVEL)
		fprintf(out, " %" PRId64 "\n", (int64_t)sum(series, 0));
	else
		fprintf(out, " %" PRIu64 "\n", sum(series, 0));
}

static const char *type_name(enum type type)
{
	switch (type) {
	case COUNTER:
		return "counter";
	case GAUGE:
	case LEVEL:
		return "gauge";
	case HISTOGRAM:
		return "histogram";
	}
	assert(0);
	return "";
}

static void print_head(FILE *out, const struct row *row)
{
	fprintf(
	    out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
	    type_name(row->type));
}

static void print_html_series(FILE *out, const struct series *series)
{
	const struct row *row = &rows[series->metric];

	fprintf(out, "<tr><td>%s</td><td>", row->name);
	for (int i = 0; i < 2 && row->labels[i]; i++) {
		fprintf(out, "%s%s=", i ? " " : "", row->labels[i]);
		print_html_text(out, series->labels[i]);
	}
	fputs("</td><td>", out);
	if (row->type == HISTOGRAM) {
		uint64_t count = metrics_value((uint32_t)(series - arena->series));
		fprintf(out, "%" PRIu64 ", mean ", count);
		print_seconds(out, count ? sum(series, BUCKETS + 1) / count : 0);
		fputs(" s", out);
	} else {
		fprintf(out, "%" PRId64, (int64_t)sum(series, 0));
	}
	fputs("</td></tr>\n", out);
}

typedef void print_head_fn(FILE *out, const struct row *row);
typedef void print_series_fn(FILE *out, const struct series *series);

/* All series, row by row as the format wants them. */
static int print_all(
    print_head_fn *head, print_series_fn *series, char **ret, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	if (!out)
		return -ENOMEM;
	uint32_t count = atomic_load_explicit(&arena->series_count, memory_order_acquire);
	for (unsigned metric = 0; metric < METRICS; metric++) {
		bool first = true;
		for (uint32_t i = 1; i < count; i++) {
			if (arena->series[i].metric != metric || arena->series[i].is_gone)
				continue;
			if (first && head)
				head(out, &rows[metric]);
			first = false;
			series(out, &arena->series[i]);
		}
	}
	bool failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}

int metrics_print(char **ret, size_t *ret_len)
{
	return print_all(print_head, print_series, ret, ret_len);
}

int metrics_print_html(char **ret, size_t *ret_len)
{
	return print_all(NULL, print_html_series, ret, ret_len);
}

int metrics_arena_new(void)
{
	int fd = memfd_create("postern-metrics", 0);

	if (fd < 0)
		return -errno;
	struct arena *fresh = MAP_FAILED;
	if (ftruncate(fd, (off_t)sizeof(*fresh)) == 0)
		fresh =
		    mmap(NULL, sizeof(*fresh), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fresh == MAP_FAILED) {
		int r = -errno;
		close(fd);
		return r;
	}
	pthread_mutexattr_t shared;
	pthread_mutexattr_init(&shared);
	pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&fresh->lock, &shared);
	pthread_mutexattr_destroy(&shared);
	fresh->cells_used = 1;
	fresh->series_count = 1;
	munmap(fresh, sizeof(*fresh));
	return fd;
}

int metrics_arena_use(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);

	if (size < 0)
		return -errno;
	if (size != (off_t)sizeof(*arena))
		return -EINVAL;
	void *shared =
	    mmap(NULL, sizeof(*arena), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		return -errno;
	arena = shared;
	my_shard = NULL;
	return 0;
}
