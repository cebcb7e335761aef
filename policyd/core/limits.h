/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/facts.h"
#include "policyd/core/failure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Limits: which of them a request is charged to, under which key, and the sliding
 * window's arithmetic. Reads no clock and no store: the caller brings time and state.
 *
 * The window slides as a weighted pair of buckets: use = this bucket + the previous one's
 * share that the window still covers, rounded up. Two counters per key instead of a log
 * of timestamps: that bound on memory is the point.
 */

#define CHARGE_KEY_MAX    288
#define CHARGE_MEMBER_MAX 72

/* What one limit asks of the store for one request. */
struct charge {
	uint32_t limit; /* index into config.limits */
	uint32_t window_s;
	uint64_t amount; /* 0 (looks only): over once the use is above max; distinct: 1 */
	uint64_t max;
	bool hard; /* over: nothing of the plan is charged. Soft ones are charged all the
		      same */
	bool look; /* changes nothing, whatever becomes of the others */
	bool answers; /* a soft one that is over is said now, once a message */
	uint16_t key_len;
	uint16_t subject_at;      /* where in @key the subject begins */
	char key[CHARGE_KEY_MAX]; /* LIMIT:SUBJECT, canonical; the subject may hold any
				     printable ASCII but "%", "{" and "}" as such */
	/* Distinct counts: what is counted, a text of ours; a long one stands as its
	 * digest. 0: a window of amounts. */
	uint16_t member_len;
	char member[CHARGE_MEMBER_MAX];
};

/* Counters, amounts and max end here. */
#define WINDOW_USE_MAX LIMIT_AMOUNT_MAX

/* What the store says of one charge. */
struct charge_result {
	uint64_t used;          /* before this charge; of a charged one, after it */
	bool over;              /* used + amount > max */
	uint32_t retry_after_s; /* over: when the amount would fit; UINT32_MAX: never */
};

enum outcome_kind {
	OUTCOME_FITS,        /* (all hard ones) fit; charged if that was asked */
	OUTCOME_OVER,        /* a hard one is over; nothing was charged */
	OUTCOME_UNAVAILABLE, /* the store cannot tell now */
};

struct outcome {
	enum outcome_kind kind;
	size_t count;
	struct charge_result results[LIMITS_MAX]; /* in the order of the charges */
};

/*
 * The two counters of one key. All zero is a fresh one. Of a distinct count: members seen
 * in this bucket, and those seen in the previous one alone; its use is their sum.
 */
struct window {
	int64_t start_ms; /* the time at which the current bucket began, a multiple of the
			     window */
	uint64_t current, previous;
};

/*
 * Rolls @window on to @now_ms and returns its use, rounded up. A clock that stepped back
 * leaves the window where it was, unless that is more than one window ahead of now: then
 * it is pulled back to now with its counts.
 */
uint64_t window_use(struct window *window, uint32_t window_s, int64_t now_ms);

/* Rolls, looks whether @amount fits under @max, says when it would. Charges nothing. */
struct charge_result window_look(
    struct window *window, uint32_t window_s, int64_t now_ms, uint64_t amount,
    uint64_t max);

/*
 * The same of a distinct count whose bucket counts the caller keeps in @window: members
 * seen in the previous bucket alone are gone when the next one begins. @is_member: what
 * is asked for is counted already; it is over only while there are more than max, which
 * soft charges and a max made lower can bring about.
 */
uint64_t distinct_use(struct window *window, uint32_t window_s, int64_t now_ms);
struct charge_result distinct_look(
    struct window *window, uint32_t window_s, int64_t now_ms, bool is_member,
    uint64_t max);

/* Adds @amount to a window that window_look() has just rolled; saturates. */
void window_add(struct window *window, uint64_t amount);

/* What a request is to the limits; each knows by it whether it looks, charges, or has
 * nothing to ask. */
enum limit_moment {
	MOMENT_REFUSAL,   /* a check refused it for good */
	MOMENT_RECIPIENT, /* RCPT */
	/* RCPT, and `relay` says reject_unauth_destination: Postfix may accept it for a
	 * domain of its own, so that the recipient counts, and so does the refusal. */
	MOMENT_UNGRANTED,
	MOMENT_LOOK,   /* DATA, when END-OF-MESSAGE charges */
	MOMENT_CHARGE, /* the state that policyd.charge_at names */
	MOMENT_AFTER,  /* END-OF-MESSAGE, when DATA charged */
};

/* Of a request that no check refused. */
enum limit_moment limit_moment(const struct config *config, enum protocol_state state);

enum limit_answer {
	/* Nothing to ask: `when` does not hold, a subject is absent, nothing to count at
	 * this moment, or an override lifts it. */
	LIMIT_SILENT,
	LIMIT_ASKS,
	LIMIT_CANNOT_COUNT, /* what is counted is unavailable */
};

/*
 * Fills in the charge of limit number @index for this request; of LIMIT_CANNOT_COUNT
 * *ret_failure, too, and no member. For a limit per message: window_s 0 and no key; the
 * caller compares amount with max itself.
 */
enum limit_answer limit_charge(
    const struct config *config, size_t index, const struct facts *facts, bool relayed,
    enum limit_moment moment, struct charge *ret, enum failure *ret_failure);

/* What is counted, in the words of the configuration. */
const char *limit_unit(enum limit_count count);
