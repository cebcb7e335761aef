/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/protocol.h"
#include "policyd/core/verdict.h"
#include "policyd/decision_log.h"
#include "policyd/gather.h"
#include "policyd/store.h"

#include <stddef.h>

/*
 * One policy request from its parse to the bytes of its answer: gather, decide, ask the
 * store, settle, log and count. One answerer per serving thread; the store and what is
 * remembered are shared.
 */

struct answerer;

/* @remembered is copied. @decisions may be NULL: no decision log. */
int answerer_new(
    struct store *store, const struct remembered *remembered,
    struct decision_log *decisions, struct answerer **ret);
struct answerer *answerer_free(struct answerer *answerer);

/*
 * Takes the answer's bytes (at most VERDICT_WIRE_MAX, gone after the call). Called
 * exactly once a request, on the asking thread, perhaps before answer() returns.
 */
typedef void answer_done(void *context, const char *bytes, size_t len);

/*
 * @config is referenced until the answer is given. What @request points to must stay
 * where it is until then.
 */
void answer(
    struct answerer *answerer, struct config *config, const struct request *request,
    answer_done *done, void *context);
