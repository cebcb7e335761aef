/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/roster.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "policyd/ledger.h"
#include "policyd/redis_link.h"
#include "policyd/roster_script.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define TICK_S 1

/* Everything is read again so often, whatever the numbers say: a master may have lost
 * writes and counted on. */
#define WHOLE_S 600

#define READ_AT_ONCE  500
#define WRITE_AT_ONCE 32

/* The same trouble is not told again within so many seconds. */
#define TELL_S 60

#define SET_KEYS    3
#define SET_KEY_MAX 512
#define EPOCH_MAX   96
#define NUMBER_MAX  24

enum set_id { SET_BLOCKS, SET_LOGINS, SETS };

/* A change on its way to Redis. */
struct sent {
	char *key, *text;
	size_t key_len, text_len;
	uint64_t change;
	bool removed;
	char how[4], when[NUMBER_MAX], base[NUMBER_MAX], left[NUMBER_MAX];
};

/* One of the tables. One call is under way at a time. */
struct set {
	struct roster *roster;
	struct ledger *ledger;
	const char *name;
	bool (*accept)(const struct record *record);
	enum ledger_full full;
	char max[NUMBER_MAX];
	char keys[SET_KEYS][SET_KEY_MAX];
	bool busy;
	bool wants_read, wants_whole;
	bool writes_next; /* reading and writing take turns */
	/* What is read: since that number of that epoch. */
	uint64_t number;
	char epoch[EPOCH_MAX];
	bool knows_epoch;
	bool whole; /* from the beginning, as round number... */
	uint32_t round;
	int64_t whole_at_ms; /* when that was last done */
	bool is_complete;
	int64_t told_ms; /* of what is wrong with its records */
	struct sent sent[WRITE_AT_ONCE];
	size_t sent_count;
};

struct waiter {
	struct waiter *next;
	uint64_t change[SETS];
	roster_told *told;
	void *context;
};

struct roster {
	struct event_base *base;
	struct config *config;
	struct redis_link *link; /* NULL: no Redis */
	char prefix[SET_KEY_MAX / 2], channel[SET_KEY_MAX];
	char nonce[17];
	struct logins *logins;
	struct set sets[SETS];
	struct event *tick, *wake;
	int wake_fd;
	bool away;
	int64_t told_ms;
	char trouble[200];
	struct waiter *waiters;
};

static void pump(struct set *set);

static int64_t steady_ms(const struct roster *roster)
{
	struct moment now;

	ledger_now(roster->sets[SET_BLOCKS].ledger, &now);
	return now.steady_ms;
}

/* ---- who waits ---- */

static bool is_told(const struct roster *roster, const struct waiter *waiter)
{
	for (unsigned i = 0; i < SETS; i++) {
		uint64_t oldest = ledger_oldest_waiting(roster->sets[i].ledger);
		if (oldest != 0 && oldest <= waiter->change[i])
			return false;
	}
	return true;
}

/* @give_up: those that are not told will not be now. */
static void tell_waiters(struct roster *roster, bool give_up)
{
	struct waiter **place = &roster->waiters, *ready = NULL;

	while (*place) {
		struct waiter *waiter = *place;
		if (!give_up && !is_told(roster, waiter)) {
			place = &waiter->next;
			continue;
		}
		*place = waiter->next;
		waiter->next = ready;
		ready = waiter;
	}
	while (ready) {
		struct waiter *waiter = ready;
		ready = waiter->next;
		waiter->told(waiter->context, !give_up || is_told(roster, waiter));
		free(waiter);
	}
}

/* ---- how Redis is ---- */

/* What the link meets it tells itself; the rest (@told) is told here. */
static void note_away(struct roster *roster, const char *why, bool told)
{
	int64_t now = steady_ms(roster);

	snprintf(roster->trouble, sizeof(roster->trouble), "%s", why);
	for (unsigned i = 0; i < SETS; i++) {
		struct set *set = &roster->sets[i];
		set->whole = set->is_complete = false;
		set->wants_whole = true;
	}
	logins_set_complete(roster->logins, false);
	roster->away = true;
	if (told && (!roster->told_ms || now - roster->told_ms > TELL_S * 1000)) {
		log_error(
		    "redis: %s{roster}: %s; blocks and logins of other nodes are not "
		    "heard, this node goes on with those it knows; see who else writes "
		    "there, or give redis.prefix another value",
		    roster->prefix, why);
		roster->told_ms = now;
	}
	tell_waiters(roster, true);
}

static void note_back(struct roster *roster)
{
	roster->trouble[0] = '\0';
	roster->away = false;
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

static void say_foreign(struct set *set, const char *what, const char *remedy)
{
	int64_t now = steady_ms(set->roster);

	if (set->told_ms && now - set->told_ms < WHOLE_S * 1000)
		return;
	set->told_ms = now;
	log_error("redis: %s%s: %s; %s", set->roster->prefix, set->name, what, remedy);
}

/* "MADE UNTIL KIND TEXT", at @redis_ms of Redis's clock. */
static bool merge_record(
    struct set *set, const char *key, size_t key_len, const char *text, size_t len,
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
	if (!set->accept(&record))
		return false;
	int64_t age = redis_ms - (int64_t)made, left = (int64_t)until - redis_ms;
	if (until == 0)
		left = -1;
	else if (left < 0)
		left = 0;
	int r = ledger_merge(
	    set->ledger, &record, age > 0 ? age : 0, left, (int64_t)made, set->round,
	    set->full);
	if (r == -ENOSPC || r == -ENOMEM)
		say_foreign(
		    set,
		    r == -ENOSPC ? "more records than this node holds" : "out of memory",
		    "some are not in force here; lift what is not needed");
	return true;
}

/* ---- calls ---- */

static void call(
    struct set *set, const char *script, size_t argc, const char **argv, size_t *argv_len,
    redis_answered *answered)
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
	for (unsigned i = 0; i < SET_KEYS; i++)
		argv[3 + i] = set->keys[i];
	for (size_t i = 0; i < argc; i++)
		if (argv_len[i] == 0 && argv[i])
			argv_len[i] = strlen(argv[i]);
	set->busy = true;
	redis_link_call(set->roster->link, &call);
}

/* False: the call has failed, which has been dealt with. */
static bool is_answered(struct set *set, enum redis_result result, const char *error)
{
	set->busy = false;
	if (!set->roster->link)
		return false;
	if (result == REDIS_ANSWERED)
		return true;
	note_away(
	    set->roster, error[0] ? error : "no answer",
	    result == REDIS_BAD_KEY || result == REDIS_NO_SCRIPT);
	return false;
}

/* ---- reading ---- */

static void begin_whole(struct set *set)
{
	set->number = 0;
	set->round++;
	set->whole = true;
	set->knows_epoch = set->wants_whole = false;
}

static void end_read(struct set *set)
{
	struct roster *roster = set->roster;
	bool was_complete = true;

	if (set->whole) {
		set->whole = false;
		set->whole_at_ms = steady_ms(roster);
		ledger_round(set->ledger, set->round);
		set->is_complete = true;
	}
	for (unsigned i = 0; i < SETS; i++)
		was_complete = was_complete && roster->sets[i].is_complete;
	if (roster->sets[SET_LOGINS].is_complete)
		logins_set_complete(roster->logins, true);
	if (was_complete && roster->away)
		note_back(roster);
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
    struct set *set, const struct redis_reply *reply, size_t i, int64_t redis_ms)
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

static void on_read(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct set *set = context;
	size_t count, len;

	if (!is_answered(set, result, error))
		return;
	count = redis_reply_count(reply);
	if (count < 3 || count % 3 != 0) {
		note_away(set->roster, "an answer that makes no sense", true);
		return;
	}
	const char *epoch = redis_reply_text(redis_reply_item(reply, 0), &len);
	uint64_t number = number_of(reply, 1);
	if (len >= EPOCH_MAX)
		len = EPOCH_MAX - 1;
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
	for (size_t i = 3; i < count; i += 3) {
		merge_item(set, reply, i, redis_ms);
		set->number = number_of(reply, i + 1);
	}
	if (count / 3 - 1 < READ_AT_ONCE) {
		if (number > set->number)
			set->number = number;
		end_read(set);
	} else {
		set->wants_read = true;
	}
	tell_waiters(set->roster, false); /* what was replaced waits no more */
	pump(set);
}

static void begin_read(struct set *set)
{
	char since[NUMBER_MAX], at_once[NUMBER_MAX];
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

static void drop_sent(struct set *set)
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
	struct set *set = context;
	const struct record *record = &unshared->record;
	struct sent sent = {
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
    struct set *set, const struct sent *sent, const char *text, size_t len)
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
	struct set *set = context;

	if (!is_answered(set, result, error)) {
		drop_sent(set);
		return;
	}
	for (size_t i = 0; i < set->sent_count && i < redis_reply_count(reply); i++) {
		size_t len;
		const char *text = redis_reply_text(redis_reply_item(reply, i), &len);
		take_written(set, &set->sent[i], text, len);
	}
	drop_sent(set);
	tell_waiters(set->roster, false);
	pump(set);
}

/* False: nothing waits. */
static bool begin_write(struct set *set)
{
	enum { HEAD = 10, EACH = 7, MAX = HEAD + EACH * WRITE_AT_ONCE };
	const char *argv[MAX];
	size_t argv_len[MAX] = {0}, at = HEAD;

	ledger_each_unshared(set->ledger, WRITE_AT_ONCE, collect, set);
	if (set->sent_count == 0)
		return false;
	argv[6] = set->max;
	argv[7] = set->full == LEDGER_DROP_OLDEST ? "drop" : "refuse";
	argv[8] = set->roster->channel;
	argv[9] = set->roster->nonce;
	for (size_t i = 0; i < set->sent_count; i++) {
		const struct sent *sent = &set->sent[i];
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
static void pump(struct set *set)
{
	bool reads = set->wants_read || set->wants_whole || set->whole;

	if (set->busy || !set->roster->link)
		return;
	set->writes_next = !set->writes_next;
	if ((set->writes_next || !reads) && begin_write(set))
		return;
	if (reads)
		begin_read(set);
}

/* ---- events ---- */

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct roster *roster = context;
	int64_t now = steady_ms(roster);

	for (unsigned i = 0; i < SETS; i++) {
		struct set *set = &roster->sets[i];
		ledger_prune(set->ledger);
		set->wants_read = true;
		if (now - set->whole_at_ms > WHOLE_S * 1000)
			set->wants_whole = true;
		pump(set);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	(void)what;
	struct roster *roster = context;
	uint64_t count;

	(void)!read(fd, &count, sizeof(count));
	/* While Redis is away the tick asks often enough. */
	for (unsigned i = 0; i < SETS && !roster->away; i++)
		pump(&roster->sets[i]);
}

/* Any thread. */
static void on_change(void *context)
{
	struct roster *roster = context;
	uint64_t one = 1;

	(void)!write(roster->wake_fd, &one, sizeof(one));
}

static void on_message(void *context, const char *data, size_t len)
{
	(void)data, (void)len;
	struct roster *roster = context;

	for (unsigned i = 0; i < SETS; i++) {
		roster->sets[i].wants_read = true;
		pump(&roster->sets[i]);
	}
}

static void on_lost(void *context)
{
	struct roster *roster = context;

	for (unsigned i = 0; i < SETS; i++) {
		roster->sets[i].wants_whole = true;
		pump(&roster->sets[i]);
	}
}

/* ---- the configuration ---- */

static void leave_redis(struct roster *roster)
{
	/* Answers that come now are of no interest any more. */
	redis_link_free(TAKE(roster->link));
	for (unsigned i = 0; i < SETS; i++) {
		drop_sent(&roster->sets[i]);
		roster->sets[i].busy = roster->sets[i].whole = false;
	}
	roster->trouble[0] = '\0';
	roster->away = false;
	tell_waiters(roster, true);
	logins_set_complete(roster->logins, true);
}

static int join_redis(struct roster *roster, const char *prefix)
{
	int r = redis_link_new(roster->base, "blocks and logins", &roster->link);

	if (r < 0)
		return r;
	snprintf(roster->prefix, sizeof(roster->prefix), "%s", prefix);
	snprintf(
	    roster->channel, sizeof(roster->channel), "%s{roster}:changes",
	    roster->prefix);
	for (unsigned i = 0; i < SETS; i++) {
		static const char *const ends[SET_KEYS] = {"", ":changes", ":ends"};
		struct set *set = &roster->sets[i];
		for (unsigned k = 0; k < SET_KEYS; k++)
			snprintf(
			    set->keys[k], SET_KEY_MAX, "%s{roster}:%s%s", roster->prefix,
			    set->name, ends[k]);
		set->wants_whole = true;
		set->is_complete = false;
	}
	logins_set_complete(roster->logins, false);
	return redis_link_subscribe(
	    roster->link, roster->channel, on_message, on_lost, roster);
}

void roster_set(struct roster *roster, struct config *config)
{
	if (config == roster->config)
		return;
	struct config *old = roster->config;
	roster->config = config_ref(config);
	config_unref(old);
	if (roster->link &&
	    (!config->has_redis || strcmp(config->redis.prefix, roster->prefix) != 0))
		leave_redis(roster);
	if (!config->has_redis)
		return;
	int r = roster->link ? 0 : join_redis(roster, config->redis.prefix);
	if (r < 0) {
		log_error(
		    "blocks and logins are not shared until the next reload: %s",
		    strerror(-r));
		leave_redis(roster);
		return;
	}
	redis_link_set(roster->link, config);
	for (unsigned i = 0; i < SETS; i++)
		pump(&roster->sets[i]);
}

void roster_when_told(struct roster *roster, roster_told *told, void *context)
{
	struct waiter *waiter =
	    roster->link && !roster->away ? calloc(1, sizeof(*waiter)) : NULL;

	if (!waiter) {
		told(context, false);
		return;
	}
	waiter->told = told;
	waiter->context = context;
	waiter->next = roster->waiters;
	roster->waiters = waiter;
	for (unsigned i = 0; i < SETS; i++)
		waiter->change[i] = ledger_last_change(roster->sets[i].ledger);
	for (unsigned i = 0; i < SETS; i++)
		pump(&roster->sets[i]);
	tell_waiters(roster, false);
}

void roster_state(const struct roster *roster, struct roster_state *ret)
{
	ret->configured = roster->link != NULL;
	ret->shares = ret->configured && !roster->away &&
		      roster->sets[SET_BLOCKS].is_complete &&
		      roster->sets[SET_LOGINS].is_complete;
	snprintf(ret->trouble, sizeof(ret->trouble), "%s", roster->trouble);
}

/* ---- life ---- */

struct roster *roster_free(struct roster *roster)
{
	if (!roster)
		return NULL;
	leave_redis(roster);
	for (unsigned i = 0; i < SETS; i++)
		if (roster->sets[i].ledger)
			ledger_on_change(roster->sets[i].ledger, NULL, NULL);
	if (roster->tick)
		event_free(roster->tick);
	if (roster->wake)
		event_free(roster->wake);
	if (roster->wake_fd >= 0)
		close(roster->wake_fd);
	config_unref(roster->config);
	free(roster);
	return NULL;
}

DEFINE_CLEANUP(struct roster, roster_free)

static void prepare_set(struct roster *roster, enum set_id id, struct ledger *ledger)
{
	bool is_blocks = id == SET_BLOCKS;
	struct set *set = &roster->sets[id];

	set->roster = roster;
	set->ledger = ledger;
	set->name = is_blocks ? "blocks" : "logins";
	set->accept = is_blocks ? blocks_accept : logins_accept;
	set->full = is_blocks ? LEDGER_REFUSE : LEDGER_DROP_OLDEST;
	snprintf(set->max, sizeof(set->max), "%d", is_blocks ? BLOCKS_MAX : LOGINS_MAX);
	ledger_on_change(ledger, on_change, roster);
}

int roster_new(
    struct event_base *base, struct blocks *blocks, struct logins *logins,
    struct roster **ret)
{
	static const struct timeval often = {.tv_sec = TICK_S};
	CLEANUP(roster_freep) struct roster *roster = calloc(1, sizeof(*roster));
	uint64_t nonce;

	if (!roster)
		return -ENOMEM;
	roster->base = base;
	roster->logins = logins;
	roster->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (roster->wake_fd < 0)
		return -errno;
	if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
		return -EIO;
	snprintf(roster->nonce, sizeof(roster->nonce), "%016" PRIx64, nonce);
	roster->wake =
	    event_new(base, roster->wake_fd, EV_READ | EV_PERSIST, on_wake, roster);
	roster->tick = event_new(base, -1, EV_PERSIST, on_tick, roster);
	if (!roster->wake || !roster->tick || event_add(roster->wake, NULL) < 0 ||
	    event_add(roster->tick, &often) < 0)
		return -ENOMEM;
	prepare_set(roster, SET_BLOCKS, blocks_ledger(blocks));
	prepare_set(roster, SET_LOGINS, logins_ledger(logins));
	*ret = TAKE(roster);
	return 0;
}
