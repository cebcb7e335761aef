/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate.h"

#include "common/dkim_key.h"
#include "common/dkim_record.h"
#include "common/dns.h"
#include "common/metrics.h"
#include "common/thread.h"
#include "milter/gate_file.h"
#include "milter/gate_lines.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Questions under way at the same time: what a resolver takes without dropping. */
#define RUNNING_MAX 64

/* The first retry after DNS failed; doubled up to recheck. */
#define RETRY_MS 5000

/* Lines about changes in one round; a change of all domains at once is one event. */
#define LINES_MAX 50

/* Records with a series of the metric: the table of series is everybody's. */
#define SERIES_MAX 256

/* Records in one reply to "status". */
#define STATUS_MAX 10000

/* How often a round of many records is looked at while it runs. */
#define LOOK_MS 1000

/* A round asks for all records, or for those without an answer. */
enum round { ROUND_NONE, ROUND_ALL, ROUND_FAILING };

struct gate {
	gate_say *say;
	bool first;
	int wake_fd;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct gate_view *offered; /* until the thread has taken it */
	bool tried, stopping;
	struct gate_view *view; /* the thread's; its pairs change under the lock */

	/* The thread's own. */
	struct dns *dns;
	bool ending; /* answers are none: the questions are being dropped */
	enum round round;
	size_t cursor, running;
	int64_t looked_ms, next_all_ms, next_failing_ms;
	unsigned failed_rounds; /* in a row */
	int64_t settles_s;      /* when somebody may take over */
	size_t asked, new_failures, failures_told, lines;
	const struct gate_pair *first_failure;
	bool news;    /* answers that are not evaluated yet */
	bool unsaved; /* states that are not on disk */
	bool save_failed, summary_due;
};

static int64_t clock_ms(void)
{
	struct timespec now;

	/* A machine that slept has old answers. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t calendar_s(void)
{
	return (int64_t)time(NULL);
}

__attribute__((format(printf, 3, 4))) static void say(
    const struct gate *gate, enum log_level level, const char *format, ...)
{
	char line[GATE_LINE_MAX + 600];
	va_list args;
	if (!gate->first)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	gate->say(level, line);
}

static bool needs_dns(const struct gate_pair *pair)
{
	return pair->state.seen.state != GATE_NOT_REQUIRED;
}

/* ---- answers ---- */

static void set_said(struct gate_pair *pair, const char *text)
{
	free(pair->said);
	/* Without memory the answer is told in fewer words. */
	pair->said = text && text[0] ? strdup(text) : NULL;
}

static enum gate_answer judge(
    const struct gate_pair *pair, const struct dns_answer *answer,
    char said[static DKIM_RECORD_TEXT_MAX])
{
	switch (dkim_record_judge(pair->key->key, answer, said)) {
	case DKIM_RECORD_MATCHES:
		return GATE_MATCHES;
	case DKIM_RECORD_OTHER_KEY:
	case DKIM_RECORD_REVOKED:
	case DKIM_RECORD_UNUSABLE:
		return GATE_OTHER;
	case DKIM_RECORD_NONE:
		return GATE_NO_DATA;
	}
	assert(0);
	return GATE_NO_ANSWER;
}

static void note_failure(struct gate *gate, struct gate_pair *pair, const char *error)
{
	set_said(pair, error);
	if (pair->failing)
		return;
	pair->failing = true;
	if (!gate->new_failures++)
		gate->first_failure = pair;
}

static void take_answer(
    struct gate *gate, struct gate_pair *pair, const struct dns_answer *answer)
{
	char said[DKIM_RECORD_TEXT_MAX] = "";
	enum gate_answer what = GATE_NO_ANSWER;
	if (!answer) {
		note_failure(gate, pair, "out of memory");
	} else {
		switch (answer->status) {
		case DNS_FOUND:
			what = judge(pair, answer, said);
			break;
		case DNS_NO_DATA:
			what = GATE_NO_DATA;
			break;
		case DNS_NO_NAME:
			what = GATE_NO_NAME;
			break;
		case DNS_FAILED:
			note_failure(gate, pair, answer->error);
			break;
		}
	}
	pair->tried = gate->news = true;
	if (what == GATE_NO_ANSWER)
		return;
	pair->failing = false;
	set_said(pair, said);
	struct gate_seen before = pair->state.seen;
	enum gate_change change = gate_observe(
	    &pair->state, what, calendar_s(),
	    gate->view->config->milter.dkim.recheck_s / 2);
	/* Of several changes that nobody told yet the last one counts. */
	if (change != GATE_SAME)
		pair->change = change;
	if (before.state != pair->state.seen.state ||
	    before.since_s != pair->state.seen.since_s)
		gate->unsaved = true;
}

static void answered(void *context, struct dns_answer *answer)
{
	struct gate_pair *pair = context;
	struct gate *gate = pair->asker;
	gate->running--;
	if (!gate->ending) {
		pthread_mutex_lock(&gate->lock);
		take_answer(gate, pair, answer);
		pthread_mutex_unlock(&gate->lock);
	}
	dns_answer_free(answer);
}

/* ---- telling and counting ---- */

static void count_pair(struct gate_pair *pair)
{
	if (pair->series != METRICS_NO_SERIES)
		metrics_set(pair->series, pair->state.seen.state == GATE_PUBLISHED);
}

static void tell_line(struct gate *gate, enum log_level level, const char *line)
{
	if (gate->lines++ < LINES_MAX)
		say(gate, level, "%s", line);
}

/* What is to be told of the pair; at a start what a file said of it is told too. */
static enum gate_change change_of(const struct gate_pair *pair)
{
	if (pair->change == GATE_SAME && !pair->told &&
	    pair->state.seen.state == GATE_UNPUBLISHED)
		return GATE_NOT_THERE;
	return pair->change;
}

/* The changes of records; who signs instead is named there and not told again. */
static void tell_changes(struct gate *gate, int64_t now_s)
{
	struct gate_view *view = gate->view;
	char line[GATE_LINE_MAX];
	for (size_t i = 0; i < view->pairs_count; i++) {
		struct gate_pair *pair = &view->pairs[i];
		const struct gate_pair *other;
		if (!pair->tried || !needs_dns(pair))
			continue;
		enum gate_change change = change_of(pair);
		enum log_level level = gate_line(view, pair, change, now_s, line, &other);
		pair->change = GATE_SAME;
		if (line[0]) {
			tell_line(gate, level, line);
			pair->told_signs = pair->signs;
		}
		if (other)
			view->pairs[other - view->pairs].told_signs = other->signs;
	}
}

static void tell_takeovers(struct gate *gate)
{
	struct gate_view *view = gate->view;
	char line[GATE_LINE_MAX];
	for (size_t i = 0; i < view->pairs_count; i++) {
		struct gate_pair *pair = &view->pairs[i];
		if (pair->told && pair->signs && !pair->told_signs) {
			gate_line_takes_over(pair, line);
			tell_line(gate, LOG_LEVEL_INFO, line);
		}
		pair->told_signs = pair->signs;
		pair->told = pair->told || pair->tried || !needs_dns(pair);
	}
}

static void tell_failures(struct gate *gate)
{
	size_t failing = 0;
	for (size_t i = 0; i < gate->view->pairs_count; i++)
		failing += gate->view->pairs[i].failing;
	const struct gate_pair *first = gate->first_failure;
	if (gate->new_failures > 0) {
		say(gate, LOG_LEVEL_WARNING,
		    "DNS does not answer for %zu of %zu DKIM records (%.300s: %.100s): "
		    "the "
		    "last known states count, and without one the first key of a domain "
		    "signs; see dns.servers",
		    failing, gate->asked, first->record,
		    first->said ? first->said : "no answer");
	} else if (gate->failures_told > 0 && failing == 0) {
		say(gate, LOG_LEVEL_INFO, "DNS answers for all DKIM records again");
	}
	gate->failures_told = failing;
	gate->new_failures = 0;
}

static void tell_summary(struct gate *gate)
{
	size_t count[GATE_NOT_REQUIRED + 1] = {0};
	for (size_t i = 0; i < gate->view->pairs_count; i++)
		count[gate->view->pairs[i].state.seen.state]++;
	gate->summary_due = false;
	say(gate, LOG_LEVEL_INFO,
	    "DKIM records: %zu published, %zu not published, %zu not known, %zu not "
	    "asked for",
	    count[GATE_PUBLISHED], count[GATE_UNPUBLISHED], count[GATE_UNKNOWN],
	    count[GATE_NOT_REQUIRED]);
}

static void save(struct gate *gate)
{
	const char *path = gate->view->config->milter.dkim.state;
	char errbuf[GATE_FILE_ERROR_MAX];
	gate->unsaved = false;
	if (!gate->first || !path[0])
		return;
	if (gate_file_save(path, gate->view, errbuf) == 0) {
		if (gate->save_failed)
			say(gate, LOG_LEVEL_INFO,
			    "milter.dkim.state: %s is written again", path);
		gate->save_failed = false;
		return;
	}
	/* Told once; tried at each change and each recheck. */
	if (!gate->save_failed)
		say(gate, LOG_LEVEL_ERROR,
		    "milter.dkim.state: %s; a restart forgets which keys are published: "
		    "let milter.user write there",
		    errbuf);
	gate->save_failed = gate->unsaved = true;
}

/* Who signs, what is new; under the lock. */
static void evaluate(struct gate *gate)
{
	int64_t now_s = calendar_s();
	gate->news = false;
	gate->settles_s = gate_view_evaluate(gate->view, now_s);
	tell_changes(gate, now_s);
	tell_takeovers(gate);
	for (size_t i = 0; gate->first && i < gate->view->pairs_count; i++)
		count_pair(&gate->view->pairs[i]);
}

/* ---- rounds ---- */

static void begin_round(struct gate *gate, enum round round, int64_t now_ms)
{
	const struct config *config = gate->view->config;
	gate->round = round;
	gate->cursor = gate->lines = 0;
	gate->looked_ms = now_ms;
	gate->next_failing_ms = INT64_MAX;
	if (round == ROUND_ALL)
		gate->next_all_ms =
		    now_ms + (int64_t)config->milter.dkim.recheck_s * 1000;
}

static int64_t retry_ms(const struct gate *gate)
{
	int64_t most_ms = (int64_t)gate->view->config->milter.dkim.recheck_s * 1000;
	int64_t wait_ms = RETRY_MS;
	for (unsigned i = 1; i < gate->failed_rounds && wait_ms < most_ms; i++)
		wait_ms *= 2;
	return wait_ms < most_ms ? wait_ms : most_ms;
}

static void end_round(struct gate *gate, int64_t now_ms)
{
	pthread_mutex_lock(&gate->lock);
	gate->round = ROUND_NONE;
	gate->dns = dns_free(gate->dns);
	evaluate(gate);
	if (gate->lines > LINES_MAX)
		say(gate, LOG_LEVEL_WARNING,
		    "%zu more changes of DKIM records and keys; \"postern status\" shows "
		    "them all",
		    gate->lines - LINES_MAX);
	tell_failures(gate);
	if (gate->summary_due && gate->asked > 0)
		tell_summary(gate);
	gate->failed_rounds = gate->failures_told > 0 ? gate->failed_rounds + 1 : 0;
	if (gate->failures_told > 0)
		gate->next_failing_ms = now_ms + retry_ms(gate);
	if (gate->unsaved)
		save(gate);
	gate->tried = true;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

static void ask_next(struct gate *gate)
{
	struct gate_view *view = gate->view;
	const struct config *config = view->config;
	struct dns_settings settings = {
	    .servers = config->dns_servers.items,
	    .servers_count = config->dns_servers.count,
	    .timeout_ms = config->dns_timeout_ms,
	};
	while (gate->cursor < view->pairs_count && gate->running < RUNNING_MAX) {
		struct gate_pair *pair = &view->pairs[gate->cursor++];
		if (!needs_dns(pair) || (gate->round == ROUND_FAILING && !pair->failing))
			continue;
		/* Made anew for each round: resolv.conf may have changed. */
		if (!gate->dns && dns_new(&settings, &gate->dns) < 0) {
			gate->dns = NULL;
			pthread_mutex_lock(&gate->lock);
			note_failure(gate, pair, "no name server can be asked");
			pair->tried = true;
			pthread_mutex_unlock(&gate->lock);
			continue;
		}
		pair->asker = gate;
		gate->running++;
		dns_ask(gate->dns, pair->record, DNS_TXT, answered, pair);
	}
}

/* Goes on with what is to be done. Returns when there is more, in clock_ms(). */
static int64_t advance(struct gate *gate)
{
	int64_t now_ms = clock_ms();
	if (gate->round == ROUND_NONE && now_ms >= gate->next_all_ms)
		begin_round(gate, ROUND_ALL, now_ms);
	else if (gate->round == ROUND_NONE && now_ms >= gate->next_failing_ms)
		begin_round(gate, ROUND_FAILING, now_ms);
	if (gate->round != ROUND_NONE) {
		ask_next(gate);
		if (gate->running == 0 && gate->cursor == gate->view->pairs_count)
			end_round(gate, now_ms);
		else if (gate->news && now_ms - gate->looked_ms >= LOOK_MS) {
			pthread_mutex_lock(&gate->lock);
			evaluate(gate);
			pthread_mutex_unlock(&gate->lock);
			gate->looked_ms = now_ms;
		}
		if (gate->round != ROUND_NONE)
			return now_ms + LOOK_MS;
	}
	int64_t now_s = calendar_s();
	if (now_s >= gate->settles_s) {
		gate->lines = 0;
		pthread_mutex_lock(&gate->lock);
		evaluate(gate);
		pthread_mutex_unlock(&gate->lock);
	}
	int64_t next_ms = gate->next_all_ms < gate->next_failing_ms
			      ? gate->next_all_ms
			      : gate->next_failing_ms;
	/* The calendar's clock may be set: not longer than a minute. */
	if (gate->settles_s != INT64_MAX) {
		int64_t left_s = gate->settles_s - now_s;
		int64_t then_ms = now_ms + (left_s > 60 ? 60 : left_s) * 1000;
		next_ms = then_ms < next_ms ? then_ms : next_ms;
	}
	return next_ms;
}

/* ---- the thread ---- */

/* What is under way tells nothing. */
static void drop_questions(struct gate *gate)
{
	gate->ending = true;
	gate->dns = dns_free(gate->dns);
	gate->ending = false;
	gate->round = ROUND_NONE;
}

static bool any_asked_for(const struct gate_view *view, bool unknown_alone)
{
	for (size_t i = 0; i < view->pairs_count; i++) {
		const struct gate_pair *pair = &view->pairs[i];
		if (needs_dns(pair) &&
		    (!unknown_alone || pair->state.seen.state == GATE_UNKNOWN))
			return true;
	}
	return false;
}

static void load(struct gate *gate, struct gate_view *view)
{
	char errbuf[GATE_FILE_ERROR_MAX];
	const char *path = view->config->milter.dkim.state;
	if (path[0] && gate_file_load(path, view, calendar_s(), errbuf) < 0)
		say(gate, LOG_LEVEL_ERROR,
		    "milter.dkim.state: %s; what is published is learnt from DNS anew",
		    errbuf);
}

static void open_series(struct gate_view *view)
{
	uint32_t series[SERIES_MAX];
	size_t count = 0;
	for (size_t i = 0; i < view->pairs_count && count < SERIES_MAX; i++) {
		struct gate_pair *pair = &view->pairs[i];
		if (!needs_dns(pair))
			continue;
		pair->series = series[count++] = metrics_series(
		    METRIC_DKIM_KEY_PUBLISHED, pair->key->name, pair->domain);
		count_pair(pair); /* one that was gone had another value */
	}
	/* Also what was there before this process. */
	metrics_keep(METRIC_DKIM_KEY_PUBLISHED, series, count);
}

static void take_offer(struct gate *gate, struct gate_view *view)
{
	struct gate_view *old = gate->view;
	drop_questions(gate);
	if (old)
		gate_view_inherit(view, old);
	else
		load(gate, view);
	if (gate->first)
		open_series(view);
	pthread_mutex_lock(&gate->lock);
	gate->view = view;
	gate->offered = NULL;
	gate->asked = 0;
	for (size_t i = 0; i < view->pairs_count; i++)
		gate->asked += needs_dns(&view->pairs[i]);
	gate->first_failure = NULL;
	gate->new_failures = 0;
	gate->summary_due = true;
	gate->settles_s = gate_view_evaluate(view, calendar_s());
	gate->next_all_ms = gate->asked > 0 ? 0 : INT64_MAX;
	gate->next_failing_ms = INT64_MAX;
	gate->failed_rounds = 0;
	/* Forgets those that are gone. */
	gate->unsaved = gate->unsaved || old != NULL;
	gate->tried = !any_asked_for(view, true);
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
	gate_view_unref(old);
}

static void wait_for_work(struct gate *gate, int64_t until_ms)
{
	struct pollfd wake = {.fd = gate->wake_fd, .events = POLLIN};
	int64_t left_ms = until_ms == INT64_MAX ? -1 : until_ms - clock_ms();
	uint64_t count;

	if (until_ms != INT64_MAX && left_ms < 0)
		left_ms = 0;
	int timeout_ms = left_ms > INT_MAX ? INT_MAX : (int)left_ms;
	if (gate->running > 0)
		dns_wait(gate->dns, gate->wake_fd, timeout_ms);
	else
		poll(&wake, 1, timeout_ms);
	/* Not blocking: there may be nothing to read. */
	ssize_t ignored = read(gate->wake_fd, &count, sizeof(count));
	(void)ignored;
}

static void *watcher(void *context)
{
	struct gate *gate = context;
	for (;;) {
		int64_t next_ms = INT64_MAX;
		pthread_mutex_lock(&gate->lock);
		bool stopping = gate->stopping;
		struct gate_view *offer = gate->offered;
		pthread_mutex_unlock(&gate->lock);
		if (stopping)
			break;
		if (offer)
			take_offer(gate, offer);
		if (gate->view)
			next_ms = advance(gate);
		wait_for_work(gate, next_ms);
	}
	drop_questions(gate);
	if (gate->view && gate->unsaved)
		save(gate);
	return NULL;
}

/* ---- the doors ---- */

static void wake(struct gate *gate)
{
	uint64_t one = 1;
	/* Can only fail when the counter is full, and then it can be read. */
	ssize_t ignored = write(gate->wake_fd, &one, sizeof(one));
	(void)ignored;
}

void gate_take(struct gate *gate, struct gate_view *view)
{
	pthread_mutex_lock(&gate->lock);
	gate->offered = gate_view_ref(view);
	gate->tried = false;
	wake(gate);
	/* The thread comes back to its offers at once: no record holds it up. */
	while (gate->offered)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

void gate_wait(struct gate *gate, uint32_t wait_ms)
{
	struct timespec until;
	int timed_out = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&gate->lock);
	while (!gate->tried && timed_out == 0)
		timed_out = pthread_cond_timedwait(&gate->changed, &gate->lock, &until);
	pthread_mutex_unlock(&gate->lock);
}

static json_t *status_of(const struct gate_pair *pair)
{
	char detail[DKIM_RECORD_TEXT_MAX + 200] = "", last[DKIM_RECORD_TEXT_MAX + 32];
	if (pair->failing)
		snprintf(
		    detail, sizeof(detail), "DNS does not answer: %s",
		    pair->said ? pair->said : "no reason known");
	else if (needs_dns(pair)) {
		gate_line_last_answer(pair, last, sizeof(last));
		if (pair->state.misses > 0)
			snprintf(
			    detail, sizeof(detail), "%s, in %u of %d checks", last,
			    pair->state.misses, GATE_MISSES);
		else
			memcpy(detail, last, sizeof(last));
	}
	json_t *since = pair->state.seen.since_s > 0
			    ? json_integer((json_int_t)pair->state.seen.since_s)
			    : json_null();
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:o, s:b, s:s}", "key", pair->key->name, "domain",
	    pair->domain, "selector", pair->key->selector, "algorithm",
	    dkim_algorithm_name(pair->key->key->algorithm), "state",
	    gate_state_name(pair->state.seen.state), "since", since, "signing",
	    pair->signs, "detail", detail);
}

json_t *gate_status(struct gate *gate)
{
	json_t *keys = json_array();
	int r = keys ? 0 : -1;
	pthread_mutex_lock(&gate->lock);
	size_t count = gate->view ? gate->view->pairs_count : 0;
	for (size_t i = 0; i < count && i < STATUS_MAX && r == 0; i++)
		r = json_array_append_new(keys, status_of(&gate->view->pairs[i]));
	pthread_mutex_unlock(&gate->lock);
	if (r < 0) {
		json_decref(keys);
		return NULL;
	}
	return keys;
}

struct gate *gate_free(struct gate *gate)
{
	if (!gate)
		return NULL;
	pthread_mutex_lock(&gate->lock);
	gate->stopping = true;
	wake(gate);
	pthread_mutex_unlock(&gate->lock);
	pthread_join(gate->thread, NULL);
	pthread_cond_destroy(&gate->changed);
	pthread_mutex_destroy(&gate->lock);
	close(gate->wake_fd);
	gate_view_unref(gate->view);
	free(gate);
	return NULL;
}

int gate_new(gate_say *say_line, bool first, struct gate **ret)
{
	struct gate *gate = calloc(1, sizeof(*gate));

	if (!gate)
		return -ENOMEM;
	gate->say = say_line;
	gate->first = first;
	gate->settles_s = INT64_MAX;
	gate->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (gate->wake_fd < 0) {
		int r = -errno;
		free(gate);
		return r;
	}
	pthread_mutex_init(&gate->lock, NULL);
	thread_cond_init(&gate->changed);
	int r = thread_start(&gate->thread, "dkim-dns", watcher, gate);
	if (r < 0) {
		pthread_cond_destroy(&gate->changed);
		pthread_mutex_destroy(&gate->lock);
		close(gate->wake_fd);
		free(gate);
		return r;
	}
	*ret = gate;
	return 0;
}
