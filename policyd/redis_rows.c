/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/redis_rows.h"

#include "common/cleanup.h"
#include "policyd/limits_script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Keys that SCAN looks at in one step: some hundred microseconds of the server's time. */
#define SCAN_COUNT "500"

/* A cursor is an unsigned 64-bit number. */
#define CURSOR_MAX 24

/*
 * One job: so many questions are open; when the last is answered the next step is due.
 * The rows' owner is told the first error, or that time ran out.
 */
struct rows {
	struct redis_link *link;
	char *prefix;
	char *pattern; /* scan */
	unsigned node; /* scan: the master being asked */
	char cursor[CURSOR_MAX];
	int64_t deadline_ms;
	size_t open;
	int r;
	bool any; /* row was seen */
	store_row_seen *seen;
	store_done *done;
	void *context;
};

/* A question about one key. */
struct row {
	struct rows *rows;
	size_t key_len;
	char key[]; /* as Redis calls it */
};

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct rows *rows_free(struct rows *rows)
{
	if (!rows)
		return NULL;
	free(rows->prefix);
	free(rows->pattern);
	free(rows);
	return NULL;
}

static void rows_fail(struct rows *rows, int r)
{
	if (rows->r == 0)
		rows->r = r;
}

static void rows_finish(struct rows *rows)
{
	/* Gone in the middle of it: some, not none. */
	if (rows->any && rows->r == -EHOSTUNREACH)
		rows->r = -ETIMEDOUT;
	rows->done(rows->context, rows->r);
	rows_free(rows);
}

static uint32_t rows_left_ms(const struct rows *rows)
{
	int64_t left_ms = rows->deadline_ms - clock_ms();
	return left_ms > 0 ? (uint32_t)left_ms : 0;
}

static struct rows *rows_new(
    struct redis_link *link, const char *prefix, store_row_seen *seen, store_done *done,
    void *context)
{
	struct rows *rows = calloc(1, sizeof(*rows));
	if (!rows)
		return NULL;
	rows->link = link;
	rows->prefix = strdup(prefix);
	rows->deadline_ms = clock_ms() + ROWS_MS;
	rows->seen = seen;
	rows->done = done;
	rows->context = context;
	return rows->prefix ? rows : rows_free(rows);
}

/* Of several keys some may be answered while others could not be asked. */
static int errno_of(enum redis_result result)
{
	switch (result) {
	case REDIS_ANSWERED:
	case REDIS_BAD_KEY: /* that key is none of ours */
		return 0;
	case REDIS_UNAVAILABLE:
	case REDIS_MOVING:
		return -EHOSTUNREACH;
	case REDIS_NO_SCRIPT:
		return -EPROTO;
	case REDIS_CONFIGURATION:
		return -EACCES;
	}
	return -EPROTO;
}

/* What is written as a counter may have been written by anybody: no other number can be
 * reckoned with. */
static bool is_counted(const struct redis_reply *reply)
{
	for (size_t i = 0; i < redis_reply_count(reply); i++) {
		int64_t number = redis_reply_integer(redis_reply_item(reply, i));
		if (number < 0 || number > (int64_t)WINDOW_USE_MAX)
			return false;
	}
	return true;
}

static void see_row(
    struct rows *rows, const struct row *row, const struct redis_reply *reply)
{
	char key[CHARGE_KEY_MAX];
	size_t key_len;
	if (redis_reply_kind(reply) != REDIS_LIST || redis_reply_count(reply) != 4 ||
	    !is_counted(reply) ||
	    !limits_script_key_back(rows->prefix, row->key, row->key_len, key, &key_len))
		return;
	const struct store_row seen = {
	    .key = key,
	    .key_len = key_len,
	    .now_ms = redis_reply_integer(redis_reply_item(reply, 0)),
	    .window =
		{
		    .start_ms = redis_reply_integer(redis_reply_item(reply, 1)),
		    .current = (uint64_t)redis_reply_integer(redis_reply_item(reply, 2)),
		    .previous = (uint64_t)redis_reply_integer(redis_reply_item(reply, 3)),
		},
	};
	rows->any = true;
	rows->seen(rows->context, &seen);
}

/* One question fewer. True: that was the last, the next step is the caller's. */
static bool rows_answered(struct rows *rows, enum redis_result result)
{
	if (errno_of(result) < 0)
		rows_fail(rows, errno_of(result));
	return --rows->open == 0;
}

static void ask_row(struct rows *rows, struct row *row, redis_answered *answered)
{
	const char *argv[] = {"EVAL", lua_limits_read, "1", row->key};
	const size_t argv_len[] = {4, strlen(lua_limits_read), 1, row->key_len};
	const struct redis_call call = {
	    .key = row->key,
	    .key_len = row->key_len,
	    .argc = 4,
	    .argv = argv,
	    .argv_len = argv_len,
	    .timeout_ms = rows_left_ms(rows),
	    .repeatable = true,
	    .answered = answered,
	    .context = row,
	};
	rows->open++;
	redis_link_call(rows->link, &call);
}

static struct row *row_new(struct rows *rows, const char *key, size_t len)
{
	struct row *row = malloc(sizeof(*row) + len);
	if (!row) {
		rows_fail(rows, -ENOMEM);
		return NULL;
	}
	row->rows = rows;
	row->key_len = len;
	memcpy(row->key, key, len);
	return row;
}

/* LIMIT:SUBJECT as Redis calls it; NULL: no memory, or no counter's key. */
static struct row *row_named(struct rows *rows, const char *key)
{
	const char *colon = strchr(key, ':');
	size_t key_len = strlen(key);
	if (!colon || key_len > CHARGE_KEY_MAX)
		return NULL;
	struct row *row = malloc(sizeof(*row) + limits_script_key_size(rows->prefix));
	if (!row) {
		rows_fail(rows, -ENOMEM);
		return NULL;
	}
	row->rows = rows;
	row->key_len = limits_script_key(
	    rows->prefix, key, key_len, (size_t)(colon + 1 - key), row->key);
	return row;
}

static void on_read(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	(void)error;
	struct row *row = context;
	struct rows *rows = row->rows;
	if (result == REDIS_ANSWERED)
		see_row(rows, row, reply);
	free(row);
	if (rows_answered(rows, result))
		rows_finish(rows);
}

void redis_rows_read(
    struct redis_link *link, const char *prefix, const char *const *keys, size_t count,
    store_row_seen *seen, store_done *done, void *context)
{
	struct rows *rows = rows_new(link, prefix, seen, done, context);
	if (!rows) {
		done(context, -ENOMEM);
		return;
	}
	rows->open = 1; /* ours: an answer may come at once */
	for (size_t i = 0; i < count; i++) {
		struct row *row = row_named(rows, keys[i]);
		if (row)
			ask_row(rows, row, on_read);
	}
	if (rows_answered(rows, REDIS_ANSWERED))
		rows_finish(rows);
}

static void on_forgotten(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	(void)reply, (void)error;
	struct rows *rows = context;
	if (rows_answered(rows, result))
		rows_finish(rows);
}

static void forget_row(struct rows *rows, const struct row *row)
{
	const char *argv[] = {"DEL", row->key};
	const size_t argv_len[] = {3, row->key_len};
	const struct redis_call call = {
	    .key = row->key,
	    .key_len = row->key_len,
	    .argc = 2,
	    .argv = argv,
	    .argv_len = argv_len,
	    .timeout_ms = rows_left_ms(rows),
	    .repeatable = true,
	    .answered = on_forgotten,
	    .context = rows,
	};
	rows->open++;
	redis_link_call(rows->link, &call);
}

void redis_rows_forget(
    struct redis_link *link, const char *prefix, const char *const *keys, size_t count,
    store_done *done, void *context)
{
	struct rows *rows = rows_new(link, prefix, NULL, done, context);
	if (!rows) {
		done(context, -ENOMEM);
		return;
	}
	rows->open = 1;
	for (size_t i = 0; i < count; i++) {
		struct row *row = row_named(rows, keys[i]);
		if (row)
			forget_row(rows, row);
		free(row);
	}
	if (rows_answered(rows, REDIS_ANSWERED))
		rows_finish(rows);
}

/* Steps follow each other through their answers: a circle. */
static void scan_step(struct rows *rows);

/* All questions of this step are answered: the next, of this master or another. */
static void scan_next(struct rows *rows)
{
	if (rows->r == 0 && rows_left_ms(rows) == 0)
		rows_fail(rows, -ETIMEDOUT);
	if (rows->r < 0) {
		rows_finish(rows);
		return;
	}
	if (strcmp(rows->cursor, "0") == 0)
		rows->node++;
	scan_step(rows);
}

static void on_scan_row(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	(void)error;
	struct row *row = context;
	struct rows *rows = row->rows;
	if (result == REDIS_ANSWERED)
		see_row(rows, row, reply);
	free(row);
	if (rows_answered(rows, result))
		scan_next(rows);
}

/* Tokens and what else has the prefix are passed over. */
static void scan_keys(struct rows *rows, const struct redis_reply *keys)
{
	for (size_t i = 0; i < redis_reply_count(keys); i++) {
		char buf[CHARGE_KEY_MAX];
		size_t len, back_len;
		const char *key = redis_reply_text(redis_reply_item(keys, i), &len);
		if (!limits_script_key_back(rows->prefix, key, len, buf, &back_len))
			continue;
		struct row *row = row_new(rows, key, len);
		if (row)
			ask_row(rows, row, on_scan_row);
	}
}

static void on_scanned(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	(void)error;
	struct rows *rows = context;
	size_t len = 0;
	if (result == REDIS_ANSWERED && redis_reply_count(reply) != 2) {
		rows_fail(rows, -EPROTO);
	} else if (result == REDIS_ANSWERED) {
		const char *cursor = redis_reply_text(redis_reply_item(reply, 0), &len);
		if (len == 0 || len >= CURSOR_MAX) {
			rows_fail(rows, -EPROTO);
		} else {
			memcpy(rows->cursor, cursor, len);
			rows->cursor[len] = '\0';
			scan_keys(rows, redis_reply_item(reply, 1));
		}
	}
	if (rows_answered(rows, result))
		scan_next(rows);
}

static void scan_step(struct rows *rows)
{
	const char *argv[] = {"SCAN",        rows->cursor, "MATCH",
			      rows->pattern, "COUNT",      SCAN_COUNT};
	const size_t argv_len[] = {4, strlen(rows->cursor), 5, strlen(rows->pattern),
				   5, strlen(SCAN_COUNT)};
	const struct redis_call call = {
	    .argc = 6,
	    .argv = argv,
	    .argv_len = argv_len,
	    .timeout_ms = rows_left_ms(rows),
	    .repeatable = true,
	    .answered = on_scanned,
	    .context = rows,
	};
	rows->open++;
	if (redis_link_call_node(rows->link, rows->node, &call))
		return;
	rows->open--;
	/* Not even a first master: there is nobody to ask. */
	if (rows->node == 0)
		rows_fail(rows, -EHOSTUNREACH);
	rows_finish(rows);
}

/* PREFIX{*, what is special in a glob escaped. */
static char *pattern_new(const char *prefix)
{
	char *pattern = malloc(2 * strlen(prefix) + 3), *at = pattern;
	if (!pattern)
		return NULL;
	for (const char *c = prefix; *c; c++) {
		if (strchr("*?[]\\^", *c))
			*at++ = '\\';
		*at++ = *c;
	}
	strcpy(at, "{*");
	return pattern;
}

void redis_rows_scan(
    struct redis_link *link, const char *prefix, store_row_seen *seen, store_done *done,
    void *context)
{
	struct rows *rows = rows_new(link, prefix, seen, done, context);
	if (rows)
		rows->pattern = pattern_new(prefix);
	if (!rows || !rows->pattern) {
		rows_free(rows);
		done(context, -ENOMEM);
		return;
	}
	strcpy(rows->cursor, "0");
	scan_step(rows);
}
