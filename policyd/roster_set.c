/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/roster_set.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "policyd/roster_script.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_AT_ONCE 500

/* What is wrong with records is not told again within so many seconds. */
#define TELL_S 600

static void pump(struct roster_set *set);

static int64_t steady_ms(const struct roster_set *set)
{
	struct moment now;

	ledger_now(set->ledger, &now);
	return now.steady_ms;
}

/* ---- records ---- */

/* Takes digits off the front; false: there is none, or too many. */
static bool take_number(const char **text, size_t *len, uint64_t *ret)
{
	size_t digits = 0;
	uint64_t value = 0;

	while (digits < *len && (*text)[digits] >= '0' && (*text)[digits] <= '9' &&
	       digits < 18)
		value = value * 10 + (uint64_t)((*text)[digits++] - '0');
	*text += digits;
	*len -= digits;
	*ret = value;
	return digits > 0;
}

static bool take_byte(const char **text, size_t *len, char byte)
{
	if (*len == 0 || **text != byte)
		return false;
	++*text;
	--*len;
	return true;
}

static void say_foreign(struct roster_set *set, const char *what, const char *remedy)
{
	int64_t now = steady_ms(set);

	if (set->told_ms && now - set->told_ms < TELL_S * 1000)
		return;
	set->told_ms = now;
	log_error(
	    "redis: %s%s: %s; %s", set->place->prefix, set->rules->name, what, remedy);
}

/* "MADE UNTIL KIND TEXT", at @redis_ms of Redis's clock. */
static bool merge_record(
    struct roster_set *set, const char *key, size_t key_len, const char *text, size_t len,
    int64_t redis_ms)
{
	uint64_t made, until;
	struct record record = {.key = key, .key_len = key_len};

	if (!take_number(&text, &len, &made) || !take_byte(&text, &len, ' ') ||
	    !take_number(&text, &len, &until) || !take_byte(&text, &len, ' ') ||
	    len < 2 || (text[0] != 'K' && text[0] != 'R') || text[1] != ' ')
		return false;
	record.removed = text[0] == 'R';
	record.text = text + 2;
	record.text_len = len - 2;
	if (!set->rules->accept(&record))
		return false;
	int64_t age = redis_ms - (int64_t)made, left = (int64_t)until - redis_ms;
	if (until == 0)
		left = -1;
	else if (left < 0)
		left = 0;
	int r = ledger_merge(
	    set->ledger, &record, age > 0 ? age : 0, left, (int64_t)made, set->round,
	    set->rules->full);
	if (r == -ENOSPC || r == -ENOMEM)
		say_foreign(
		    set,
		    r == -ENOSPC ? "more records than this node holds" : "out of memory",
		    "some are not in force here; lift what is not needed");
	return true;
}

/* ---- calls ---- */

static void call(
    struct roster_set *set, const char *script, size_t argc, const char **argv,
    size_t *argv_len, redis_answered *answered)
{
	const struct redis_call call = {
	    .key = set->keys[0],
	    .key_len = strlen(set->keys[0]),
	    .argc = (int)argc,
	    .argv = argv,
	    .argv_len = argv_len,
	    .repeatable = true,
	    .answered = answered,
	    .context = set,
	};

	argv[0] = "EVAL";
	argv[1] = script;
	argv[2] = "3";
	for (unsigned i = 0; i < 3; i++)
		argv[3 + i] = set->keys[i];
	for (size_t i = 0; i < argc; i++)
		if (argv_len[i] == 0 && argv[i])
			argv_len[i] = strlen(argv[i]);
	set->busy = true;
	redis_link_call(set->place->link, &call);
}

/* False: the call has failed, which has been dealt with. */
static bool is_answered(
    struct roster_set *set, enum redis_result result, const char *error)
{
	set->busy = false;
	set->reached = result == REDIS_ANSWERED;
	if (!set->place->link)
		return false;
	if (result == REDIS_ANSWERED)
		return true;
	set->events->away(
	    set->context, error[0] ? error : "no answer",
	    result == REDIS_BAD_KEY || result == REDIS_NO_SCRIPT);
	return false;
}

/* ---- reading ---- */

static void begin_whole(struct roster_set *set)
{
	set->number = 0;
	set->round++;
	set->whole = true;
	set->knows_epoch = set->wants_whole = false;
}

static void end_read(struct roster_set *set)
{
	if (!set->whole)
		return;
	set->whole = false;
	set->whole_at_ms = steady_ms(set);
	ledger_round(set->ledger, set->round);
	set->is_complete = true;
	set->events->complete(set->context);
}

static uint64_t number_of(const struct redis_reply *reply, size_t i)
{
	size_t len;
	const char *text = redis_reply_text(redis_reply_item(reply, i), &len);
	uint64_t number = 0;

	take_number(&text, &len, &number);
	return number;
}

static void merge_item(
    struct roster_set *set, const struct redis_reply *reply, size_t i, int64_t redis_ms)
{
	size_t key_len, len;
	const char *key = redis_reply_text(redis_reply_item(reply, i), &key_len);
	const char *text = redis_reply_text(redis_reply_item(reply, i + 2), &len);

	/* Gone between its number and now: Redis threw it out. */
	if (len == 0)
		return;
	if (!merge_record(set, key, key_len, text, len, redis_ms))
		say_foreign(
		    set, "a record that is none of ours is left out",
		    "find out who else writes there, or give redis.prefix another value");
}

/* It will be asked again at the next look, not at once and without end. */
static void refuse_answer(struct roster_set *set)
{
	set->events->away(set->context, "an answer that makes no sense", true);
}

static void on_read(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct roster_set *set = context;
	size_t count, len;

	if (!is_answered(set, result, error))
		return;
	count = redis_reply_count(reply);
	if (count < 3 || count % 3 != 0) {
		refuse_answer(set);
		return;
	}
	const char *epoch = redis_reply_text(redis_reply_item(reply, 0), &len);
	uint64_t number = number_of(reply, 1);
	if (len >= ROSTER_EPOCH_MAX)
		len = ROSTER_EPOCH_MAX - 1;
	if (!set->knows_epoch) {
		memcpy(set->epoch, epoch, len);
		set->epoch[len] = '\0';
		set->knows_epoch = true;
	} else if (
	    strlen(set->epoch) != len || memcmp(set->epoch, epoch, len) != 0 ||
	    number < set->number) {
		set->wants_whole = set->wants_read = true;
		pump(set);
		return;
	}
	int64_t redis_ms = (int64_t)number_of(reply, 2);
	uint64_t since = set->number;
	for (size_t i = 3; i < count; i += 3) {
		merge_item(set, reply, i, redis_ms);
		set->number = number_of(reply, i + 1);
	}
	if (count / 3 - 1 < READ_AT_ONCE) {
		if (number > set->number)
			set->number = number;
		end_read(set);
	} else if (set->number > since) {
		set->wants_read = true;
	} else {
		refuse_answer(set);
		return;
	}
	set->events->changed(set->context); /* what was replaced waits no more */
	pump(set);
}

static void begin_read(struct roster_set *set)
{
	char since[ROSTER_NUMBER_MAX], at_once[ROSTER_NUMBER_MAX];
	const char *argv[8];
	size_t argv_len[8] = {0};

	if (set->wants_whole)
		begin_whole(set);
	set->wants_read = false;
	snprintf(since, sizeof(since), "%" PRIu64, set->number);
	snprintf(at_once, sizeof(at_once), "%d", READ_AT_ONCE);
	argv[6] = since;
	argv[7] = at_once;
	call(set, roster_read, 8, argv, argv_len, on_read);
}

/* ---- writing ---- */

static void drop_sent(struct roster_set *set)
{
	for (size_t i = 0; i < set->sent_count; i++) {
		free(set->sent[i].key);
		free(set->sent[i].text);
	}
	set->sent_count = 0;
}

static char *copy(const char *bytes, size_t len)
{
	char *to = malloc(len + 1);

	if (to) {
		memcpy(to, bytes, len);
		to[len] = '\0';
	}
	return to;
}

static void collect(void *context, const struct unshared *unshared)
{
	struct roster_set *set = context;
	const struct record *record = &unshared->record;
	struct roster_sent sent = {
	    .key = copy(record->key, record->key_len),
	    .text = copy(record->text, record->text_len),
	    .key_len = record->key_len,
	    .text_len = record->text_len,
	    .change = unshared->change,
	    .removed = record->removed,
	};
	int64_t when = unshared->stamp_ms ? unshared->stamp_ms : record->age_ms;

	if (!sent.key || !sent.text) {
		free(sent.key);
		free(sent.text);
		return; /* the next time */
	}
	snprintf(sent.how, sizeof(sent.how), unshared->stamp_ms ? "at" : "age");
	snprintf(sent.when, sizeof(sent.when), "%" PRId64, when);
	snprintf(sent.base, sizeof(sent.base), "%" PRId64, unshared->base_ms);
	snprintf(sent.left, sizeof(sent.left), "%" PRId64, unshared->left_ms);
	set->sent[set->sent_count++] = sent;
}

static void take_written(
    struct roster_set *set, const struct roster_sent *sent, const char *text, size_t len)
{
	const char *at = text;
	size_t left = len;
	uint64_t made = 0;

	if (take_number(&at, &left, &made) && left == 0) {
		ledger_shared(
		    set->ledger, sent->key, sent->key_len, sent->change, (int64_t)made);
		return;
	}
	/* Full, or somebody else's is younger: the next read brings it. */
	ledger_shared(set->ledger, sent->key, sent->key_len, sent->change, 0);
	if (len == 4 && memcmp(text, "full", 4) == 0)
		say_foreign(
		    set, "full",
		    "what is new is in force on the node where it was made alone");
	else
		set->wants_whole = set->wants_read = true;
}

static void on_written(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct roster_set *set = context;

	if (!is_answered(set, result, error)) {
		drop_sent(set);
		return;
	}
	if (redis_reply_count(reply) != set->sent_count) {
		drop_sent(set);
		refuse_answer(set);
		return;
	}
	for (size_t i = 0; i < set->sent_count; i++) {
		size_t len;
		const char *text = redis_reply_text(redis_reply_item(reply, i), &len);
		take_written(set, &set->sent[i], text, len);
	}
	drop_sent(set);
	set->events->changed(set->context);
	pump(set);
}

/* False: nothing waits. */
static bool begin_write(struct roster_set *set)
{
	enum { HEAD = 10, EACH = 7, MAX = HEAD + EACH * ROSTER_WRITE_AT_ONCE };
	const char *argv[MAX];
	size_t argv_len[MAX] = {0}, at = HEAD;

	ledger_each_unshared(set->ledger, ROSTER_WRITE_AT_ONCE, collect, set);
	if (set->sent_count == 0)
		return false;
	argv[6] = set->max;
	argv[7] = set->rules->full == LEDGER_DROP_OLDEST ? "drop" : "refuse";
	argv[8] = set->place->channel;
	argv[9] = set->place->nonce;
	for (size_t i = 0; i < set->sent_count; i++) {
		const struct roster_sent *sent = &set->sent[i];
		argv[at] = sent->key;
		argv_len[at++] = sent->key_len;
		argv[at++] = sent->how;
		argv[at++] = sent->when;
		argv[at++] = sent->base;
		argv[at++] = sent->left;
		argv[at++] = sent->removed ? "R" : "K";
		argv[at] = sent->text;
		argv_len[at++] = sent->text_len;
	}
	call(set, roster_write, at, argv, argv_len, on_written);
	return true;
}

/* Does what is to be done next. */
static void pump(struct roster_set *set)
{
	bool reads = set->wants_read || set->wants_whole || set->whole;

	if (set->busy || !set->place->link)
		return;
	set->writes_next = !set->writes_next;
	if ((set->reached || !reads) && (set->writes_next || !reads) && begin_write(set))
		return;
	if (reads)
		begin_read(set);
}

void roster_set_want(struct roster_set *set, enum roster_want want)
{
	switch (want) {
	case ROSTER_WANT_WRITE:
		break;
	case ROSTER_WANT_NEW:
		set->wants_read = true;
		break;
	case ROSTER_WANT_WHOLE:
		set->wants_whole = true;
		break;
	}
	pump(set);
}

void roster_set_away(struct roster_set *set)
{
	set->whole = set->is_complete = false;
	set->wants_whole = true;
}

void roster_set_join(struct roster_set *set)
{
	static const char *const ends[] = {"", ":changes", ":ends"};

	for (unsigned i = 0; i < 3; i++)
		snprintf(
		    set->keys[i], sizeof(set->keys[i]), "%s{roster}:%s%s",
		    set->place->prefix, set->rules->name, ends[i]);
	set->wants_whole = true;
	set->is_complete = false;
}

void roster_set_leave(struct roster_set *set)
{
	drop_sent(set);
	set->busy = set->whole = set->reached = false;
}

void roster_set_init(
    struct roster_set *set, const struct roster_place *place,
    const struct roster_set_rules *rules, struct ledger *ledger,
    const struct roster_set_events *events, void *context)
{
	*set = (struct roster_set){
	    .place = place,
	    .rules = rules,
	    .events = events,
	    .context = context,
	    .ledger = ledger,
	};
	snprintf(set->max, sizeof(set->max), "%zu", rules->max);
}
