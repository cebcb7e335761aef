/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * {"command": "usage"} and {"command": "reset"}: the counters of a subject, or the
 * fullest of all; and away with them.
 *
 * Counters of a single thing are asked for by their keys. Those of several things at a
 * time, and "all", are looked for among all counters, which takes a while with many; the
 * loop goes on meanwhile where the store is Redis.
 */

#include "common/cleanup.h"
#include "policyd/control_commands.h"
#include "policyd/counter_name.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOP_DEFAULT 20
#define TOP_MAX     1000

/* Keys that one reset forgets at most; who has more asks again. */
#define RESET_MAX 100000

struct row {
	struct counter counter;
	uint64_t used;
	double fullness;
	int64_t frees_at_s; /* -1: one more fits now, or never will */
};

struct keys {
	char **items;
	size_t count, size;
};

struct question {
	struct control_request *request;
	struct config *config;
	struct store *store;
	struct counter_name *name; /* NULL: all */
	bool is_reset, scanned, incomplete;
	/* usage: a heap, the least full on top */
	struct row *rows;
	size_t rows_count, top;
	struct keys asked; /* by name */
	struct keys found; /* reset */
};

static void keys_done(struct keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		free(keys->items[i]);
	free(keys->items);
}

static bool keys_add(struct keys *keys, const char *key)
{
	if (keys->count == keys->size) {
		size_t size = keys->size ? keys->size * 2 : 16;
		char **items = reallocarray(keys->items, size, sizeof(*items));
		if (!items)
			return false;
		keys->items = items;
		keys->size = size;
	}
	keys->items[keys->count] = strdup(key);
	return keys->items[keys->count] && ++keys->count;
}

static void question_free(struct question *question)
{
	keys_done(&question->asked);
	keys_done(&question->found);
	free(question->rows);
	counter_name_free(question->name);
	config_unref(question->config);
	free(question);
}

/* ---- what the store has ---- */

static bool is_distinct(enum limit_count count)
{
	switch (count) {
	case COUNT_MESSAGES:
	case COUNT_RECIPIENTS:
	case COUNT_BYTES:
	case COUNT_REFUSALS:
		return false;
	case COUNT_CLIENTS:
	case COUNT_COUNTRIES:
	case COUNT_SENDERS:
		break;
	}
	return true;
}

/* What is used, and when one more would fit. */
static void look(const struct limit *limit, const struct store_row *row, struct row *ret)
{
	struct window window = row->window;
	uint64_t max = ret->counter.is_unlimited ? UINT64_MAX / 4 : ret->counter.max;
	struct charge_result result =
	    is_distinct(limit->count)
		? distinct_look(&window, limit->window_s, row->now_ms, false, max)
		: window_look(&window, limit->window_s, row->now_ms, 1, max);

	ret->used = result.used;
	ret->frees_at_s = -1;
	if (result.over && result.retry_after_s != UINT32_MAX)
		ret->frees_at_s = row->now_ms / 1000 + result.retry_after_s;
	if (ret->counter.is_unlimited)
		ret->fullness = 0;
	else
		ret->fullness = max == 0 ? INFINITY : (double)ret->used / (double)max;
}

static void swap_rows(struct row *a, struct row *b)
{
	struct row c = *a;

	*a = *b;
	*b = c;
}

/* Keeps the @top fullest. */
static void rows_add(struct question *question, const struct row *row)
{
	struct row *rows = question->rows;
	size_t at, count = question->rows_count;

	if (count < question->top) {
		at = question->rows_count++;
		rows[at] = *row;
		for (; at > 0 && rows[at].fullness < rows[(at - 1) / 2].fullness;
		     at = (at - 1) / 2)
			swap_rows(&rows[at], &rows[(at - 1) / 2]);
		return;
	}
	if (row->fullness <= rows[0].fullness)
		return;
	rows[0] = *row;
	for (at = 0; 2 * at + 1 < count;) {
		size_t child = 2 * at + 1;
		if (child + 1 < count && rows[child + 1].fullness < rows[child].fullness)
			child++;
		if (rows[at].fullness <= rows[child].fullness)
			break;
		swap_rows(&rows[at], &rows[child]);
		at = child;
	}
}

static void take_row(struct question *question, const struct store_row *store_row)
{
	struct row row;

	if (!counter_read(
		question->config, store_row->key, store_row->key_len, &row.counter))
		return;
	const struct limit *limit = &question->config->limits[row.counter.limit];
	if (limit->window_s == 0)
		return;
	/* Those of single things were asked for by name. */
	if (question->scanned && question->name &&
	    (!counter_name_is_part(question->name, row.counter.limit) ||
	     !counter_is_of(question->config, &row.counter, question->name)))
		return;
	if (!row.counter.is_unlimited)
		row.counter.max = store_redis_max(question->store, row.counter.max);
	look(limit, store_row, &row);
	if (row.used == 0)
		return;
	row.counter.subject_text = NULL; /* points into a row that moves */
	if (!question->is_reset)
		rows_add(question, &row);
	else if (
	    question->found.count == RESET_MAX ||
	    !keys_add(&question->found, row.counter.key))
		question->incomplete = true;
}

static void on_row(void *context, const struct store_row *row)
{
	take_row(context, row);
}

/* ---- answers ---- */

static void refuse_store(struct question *question, int r)
{
	control_refuse(
	    question->request, CONTROL_FAILED,
	    "the store of counters does not answer: %s; see postern status",
	    strerror(-r));
	question_free(question);
}

static int fuller(const void *a, const void *b)
{
	const struct row *row_a = a, *row_b = b;

	if (row_a->fullness != row_b->fullness)
		return row_a->fullness > row_b->fullness ? -1 : 1;
	return strcmp(row_a->counter.key, row_b->counter.key);
}

static json_t *row_json(const struct config *config, const struct row *row)
{
	const struct limit *limit = &config->limits[row->counter.limit];
	json_t *subject = json_string(row->counter.subject);

	if (!subject) /* no UTF-8: as the key has it */
		subject = json_string(strchr(row->counter.key, ':') + 1);
	json_t *max = row->counter.is_unlimited
			  ? json_null()
			  : json_integer((json_int_t)row->counter.max);
	json_t *frees_at =
	    row->frees_at_s < 0 ? json_null() : json_integer(row->frees_at_s);
	return json_pack(
	    "{s:s, s:o, s:I, s:o, s:I, s:o}", "limit", limit->name, "subject", subject,
	    "used", (json_int_t)row->used, "max", max, "window",
	    (json_int_t)limit->window_s, "frees_at", frees_at);
}

/* What the reader of a list should know; NULL: nothing. */
static const char *usage_note(const struct question *question)
{
	bool away = store_redis_is_away(question->store);
	if (away && question->config->redis.on_failure == STORE_FAILURE_LOCAL)
		return "Redis does not answer: these are the counters of this daemon "
		       "alone, which act meanwhile";
	if (away)
		return "Redis does not answer everywhere: there may be more counters "
		       "than these";
	if (question->incomplete)
		return "it took too long: there are more counters than these";
	return NULL;
}

static void answer_usage(struct question *question)
{
	const char *note = usage_note(question);
	json_t *list = json_array();

	qsort(question->rows, question->rows_count, sizeof(*question->rows), fuller);
	for (size_t i = 0; i < question->rows_count; i++)
		json_array_append_new(
		    list, row_json(question->config, &question->rows[i]));
	json_t *reply = json_pack("{s:o}", "usage", list);
	if (reply && note)
		json_object_set_new(reply, "note", json_string(note));
	control_reply(question->request, reply);
	question_free(question);
}

static void on_forgotten(void *context, int r)
{
	struct question *question = context;

	if (r < 0) {
		refuse_store(question, r);
		return;
	}
	json_t *reply = json_pack("{s:I}", "counters", (json_int_t)question->found.count);
	if (reply && question->incomplete)
		json_object_set_new(
		    reply, "note",
		    json_string("there may be more of them: say it again"));
	control_reply(question->request, reply);
	question_free(question);
}

static void answer_reset(struct question *question)
{
	if (question->found.count == 0) {
		if (question->incomplete || store_redis_is_away(question->store))
			control_refuse(
			    question->request, CONTROL_FAILED,
			    "Redis does not answer: its counters stay as they are; say "
			    "it again when postern status shows it up");
		else
			control_refuse(
			    question->request, CONTROL_NO_SUCH,
			    "the subject has no counters");
		question_free(question);
		return;
	}
	store_forget(
	    question->store, (const char *const *)question->found.items,
	    question->found.count, on_forgotten, question);
}

/* ---- the way there ---- */

static void on_scanned(void *context, int r)
{
	struct question *question = context;

	if (r == -ETIMEDOUT)
		question->incomplete = true;
	else if (r < 0) {
		refuse_store(question, r);
		return;
	}
	if (question->is_reset)
		answer_reset(question);
	else
		answer_usage(question);
}

static bool needs_scan(const struct question *question)
{
	if (!question->name)
		return true;
	for (size_t i = 0; i < question->config->limits_count; i++)
		if (counter_name_is_part(question->name, i))
			return true;
	return false;
}

/* Those that were asked for by name have come. */
static void on_read(void *context, int r)
{
	struct question *question = context;

	if (r < 0 && r != -ETIMEDOUT) {
		refuse_store(question, r);
	} else if (needs_scan(question)) {
		question->scanned = true;
		question->incomplete = r == -ETIMEDOUT;
		store_scan(question->store, on_row, on_scanned, question);
	} else {
		on_scanned(question, r);
	}
}

/* The keys of single things, found without a look at others. Takes @question. */
static void ask_by_name(struct question *question)
{
	char key[CHARGE_KEY_MAX];
	bool added = true;

	for (size_t i = 0; i < question->config->limits_count; i++)
		if (counter_name_key(question->name, i, key))
			added = keys_add(&question->asked, key) && added;
	if (!added) {
		control_reply(question->request, NULL);
		question_free(question);
	} else if (question->asked.count == 0) {
		on_read(question, 0);
	} else {
		store_read(
		    question->store, (const char *const *)question->asked.items,
		    question->asked.count, on_row, on_read, question);
	}
}

/* Refuses, and returns false, when it cannot be asked. */
static bool question_new(
    struct control_context *context, struct control_request *request, const char *subject,
    const char *kind, uint64_t top, struct question **ret)
{
	struct question *question = calloc(1, sizeof(*question));
	const char *wrong;
	int r = question ? 0 : -ENOMEM;

	if (r == 0) {
		question->request = request;
		question->config = config_ref(context->config);
		question->store = context->store;
		question->top = (size_t)top;
		question->rows = top ? calloc(question->top, sizeof(struct row)) : NULL;
		r = top && !question->rows ? -ENOMEM : 0;
	}
	if (r == 0 && subject)
		r = counter_name_new(
		    question->config, kind, subject, &question->name, &wrong);
	if (r == 0) {
		*ret = question;
		return true;
	}
	if (r == -EINVAL)
		control_refuse(
		    request, CONTROL_WRONG_USE, "\"%.300s\": %s", subject, wrong);
	else
		control_reply(request, NULL);
	if (question)
		question_free(question);
	return false;
}

void control_usage(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	const char *subject = NULL, *kind = NULL;
	uint64_t top = 0;
	const struct control_member members[] = {
	    {"subject", CONTROL_TEXT, false, ADDRESS_TEXT_MAX, &subject, NULL, NULL},
	    {"kind", CONTROL_TEXT, false, 32, &kind, NULL, NULL},
	    {"top", CONTROL_COUNT, false, TOP_MAX, NULL, &top, NULL},
	};
	struct question *question;

	if (!control_members(request, message, members, 3))
		return;
	if (top == 0)
		top = subject ? TOP_MAX : TOP_DEFAULT;
	if (!question_new(context, request, subject, kind, top, &question))
		return;
	if (subject)
		ask_by_name(question);
	else
		store_scan(question->store, on_row, on_scanned, question);
}

void control_reset(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	const char *subject = NULL, *kind = NULL;
	const struct control_member members[] = {
	    {"subject", CONTROL_TEXT, true, ADDRESS_TEXT_MAX, &subject, NULL, NULL},
	    {"kind", CONTROL_TEXT, false, 32, &kind, NULL, NULL},
	};
	struct question *question;

	if (!control_members(request, message, members, 2) ||
	    !question_new(context, request, subject, kind, 0, &question))
		return;
	question->is_reset = true;
	ask_by_name(question);
}
