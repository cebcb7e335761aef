/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/state_file.h"

#include "common/cleanup.h"
#include "policyd/state_known.h"
#include "policyd/state_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* More than any table holds: somebody else's file. */
#define FILE_MAX INT64_C(2147483648)

/* Reads lines into one buffer. */
struct lines {
	int fd;
	char *buf;
	size_t begin, end; /* what is read and not taken */
	uint64_t number;   /* of the line taken last */
	bool at_end;
	int r; /* of a failed read */
};

struct loading {
	const struct state_parts *parts;
	struct known_limits known;
	struct state_loaded *result;
	struct state_stop stop;
	const struct state_clock *now;
	bool takes_tokens; /* the store has the key of those that follow */
};

static void lines_fill(struct lines *lines)
{
	memmove(lines->buf, lines->buf + lines->begin, lines->end - lines->begin);
	lines->end -= lines->begin;
	lines->begin = 0;
	ssize_t n;
	do
		n = read(lines->fd, lines->buf + lines->end, STATE_LINE_MAX - lines->end);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		lines->r = -errno;
	else
		lines->end += (size_t)n;
	lines->at_end = n <= 0;
}

/*
 * The next line, without its end. False: no more. A line that is longer than any of ours
 * comes in pieces, none of which is a record.
 */
static bool lines_next(struct lines *lines, char **ret, size_t *ret_len)
{
	char *newline = NULL;
	size_t looked = 0;

	for (;;) {
		char *from = lines->buf + lines->begin;
		size_t len = lines->end - lines->begin;
		newline = memchr(from + looked, '\n', len - looked);
		if (newline || lines->at_end || len == STATE_LINE_MAX)
			break;
		looked = len;
		lines_fill(lines);
	}
	*ret = lines->buf + lines->begin;
	*ret_len = newline ? (size_t)(newline - *ret) : lines->end - lines->begin;
	if (!newline && *ret_len == 0)
		return false;
	lines->begin += *ret_len + (newline != NULL);
	lines->number++;
	return true;
}

static void load_counter(struct loading *loading, struct memory_counter *counter)
{
	struct state_loaded *result = loading->result;
	const struct state_stop *stop = &loading->stop;
	struct window window = counter->window;

	uint64_t use = counter->distinct
			   ? distinct_use(&window, counter->window_s, stop->then_ms)
			   : window_use(&window, counter->window_s, stop->then_ms);
	if (use == 0 ||
	    !limit_is_known(&loading->known, counter->key, counter->key_len)) {
		result->dropped++;
		return;
	}
	state_stop_move(stop, counter->window_s, &counter->window);
	int r = store_memory_put(loading->parts->memory, counter, stop->now_ms);
	if (r == 0)
		result->counters++;
	else if (r != -EEXIST)
		result->no_room++;
}

/* Who uses the store already has tokens by its own key. */
static void load_token_key(struct loading *loading, const uint64_t key[static 2])
{
	loading->takes_tokens = !loading->parts->serves;
	if (loading->takes_tokens)
		store_memory_take_token_key(loading->parts->memory, key);
}

static void load_token(struct loading *loading, struct memory_token *token)
{
	int64_t age_ms = loading->stop.then_ms - token->time_ms;

	if (!loading->takes_tokens || age_ms > STORE_TOKEN_S * 1000)
		return;
	token->time_ms = loading->stop.now_ms - (age_ms > 0 ? age_ms : 0);
	if (store_memory_put_token(loading->parts->memory, token) == 0)
		loading->result->tokens++;
}

/* @r: of blocks_put() or logins_put(). */
static void count_put(struct state_loaded *result, int r, uint64_t *ret_count)
{
	if (r == -ENOSPC || r == -ENOMEM)
		result->no_room++;
	else if (r < 0)
		result->skipped++;
	else
		++*ret_count;
}

/* To where it would be if the clock had been set when it was written. Never to 0, which
 * would be no end. */
static int64_t moved_ms(const struct loading *loading, int64_t time_ms)
{
	int64_t moved_ms = time_ms + loading->stop.set_ms;

	return moved_ms > 1000 ? moved_ms : 1000;
}

static int64_t moved_s(const struct loading *loading, int64_t time_s)
{
	return moved_ms(loading, time_s * 1000) / 1000;
}

static void load_block(struct loading *loading, struct block *block)
{
	block->since_s = moved_s(loading, block->since_s);
	if (block->until_s != 0)
		block->until_s = moved_s(loading, block->until_s);
	count_put(
	    loading->result, blocks_put(loading->parts->blocks, block),
	    &loading->result->blocks);
}

static void load_lifted(struct loading *loading, struct lifted_block *lifted)
{
	lifted->at_ms = moved_ms(loading, lifted->at_ms);
	lifted->until_ms = moved_ms(loading, lifted->until_ms);
	count_put(
	    loading->result, blocks_put_lifted(loading->parts->blocks, lifted),
	    &loading->result->lifted);
}

static void load_login(struct loading *loading, struct login *login)
{
	if (loading->stop.went_back) {
		loading->result->ageless++;
		return;
	}
	login->at_s = moved_s(loading, login->at_s);
	count_put(
	    loading->result, logins_put(loading->parts->logins, login),
	    &loading->result->logins);
}

static void load_record(struct loading *loading, struct state_record *record)
{
	switch (record->kind) {
	case STATE_COUNTER:
		load_counter(loading, &record->counter);
		break;
	case STATE_TOKEN_KEY:
		load_token_key(loading, record->token_key);
		break;
	case STATE_TOKEN:
		load_token(loading, &record->token);
		break;
	case STATE_BLOCK:
		load_block(loading, &record->block);
		break;
	case STATE_LIFTED:
		load_lifted(loading, &record->lifted);
		break;
	case STATE_LOGIN:
		load_login(loading, &record->login);
		break;
	}
}

static int load_lines(struct loading *loading, struct lines *lines)
{
	CLEANUP(state_record_done) struct state_record record = {0};
	struct state_loaded *result = loading->result;
	struct state_clock saved;
	uint64_t count = UINT64_MAX;
	char *line;
	size_t len;

	if (!lines_next(lines, &line, &len) || !state_parse_head(line, len, &saved))
		return lines->r < 0 ? lines->r : STATE_FOREIGN;
	state_stop_set(&saved, loading->now, &loading->stop);
	while (lines_next(lines, &line, &len)) {
		if (state_parse_tail(line, len, &count))
			break;
		uint64_t skipped = result->skipped;
		int r = state_parse_record(line, len, &record);
		if (r == -ENOMEM)
			return r;
		if (r == 0)
			load_record(loading, &record);
		else
			result->skipped++;
		if (skipped == 0 && result->skipped > 0)
			result->first_skipped = lines->number;
	}
	/* Besides the records there are the first line and the last. */
	result->is_cut_off = count == UINT64_MAX || lines->number - 2 != count;
	return lines->r;
}

static int open_file(const char *path, int *ret_fd)
{
	struct stat st;
	/* Not to wait for the other end of a FIFO. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if (st.st_size > FILE_MAX)
		r = STATE_FOREIGN;
	if (r != 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int state_file_load(
    const char *path, const struct state_parts *parts, const struct config *config,
    const struct state_clock *now, struct state_loaded *ret)
{
	struct loading loading = {.parts = parts, .now = now, .result = ret};
	struct lines lines = {.buf = NULL};

	*ret = (struct state_loaded){0};
	int r = open_file(path, &lines.fd);
	if (r != 0)
		return r;
	known_limits_set(&loading.known, config);
	lines.buf = malloc(STATE_LINE_MAX);
	r = lines.buf ? load_lines(&loading, &lines) : -ENOMEM;
	free(lines.buf);
	close(lines.fd);
	return r;
}
