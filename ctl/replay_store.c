/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/replay_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* uthash leaves failures to us: nothing is added, and the caller is told. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct counter {
	UT_hash_handle hh;
	struct window window;
	size_t key_len;
	char key[CHARGE_KEY_MAX];
};

/* Of each message one: with the results that there are, not with room for all. */
struct answered {
	UT_hash_handle hh;
	enum outcome_kind kind;
	size_t count;
	char *message; /* behind the results */
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
    struct replay_store *store, const char *message, const struct outcome *outcome)
{
	size_t results = outcome->count * sizeof(outcome->results[0]);
	struct answered *answered =
	    malloc(sizeof(*answered) + results + strlen(message) + 1);

	/* Without memory a repetition is charged again. */
	if (!answered)
		return;
	answered->kind = outcome->kind;
	answered->count = outcome->count;
	memcpy(answered->results, outcome->results, results);
	answered->message = (char *)answered->results + results;
	strcpy(answered->message, message);
	HASH_ADD_KEYPTR(
	    hh, store->answered, answered->message, strlen(message), answered);
}

void replay_store_ask(
    struct replay_store *store, bool commit, const char *message,
    const struct charge *charges, size_t count, int64_t now_ms, struct outcome *ret)
{
	struct counter *counters[LIMITS_MAX];
	struct answered *before = NULL;

	if (commit && message[0] != '\0')
		HASH_FIND_STR(store->answered, message, before);
	if (before) {
		ret->kind = before->kind;
		ret->count = before->count;
		memcpy(
		    ret->results, before->results,
		    before->count * sizeof(before->results[0]));
		return;
	}
	ret->kind = OUTCOME_FITS;
	ret->count = count;
	for (size_t i = 0; i < count; i++) {
		const struct charge *charge = &charges[i];
		counters[i] = counter_of(store, charge);
		if (!counters[i]) {
			ret->kind = OUTCOME_UNAVAILABLE;
			return;
		}
		ret->results[i] = window_look(
		    &counters[i]->window, charge->window_s, now_ms, charge->amount,
		    charge->max);
		if (ret->results[i].over && charge->hard)
			ret->kind = OUTCOME_OVER;
	}
	if (!commit)
		return;
	for (size_t i = 0; i < count && ret->kind == OUTCOME_FITS; i++) {
		window_add(&counters[i]->window, charges[i].amount);
		ret->results[i].used += charges[i].amount;
	}
	if (message[0] != '\0')
		remember(store, message, ret);
}
