/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/store.h"

#include "common/cleanup.h"
#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "policyd/breaker.h"
#include "policyd/limits_script.h"
#include "policyd/redis_health.h"
#include "policyd/redis_link.h"
#include "policyd/redis_rows.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/*
 * Limits in Redis. A request is one call of limits.lua; in a Cluster one for each slot
 * that its keys lie in, all at once, and what one slot charged is undone when another
 * refuses. When no answer comes in time, or the breaker is open, redis.on_failure
 * answers.
 *
 * A probe writes a key of its own now and then. It closes the breaker, finds Redis away
 * where nobody asks, and sees that counters were flushed: then that key is gone too.
 */

/* How long the probe's key outlives the last daemon. */
#define ALIVE_LIFE_MS "86400000"

enum group_state {
	GROUP_OPEN,
	GROUP_FIT,
	GROUP_OVER,
	GROUP_UNDONE,
	GROUP_BAD_KEY,
	GROUP_FAILED, /* no answer in time */
};

/* The charges of one request that one call is about. */
struct group {
	struct call *call;
	uint64_t members;
	enum group_state state;
	bool brought; /* the script, with the call */
};

/* One request under way; kept for the next one when it is done. */
struct call {
	struct call *next; /* in the free list */
	struct redis_store *store;
	struct store_request request;
	store_answer *answer;
	void *context;
	uint64_t began_ns;
	enum store_failure on_failure;
	uint32_t nodes, timeout_ms;
	char own_token[40]; /* of a charge that has none */
	uint64_t known;     /* charges that an answer told of */
	unsigned open, groups_count;
	struct outcome outcome;
	struct group groups[LIMITS_MAX];
};

struct redis_store {
	struct store store; /* first */
	struct event_base *base;
	struct store *memory;
	struct redis_link *link;
	bool configured, closing;
	enum store_failure on_failure;
	uint32_t nodes, timeout_ms;
	struct limits_script *script; /* NULL: not configured, or no memory */
	struct breaker breaker;
	struct event *timer;
	bool answers; /* redis_health_answers() said so since the last failure */
	bool introduced, introducing; /* asked what Redis evicts */
	bool alive_seen;              /* the probe's key was there */
	unsigned probes_open;
	bool probe_failed, probe_grave;
	char probe_error[200];
	uint64_t boot, tokens; /* names of charges that have none */
	struct charge *shares; /* scratch: charges with this node's share of max */
	struct call *free;
	uint32_t seconds; /* metrics */
};

/* ---- without Redis ---- */

struct memory_question {
	const struct redis_store *store;
	const struct store_request *request; /* with the whole max */
	uint32_t nodes;                      /* 1: that is what was asked */
	uint64_t began_ns;
	store_answer *answer;
	void *context;
};

/* This node's share; never 0 of something, never something of 0. */
static uint64_t share_of(uint64_t max, uint32_t nodes)
{
	return max > 0 && max < nodes ? 1 : max / nodes;
}

/*
 * What a share is over is told as of the whole: as if the other nodes had used theirs up.
 * Else a reply would say "50 of 100 used", and settle() not believe it.
 */
static void tell_of_whole(const struct memory_question *question, struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->count && i < question->request->count; i++) {
		struct charge_result *result = &outcome->results[i];
		uint64_t max = question->request->charges[i].max;
		uint64_t rest = max - share_of(max, question->nodes);
		if (result->over &&
		    __builtin_add_overflow(result->used, rest, &result->used))
			result->used = UINT64_MAX;
	}
}

static void memory_answered(void *context, const struct outcome *outcome)
{
	const struct memory_question *question = context;
	metrics_observe(
	    question->store->seconds, metrics_clock_ns() - question->began_ns);
	if (question->nodes == 1) {
		question->answer(question->context, outcome);
		return;
	}
	struct outcome whole = *outcome;
	tell_of_whole(question, &whole);
	question->answer(question->context, &whole);
}

/* The memory store answers before it returns: the question may live here. */
static void ask_memory(
    struct redis_store *store, const struct store_request *request, uint32_t nodes,
    store_answer *answer, void *context)
{
	struct memory_question question = {
	    .store = store,
	    .request = request,
	    .nodes = nodes,
	    .began_ns = metrics_clock_ns(),
	    .answer = answer,
	    .context = context,
	};
	struct store_request shared = *request;
	if (nodes > 1) {
		memcpy(
		    store->shares, request->charges,
		    request->count * sizeof(*request->charges));
		for (size_t i = 0; i < request->count; i++)
			store->shares[i].max = share_of(store->shares[i].max, nodes);
		shared.charges = store->shares;
	}
	store_ask(store->memory, &shared, memory_answered, &question);
}

static void answer_flat(
    enum outcome_kind kind, size_t count, store_answer *answer, void *context)
{
	struct outcome outcome UNINITIALIZED;
	outcome.kind = kind;
	outcome.count = count;
	memset(outcome.results, 0, count * sizeof(outcome.results[0]));
	answer(context, &outcome);
}

static void fall_back(
    struct redis_store *store, const struct store_request *request,
    enum store_failure on_failure, uint32_t nodes, store_answer *answer, void *context)
{
	switch (on_failure) {
	case STORE_FAILURE_LOCAL:
		ask_memory(store, request, nodes, answer, context);
		break;
	case STORE_FAILURE_ALLOW:
		answer_flat(OUTCOME_FITS, request->count, answer, context);
		break;
	case STORE_FAILURE_DEFER:
		answer_flat(OUTCOME_UNAVAILABLE, request->count, answer, context);
		break;
	}
}

/* ---- is it there? ---- */

static void set_timer(struct redis_store *store)
{
	uint32_t wait_ms = breaker_wait_ms(&store->breaker);
	struct timeval wait = {
	    .tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
	event_add(store->timer, &wait);
}

static void store_failed(struct redis_store *store, bool grave, const char *error)
{
	if (store->closing || !store->configured)
		return;
	store->answers = false;
	bool first = store->breaker.failures == 0;
	if (breaker_failed(&store->breaker, grave)) {
		store->introduced = false;
		redis_health_away();
	} else if (store->breaker.open) {
		struct redis_link_state state;
		redis_link_state(store->link, &state);
		if (!state.trouble[0])
			redis_health_slow(
			    store->on_failure, store->nodes, state.server, error);
	}
	/* Do not wait with the probe until the next second. */
	if (first && store->probes_open == 0)
		set_timer(store);
}

static void store_succeeded(struct redis_store *store)
{
	if (breaker_succeeded(&store->breaker))
		redis_health_back();
	if (!store->answers)
		redis_health_answers();
	store->answers = true;
}

static void on_nothing(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	(void)context, (void)result, (void)reply, (void)error;
}

/* "maxmemory_policy:noeviction" in what INFO says. */
static void on_info(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	static const char name[] = "maxmemory_policy:";
	struct redis_store *store = context;
	(void)error;
	store->introducing = false;
	if (result != REDIS_ANSWERED)
		return;
	store->introduced = true;
	size_t len;
	const char *text = redis_reply_text(reply, &len);
	const char *at = memmem(text, len, name, strlen(name));
	if (!at)
		return;
	at += strlen(name);
	size_t value_len = 0;
	while (at + value_len < text + len && at[value_len] > ' ')
		value_len++;
	redis_health_eviction(at, value_len);
}

static void introduce(struct redis_store *store)
{
	static const char *const argv[] = {"INFO", "memory"};
	static const size_t argv_len[] = {4, 6};
	const struct redis_call call = {
	    .argc = 2,
	    .argv = argv,
	    .argv_len = argv_len,
	    .repeatable = true,
	    .answered = on_info,
	    .context = store,
	};
	if (store->introduced || store->introducing)
		return;
	store->introducing = true;
	redis_link_call(store->link, &call);
}

/* SET PREFIXalive 1 @flag PX life: XX finds out whether it is there, NX makes it. */
static void write_alive(
    struct redis_store *store, const char *flag, redis_answered *answered)
{
	char key[300];
	int len = snprintf(
	    key, sizeof(key), "%.250salive", limits_script_prefix(store->script));
	size_t key_len = (size_t)len;
	const char *argv[] = {"SET", key, "1", flag, "PX", ALIVE_LIFE_MS};
	const size_t argv_len[] = {3, key_len, 1, 2, 2, strlen(ALIVE_LIFE_MS)};
	const struct redis_call call = {
	    .key = key,
	    .key_len = key_len,
	    .argc = 6,
	    .argv = argv,
	    .argv_len = argv_len,
	    .repeatable = true,
	    .answered = answered,
	    .context = store,
	};
	redis_link_call(store->link, &call);
}

static void probe_end(struct redis_store *store)
{
	if (--store->probes_open > 0 || store->closing || !store->configured)
		return;
	if (store->probe_failed) {
		store_failed(store, store->probe_grave, store->probe_error);
	} else {
		store_succeeded(store);
		introduce(store);
		struct redis_link_state state;
		redis_link_state(store->link, &state);
		redis_health_tell_missed(store->on_failure, store->nodes, state.server);
	}
	set_timer(store);
}

static void note_probe(
    struct redis_store *store, enum redis_result result, const char *error)
{
	if (result == REDIS_ANSWERED)
		return;
	store->probe_failed = true;
	store->probe_grave = store->probe_grave || result == REDIS_CONFIGURATION;
	snprintf(store->probe_error, sizeof(store->probe_error), "%s", error);
}

static void on_alive(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct redis_store *store = context;
	note_probe(store, result, error);
	if (result == REDIS_ANSWERED && !store->closing && store->configured) {
		if (redis_reply_kind(reply) == REDIS_NIL) {
			struct redis_link_state state;
			redis_link_state(store->link, &state);
			if (store->alive_seen)
				redis_health_lost(state.server);
			write_alive(store, "NX", on_nothing);
		}
		store->alive_seen = true;
	}
	probe_end(store);
}

static void on_ping(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	(void)reply;
	struct redis_store *store = context;
	note_probe(store, result, error);
	probe_end(store);
}

/* Of a Cluster every master must answer: one that hangs would hold up its slots. */
static void ping_nodes(struct redis_store *store)
{
	static const char *const argv[] = {"PING"};
	static const size_t argv_len[] = {4};
	const struct redis_call call = {
	    .argc = 1,
	    .argv = argv,
	    .argv_len = argv_len,
	    .repeatable = true,
	    .answered = on_ping,
	    .context = store,
	};
	for (unsigned i = 0;; i++) {
		store->probes_open++;
		if (!redis_link_call_node(store->link, i, &call))
			break;
	}
	store->probes_open--;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd, (void)what;
	struct redis_store *store = context;
	if (!store->script || store->probes_open > 0)
		return;
	store->probe_failed = store->probe_grave = false;
	store->probe_error[0] = '\0';
	store->probes_open = 1; /* ours: answers may come at once */
	if (redis_link_is_cluster(store->link))
		ping_nodes(store);
	store->probes_open++;
	write_alive(store, "XX", on_alive);
	probe_end(store);
}

/* ---- a request ---- */

static struct call *take_call(struct redis_store *store)
{
	struct call *call = store->free;
	if (call)
		store->free = call->next;
	else
		call = malloc(sizeof(*call));
	return call;
}

static void put_call(struct call *call)
{
	call->next = call->store->free;
	call->store->free = call;
}

static bool commits(const struct store_request *request)
{
	for (size_t i = 0; i < request->count; i++)
		if (!request->charges[i].look)
			return true;
	return false;
}

/* A charge without a name gets one, so that its call may be repeated and undone. */
static void name_charge(struct call *call)
{
	struct redis_store *store = call->store;
	if (!commits(&call->request)) {
		call->request.token_len = 0;
	} else if (call->request.token_len == 0) {
		int len = snprintf(
		    call->own_token, sizeof(call->own_token), "~%016" PRIx64 "%" PRIx64,
		    store->boot, store->tokens++);
		call->request.token = call->own_token;
		call->request.token_len = (size_t)len;
	}
}

static void undo(struct call *call, const struct group *group)
{
	struct redis_store *store = call->store;
	struct limits_call words;
	if (store->closing || !store->script)
		return;
	limits_script_compose(
	    store->script, LIMITS_UNDO, &call->request, group->members,
	    redis_link_is_cluster(store->link), &words);
	const struct redis_call redis_call = {
	    .key = words.key,
	    .key_len = words.key_len,
	    .argc = words.argc,
	    .argv = words.argv,
	    .argv_len = words.argv_len,
	    .repeatable = true,
	    .answered = on_nothing,
	};
	redis_link_call(store->link, &redis_call);
}

static bool has_group(const struct call *call, enum group_state state)
{
	for (unsigned i = 0; i < call->groups_count; i++)
		if (call->groups[i].state == state)
			return true;
	return false;
}

/* What is charged, or may be, is taken back where the others say no. */
static void undo_groups(struct call *call)
{
	if (call->groups_count < 2 || call->request.token_len == 0)
		return;
	for (unsigned i = 0; i < call->groups_count; i++)
		if (call->groups[i].state == GROUP_FIT ||
		    call->groups[i].state == GROUP_FAILED)
			undo(call, &call->groups[i]);
}

static void tell_outcome(struct call *call, enum outcome_kind kind)
{
	struct outcome *outcome = &call->outcome;
	outcome->kind = kind;
	/* One call knows of its charges from the first on, perhaps of those of another
	 * configuration; of several, some may not have been told. */
	outcome->count = call->groups_count == 1 && kind != OUTCOME_UNAVAILABLE
			     ? (size_t)__builtin_popcountll(call->known)
			     : call->request.count;
	for (size_t i = 0; i < outcome->count; i++)
		if (!(call->known & UINT64_C(1) << i))
			outcome->results[i] = (struct charge_result){0};
	call->answer(call->context, outcome);
}

/*
 * All slots have answered, or will not. A key that is not ours defers; a slot that
 * refuses is the answer; where one is missing, or was undone (a repetition of a request
 * that fell back then), it falls back: so does every repetition.
 */
static void finish(struct call *call)
{
	struct redis_store *store = call->store;
	metrics_observe(store->seconds, metrics_clock_ns() - call->began_ns);
	if (has_group(call, GROUP_BAD_KEY)) {
		undo_groups(call);
		tell_outcome(call, OUTCOME_UNAVAILABLE);
	} else if (has_group(call, GROUP_OVER)) {
		undo_groups(call);
		tell_outcome(call, OUTCOME_OVER);
	} else if (has_group(call, GROUP_FAILED) || has_group(call, GROUP_UNDONE)) {
		undo_groups(call);
		if (has_group(call, GROUP_FAILED))
			redis_health_missed();
		fall_back(
		    store, &call->request, call->on_failure, call->nodes, call->answer,
		    call->context);
	} else {
		tell_outcome(call, OUTCOME_FITS);
	}
	put_call(call);
}

static void group_ends(struct group *group, enum group_state state)
{
	struct call *call = group->call;
	group->state = state;
	if (--call->open == 0)
		finish(call);
}

/* Which of the call's words is meant; 0: the first key, as an example. */
static void tell_bad_key(struct group *group, size_t word, const char *error)
{
	struct redis_store *store = group->call->store;
	struct limits_call words;
	if (!store->script)
		return;
	limits_script_compose(
	    store->script, LIMITS_EVALSHA, &group->call->request, group->members,
	    redis_link_is_cluster(store->link), &words);
	if (word < 3 || word >= (size_t)words.argc)
		redis_health_bad_key(words.key, words.key_len, error);
	else
		redis_health_bad_key(words.argv[word], words.argv_len[word], error);
}

static void take_reply(struct group *group, const struct redis_reply *reply)
{
	struct call *call = group->call;
	uint64_t known = 0;
	size_t len, bad;
	const char *text = redis_reply_text(reply, &len);
	switch (limits_script_read(
	    &call->request, group->members, text, len, call->outcome.results, &known,
	    &bad)) {
	case LIMITS_FIT:
		call->known |= known;
		group_ends(group, GROUP_FIT);
		break;
	case LIMITS_OVER:
		call->known |= known;
		group_ends(group, GROUP_OVER);
		break;
	case LIMITS_UNDONE:
		group_ends(group, GROUP_UNDONE);
		break;
	case LIMITS_BAD_KEY:
		tell_bad_key(group, bad, "");
		group_ends(group, GROUP_BAD_KEY);
		break;
	}
}

static void send_group(struct group *group, enum limits_verb verb, uint32_t timeout_ms);

/* The script is not there: once, and in the time that is left, it comes along. */
static void bring_script(struct group *group, const char *error)
{
	struct call *call = group->call;
	uint64_t passed_ms = (metrics_clock_ns() - call->began_ns) / 1000000;
	if (group->brought || passed_ms >= call->timeout_ms || !call->store->script) {
		redis_health_why(error, NULL);
		store_failed(call->store, false, error);
		group_ends(group, GROUP_FAILED);
		return;
	}
	group->brought = true;
	send_group(group, LIMITS_EVAL, call->timeout_ms - (uint32_t)passed_ms);
}

static void on_answer(
    void *context, enum redis_result result, const struct redis_reply *reply,
    const char *error)
{
	struct group *group = context;
	struct redis_store *store = group->call->store;
	switch (result) {
	case REDIS_ANSWERED:
		/* An open breaker is the probe's to close; and what only reads goes on
		 * where writing does not. */
		if (!store->breaker.open && group->call->request.token_len > 0)
			store_succeeded(store);
		take_reply(group, reply);
		break;
	case REDIS_NO_SCRIPT:
		bring_script(group, error);
		break;
	case REDIS_BAD_KEY:
		tell_bad_key(group, 0, error);
		group_ends(group, GROUP_BAD_KEY);
		break;
	case REDIS_MOVING: /* of this one; others are answered */
		redis_health_why(
		    error, "finish the slot's move (redis-cli --cluster fix)");
		group_ends(group, GROUP_FAILED);
		break;
	case REDIS_UNAVAILABLE:
	case REDIS_CONFIGURATION:
		redis_health_why(error, NULL);
		store_failed(store, result == REDIS_CONFIGURATION, error);
		group_ends(group, GROUP_FAILED);
		break;
	}
}

static void send_group(struct group *group, enum limits_verb verb, uint32_t timeout_ms)
{
	struct call *call = group->call;
	struct redis_store *store = call->store;
	struct limits_call words;
	limits_script_compose(
	    store->script, verb, &call->request, group->members,
	    redis_link_is_cluster(store->link), &words);
	const struct redis_call redis_call = {
	    .key = words.key,
	    .key_len = words.key_len,
	    .argc = words.argc,
	    .argv = words.argv,
	    .argv_len = words.argv_len,
	    .timeout_ms = timeout_ms,
	    .repeatable = true,
	    .answered = on_answer,
	    .context = group,
	};
	redis_link_call(store->link, &redis_call);
}

static void add_group(struct call *call, uint64_t members)
{
	call->groups[call->groups_count++] = (struct group){
	    .call = call,
	    .members = members,
	    .state = GROUP_OPEN,
	};
}

/* In a Cluster, one group a slot. */
static void group_by_slot(struct call *call)
{
	const struct store_request *request = &call->request;
	struct redis_store *store = call->store;
	unsigned slots[LIMITS_MAX] UNINITIALIZED;
	for (size_t i = 0; i < request->count; i++) {
		char key[CHARGE_KEY_MAX + 2] UNINITIALIZED;
		const struct charge *charge = &request->charges[i];
		size_t len = charge->key_len - (size_t)charge->subject_at;
		key[0] = '{';
		memcpy(key + 1, charge->key + charge->subject_at, len);
		key[len + 1] = '}';
		unsigned slot = redis_link_slot(store->link, key, len + 2);
		unsigned group = 0;
		while (group < call->groups_count && slots[group] != slot)
			group++;
		if (group == call->groups_count) {
			slots[group] = slot;
			add_group(call, 0);
		}
		call->groups[group].members |= UINT64_C(1) << i;
	}
}

static uint64_t all_members(size_t count)
{
	return UINT64_MAX >> (LIMITS_MAX - count);
}

static void ask_redis(struct call *call)
{
	if (redis_link_is_cluster(call->store->link))
		group_by_slot(call);
	else
		add_group(call, all_members(call->request.count));
	/* One more than groups: answers may come at once, and the last ends the call. */
	call->open = call->groups_count + 1;
	for (unsigned i = 0; i < call->groups_count; i++)
		send_group(&call->groups[i], LIMITS_EVALSHA, call->timeout_ms);
	if (--call->open == 0)
		finish(call);
}

static void redis_ask(
    struct store *base, const struct store_request *request, store_answer *answer,
    void *context)
{
	struct redis_store *store = (struct redis_store *)base;
	assert(request->count <= LIMITS_MAX);
	if (!store->configured || request->count == 0) {
		ask_memory(store, request, 1, answer, context);
		return;
	}
	struct call *call = NULL;
	if (!store->breaker.open && !store->closing && store->script)
		call = take_call(store);
	if (!call) {
		redis_health_missed();
		fall_back(
		    store, request, store->on_failure, store->nodes, answer, context);
		return;
	}
	call->store = store;
	call->request = *request;
	call->answer = answer;
	call->context = context;
	call->began_ns = metrics_clock_ns();
	call->on_failure = store->on_failure;
	call->nodes = store->nodes;
	call->timeout_ms = store->timeout_ms;
	call->known = 0;
	call->groups_count = 0;
	name_charge(call);
	ask_redis(call);
}

/* ---- for operators ---- */

/* While Redis is away the limits that act are the daemon's own. */
static bool is_local(const struct redis_store *store)
{
	return !store->configured ||
	       (store->breaker.open && store->on_failure == STORE_FAILURE_LOCAL);
}

static void redis_read(
    struct store *base, const char *const *keys, size_t count, store_row_seen *seen,
    store_done *done, void *context)
{
	struct redis_store *store = (struct redis_store *)base;
	if (is_local(store))
		store_read(store->memory, keys, count, seen, done, context);
	else if (!store->script)
		done(context, -ENOMEM);
	else
		redis_rows_read(
		    store->link, limits_script_prefix(store->script), keys, count, seen,
		    done, context);
}

static void redis_scan(
    struct store *base, store_row_seen *seen, store_done *done, void *context)
{
	struct redis_store *store = (struct redis_store *)base;
	if (is_local(store))
		store_scan(store->memory, seen, done, context);
	else if (!store->script)
		done(context, -ENOMEM);
	else
		redis_rows_scan(
		    store->link, limits_script_prefix(store->script), seen, done,
		    context);
}

static void ignore_done(void *context, int r)
{
	(void)context, (void)r;
}

static void redis_forget(
    struct store *base, const char *const *keys, size_t count, store_done *done,
    void *context)
{
	struct redis_store *store = (struct redis_store *)base;
	if (!store->configured) {
		store_forget(store->memory, keys, count, done, context);
		return;
	}
	/* What was counted here while Redis was away goes too. */
	store_forget(store->memory, keys, count, ignore_done, NULL);
	if (!store->script)
		done(context, -ENOMEM);
	else
		redis_rows_forget(
		    store->link, limits_script_prefix(store->script), keys, count, done,
		    context);
}

/* ---- life ---- */

static struct store *redis_free(struct store *base)
{
	struct redis_store *store = (struct redis_store *)base;
	/* What is open is answered now, by on_failure. */
	store->closing = true;
	redis_link_free(store->link);
	if (store->breaker.open)
		redis_health_back();
	if (store->timer)
		event_free(store->timer);
	while (store->free) {
		struct call *call = store->free;
		store->free = call->next;
		free(call);
	}
	limits_script_free(store->script);
	free(store->shares);
	free(store);
	return NULL;
}

static const struct store_ops redis_ops = {
    .ask = redis_ask,
    .read = redis_read,
    .scan = redis_scan,
    .forget = redis_forget,
    .free = redis_free,
};

DEFINE_CLEANUP(struct store, store_free)

int store_redis_new(struct event_base *base, struct store *memory, struct store **ret)
{
	struct redis_store *store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	CLEANUP(store_freep) struct store *owner = &store->store;
	store->store.ops = &redis_ops;
	store->base = base;
	store->memory = memory;
	store->seconds = metrics_series(METRIC_STORE_REQUEST_SECONDS, NULL, NULL);
	if (getrandom(&store->boot, sizeof(store->boot), 0) != sizeof(store->boot))
		return -EIO;
	store->shares = calloc(LIMITS_MAX, sizeof(*store->shares));
	store->timer = event_new(base, -1, 0, on_timer, store);
	if (!store->shares || !store->timer)
		return -ENOMEM;
	int r = redis_link_new(base, "limits", &store->link);
	if (r < 0)
		return r;
	*ret = TAKE(owner);
	return 0;
}

/* NULL where there is no memory: then nobody is asked, and on_failure answers. */
static void set_prefix(struct redis_store *store, const char *prefix)
{
	if (store->script && strcmp(limits_script_prefix(store->script), prefix) == 0)
		return;
	store->script = limits_script_free(store->script);
	store->alive_seen = false;
	if (limits_script_new(prefix, &store->script) < 0)
		log_error("no memory for limits in Redis; redis.on_failure answers");
}

void store_redis_set(struct store *base, struct config *config)
{
	struct redis_store *store = (struct redis_store *)base;
	assert(base->ops == &redis_ops);
	bool was_configured = store->configured;
	if (config->has_redis) {
		set_prefix(store, config->redis.prefix);
		store->on_failure = config->redis.on_failure;
		store->nodes = config->nodes > 0 ? config->nodes : 1;
		store->timeout_ms = config->redis.timeout_ms;
	}
	store->configured = config->has_redis;
	redis_link_set(store->link, config);
	if (store->configured) {
		/* Somebody may have mended what was wrong: ask at once. */
		event_active(store->timer, EV_TIMEOUT, 0);
	} else if (was_configured) {
		event_del(store->timer);
		if (breaker_succeeded(&store->breaker))
			redis_health_back();
		store->answers = store->introduced = store->alive_seen = false;
	}
}

bool store_redis_is_away(const struct store *base)
{
	const struct redis_store *store = (const struct redis_store *)base;
	assert(base->ops == &redis_ops);
	return store->configured && store->breaker.open;
}

uint64_t store_redis_max(const struct store *base, uint64_t max)
{
	const struct redis_store *store = (const struct redis_store *)base;
	assert(base->ops == &redis_ops);
	return store->configured && is_local(store) ? share_of(max, store->nodes) : max;
}
