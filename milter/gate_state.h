/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What DNS has shown of one key's record, over time, and which of several keys signs by
 * it. Pure: the caller brings answers and the time (seconds of the calendar, because the
 * state outlives the process).
 *
 * Published: the record was found equal to the key. What says otherwise is believed at
 * once of a key that was not published, and after GATE_MISSES answers in a row of one
 * that was: a name server that was set up badly for a minute stops no signature. An
 * answer that is none (a time-out, SERVFAIL) changes nothing.
 */

/* Answers against a published key, in a row, until it is taken for unpublished. */
#define GATE_MISSES 3

enum gate_state {
	GATE_UNKNOWN, /* no answer yet, in this life and before */
	GATE_UNPUBLISHED,
	GATE_PUBLISHED,
	GATE_NOT_REQUIRED, /* require_dns false: nobody asks DNS */
};

enum gate_answer {
	GATE_MATCHES,
	GATE_NO_NAME,  /* NXDOMAIN */
	GATE_NO_DATA,  /* no TXT record there, or none that is a DKIM key */
	GATE_OTHER,    /* another key, a revoked one, a record that verifiers refuse */
	GATE_NO_ANSWER /* DNS failed */
};

struct gate_seen {
	enum gate_state state;
	int64_t since_s; /* the state began; 0: not known */
};

struct gate_record {
	struct gate_seen seen;
	unsigned misses;  /* in a row, while published */
	int64_t missed_s; /* the last of them */
	/* The last answer, for what is told; GATE_NO_ANSWER at first. */
	enum gate_answer last;
};

enum gate_change {
	GATE_SAME,
	GATE_APPEARED,    /* published now */
	GATE_MISSED,      /* against a published key, the first of a row */
	GATE_CAME_BACK,   /* published all the time, after a miss */
	GATE_VANISHED,    /* unpublished now, and was published */
	GATE_NOT_THERE,   /* unpublished now, and was unknown */
	GATE_STILL_WRONG, /* unpublished as before, for another reason */
};

/*
 * Takes an answer of @now_s. Answers against a published key count when they are at least
 * @apart_s from each other: a few reloads in a row ask DNS no better than one.
 */
enum gate_change gate_observe(
    struct gate_record *record, enum gate_answer answer, int64_t now_s, uint32_t apart_s);

/*
 * Which of @count keys of one algorithm, in order of preference, signs: the first that
 * has been published for @settle_s (or needs no DNS); if there is none, the one published
 * for longest, the first of equals; else the first that nobody knows anything of. @count:
 * none.
 *
 * So a key put first takes over once it has settled, at once where no other signs, and a
 * want of answers never stops signing.
 */
size_t gate_choose(
    const struct gate_seen *keys, size_t count, int64_t now_s, uint32_t settle_s);

/* When gate_choose() may come to another result without an answer; INT64_MAX: never. */
int64_t gate_settles_at(const struct gate_seen *seen, int64_t now_s, uint32_t settle_s);

/* Both in one word, which threads may read while another writes it. */
uint64_t gate_seen_pack(struct gate_seen seen);
struct gate_seen gate_seen_unpack(uint64_t word);

const char *gate_state_name(enum gate_state state);
/* False: not a name of a state that is kept (published, unpublished). */
bool gate_state_parse(const char *name, enum gate_state *ret);
