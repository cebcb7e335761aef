/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "milter/arrival.h"
#include "milter/generation.h"
#include "milter/plan.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * One connection from the MTA, and the message that passes over it: all that is kept
 * between two callbacks. Knows the milter events by meaning, libmilter not at all.
 *
 * Callbacks of one connection run on different threads, one after the other, so nothing
 * here is shared and nothing is thread-local. What goes wrong on the way is remembered
 * and answered at the end of the message, where an answer is asked for: a fault of our
 * own is a temporary refusal (or, with on_error accept, a message without signature and
 * an error in the log), a message that cannot be signed so that others can verify it is
 * refused for good.
 *
 * Logs one line per message that has something worth telling.
 */

struct session;

enum session_answer {
	SESSION_CONTINUE,
	SESSION_ACCEPT, /* nothing to do for this message: its session state is gone */
	SESSION_REFUSE, /* with the reply */
};

struct session_reply {
	const char *code, *dsn;
	char text[400]; /* printable ASCII without a per cent sign */
};

int session_new(struct generation_slot *slot, struct session **ret);
struct session *session_free(struct session *session);

/* Replaces what HELO or EHLO said before. */
void session_helo(struct session *session, const char *name);

/* Begins a message; one that was under way is dropped. */
enum session_answer session_mail(
    struct session *session, const struct arrival_told *told,
    struct session_reply *ret_reply);
void session_header(struct session *session, const char *name, const char *value);
void session_end_of_headers(struct session *session);
void session_body(struct session *session, const unsigned char *bytes, size_t len);

/*
 * With SESSION_CONTINUE *ret holds what is to be done to the headers (plan_done() by the
 * caller). @queue_id may be NULL.
 */
enum session_answer session_end_of_message(
    struct session *session, const char *queue_id, struct plan *ret,
    struct session_reply *ret_reply);

/* After the plan was carried out, or not (@failed names the step): logs it. */
enum session_answer session_edited(
    struct session *session, const char *failed, struct session_reply *ret_reply);

/* End of message, abort and close alike. */
void session_message_done(struct session *session);

/* From now on every new message of the process is refused with 451. */
void session_refuse_new(void);
/* Messages under way in the whole process, and open sessions. */
unsigned long session_messages(void);
unsigned long session_count(void);
