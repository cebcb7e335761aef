/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/blocks.h"
#include "policyd/logins.h"
#include "policyd/state_clock.h"
#include "policyd/store_memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The text of the state file: a JSON object whose "records" stand one on a line, so that
 * who writes and who reads it holds one line at a time.
 *
 *	{"postern": "state", "version": 1, "time": 1767571200000, "boot": "...",
 *	"steady": 86400000, "records": [
 *	{"counter": "user-hour:ada@example.org", "window": 3600, "max": 200, "start": ...,
 *	"current": 3, "previous": 0},
 *	{"set": "roaming:ada@example.org", ..., "seen": ["DE"], "before": ["FR"]},
 *	{"tokens": "KEY"},
 *	{"token": "DIGEST", "at": ..., "over": false, "used": "3 200!3600"},
 *	{"block": "client", "subject": "192.0.2.1", "since": ..., "until": ..., ...},
 *	{"lifted": "client", "subject": "192.0.2.2", "made": ..., "ends": ...},
 *	{"login": "192.0.2.7", "at": ..., "user": "ada@example.org"}
 *	], "count": 7}
 *
 * (Each record on one line.) Of a token's charge, for each limit its use, and "!" and
 * the seconds to wait where it was over. What was shared with other nodes has a "stamp"
 *or a "base" besides. Knows no file.
 */

#define STATE_VERSION 1

/* The longest line: a set of LIMIT_DISTINCT_MAX members. */
#define STATE_LINE_MAX (1024 * 1024)

/* Text under way. All zero at first. */
struct state_text {
	char *bytes;
	size_t len, size;
	bool failed; /* no memory: what is in it is not whole */
};

void state_text_done(struct state_text *text);

void state_print_head(struct state_text *text, const struct state_clock *now);
/* Each record begins with the comma and line end that it needs; @first: the line end. */
void state_print_counter(
    struct state_text *text, bool first, const struct memory_counter *counter);
/* The key of the tokens that follow. */
void state_print_token_key(
    struct state_text *text, bool first, const uint64_t key[static 2]);
void state_print_token(
    struct state_text *text, bool first, const struct memory_token *token);
void state_print_block(struct state_text *text, bool first, const struct block *block);
void state_print_lifted(
    struct state_text *text, bool first, const struct lifted_block *lifted);
void state_print_login(struct state_text *text, bool first, const struct login *login);
void state_print_tail(struct state_text *text, uint64_t count);

enum state_kind {
	STATE_COUNTER,
	STATE_TOKEN_KEY,
	STATE_TOKEN,
	STATE_BLOCK,
	STATE_LIFTED,
	STATE_LOGIN,
};

/* A record as read; its texts lie in the line. All zero at first, reusable. */
struct state_record {
	enum state_kind kind;
	struct memory_counter counter;
	uint64_t token_key[2];
	struct memory_token token;
	struct block block;
	struct lifted_block lifted;
	struct login login;
	struct memory_member *members; /* counter.members, owned */
	size_t members_count, members_size;
};

void state_record_done(struct state_record *record);

/* False: not the first line of a state file of this version. One without a boot is fine.
 */
bool state_parse_head(const char *line, size_t len, struct state_clock *ret);

/* False: not its last line. */
bool state_parse_tail(const char *line, size_t len, uint64_t *ret_count);

/* Reads a record, whose escapes it resolves in place. 0; -EINVAL: it is none, or its
 * values are out of bounds; -ENOMEM. */
int state_parse_record(char *line, size_t len, struct state_record *ret);
