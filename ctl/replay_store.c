/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/replay_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* uthash leaves failures to us: nothing is added, and the caller is told. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* What a distinct count has seen. */
struct member {
	bool previous; /* in the previous bucket alone */
	uint16_t len;
	char text[CHARGE_MEMBER_MAX];
};

struct counter {
	UT_hash_handle hh;
	struct window window;
	struct member *members;
	size_t members_count, members_size;
	size_t key_len;
	char key[CHARGE_KEY_MAX];
};

/* Of each token one: with the results that there are, not with room for all. */
struct answered {
	UT_hash_handle hh;
	enum outcome_kind kind;
	size_t count;
	char *token; /* behind the results */
	struct charge_result results[];
};

struct replay_store {
	struct counter *counters;
	struct answered *answered;
};

int replay_store_new(struct replay_store **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

struct replay_store *replay_store_free(struct replay_store *store)
{
	struct counter *counter, *next_counter;
	struct answered *answered, *next_answered;

	if (!store)
		return NULL;
	HASH_ITER (hh, store->counters, counter, next_counter) {
		HASH_DEL(store->counters, counter);
		free(counter->members);
		free(counter);
	}
	HASH_ITER (hh, store->answered, answered, next_answered) {
		HASH_DEL(store->answered, answered);
		free(answered);
	}
	free(store);
	return NULL;
}

static struct counter *counter_of(struct replay_store *store, const struct charge *charge)
{
	struct counter *counter;

	HASH_FIND(hh, store->counters, charge->key, charge->key_len, counter);
	if (counter)
		return counter;
	counter = calloc(1, sizeof(*counter));
	if (!counter)
		return NULL;
	counter->key_len = charge->key_len;
	memcpy(counter->key, charge->key, charge->key_len);
	HASH_ADD(hh, store->counters, key, counter->key_len, counter);
	return counter;
}

static void remember(
    struct replay_store *store, const char *token, size_t token_len,
    const struct outcome *outcome)
{
	size_t results = outcome->count * sizeof(outcome->results[0]);
	struct answered *answered = malloc(sizeof(*answered) + results + token_len);

	/* Without memory a repetition is charged again. */
	if (!answered)
		return;
	answered->kind = outcome->kind;
	answered->count = outcome->count;
	memcpy(answered->results, outcome->results, results);
	answered->token = (char *)answered->results + results;
	memcpy(answered->token, token, token_len);
	HASH_ADD_KEYPTR(hh, store->answered, answered->token, token_len, answered);
}

static struct member *member_of(struct counter *counter, const struct charge *charge)
{
	for (size_t i = 0; i < counter->members_count; i++) {
		struct member *member = &counter->members[i];
		if (member->len == charge->member_len &&
		    memcmp(member->text, charge->member, member->len) == 0)
			return member;
	}
	return NULL;
}

/* Rolls the window on, and the members with it. */
static void roll_members(struct counter *counter, uint32_t window_s, int64_t now_ms)
{
	const struct window before = counter->window;
	size_t kept = 0;

	distinct_use(&counter->window, window_s, now_ms);
	if (before.current == counter->window.current &&
	    before.previous == counter->window.previous)
		return;
	for (size_t i = 0; i < counter->members_count; i++) {
		struct member *member = &counter->members[i];
		if (member->previous || counter->window.previous == 0)
			continue;
		member->previous = true;
		counter->members[kept++] = *member;
	}
	counter->members_count = kept;
}

static struct charge_result look(
    struct counter *counter, const struct charge *charge, int64_t now_ms)
{
	if (charge->member_len == 0)
		return window_look(
		    &counter->window, charge->window_s, now_ms, charge->amount,
		    charge->max);
	roll_members(counter, charge->window_s, now_ms);
	return distinct_look(
	    &counter->window, charge->window_s, now_ms,
	    member_of(counter, charge) != NULL, charge->max);
}

/* False: no memory. */
static bool add_member(struct counter *counter, const struct charge *charge)
{
	struct member *member = member_of(counter, charge);

	if (member) {
		counter->window.previous -= member->previous;
		counter->window.current += member->previous;
		member->previous = false;
		return true;
	}
	if (counter->members_count > charge->max)
		return true;
	if (counter->members_count == counter->members_size) {
		size_t size = counter->members_size ? 2 * counter->members_size : 4;
		member = reallocarray(counter->members, size, sizeof(*member));
		if (!member)
			return false;
		counter->members = member;
		counter->members_size = size;
	}
	member = &counter->members[counter->members_count++];
	member->previous = false;
	member->len = charge->member_len;
	memcpy(member->text, charge->member, charge->member_len);
	counter->window.current++;
	return true;
}

static bool apply(
    struct counter *counter, const struct charge *charge, int64_t now_ms,
    struct charge_result *result)
{
	if (charge->member_len > 0) {
		bool added = add_member(counter, charge);
		result->used = distinct_use(&counter->window, charge->window_s, now_ms);
		return added;
	}
	window_add(&counter->window, charge->amount);
	result->used = window_use(&counter->window, charge->window_s, now_ms);
	return true;
}

/* Looks at all, and charges if that is what they ask and all hard ones fit. */
static void answer(
    struct replay_store *store, const struct charge *charges, size_t count,
    int64_t now_ms, struct outcome *ret)
{
	struct counter *counters[LIMITS_MAX];

	ret->kind = OUTCOME_FITS;
	ret->count = count;
	for (size_t i = 0; i < count; i++) {
		counters[i] = counter_of(store, &charges[i]);
		if (!counters[i]) {
			ret->kind = OUTCOME_UNAVAILABLE;
			return;
		}
		ret->results[i] = look(counters[i], &charges[i], now_ms);
		if (ret->results[i].over && charges[i].hard)
			ret->kind = OUTCOME_OVER;
	}
	for (size_t i = 0; i < count && ret->kind == OUTCOME_FITS; i++)
		if (!charges[i].look &&
		    !apply(counters[i], &charges[i], now_ms, &ret->results[i]))
			ret->kind = OUTCOME_UNAVAILABLE;
}

void replay_store_ask(
    struct replay_store *store, const char *token, size_t token_len,
    const struct charge *charges, size_t count, int64_t now_ms, struct outcome *ret)
{
	struct answered *before = NULL;
	bool charges_something = false;

	for (size_t i = 0; i < count; i++)
		charges_something = charges_something || !charges[i].look;
	if (!charges_something)
		token_len = 0;
	if (token_len > 0)
		HASH_FIND(hh, store->answered, token, token_len, before);
	if (before) {
		ret->kind = before->kind;
		ret->count = before->count;
		memcpy(
		    ret->results, before->results,
		    before->count * sizeof(before->results[0]));
		return;
	}
	answer(store, charges, count, now_ms, ret);
	if (token_len > 0 && ret->kind != OUTCOME_UNAVAILABLE)
		remember(store, token, token_len, ret);
}
