/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/decide.h"
#include "policyd/core/protocol.h"
#include "policyd/decision_log.h"
#include "policyd/instances.h"

#include <stdint.h>

/*
 * What is counted and recorded of each decision: metrics, the log's line, the decision
 * log's record, the recipients that the record will name. One observer per serving
 * thread; what it counts into is shared. It never waits and changes no answer.
 */

struct observer;

/* @decisions may be NULL: no decision log. */
int observer_new(
    struct instances *instances, struct decision_log *decisions, struct observer **ret);
struct observer *observer_free(struct observer *observer);

/* One decision, with everything that is still there when its answer is given. */
struct observed {
	const struct config *config;
	const struct request *request;
	const struct facts *facts;
	const struct plan *plan; /* for its shadows */
	const struct verdict *verdict;
	uint64_t began_ns; /* metrics_clock_ns() at the request */
};

/* Sets @ret_event to the id that the reply shows; "" when nothing is written. */
void observe(
    struct observer *observer, const struct observed *observed,
    char ret_event[static EVENT_ID_MAX]);
