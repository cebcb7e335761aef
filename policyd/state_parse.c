/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/state_text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A reader of just the JSON that the printer writes: one flat object a line, values that
 * are strings, integers, booleans or lists of strings. Nothing recurses, nothing is
 * allocated but the list of members.
 */

/* Looked for in this order: those of counters first. */
enum field {
	F_COUNTER,
	F_SET,
	F_BLOCK,
	F_LOGIN,
	F_WINDOW,
	F_MAX,
	F_START,
	F_CURRENT,
	F_PREVIOUS,
	F_SEEN,
	F_BEFORE,
	F_SUBJECT,
	F_SINCE,
	F_UNTIL,
	F_AUTOMATIC,
	F_BY,
	F_REASON,
	F_AT,
	F_USER,
	F_LIFTED,
	F_MADE,
	F_ENDS,
	F_STAMP,
	F_BASE,
	F_TOKENS,
	F_TOKEN,
	F_OVER,
	F_USED,
	FIELDS
};

enum type { TEXT, NUMBER, FLAG, TEXTS };

static const struct {
	const char *name;
	enum type type;
} fields[FIELDS] = {
    [F_COUNTER] = {"counter", TEXT},     [F_SET] = {"set", TEXT},
    [F_BLOCK] = {"block", TEXT},         [F_LOGIN] = {"login", TEXT},
    [F_WINDOW] = {"window", NUMBER},     [F_MAX] = {"max", NUMBER},
    [F_START] = {"start", NUMBER},       [F_CURRENT] = {"current", NUMBER},
    [F_PREVIOUS] = {"previous", NUMBER}, [F_SEEN] = {"seen", TEXTS},
    [F_BEFORE] = {"before", TEXTS},      [F_SUBJECT] = {"subject", TEXT},
    [F_SINCE] = {"since", NUMBER},       [F_UNTIL] = {"until", NUMBER},
    [F_AUTOMATIC] = {"automatic", FLAG}, [F_BY] = {"by", TEXT},
    [F_REASON] = {"reason", TEXT},       [F_AT] = {"at", NUMBER},
    [F_USER] = {"user", TEXT},           [F_LIFTED] = {"lifted", TEXT},
    [F_TOKENS] = {"tokens", TEXT},       [F_TOKEN] = {"token", TEXT},
    [F_OVER] = {"over", FLAG},           [F_USED] = {"used", TEXT},
    [F_MADE] = {"made", NUMBER},         [F_ENDS] = {"ends", NUMBER},
    [F_STAMP] = {"stamp", NUMBER},       [F_BASE] = {"base", NUMBER},
};

static_assert(FIELDS <= 32, "a set of fields is a number");

/* The year 10000: milliseconds of it can be counted with. */
#define TIME_MAX_S INT64_C(253402300800)

#define BIT(field) (1U << (field))

/* The fields of each record. */
#define WINDOW_FIELDS  (BIT(F_WINDOW) | BIT(F_MAX) | BIT(F_START))
#define COUNTER_FIELDS (BIT(F_COUNTER) | WINDOW_FIELDS | BIT(F_CURRENT) | BIT(F_PREVIOUS))
#define SET_FIELDS     (BIT(F_SET) | WINDOW_FIELDS | BIT(F_SEEN) | BIT(F_BEFORE))
#define BLOCK_FIELDS                                                                     \
	(BIT(F_BLOCK) | BIT(F_SUBJECT) | BIT(F_SINCE) | BIT(F_UNTIL) |                   \
	 BIT(F_AUTOMATIC) | BIT(F_BY) | BIT(F_REASON))
#define LIFTED_FIELDS (BIT(F_LIFTED) | BIT(F_SUBJECT) | BIT(F_MADE) | BIT(F_ENDS))
/* Blocks and lifted ones may have these besides. */
#define SHARED_FIELDS (BIT(F_STAMP) | BIT(F_BASE))
#define TOKEN_FIELDS  (BIT(F_TOKEN) | BIT(F_AT) | BIT(F_OVER) | BIT(F_USED))
#define LOGIN_FIELDS  (BIT(F_LOGIN) | BIT(F_AT) | BIT(F_USER))

struct string {
	char *text; /* in the line */
	size_t len;
};

struct parsing {
	char *at, *end;
	unsigned present; /* set of fields */
	struct string texts[FIELDS];
	int64_t numbers[FIELDS];
	bool flags[FIELDS];
	struct state_record *record;
};

void state_record_done(struct state_record *record)
{
	free(record->members);
	*record = (struct state_record){0};
}

static void skip_spaces(struct parsing *p)
{
	while (p->at < p->end && *p->at == ' ')
		p->at++;
}

static bool take(struct parsing *p, char c)
{
	skip_spaces(p);
	if (p->at == p->end || *p->at != c)
		return false;
	p->at++;
	return true;
}

static bool take_word(struct parsing *p, const char *word)
{
	size_t len = strlen(word);

	skip_spaces(p);
	if ((size_t)(p->end - p->at) < len || memcmp(p->at, word, len) != 0)
		return false;
	p->at += len;
	return true;
}

/* Integers of at most 16 digits: all times and counts are. */
static bool parse_number(struct parsing *p, int64_t *ret)
{
	int64_t value = 0;
	int digits = 0;

	skip_spaces(p);
	for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++, digits++) {
		if (digits == 16)
			return false;
		value = value * 10 + (*p->at - '0');
	}
	*ret = value;
	return digits > 0 && value <= (int64_t)WINDOW_USE_MAX;
}

/* \u00XX, which is all that is escaped beside quotes and backslashes. */
static bool parse_escape(struct parsing *p, unsigned char *ret)
{
	unsigned value = 0;

	if (p->at == p->end)
		return false;
	char c = *p->at++;
	if (c == '"' || c == '\\' || c == '/') {
		*ret = (unsigned char)c;
		return true;
	}
	if (c != 'u' || p->end - p->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		static const char hex[] = "0123456789abcdef";
		const char *digit = memchr(hex, *p->at++, 16);
		if (!digit)
			return false;
		value = value << 4 | (unsigned)(digit - hex);
	}
	*ret = (unsigned char)value;
	return value > 0 && value < 0x100;
}

/* Resolved in place: it only becomes shorter. */
static bool parse_string(struct parsing *p, struct string *ret)
{
	if (!take(p, '"'))
		return false;
	char *to = p->at;
	ret->text = to;
	while (p->at < p->end && *p->at != '"') {
		unsigned char c = (unsigned char)*p->at++;
		if (c < ' ' || (c == '\\' && !parse_escape(p, &c)))
			return false;
		*to++ = (char)c;
	}
	ret->len = (size_t)(to - ret->text);
	return take(p, '"');
}

static int add_member(struct state_record *record, struct string string, bool previous)
{
	if (string.len == 0 || string.len > CHARGE_MEMBER_MAX ||
	    record->members_count > LIMIT_DISTINCT_MAX)
		return -EINVAL;
	if (record->members_count == record->members_size) {
		size_t size = record->members_size ? 2 * record->members_size : 16;
		struct memory_member *members =
		    reallocarray(record->members, size, sizeof(*members));
		if (!members)
			return -ENOMEM;
		record->members = members;
		record->members_size = size;
	}
	record->members[record->members_count++] = (struct memory_member){
	    .text = string.text, .len = (uint8_t)string.len, .previous = previous};
	return 0;
}

static int parse_members(struct parsing *p, bool previous)
{
	struct string string;

	if (!take(p, '['))
		return -EINVAL;
	if (take(p, ']'))
		return 0;
	do {
		if (!parse_string(p, &string))
			return -EINVAL;
		int r = add_member(p->record, string, previous);
		if (r < 0)
			return r;
	} while (take(p, ','));
	return take(p, ']') ? 0 : -EINVAL;
}

static int parse_value(struct parsing *p, enum field field)
{
	switch (fields[field].type) {
	case TEXT:
		return parse_string(p, &p->texts[field]) ? 0 : -EINVAL;
	case NUMBER:
		return parse_number(p, &p->numbers[field]) ? 0 : -EINVAL;
	case FLAG:
		p->flags[field] = take_word(p, "true");
		return p->flags[field] || take_word(p, "false") ? 0 : -EINVAL;
	case TEXTS:
		return parse_members(p, field == F_BEFORE);
	}
	return -EINVAL;
}

static int parse_member(struct parsing *p)
{
	struct string name;
	unsigned field;

	if (!parse_string(p, &name) || !take(p, ':'))
		return -EINVAL;
	for (field = 0; field < FIELDS; field++)
		if (strlen(fields[field].name) == name.len &&
		    memcmp(fields[field].name, name.text, name.len) == 0)
			break;
	if (field == FIELDS || (p->present & BIT(field)))
		return -EINVAL;
	p->present |= BIT(field);
	return parse_value(p, (enum field)field);
}

static int parse_object(struct parsing *p)
{
	if (!take(p, '{'))
		return -EINVAL;
	do {
		int r = parse_member(p);
		if (r < 0)
			return r;
	} while (take(p, ','));
	if (!take(p, '}'))
		return -EINVAL;
	take(p, ',');
	skip_spaces(p);
	return p->at == p->end ? 0 : -EINVAL;
}

static bool is_printable_ascii(struct string string)
{
	for (size_t i = 0; i < string.len; i++)
		if (string.text[i] <= ' ' || string.text[i] > '~')
			return false;
	return true;
}

static int read_counter(struct parsing *p, bool distinct)
{
	struct string key = p->texts[distinct ? F_SET : F_COUNTER];
	struct memory_counter *counter = &p->record->counter;
	int64_t window_s = p->numbers[F_WINDOW];

	if (key.len == 0 || key.len > CHARGE_KEY_MAX || !is_printable_ascii(key) ||
	    !memchr(key.text, ':', key.len) || window_s == 0 || window_s > UINT32_MAX)
		return -EINVAL;
	*counter = (struct memory_counter){
	    .key = key.text,
	    .key_len = key.len,
	    .window_s = (uint32_t)window_s,
	    .max = (uint64_t)p->numbers[F_MAX],
	    .window =
		{.start_ms = p->numbers[F_START],
		 .current = (uint64_t)p->numbers[F_CURRENT],
		 .previous = (uint64_t)p->numbers[F_PREVIOUS]},
	    .distinct = distinct,
	    .members = p->record->members,
	    .members_count = p->record->members_count,
	};
	for (size_t i = 0; i < counter->members_count; i++) {
		counter->window.current += !counter->members[i].previous;
		counter->window.previous += counter->members[i].previous;
	}
	p->record->kind = STATE_COUNTER;
	return 0;
}

/* False: it does not fit, or has a NUL. */
static bool copy(struct string string, char *to, size_t size)
{
	if (string.len >= size || memchr(string.text, '\0', string.len))
		return false;
	memcpy(to, string.text, string.len);
	to[string.len] = '\0';
	return true;
}

/* 32 hexadecimal digits. */
static bool parse_digest(struct string string, uint64_t ret[static 2])
{
	static const char digits[] = "0123456789abcdef";

	ret[0] = ret[1] = 0;
	if (string.len != 32)
		return false;
	for (size_t i = 0; i < 32; i++) {
		const char *digit = memchr(digits, string.text[i], 16);
		if (!digit)
			return false;
		ret[i / 16] = ret[i / 16] << 4 | (uint64_t)(digit - digits);
	}
	return true;
}

static int read_token_key(struct parsing *p)
{
	p->record->kind = STATE_TOKEN_KEY;
	return parse_digest(p->texts[F_TOKENS], p->record->token_key) ? 0 : -EINVAL;
}

/* "3 200!3600" */
static bool parse_results(struct parsing *p, struct outcome *ret)
{
	do {
		int64_t used, after_s = 0;
		if (ret->count == LIMITS_MAX || !parse_number(p, &used))
			return false;
		bool over = take(p, '!');
		if (over && (!parse_number(p, &after_s) || after_s > UINT32_MAX))
			return false;
		ret->results[ret->count++] = (struct charge_result){
		    .used = (uint64_t)used,
		    .over = over,
		    .retry_after_s = (uint32_t)after_s,
		};
	} while (p->at < p->end);
	return true;
}

static bool is_time_ms(int64_t time_ms)
{
	return time_ms <= TIME_MAX_S * 1000;
}

static int read_token(struct parsing *p)
{
	struct memory_token *token = &p->record->token;
	struct string used = p->texts[F_USED];
	struct parsing results = {.at = used.text, .end = used.text + used.len};

	token->time_ms = p->numbers[F_AT];
	token->outcome.kind = p->flags[F_OVER] ? OUTCOME_OVER : OUTCOME_FITS;
	token->outcome.count = 0;
	if (!parse_digest(p->texts[F_TOKEN], token->digest) ||
	    !is_time_ms(token->time_ms) || !parse_results(&results, &token->outcome))
		return -EINVAL;
	p->record->kind = STATE_TOKEN;
	return 0;
}

static bool is_shared_time(const struct parsing *p)
{
	return is_time_ms(p->numbers[F_STAMP]) && is_time_ms(p->numbers[F_BASE]);
}

static int read_block(struct parsing *p)
{
	struct block *block = &p->record->block;
	struct string kind = p->texts[F_BLOCK];

	*block = (struct block){
	    .kind = block_kind_by_name(kind.text, kind.len),
	    .since_s = p->numbers[F_SINCE],
	    .until_s = p->numbers[F_UNTIL],
	    .automatic = p->flags[F_AUTOMATIC],
	    .restored = true,
	    .stamp_ms = p->numbers[F_STAMP],
	    .base_ms = p->numbers[F_BASE],
	};
	if (block->kind == BLOCK_KINDS || block->since_s > TIME_MAX_S ||
	    block->until_s > TIME_MAX_S || !is_shared_time(p) ||
	    !copy(p->texts[F_SUBJECT], block->subject, sizeof(block->subject)) ||
	    !copy(p->texts[F_BY], block->by, sizeof(block->by)) ||
	    !copy(p->texts[F_REASON], block->reason, sizeof(block->reason)))
		return -EINVAL;
	p->record->kind = STATE_BLOCK;
	return 0;
}

static int read_lifted(struct parsing *p)
{
	struct lifted_block *lifted = &p->record->lifted;
	struct string kind = p->texts[F_LIFTED];

	*lifted = (struct lifted_block){
	    .kind = block_kind_by_name(kind.text, kind.len),
	    .at_ms = p->numbers[F_MADE],
	    .until_ms = p->numbers[F_ENDS],
	    .stamp_ms = p->numbers[F_STAMP],
	    .base_ms = p->numbers[F_BASE],
	};
	/* Without an end it would be none of ours. */
	if (lifted->kind == BLOCK_KINDS || lifted->until_ms <= lifted->at_ms ||
	    !is_time_ms(lifted->until_ms) || !is_shared_time(p) ||
	    !copy(p->texts[F_SUBJECT], lifted->subject, sizeof(lifted->subject)))
		return -EINVAL;
	p->record->kind = STATE_LIFTED;
	return 0;
}

static int read_login(struct parsing *p)
{
	struct login *login = &p->record->login;
	struct string ip = p->texts[F_LOGIN];

	*login = (struct login){.at_s = p->numbers[F_AT], .restored = true};
	if (!ip_parse(ip.text, ip.len, &login->ip) || login->at_s > TIME_MAX_S ||
	    !copy(p->texts[F_USER], login->user, sizeof(login->user)))
		return -EINVAL;
	p->record->kind = STATE_LOGIN;
	return 0;
}

int state_parse_record(char *line, size_t len, struct state_record *ret)
{
	struct parsing p = {.at = line, .end = line + len, .record = ret};

	ret->members_count = 0;
	int r = parse_object(&p);
	if (r < 0)
		return r;
	if ((p.present & ~SHARED_FIELDS) == BLOCK_FIELDS)
		return read_block(&p);
	if ((p.present & ~SHARED_FIELDS) == LIFTED_FIELDS)
		return read_lifted(&p);
	switch (p.present) {
	case COUNTER_FIELDS:
		return read_counter(&p, false);
	case SET_FIELDS:
		return read_counter(&p, true);
	case BIT(F_TOKENS):
		return read_token_key(&p);
	case TOKEN_FIELDS:
		return read_token(&p);
	case LOGIN_FIELDS:
		return read_login(&p);
	default:
		return -EINVAL;
	}
}

/* The first and the last line are short: they are read from a copy. */
#define EDGE_MAX 256

static bool begin_edge(
    const char *line, size_t len, char copied[static EDGE_MAX], struct parsing *ret)
{
	if (len >= EDGE_MAX)
		return false;
	memcpy(copied, line, len);
	*ret = (struct parsing){.at = copied, .end = copied + len};
	return true;
}

static bool parse_boot(struct parsing *p, struct state_clock *ret)
{
	struct string boot;

	return parse_string(p, &boot) && copy(boot, ret->boot, sizeof(ret->boot)) &&
	       take_word(p, ", \"steady\":") && parse_number(p, &ret->steady_ms);
}

bool state_parse_head(const char *line, size_t len, struct state_clock *ret)
{
	char before[80], copied[EDGE_MAX];
	struct parsing p;

	*ret = (struct state_clock){0};
	snprintf(
	    before, sizeof(before),
	    "{\"postern\": \"state\", \"version\": %d, \"time\":", STATE_VERSION);
	return begin_edge(line, len, copied, &p) && take_word(&p, before) &&
	       parse_number(&p, &ret->wall_ms) &&
	       (!take_word(&p, ", \"boot\":") || parse_boot(&p, ret)) &&
	       take_word(&p, ", \"records\": [") && p.at == p.end;
}

bool state_parse_tail(const char *line, size_t len, uint64_t *ret_count)
{
	char copied[EDGE_MAX];
	struct parsing p;
	int64_t count;

	if (!begin_edge(line, len, copied, &p) || !take_word(&p, "], \"count\":") ||
	    !parse_number(&p, &count) || !take_word(&p, "}") || p.at != p.end)
		return false;
	*ret_count = (uint64_t)count;
	return true;
}
