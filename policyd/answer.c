/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/answer.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/printable.h"
#include "policyd/block_orders.h"
#include "policyd/core/decide.h"
#include "policyd/observer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Everything about one request under way; kept for the next one when it is done. */
struct question {
	struct question *next; /* in the free list */
	struct answerer *answerer;
	struct config *config;
	struct request request;
	struct facts facts;
	struct plan plan; /* its verdict becomes the answer's */
	uint64_t began_ns;
	char token[PLAN_TOKEN_MAX];
	answer_done *done;
	void *context;
};

struct answerer {
	struct store *store;
	struct remembered remembered;
	struct observer *observer;
	struct question *free; /* one is enough for a store that answers at once */
};

int answerer_new(
    struct store *store, const struct remembered *remembered,
    struct decision_log *decisions, struct answerer **ret)
{
	struct answerer *answerer = calloc(1, sizeof(*answerer));

	if (!answerer)
		return -ENOMEM;
	answerer->store = store;
	answerer->remembered = *remembered;
	int r = observer_new(remembered->instances, decisions, &answerer->observer);
	if (r < 0) {
		free(answerer);
		return r;
	}
	*ret = answerer;
	return 0;
}

struct answerer *answerer_free(struct answerer *answerer)
{
	if (!answerer)
		return NULL;
	while (answerer->free) {
		struct question *question = answerer->free;
		answerer->free = question->next;
		free(question);
	}
	observer_free(answerer->observer);
	free(answerer);
	return NULL;
}

/* To a few milliseconds, for a quarter of the price: each request asks. */
static int64_t wall_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct question *take_question(struct answerer *answerer)
{
	struct question *question = answerer->free;

	if (question)
		answerer->free = question->next;
	else
		question = malloc(sizeof(*question));
	return question;
}

/* Gives the answer and puts the question back. */
static void finish(struct question *q)
{
	char event[EVENT_ID_MAX], bytes[VERDICT_WIRE_MAX] UNINITIALIZED;
	struct answerer *answerer = q->answerer;
	const struct observed observed = {
	    .config = q->config,
	    .request = &q->request,
	    .facts = &q->facts,
	    .plan = &q->plan,
	    .verdict = &q->plan.verdict,
	    .began_ns = q->began_ns,
	};

	if (q->plan.blocks_count > 0)
		block_orders_carry_out(
		    answerer->remembered.blocks, q->config, &q->facts, &q->plan,
		    wall_clock_ms() / 1000);
	observe(answerer->observer, &observed, event);
	if (q->plan.verdict.action == ACTION_OK &&
	    !address_list_empty(q->config->relay.anyone_to))
		instances_set_granted(
		    answerer->remembered.instances, q->request.instance);

	size_t len = verdict_print(&q->plan.verdict, event, bytes);
	config_unref(q->config);
	q->done(q->context, bytes, len);
	q->next = answerer->free;
	answerer->free = q;
}

static void store_answered(void *context, const struct outcome *outcome)
{
	struct question *q = context;

	settle(q->config, &q->plan, outcome, &q->plan.verdict);
	finish(q);
}

/* One line, not one a request: the service text in main.cf is wrong until somebody mends
 * it. */
static void warn_of_context(const struct facts *facts, struct slice context)
{
	static atomic_flag warned = ATOMIC_FLAG_INIT;
	char shown[80] UNINITIALIZED;

	if (facts->context != CONTEXT_UNKNOWN || atomic_flag_test_and_set(&warned))
		return;
	printable(shown, sizeof(shown), context.data, context.len);
	log_warning(
	    "policy_context \"%s\" is not known: it acts as \"access\" and grants "
	    "nothing; main.cf may say relay, access, limits or none",
	    shown);
}

void answer(
    struct answerer *answerer, struct config *config, const struct request *request,
    answer_done *done, void *context)
{
	struct question *q = take_question(answerer);

	if (!q) {
		char bytes[VERDICT_WIRE_MAX];
		struct verdict verdict;
		failure_verdict(FAILURE_MEMORY, CHECK_NONE, false, &verdict);
		log_error("policy request answered 451: %s", verdict.reason);
		done(context, bytes, verdict_print(&verdict, "", bytes));
		return;
	}
	q->answerer = answerer;
	q->config = config_ref(config);
	q->request = *request;
	q->done = done;
	q->context = context;
	q->began_ns = metrics_clock_ns();
	int64_t now_ms = wall_clock_ms();
	gather(config, request, &answerer->remembered, now_ms / 1000, &q->facts);
	warn_of_context(&q->facts, request->policy_context);
	decide(config, &q->facts, &q->plan, NULL);
	if (!q->plan.asks_store) {
		finish(q);
		return;
	}
	struct store_request ask = {
	    .token = q->token,
	    .token_len = plan_token(config, &q->plan, q->token),
	    .charges = q->plan.charges,
	    .count = q->plan.charges_count,
	    .now_ms = now_ms,
	};
	store_ask(answerer->store, &ask, store_answered, q);
}
