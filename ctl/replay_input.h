/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * What `postern replay` reads, one case after the other: records of a decision log, or
 * policy requests as Postfix sent them (name=value lines, an empty line behind each). The
 * first character that is not white space tells which: `{` or another.
 */

struct replay_case {
	size_t line;   /* where it begins in the file, from 1 */
	char name[64]; /* for people: the event id, or "request 3" */
	int64_t time_ms;
	struct request request;
	/* A message: judged for each of its recipients, then at its end. */
	bool is_message;
	size_t recipients_count;
	struct slice *recipients;
	/* What was decided then; a captured request does not tell. */
	bool has_decision;
	char action[512], check[32];
	bool was_granted; /* a message that Postern let relay */
};

struct replay_input;

/* 0 or -ENOMEM. @file stays the caller's. */
int replay_input_new(FILE *file, struct replay_input **ret);
struct replay_input *replay_input_free(struct replay_input *input);

enum replay_result {
	REPLAY_CASE,
	REPLAY_END,
	REPLAY_BAD,    /* not to be understood, *reterr says why; the next call goes on */
	REPLAY_FAILED, /* cannot be read on, errno says why */
};

/* *ret is good until the next call. ret->line is set for REPLAY_BAD, too. */
enum replay_result replay_input_next(
    struct replay_input *input, struct replay_case *ret, const char **reterr);
