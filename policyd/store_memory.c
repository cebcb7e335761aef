/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/store.h"

#include "common/cleanup.h"
#include "common/siphash.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/random.h>

/*
 * Counters and tokens live in shards, each with its lock. A request locks its token's
 * shard, then those of its keys in ascending order: no two requests wait for each other,
 * and everything is charged in one step. Within a shard: a table of chains that never
 * grows (no pause for moving a million entries), and lists in order of last use.
 */

#define SHARDS 64

/* Smaller stores have one shard: 64 with a handful of keys each would fill unevenly. */
#define SHARDED_FROM (SHARDS * 64)

/* Counters whose window has run out, dropped at most at each new one: the table follows
 * what is in use without a sweep. */
#define EXPIRE_AT_ONCE 2

/* Full counters looked at for one that is not full any more, before giving up. */
#define FULL_LOOKS 16

struct counter {
	struct counter *chain;
	TAILQ_ENTRY(counter) order;
	uint64_t hash;
	struct window window;
	uint64_t max;
	uint32_t window_s;
	uint16_t key_len;
	bool full;   /* in shard.full: its use is up to its max */
	bool pinned; /* part of the request being answered */
	char key[];
};

TAILQ_HEAD(counter_list, counter);

/* A charge that was answered. Two hashes with secret keys stand for the token's text. */
struct token {
	struct token *chain;
	TAILQ_ENTRY(token) order;
	uint64_t hash, hash2;
	int64_t time_ms;
	enum outcome_kind kind;
	uint32_t count;
	struct charge_result results[];
};

TAILQ_HEAD(token_list, token);

struct counter_shard {
	alignas(64) pthread_mutex_t lock;
	struct counter **buckets;
	size_t count;
	struct counter_list idle, full; /* least recently used first */
};

struct token_shard {
	alignas(64) pthread_mutex_t lock;
	struct token **buckets;
	size_t count;
	struct token_list tokens; /* oldest first */
};

struct memory {
	struct store store;
	uint64_t key[2], key2[2]; /* random: strangers choose what is hashed */
	size_t shards;
	size_t shard_max;   /* counters, and tokens, in one shard */
	size_t bucket_mask; /* of every shard */
	struct counter_shard counters[SHARDS];
	struct token_shard tokens[SHARDS];
};

/* One request on its way through the shards. */
struct question {
	struct memory *store;
	const struct store_request *request;
	uint64_t hashes[LIMITS_MAX];
	struct counter *counters[LIMITS_MAX]; /* NULL: there is none yet */
	uint64_t shards;                      /* bit n: shard n is locked */
};

/* Shards by the upper bits, buckets by the lower. */
static size_t shard_of(const struct memory *store, uint64_t hash)
{
	return (hash >> 32) % store->shards;
}

static struct counter_list *list_of(struct counter_shard *shard, bool full)
{
	return full ? &shard->full : &shard->idle;
}

static struct counter *counter_find(
    const struct memory *store, const struct counter_shard *shard, uint64_t hash,
    const char *key, uint16_t key_len)
{
	struct counter *counter = shard->buckets[hash & store->bucket_mask];
	while (counter && (counter->hash != hash || counter->key_len != key_len ||
			   memcmp(counter->key, key, key_len) != 0))
		counter = counter->chain;
	return counter;
}

static void counter_drop(
    const struct memory *store, struct counter_shard *shard, struct counter *counter)
{
	struct counter **link = &shard->buckets[counter->hash & store->bucket_mask];
	while (*link != counter)
		link = &(*link)->chain;
	*link = counter->chain;
	TAILQ_REMOVE(list_of(shard, counter->full), counter, order);
	shard->count--;
	free(counter);
}

/* Moves @counter to the end of the list that its use belongs to. */
static void counter_touch(struct counter_shard *shard, struct counter *counter, bool full)
{
	TAILQ_REMOVE(list_of(shard, counter->full), counter, order);
	counter->full = full;
	TAILQ_INSERT_TAIL(list_of(shard, full), counter, order);
}

static uint64_t counter_use(struct counter *counter, int64_t now_ms)
{
	return window_use(&counter->window, counter->window_s, now_ms);
}

static void drop_expired(
    const struct memory *store, struct counter_shard *shard, int64_t now_ms)
{
	for (int i = 0; i < EXPIRE_AT_ONCE; i++) {
		struct counter *oldest = TAILQ_FIRST(&shard->idle);
		if (!oldest || oldest->pinned || counter_use(oldest, now_ms) > 0)
			return;
		counter_drop(store, shard, oldest);
	}
}

/* False: every counter is up to its max, or part of this request. */
static bool make_room(
    const struct memory *store, struct counter_shard *shard, int64_t now_ms)
{
	drop_expired(store, shard, now_ms);
	if (shard->count < store->shard_max)
		return true;
	/* What this request uses was just touched: it stands at the list's end. */
	struct counter *oldest = TAILQ_FIRST(&shard->idle);
	if (oldest && !oldest->pinned) {
		counter_drop(store, shard, oldest);
		return true;
	}
	oldest = TAILQ_FIRST(&shard->full);
	for (int i = 0; i < FULL_LOOKS && oldest && !oldest->pinned; i++) {
		if (counter_use(oldest, now_ms) < oldest->max) {
			counter_drop(store, shard, oldest);
			return true;
		}
		oldest = TAILQ_NEXT(oldest, order);
	}
	return false;
}

static struct counter *counter_add(
    const struct memory *store, struct counter_shard *shard, uint64_t hash,
    const struct charge *charge, int64_t now_ms)
{
	if (!make_room(store, shard, now_ms))
		return NULL;
	struct counter *counter = calloc(1, sizeof(*counter) + charge->key_len);
	if (!counter)
		return NULL;
	counter->hash = hash;
	counter->window_s = charge->window_s;
	counter->max = charge->max;
	counter->key_len = charge->key_len;
	memcpy(counter->key, charge->key, charge->key_len);
	struct counter **bucket = &shard->buckets[hash & store->bucket_mask];
	counter->chain = *bucket;
	*bucket = counter;
	TAILQ_INSERT_TAIL(&shard->idle, counter, order);
	shard->count++;
	return counter;
}

static struct counter_shard *question_shard(struct question *question, size_t i)
{
	struct memory *store = question->store;
	return &store->counters[shard_of(store, question->hashes[i])];
}

static void question_lock(struct question *question)
{
	struct memory *store = question->store;
	question->shards = 0;
	for (size_t i = 0; i < question->request->count; i++) {
		const struct charge *charge = &question->request->charges[i];
		question->hashes[i] =
		    siphash(charge->key, charge->key_len, store->key, 1, 3);
		question->shards |= UINT64_C(1) << shard_of(store, question->hashes[i]);
	}
	for (uint64_t left = question->shards; left; left &= left - 1)
		pthread_mutex_lock(&store->counters[__builtin_ctzll(left)].lock);
}

static void question_unlock(struct question *question)
{
	for (uint64_t left = question->shards; left; left &= left - 1)
		pthread_mutex_unlock(
		    &question->store->counters[__builtin_ctzll(left)].lock);
}

/* Looks at every charge; true when a hard one is over. */
static bool question_look(struct question *question, struct outcome *outcome)
{
	const struct store_request *request = question->request;
	bool over = false;
	for (size_t i = 0; i < request->count; i++) {
		const struct charge *charge = &request->charges[i];
		struct counter_shard *shard = question_shard(question, i);
		struct counter *counter = counter_find(
		    question->store, shard, question->hashes[i], charge->key,
		    charge->key_len);
		struct window none = {0};
		struct charge_result result = window_look(
		    counter ? &counter->window : &none, charge->window_s, request->now_ms,
		    charge->amount, charge->max);
		if (counter) {
			/* A reload may have changed the limit. */
			counter->window_s = charge->window_s;
			counter->max = charge->max;
			counter_touch(shard, counter, result.used >= charge->max);
		}
		question->counters[i] = counter;
		outcome->results[i] = result;
		over = over || (result.over && charge->hard);
	}
	outcome->count = request->count;
	return over;
}

/* Counters for the charges that have none yet. False: no room; none was added. */
static bool question_make_counters(struct question *question)
{
	const struct store_request *request = question->request;
	bool added[LIMITS_MAX] UNINITIALIZED;
	bool room = true;
	for (size_t i = 0; i < request->count; i++) {
		added[i] = false;
		if (question->counters[i])
			question->counters[i]->pinned = true;
	}
	for (size_t i = 0; i < request->count && room; i++) {
		if (question->counters[i] || request->charges[i].look)
			continue;
		question->counters[i] = counter_add(
		    question->store, question_shard(question, i), question->hashes[i],
		    &request->charges[i], request->now_ms);
		room = added[i] = question->counters[i] != NULL;
		if (room)
			question->counters[i]->pinned = true;
	}
	for (size_t i = 0; i < request->count; i++) {
		if (!question->counters[i])
			continue;
		question->counters[i]->pinned = false;
		if (added[i] && !room)
			counter_drop(
			    question->store, question_shard(question, i),
			    question->counters[i]);
	}
	return room;
}

static void question_charge(struct question *question, struct outcome *outcome)
{
	const struct store_request *request = question->request;
	for (size_t i = 0; i < request->count; i++) {
		const struct charge *charge = &request->charges[i];
		struct counter *counter = question->counters[i];
		if (charge->look)
			continue;
		/* A new window has not been rolled on to now yet. */
		uint64_t use = counter_use(counter, request->now_ms);
		window_add(&counter->window, charge->amount);
		if (__builtin_add_overflow(use, charge->amount, &use))
			use = UINT64_MAX;
		outcome->results[i].used = use;
		counter_touch(question_shard(question, i), counter, use >= charge->max);
	}
}

static bool charges_something(const struct store_request *request)
{
	for (size_t i = 0; i < request->count; i++)
		if (!request->charges[i].look)
			return true;
	return false;
}

static void store_answer_now(
    struct memory *store, const struct store_request *request, struct outcome *outcome)
{
	struct question question UNINITIALIZED;
	question.store = store;
	question.request = request;
	question_lock(&question);
	outcome->kind = OUTCOME_FITS;
	if (question_look(&question, outcome)) {
		outcome->kind = OUTCOME_OVER;
	} else if (charges_something(request)) {
		if (question_make_counters(&question))
			question_charge(&question, outcome);
		else
			outcome->kind = OUTCOME_UNAVAILABLE;
	}
	question_unlock(&question);
}

static struct token *token_find(
    const struct memory *store, const struct token_shard *shard, uint64_t hash,
    uint64_t hash2)
{
	struct token *token = shard->buckets[hash & store->bucket_mask];
	while (token && (token->hash != hash || token->hash2 != hash2))
		token = token->chain;
	return token;
}

static void token_drop_oldest(const struct memory *store, struct token_shard *shard)
{
	struct token *token = TAILQ_FIRST(&shard->tokens);
	struct token **link = &shard->buckets[token->hash & store->bucket_mask];
	while (*link != token)
		link = &(*link)->chain;
	*link = token->chain;
	TAILQ_REMOVE(&shard->tokens, token, order);
	shard->count--;
	free(token);
}

/* Without memory for it the token is not remembered: a repetition is charged again. */
static void token_add(
    const struct memory *store, struct token_shard *shard, uint64_t hash, uint64_t hash2,
    int64_t now_ms, const struct outcome *outcome)
{
	for (int i = 0; i < EXPIRE_AT_ONCE; i++) {
		struct token *oldest = TAILQ_FIRST(&shard->tokens);
		if (oldest && oldest->time_ms < now_ms - STORE_TOKEN_S * 1000)
			token_drop_oldest(store, shard);
	}
	if (shard->count >= store->shard_max)
		token_drop_oldest(store, shard);

	size_t results_size = outcome->count * sizeof(outcome->results[0]);
	struct token *token = malloc(sizeof(*token) + results_size);
	if (!token)
		return;
	*token = (struct token){
	    .hash = hash,
	    .hash2 = hash2,
	    .time_ms = now_ms,
	    .kind = outcome->kind,
	    .count = (uint32_t)outcome->count,
	};
	memcpy(token->results, outcome->results, results_size);
	struct token **bucket = &shard->buckets[hash & store->bucket_mask];
	token->chain = *bucket;
	*bucket = token;
	TAILQ_INSERT_TAIL(&shard->tokens, token, order);
	shard->count++;
}

/* The token's shard stays locked over the charge: of two requests with one token, the
 * second finds the first one's outcome. */
static void store_answer_once(
    struct memory *store, const struct store_request *request, struct outcome *outcome)
{
	uint64_t hash = siphash(request->token, request->token_len, store->key, 1, 3);
	uint64_t hash2 = siphash(request->token, request->token_len, store->key2, 1, 3);
	struct token_shard *shard = &store->tokens[shard_of(store, hash)];

	pthread_mutex_lock(&shard->lock);
	struct token *token = token_find(store, shard, hash, hash2);
	if (token) {
		outcome->kind = token->kind;
		outcome->count = token->count;
		memcpy(
		    outcome->results, token->results,
		    token->count * sizeof(outcome->results[0]));
	} else {
		store_answer_now(store, request, outcome);
		if (outcome->kind != OUTCOME_UNAVAILABLE)
			token_add(store, shard, hash, hash2, request->now_ms, outcome);
	}
	pthread_mutex_unlock(&shard->lock);
}

static void memory_ask(
    struct store *store, const struct store_request *request, store_answer *answer,
    void *context)
{
	struct memory *memory = (struct memory *)store;
	assert(request->count <= LIMITS_MAX);
	struct outcome outcome UNINITIALIZED;
	if (request->token_len > 0 && charges_something(request))
		store_answer_once(memory, request, &outcome);
	else
		store_answer_now(memory, request, &outcome);
	answer(context, &outcome);
}

static struct store *memory_free(struct store *base)
{
	struct memory *store = (struct memory *)base;
	for (size_t i = 0; i < store->shards; i++) {
		struct counter_shard *counters = &store->counters[i];
		struct token_shard *tokens = &store->tokens[i];
		while (!TAILQ_EMPTY(&counters->idle))
			counter_drop(store, counters, TAILQ_FIRST(&counters->idle));
		while (!TAILQ_EMPTY(&counters->full))
			counter_drop(store, counters, TAILQ_FIRST(&counters->full));
		while (!TAILQ_EMPTY(&tokens->tokens))
			token_drop_oldest(store, tokens);
		free(counters->buckets);
		free(tokens->buckets);
		pthread_mutex_destroy(&counters->lock);
		pthread_mutex_destroy(&tokens->lock);
	}
	free(store);
	return NULL;
}

static const struct store_ops memory_ops = {
    .ask = memory_ask,
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
	store->shard_max = max_keys / store->shards;
	for (size_t i = 0; i < store->shards; i++) {
		pthread_mutex_init(&store->counters[i].lock, NULL);
		pthread_mutex_init(&store->tokens[i].lock, NULL);
		TAILQ_INIT(&store->counters[i].idle);
		TAILQ_INIT(&store->counters[i].full);
		TAILQ_INIT(&store->tokens[i].tokens);
	}
	/* Up to 256 bytes come whole once the kernel's pool is ready. */
	if (getrandom(store->key, sizeof(store->key), 0) != sizeof(store->key) ||
	    getrandom(store->key2, sizeof(store->key2), 0) != sizeof(store->key2))
		return -EIO;

	size_t buckets = 1;
	while (buckets < store->shard_max)
		buckets *= 2;
	store->bucket_mask = buckets - 1;
	for (size_t i = 0; i < store->shards; i++) {
		/* Untouched pages cost nothing: calloc() maps them. */
		store->counters[i].buckets = calloc(buckets, sizeof(struct counter *));
		store->tokens[i].buckets = calloc(buckets, sizeof(struct token *));
		if (!store->counters[i].buckets || !store->tokens[i].buckets)
			return -ENOMEM;
	}
	*ret = TAKE(base);
	return 0;
}
