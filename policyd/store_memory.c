/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/store_memory.h"

#include "common/cleanup.h"
#include "common/siphash.h"
#include "policyd/memory_batch.h"
#include "policyd/memory_counters.h"
#include "policyd/memory_tokens.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/*
 * Counters and tokens live in shards, each with its lock. A request locks its token's
 * shard, then those of its keys in ascending order: no two requests wait for each other,
 * and everything is charged in one step.
 */

#define SHARDS 64

/* Smaller stores have one shard: 64 with a handful of keys each would fill unevenly. */
#define SHARDED_FROM (SHARDS * 64)

/* Tokens copied under one lock. */
#define TOKENS_AT_ONCE 32

/* Homes whose counters are copied under one lock, for who looks at all. */
#define HOMES_AT_ONCE 32

struct counter_shard {
	alignas(64) pthread_mutex_t lock;
	uint64_t changes;
	struct counters counters;
};

struct token_shard {
	alignas(64) pthread_mutex_t lock;
	struct tokens tokens; /* counts its changes itself: tokens_next() */
};

struct memory {
	struct store store;
	uint64_t key[2];       /* random: strangers choose what is hashed */
	uint64_t token_key[2]; /* another, which outlives the process */
	size_t shards;
	struct counter_shard counters[SHARDS];
	struct token_shard tokens[SHARDS];
};

/* One charge of a request on its way. */
struct part {
	uint64_t hash;
	struct counters *counters;
	struct counter *counter; /* NULL: there is none yet */
	struct member *member;   /* of a distinct count; NULL: it is not in the set */
	uint32_t member_hash;
	bool counter_is_new, member_is_new;
};

struct question {
	struct memory *store;
	const struct store_request *request;
	uint64_t shards; /* bit n: shard n is locked */
	struct part parts[LIMITS_MAX];
};

/* Shards by the upper bits, tables by the lower. */
static size_t shard_of(const struct memory *store, uint64_t hash)
{
	return (hash >> 32) & (store->shards - 1);
}

static uint64_t hash_of(const struct memory *store, const char *text, size_t len)
{
	return siphash(text, len, store->key, 1, 3);
}

/* ---- charging ---- */

/* Where everything stands, and that the memory there is on its way. */
static void question_begin(
    struct question *question, struct memory *store, const struct store_request *request)
{
	question->store = store;
	question->request = request;
	question->shards = 0;
	for (size_t i = 0; i < request->count; i++) {
		const struct charge *charge = &request->charges[i];
		struct part *part = &question->parts[i];
		part->hash = hash_of(store, charge->key, charge->key_len);
		size_t shard = shard_of(store, part->hash);
		part->counters = &store->counters[shard].counters;
		part->counter_is_new = part->member_is_new = false;
		__builtin_prefetch(&store->counters[shard].lock, 1);
		counters_prefetch(part->counters, part->hash);
		question->shards |= UINT64_C(1) << shard;
	}
}

static void question_lock(struct question *question)
{
	for (uint64_t left = question->shards; left; left &= left - 1)
		pthread_mutex_lock(
		    &question->store->counters[__builtin_ctzll(left)].lock);
}

static void question_unlock(struct question *question, bool changed)
{
	for (uint64_t left = question->shards; left; left &= left - 1) {
		struct counter_shard *shard =
		    &question->store->counters[__builtin_ctzll(left)];
		shard->changes += changed;
		pthread_mutex_unlock(&shard->lock);
	}
}

/* The counter of @charge. One that counted something else before a reload goes. */
static struct counter *find_counter(const struct part *part, const struct charge *charge)
{
	struct counter *counter =
	    counters_find(part->counters, part->hash, charge->key, charge->key_len);

	if (!counter)
		return NULL;
	if ((counter->members != NULL) != (charge->member_len > 0)) {
		counters_drop(part->counters, counter);
		return NULL;
	}
	/* A reload may have changed the limit. */
	counter->window_s = charge->window_s;
	counter->max = charge->max;
	return counter;
}

static struct charge_result look_at_set(
    const struct memory *store, struct part *part, const struct charge *charge,
    int64_t now_ms)
{
	struct window none = {0};
	struct window *window = &none;

	part->member = NULL;
	part->member_hash = (uint32_t)hash_of(store, charge->member, charge->member_len);
	if (part->counter) {
		counters_use(part->counters, part->counter, now_ms);
		window = &part->counter->window;
		part->member = members_find(
		    part->counter->members, part->member_hash, charge->member,
		    charge->member_len);
	}
	return distinct_look(
	    window, charge->window_s, now_ms, part->member != NULL, charge->max);
}

/* Looks at every charge; true when a hard one is over. */
static bool question_look(struct question *question, struct outcome *outcome)
{
	const struct store_request *request = question->request;
	bool over = false;

	for (size_t i = 0; i < request->count; i++) {
		const struct charge *charge = &request->charges[i];
		struct charge_result *result = &outcome->results[i];
		struct part *part = &question->parts[i];
		struct window none = {0};
		part->counter = find_counter(part, charge);
		if (charge->member_len > 0)
			*result =
			    look_at_set(question->store, part, charge, request->now_ms);
		else
			*result = window_look(
			    part->counter ? &part->counter->window : &none,
			    charge->window_s, request->now_ms, charge->amount,
			    charge->max);
		over = over || (result->over && charge->hard);
	}
	outcome->count = request->count;
	return over;
}

/* They were used: the least recently used are others. */
static void question_touch(struct question *question, const struct outcome *outcome)
{
	const struct store_request *request = question->request;

	for (size_t i = 0; i < request->count; i++) {
		struct part *part = &question->parts[i];
		if (part->counter)
			counters_touch(
			    part->counters, part->counter,
			    outcome->results[i].used >= request->charges[i].max);
	}
}

/* A new member is kept, or of a soft charge one more than max. */
static bool adds_member(
    const struct part *part, const struct charge *charge,
    const struct charge_result *result)
{
	return charge->member_len > 0 && !part->member && result->used <= charge->max;
}

/* True: a counter or a member has to be made before this can be charged. */
static bool part_is_missing(
    const struct part *part, const struct charge *charge,
    const struct charge_result *result)
{
	return !charge->look && (!part->counter || adds_member(part, charge, result));
}

/* What part @i has to have and has not. False: no room. */
static bool part_make(
    struct question *question, size_t i, const struct charge_result *result)
{
	const struct charge *charge = &question->request->charges[i];
	int64_t now_ms = question->request->now_ms;
	struct part *part = &question->parts[i];

	if (!part->counter) {
		part->counter = counters_add(part->counters, part->hash, charge, now_ms);
		if (!part->counter)
			return false;
		part->counter_is_new = part->counter->pinned = true;
	}
	if (adds_member(part, charge, result)) {
		part->member = counters_add_member(
		    part->counters, part->counter, part->member_hash, charge->member,
		    charge->member_len, now_ms);
		part->member_is_new = part->member != NULL;
		return part->member_is_new;
	}
	return true;
}

static void part_unmake(struct part *part)
{
	if (part->member_is_new)
		counters_remove_member(part->counters, part->counter, part->member);
	if (part->counter_is_new) {
		counters_drop(part->counters, part->counter);
		part->counter = NULL;
	}
}

/* Counters and members for the charges that have none yet. False: no room; none was
 * added. */
static bool question_make(struct question *question, const struct outcome *outcome)
{
	const struct store_request *request = question->request;
	bool missing = false, room = true;

	for (size_t i = 0; i < request->count; i++)
		missing = missing || part_is_missing(
					 &question->parts[i], &request->charges[i],
					 &outcome->results[i]);
	if (!missing)
		return true;
	/* What stands at the lists' ends is pinned, so that it need not be searched for.
	 */
	question_touch(question, outcome);
	for (size_t i = 0; i < request->count; i++)
		if (question->parts[i].counter)
			question->parts[i].counter->pinned = true;
	for (size_t i = 0; i < request->count && room; i++)
		if (!request->charges[i].look)
			room = part_make(question, i, &outcome->results[i]);
	for (size_t i = 0; i < request->count; i++) {
		struct part *part = &question->parts[i];
		if (part->counter)
			part->counter->pinned = false;
		if (!room)
			part_unmake(part);
	}
	return room;
}

/* A member counts in the bucket in which it was last seen. */
static void see_member(struct part *part, struct charge_result *result)
{
	struct window *window = &part->counter->window;

	if (!part->member)
		return; /* the set is as large as it gets */
	if (part->member_is_new) {
		window->current++;
		result->used++;
	} else if (part->member->previous) {
		window->previous--;
		window->current++;
		part->member->previous = false;
	}
}

static void question_charge(struct question *question, struct outcome *outcome)
{
	const struct store_request *request = question->request;

	for (size_t i = 0; i < request->count; i++) {
		const struct charge *charge = &request->charges[i];
		struct charge_result *result = &outcome->results[i];
		struct part *part = &question->parts[i];
		if (charge->look)
			continue;
		if (charge->member_len > 0) {
			see_member(part, result);
			continue;
		}
		window_add(&part->counter->window, charge->amount);
		/* As window_use() would say: both are at most WINDOW_USE_MAX. */
		if (charge->amount > WINDOW_USE_MAX - result->used)
			result->used = WINDOW_USE_MAX;
		else
			result->used += charge->amount;
	}
}

static bool charges_something(const struct store_request *request)
{
	for (size_t i = 0; i < request->count; i++)
		if (!request->charges[i].look)
			return true;
	return false;
}

/* What was looked at is charged, or is not; and the locks go. */
static void question_end(
    struct question *question, bool charges, bool over, struct outcome *outcome)
{
	bool charged = false;

	outcome->kind = OUTCOME_FITS;
	if (over) {
		outcome->kind = OUTCOME_OVER;
	} else if (charges) {
		charged = question_make(question, outcome);
		if (charged)
			question_charge(question, outcome);
		else
			outcome->kind = OUTCOME_UNAVAILABLE;
	}
	question_touch(question, outcome);
	question_unlock(question, charged);
}

static void answer_now(
    struct memory *store, const struct store_request *request, bool charges,
    struct outcome *outcome)
{
	struct question question UNINITIALIZED;

	question_begin(&question, store, request);
	question_lock(&question);
	bool over = question_look(&question, outcome);
	question_end(&question, charges, over, outcome);
}

/*
 * The token's shard stays locked over the charge: of two requests with one token, the
 * second finds the first one's outcome. Nearly every token is a new one, and where it
 * would stand is in no cache: the look at the counters is made while that arrives.
 */
static void answer_once(
    struct memory *store, const struct store_request *request, struct outcome *outcome)
{
	struct question question UNINITIALIZED;
	uint64_t hash[2];
	siphash128(request->token, request->token_len, store->token_key, 1, 3, hash);
	struct token_shard *shard = &store->tokens[shard_of(store, hash[0])];

	pthread_mutex_lock(&shard->lock);
	tokens_prefetch(&shard->tokens, hash[0]);
	question_begin(&question, store, request);
	question_lock(&question);
	bool over = question_look(&question, outcome);
	if (tokens_find(&shard->tokens, hash, outcome)) {
		question_unlock(&question, false);
	} else {
		question_end(&question, true, over, outcome);
		if (outcome->kind != OUTCOME_UNAVAILABLE)
			tokens_add(
			    &shard->tokens, hash, request->now_ms, STORE_TOKEN_S * 1000,
			    outcome);
	}
	pthread_mutex_unlock(&shard->lock);
}

static void memory_ask(
    struct store *base, const struct store_request *request, store_answer *answer,
    void *context)
{
	struct memory *store = (struct memory *)base;
	struct outcome outcome UNINITIALIZED;
	assert(request->count <= LIMITS_MAX);

	bool charges = charges_something(request);
	if (request->token_len > 0 && charges)
		answer_once(store, request, &outcome);
	else
		answer_now(store, request, charges, &outcome);
	answer(context, &outcome);
}

/* ---- looking and setting back ---- */

static int64_t wall_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Locks the shard of @key. */
static struct counter_shard *lock_key(
    struct memory *store, const char *key, size_t key_len, uint64_t *ret_hash)
{
	*ret_hash = hash_of(store, key, key_len);
	struct counter_shard *shard = &store->counters[shard_of(store, *ret_hash)];
	pthread_mutex_lock(&shard->lock);
	return shard;
}

static void memory_read(
    struct store *base, const char *const *keys, size_t count, store_row_seen *seen,
    store_done *done, void *context)
{
	struct memory *store = (struct memory *)base;

	for (size_t i = 0; i < count; i++) {
		struct store_row row = {.key = keys[i], .key_len = strlen(keys[i])};
		uint64_t hash;
		struct counter_shard *shard =
		    lock_key(store, row.key, row.key_len, &hash);
		const struct counter *counter =
		    counters_find(&shard->counters, hash, row.key, row.key_len);
		if (counter)
			row.window = counter->window;
		pthread_mutex_unlock(&shard->lock);
		row.now_ms = wall_clock_ms();
		if (counter)
			seen(context, &row);
	}
	done(context, 0);
}

struct scan {
	store_row_seen *seen;
	void *context;
	int64_t now_ms;
};

static bool scan_counter(void *context, const struct memory_counter *counter)
{
	struct scan *scan = context;
	const struct store_row row = {
	    .key = counter->key,
	    .key_len = counter->key_len,
	    .window = counter->window,
	    .now_ms = scan->now_ms,
	};

	scan->seen(scan->context, &row);
	return true;
}

static void memory_scan(
    struct store *store, store_row_seen *seen, store_done *done, void *context)
{
	struct scan scan = {seen, context, wall_clock_ms()};

	done(context, store_memory_each(store, scan_counter, &scan));
}

static void memory_forget(
    struct store *base, const char *const *keys, size_t count, store_done *done,
    void *context)
{
	struct memory *store = (struct memory *)base;

	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(keys[i]);
		uint64_t hash;
		struct counter_shard *shard = lock_key(store, keys[i], len, &hash);
		struct counter *counter =
		    counters_find(&shard->counters, hash, keys[i], len);
		if (counter)
			counters_drop(&shard->counters, counter);
		shard->changes += counter != NULL;
		pthread_mutex_unlock(&shard->lock);
	}
	done(context, 0);
}

/* ---- for the state file ---- */

/* By homes, the chains that there would be if all were in use: a counter may move to
 * another chain while somebody looks at all, and its home stays. */
static int batch_fill(
    const struct counters *counters, size_t begin, struct memory_batch *batch)
{
	for (size_t home = begin;
	     home < begin + HOMES_AT_ONCE && home <= counters->home_mask; home++)
		for (const struct counter *counter = *counters_chain(counters, home);
		     counter; counter = counter->chain) {
			if ((counter->hash & counters->home_mask) != home)
				continue;
			int r = memory_batch_add(batch, counter);
			if (r < 0)
				return r;
		}
	return 0;
}

int store_memory_each(struct store *base, memory_counter_seen *seen, void *context)
{
	struct memory *store = (struct memory *)base;
	CLEANUP(memory_batch_done) struct memory_batch batch = {0};

	for (size_t n = 0; n < store->shards; n++) {
		struct counter_shard *shard = &store->counters[n];
		for (size_t home = 0; home <= shard->counters.home_mask;
		     home += HOMES_AT_ONCE) {
			pthread_mutex_lock(&shard->lock);
			int r = batch_fill(&shard->counters, home, &batch);
			pthread_mutex_unlock(&shard->lock);
			if (r == 0)
				r = memory_batch_show(&batch, seen, context);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Under the lock: fills a new counter's set. */
static int put_members(
    struct memory *store, struct counters *counters, struct counter *counter,
    const struct memory_counter *from, int64_t now_ms)
{
	for (size_t i = 0; i < from->members_count; i++) {
		const struct memory_member *member = &from->members[i];
		uint32_t hash = (uint32_t)hash_of(store, member->text, member->len);
		if (members_find(counter->members, hash, member->text, member->len))
			continue;
		struct member *added = counters_add_member(
		    counters, counter, hash, member->text, member->len, now_ms);
		if (!added)
			return -ENOSPC;
		added->previous = member->previous;
		counter->window.current += !member->previous;
		counter->window.previous += member->previous;
	}
	return 0;
}

/* Under the lock. */
static int put_counter(
    struct memory *store, struct counters *counters, uint64_t hash,
    const struct memory_counter *from, int64_t now_ms)
{
	struct charge charge = {
	    .window_s = from->window_s,
	    .max = from->max,
	    .key_len = (uint16_t)from->key_len,
	    .member_len = from->distinct,
	};
	memcpy(charge.key, from->key, from->key_len);
	struct counter *counter = counters_add(counters, hash, &charge, now_ms);
	if (!counter)
		return -ENOSPC;
	counter->pinned = true;
	counter->window = from->window;
	int r = 0;
	if (from->distinct) {
		counter->window.current = counter->window.previous = 0;
		r = put_members(store, counters, counter, from, now_ms);
	}
	counter->pinned = false;
	if (r < 0) {
		counters_drop(counters, counter);
		return r;
	}
	/* A copy of the window, so that it stays as it was written. */
	struct window window = counter->window;
	uint64_t use = from->distinct ? distinct_use(&window, counter->window_s, now_ms)
				      : window_use(&window, counter->window_s, now_ms);
	counters_touch(counters, counter, use >= counter->max);
	return 0;
}

int store_memory_put(
    struct store *base, const struct memory_counter *counter, int64_t now_ms)
{
	struct memory *store = (struct memory *)base;
	uint64_t hash;
	int r = -EEXIST;

	assert(counter->key_len <= CHARGE_KEY_MAX && counter->window_s > 0);
	struct counter_shard *shard =
	    lock_key(store, counter->key, counter->key_len, &hash);
	if (!counters_find(&shard->counters, hash, counter->key, counter->key_len))
		r = put_counter(store, &shard->counters, hash, counter, now_ms);
	shard->changes += r == 0;
	pthread_mutex_unlock(&shard->lock);
	return r;
}

/* Copies some, from number *@at on; moves it on. Returns how many. */
static size_t copy_tokens(
    struct token_shard *shard, uint64_t *at, uint64_t end,
    struct memory_token copied[static TOKENS_AT_ONCE])
{
	const struct tokens *tokens = &shard->tokens;
	size_t count = 0;

	pthread_mutex_lock(&shard->lock);
	if (*at < tokens_oldest(tokens))
		*at = tokens_oldest(tokens);
	for (; *at < end && count < TOKENS_AT_ONCE; ++*at, count++)
		tokens_get(
		    tokens, *at, copied[count].digest, &copied[count].time_ms,
		    &copied[count].outcome);
	pthread_mutex_unlock(&shard->lock);
	return count;
}

static bool show_tokens(
    struct token_shard *shard, size_t most, int64_t since_ms,
    struct memory_token copied[static TOKENS_AT_ONCE], memory_token_seen *seen,
    void *context)
{
	pthread_mutex_lock(&shard->lock);
	uint64_t at = tokens_oldest(&shard->tokens), end = tokens_next(&shard->tokens);
	pthread_mutex_unlock(&shard->lock);
	if (end - at > most)
		at = end - most;
	while (at < end) {
		size_t count = copy_tokens(shard, &at, end, copied);
		for (size_t i = 0; i < count; i++)
			if (copied[i].time_ms >= since_ms && !seen(context, &copied[i]))
				return false;
	}
	return true;
}

int store_memory_each_token(
    struct store *base, size_t most, int64_t since_ms, memory_token_seen *seen,
    void *context)
{
	struct memory *store = (struct memory *)base;
	struct memory_token *copied = calloc(TOKENS_AT_ONCE, sizeof(*copied));
	size_t most_each = (most + store->shards - 1) / store->shards;
	bool goes_on = true;

	if (!copied)
		return -ENOMEM;
	for (size_t n = 0; n < store->shards && goes_on; n++)
		goes_on = show_tokens(
		    &store->tokens[n], most_each, since_ms, copied, seen, context);
	free(copied);
	return goes_on ? 0 : -ECANCELED;
}

void store_memory_token_key(const struct store *base, uint64_t ret_key[static 2])
{
	const struct memory *store = (const struct memory *)base;

	memcpy(ret_key, store->token_key, sizeof(store->token_key));
}

void store_memory_take_token_key(struct store *base, const uint64_t key[static 2])
{
	struct memory *store = (struct memory *)base;

	memcpy(store->token_key, key, sizeof(store->token_key));
}

int store_memory_put_token(struct store *base, const struct memory_token *token)
{
	struct memory *store = (struct memory *)base;
	struct token_shard *shard = &store->tokens[shard_of(store, token->digest[0])];
	struct outcome known UNINITIALIZED;

	pthread_mutex_lock(&shard->lock);
	bool is_known = tokens_find(&shard->tokens, token->digest, &known);
	if (!is_known)
		tokens_add(
		    &shard->tokens, token->digest, token->time_ms, STORE_TOKEN_S * 1000,
		    &token->outcome);
	pthread_mutex_unlock(&shard->lock);
	return is_known ? -EEXIST : 0;
}

uint64_t store_memory_changes(struct store *base)
{
	struct memory *store = (struct memory *)base;
	uint64_t changes = 0;

	for (size_t i = 0; i < store->shards; i++) {
		pthread_mutex_lock(&store->counters[i].lock);
		changes += store->counters[i].changes;
		pthread_mutex_unlock(&store->counters[i].lock);
		pthread_mutex_lock(&store->tokens[i].lock);
		changes += tokens_next(&store->tokens[i].tokens);
		pthread_mutex_unlock(&store->tokens[i].lock);
	}
	return changes;
}

/* ---- beginning and end ---- */

static struct store *memory_free(struct store *base)
{
	struct memory *store = (struct memory *)base;

	for (size_t i = 0; i < store->shards; i++) {
		counters_done(&store->counters[i].counters);
		tokens_done(&store->tokens[i].tokens);
		pthread_mutex_destroy(&store->counters[i].lock);
		pthread_mutex_destroy(&store->tokens[i].lock);
	}
	free(store);
	return NULL;
}

static const struct store_ops memory_ops = {
    .ask = memory_ask,
    .read = memory_read,
    .scan = memory_scan,
    .forget = memory_forget,
    .free = memory_free,
};

DEFINE_CLEANUP(struct store, store_free)

int store_memory_new(size_t max_keys, struct store **ret)
{
	assert(max_keys > 0);
	CLEANUP(store_freep) struct store *base = NULL;
	struct memory *store;
	if (posix_memalign((void **)&store, alignof(struct memory), sizeof(*store)) != 0)
		return -ENOMEM;
	memset(store, 0, sizeof(*store));
	store->store.ops = &memory_ops;
	base = &store->store;
	store->shards = max_keys < SHARDED_FROM ? 1 : SHARDS;
	for (size_t i = 0; i < store->shards; i++) {
		pthread_mutex_init(&store->counters[i].lock, NULL);
		pthread_mutex_init(&store->tokens[i].lock, NULL);
	}
	/* Up to 256 bytes come whole once the kernel's pool is ready. */
	if (getrandom(store->key, sizeof(store->key), 0) != sizeof(store->key) ||
	    getrandom(store->token_key, sizeof(store->token_key), 0) !=
		sizeof(store->token_key))
		return -EIO;
	for (size_t i = 0; i < store->shards; i++) {
		int r =
		    counters_init(&store->counters[i].counters, max_keys / store->shards);
		if (r == 0)
			r = tokens_init(
			    &store->tokens[i].tokens, max_keys / store->shards);
		if (r < 0)
			return r;
	}
	*ret = TAKE(base);
	return 0;
}
