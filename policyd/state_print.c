/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/state_text.h"

#include "common/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 65536

void state_text_done(struct state_text *text)
{
	free(text->bytes);
	*text = (struct state_text){0};
}

static bool reserve(struct state_text *text, size_t len)
{
	size_t size = text->size ? text->size : FIRST_SIZE;

	while (size - text->len < len)
		size *= 2;
	if (size == text->size)
		return true;
	char *bytes = realloc(text->bytes, size);
	if (!bytes) {
		text->failed = true;
		return false;
	}
	text->bytes = bytes;
	text->size = size;
	return true;
}

static void put(struct state_text *text, const char *bytes, size_t len)
{
	if (!reserve(text, len))
		return;
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
}

static void put_word(struct state_text *text, const char *word)
{
	put(text, word, strlen(word));
}

__attribute__((format(printf, 2, 3))) static void put_format(
    struct state_text *text, const char *format, ...)
{
	char buf[160];
	va_list args;

	va_start(args, format);
	int len = vsnprintf(buf, sizeof(buf), format, args);
	va_end(args);
	put(text, buf, (size_t)len);
}

/* What cannot stand as itself: quotes, backslashes, controls, what is no UTF-8. */
static size_t plain_run(const char *bytes, size_t len)
{
	size_t n = 0;

	while (n < len) {
		unsigned char c = (unsigned char)bytes[n];
		uint32_t character;
		if (c < ' ' || c == '"' || c == '\\' || c == 0x7f)
			break;
		size_t width = c < 0x80 ? 1 : utf8_decode(bytes + n, len - n, &character);
		if (width == 0)
			break;
		n += width;
	}
	return n;
}

static void put_string(struct state_text *text, const char *bytes, size_t len)
{
	put(text, "\"", 1);
	while (len > 0) {
		size_t n = plain_run(bytes, len);
		put(text, bytes, n);
		bytes += n;
		len -= n;
		if (len > 0) {
			put_format(text, "\\u%04x", (unsigned)(unsigned char)*bytes);
			bytes++;
			len--;
		}
	}
	put(text, "\"", 1);
}

static void put_text(struct state_text *text, const char *string)
{
	put_string(text, string, strlen(string));
}

void state_print_head(struct state_text *text, const struct state_clock *now)
{
	put_format(
	    text, "{\"postern\": \"state\", \"version\": %d, \"time\": %" PRId64,
	    STATE_VERSION, now->wall_ms);
	if (now->boot[0] != '\0') {
		put_word(text, ", \"boot\": ");
		put_text(text, now->boot);
		put_format(text, ", \"steady\": %" PRId64, now->steady_ms);
	}
	put_word(text, ", \"records\": [");
}

static void begin(struct state_text *text, bool first, const char *kind)
{
	put_word(text, first ? "\n{\"" : ",\n{\"");
	put_word(text, kind);
	put_word(text, "\": ");
}

static void put_members(
    struct state_text *text, const struct memory_counter *counter, bool previous)
{
	bool first = true;

	put_word(text, "[");
	for (size_t i = 0; i < counter->members_count; i++) {
		const struct memory_member *member = &counter->members[i];
		if (member->previous != previous)
			continue;
		if (!first)
			put_word(text, ", ");
		put_string(text, member->text, member->len);
		first = false;
	}
	put_word(text, "]");
}

void state_print_counter(
    struct state_text *text, bool first, const struct memory_counter *counter)
{
	begin(text, first, counter->distinct ? "set" : "counter");
	put_string(text, counter->key, counter->key_len);
	put_format(
	    text, ", \"window\": %" PRIu32 ", \"max\": %" PRIu64 ", \"start\": %" PRId64,
	    counter->window_s, counter->max, counter->window.start_ms);
	if (counter->distinct) {
		put_word(text, ", \"seen\": ");
		put_members(text, counter, false);
		put_word(text, ", \"before\": ");
		put_members(text, counter, true);
		put_word(text, "}");
		return;
	}
	put_format(
	    text, ", \"current\": %" PRIu64 ", \"previous\": %" PRIu64 "}",
	    counter->window.current, counter->window.previous);
}

static void put_digest(struct state_text *text, const uint64_t digest[static 2])
{
	put_format(text, "\"%016" PRIx64 "%016" PRIx64 "\"", digest[0], digest[1]);
}

void state_print_token_key(
    struct state_text *text, bool first, const uint64_t key[static 2])
{
	begin(text, first, "tokens");
	put_digest(text, key);
	put_word(text, "}");
}

void state_print_token(
    struct state_text *text, bool first, const struct memory_token *token)
{
	const struct outcome *outcome = &token->outcome;

	begin(text, first, "token");
	put_digest(text, token->digest);
	put_format(
	    text, ", \"at\": %" PRId64 ", \"over\": %s, \"used\": \"", token->time_ms,
	    outcome->kind == OUTCOME_OVER ? "true" : "false");
	for (size_t i = 0; i < outcome->count; i++) {
		const struct charge_result *result = &outcome->results[i];
		put_format(text, i ? " %" PRIu64 : "%" PRIu64, result->used);
		if (result->over)
			put_format(text, "!%" PRIu32, result->retry_after_s);
	}
	put_word(text, "\"}");
}

static void put_shared(struct state_text *text, int64_t stamp_ms, int64_t base_ms)
{
	if (stamp_ms > 0)
		put_format(text, ", \"stamp\": %" PRId64, stamp_ms);
	if (base_ms > 0)
		put_format(text, ", \"base\": %" PRId64, base_ms);
}

void state_print_block(struct state_text *text, bool first, const struct block *block)
{
	begin(text, first, "block");
	put_text(text, block_kind_name(block->kind));
	put_word(text, ", \"subject\": ");
	put_text(text, block->subject);
	put_format(
	    text, ", \"since\": %" PRId64 ", \"until\": %" PRId64 ", \"automatic\": %s",
	    block->since_s, block->until_s, block->automatic ? "true" : "false");
	put_word(text, ", \"by\": ");
	put_text(text, block->by);
	put_word(text, ", \"reason\": ");
	put_text(text, block->reason);
	put_shared(text, block->stamp_ms, block->base_ms);
	put_word(text, "}");
}

void state_print_lifted(
    struct state_text *text, bool first, const struct lifted_block *lifted)
{
	begin(text, first, "lifted");
	put_text(text, block_kind_name(lifted->kind));
	put_word(text, ", \"subject\": ");
	put_text(text, lifted->subject);
	put_format(
	    text, ", \"made\": %" PRId64 ", \"ends\": %" PRId64, lifted->at_ms,
	    lifted->until_ms);
	put_shared(text, lifted->stamp_ms, lifted->base_ms);
	put_word(text, "}");
}

void state_print_login(struct state_text *text, bool first, const struct login *login)
{
	char buf[IP_TEXT_MAX];

	begin(text, first, "login");
	put_text(text, ip_print(&login->ip, buf));
	put_format(text, ", \"at\": %" PRId64 ", \"user\": ", login->at_s);
	put_text(text, login->user);
	put_word(text, "}");
}

void state_print_tail(struct state_text *text, uint64_t count)
{
	put_format(text, "\n], \"count\": %" PRIu64 "}\n", count);
}
