/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/observer.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "common/metrics.h"
#include "policyd/decision_line.h"
#include "policyd/decision_record.h"
#include "policyd/event_id.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The values of the label "action". */
enum outcome_label {
	LABEL_DUNNO,
	LABEL_OK,
	LABEL_REJECT,
	LABEL_DEFER,
	LABEL_REJECT_UNAUTH,
	LABEL_DEFER_IF_REJECT,
	LABEL_HOLD,
	LABEL_WARN,
	LABEL_FILTER,
	LABEL_SHADOW,
	LABELS,
};

static const char *const label_names[LABELS] = {
    [LABEL_DUNNO] = "dunno",
    [LABEL_OK] = "ok",
    [LABEL_REJECT] = "reject",
    [LABEL_DEFER] = "defer",
    [LABEL_REJECT_UNAUTH] = "reject_unauth_destination",
    [LABEL_DEFER_IF_REJECT] = "defer_if_reject",
    [LABEL_HOLD] = "hold",
    [LABEL_WARN] = "warn",
    [LABEL_FILTER] = "filter",
    [LABEL_SHADOW] = "shadow",
};

#define STATES (STATE_ETRN + 1)

struct observer {
	struct instances *instances;
	struct decision_log *decisions;
	uint32_t requests[STATES];
	uint32_t decided[CHECK_COUNT + 1][LABELS]; /* asked for when first counted */
	uint32_t seconds;
	/* Series of limits by their name, so that a limit that is hit all the time costs
	 * no lock. A reload may have other limits: the oldest make room. */
	struct {
		char name[80];
		uint32_t series;
	} limits[LIMITS_MAX];
	size_t next_limit;
};

int observer_new(
    struct instances *instances, struct decision_log *decisions, struct observer **ret)
{
	struct observer *observer = calloc(1, sizeof(*observer));

	if (!observer)
		return -ENOMEM;
	observer->instances = instances;
	observer->decisions = decisions;
	for (unsigned state = 0; state < STATES; state++)
		observer->requests[state] = metrics_series(
		    METRIC_POLICY_REQUESTS,
		    protocol_state_name((enum protocol_state)state), NULL);
	observer->seconds = metrics_series(METRIC_POLICY_REQUEST_SECONDS, NULL, NULL);
	*ret = observer;
	return 0;
}

struct observer *observer_free(struct observer *observer)
{
	free(observer);
	return NULL;
}

static enum outcome_label label_of(const struct verdict *verdict)
{
	switch (verdict->action) {
	case ACTION_DUNNO:
		return LABEL_DUNNO;
	case ACTION_OK:
		return LABEL_OK;
	case ACTION_REPLY:
		return verdict->code >= 500 ? LABEL_REJECT : LABEL_DEFER;
	case ACTION_REJECT_UNAUTH:
		return LABEL_REJECT_UNAUTH;
	case ACTION_DEFER_IF_REJECT:
		return LABEL_DEFER_IF_REJECT;
	case ACTION_HOLD:
		return LABEL_HOLD;
	case ACTION_WARN:
		return LABEL_WARN;
	case ACTION_FILTER:
		return LABEL_FILTER;
	}
	assert(0);
	return LABEL_DUNNO;
}

static bool is_refusal(enum outcome_label label)
{
	return label == LABEL_REJECT || label == LABEL_DEFER ||
	       label == LABEL_REJECT_UNAUTH || label == LABEL_DEFER_IF_REJECT;
}

static uint32_t limit_series(struct observer *observer, const char *name)
{
	for (size_t i = 0; i < LIMITS_MAX; i++)
		if (observer->limits[i].series != METRICS_NO_SERIES &&
		    strcmp(observer->limits[i].name, name) == 0)
			return observer->limits[i].series;
	uint32_t series = metrics_series(METRIC_LIMIT_EXCEEDED, name, NULL);
	if (strlen(name) < sizeof(observer->limits[0].name)) {
		strcpy(observer->limits[observer->next_limit].name, name);
		observer->limits[observer->next_limit].series = series;
		observer->next_limit = (observer->next_limit + 1) % LIMITS_MAX;
	}
	return series;
}

static void count_verdict(
    struct observer *observer, const struct verdict *verdict, enum outcome_label label)
{
	uint32_t *series = &observer->decided[verdict->check][label];

	if (*series == METRICS_NO_SERIES)
		*series = metrics_series(
		    METRIC_POLICY_DECISIONS,
		    verdict->check == CHECK_NONE ? "none" : check_name(verdict->check),
		    label_names[label]);
	metrics_add(*series, 1);
	if (verdict->limit)
		metrics_add(limit_series(observer, verdict->limit), 1);
}

static void log_line_of(
    const struct observed *o, const struct verdict *verdict, const char *event,
    bool shadow)
{
	char line[DECISION_LINE_MAX] UNINITIALIZED;

	decision_line(o->request, verdict, event, shadow, line);
	log_info("%s", line);
}

/* The state at which a message is finished as far as Postern sees it. */
static bool ends_message(const struct config *config, enum protocol_state state)
{
	return config->policyd.charge_at == CHARGE_AT_DATA
		   ? state == STATE_DATA
		   : state == STATE_END_OF_MESSAGE;
}

/* Why a message may relay; "": nothing of ours lets it, it is for Postfix's own domains.
 */
static void grant_reason(const struct observed *o, char buf[static VERDICT_TEXT_MAX])
{
	struct grant grant;

	buf[0] = '\0';
	grant_look_up(o->config, o->facts, &grant);
	if (grant.result == GRANT_YES)
		snprintf(buf, VERDICT_TEXT_MAX, "granted: %s", grant.why);
	else if (o->facts->relayed)
		snprintf(
		    buf, VERDICT_TEXT_MAX, "granted: a recipient is in relay.anyone_to");
}

static void record(
    struct observer *observer, const struct observed *o, const char *event,
    int64_t now_ms, bool refusal)
{
	char recipients[INSTANCE_RECIPIENTS_BYTES] UNINITIALIZED;
	char line[DECISION_RECORD_MAX] UNINITIALIZED;
	char grant[VERDICT_TEXT_MAX] UNINITIALIZED;
	struct decision_record record = {
	    .time_ms = now_ms,
	    .node = o->config->hostname,
	    .id = event,
	    .country = o->facts->country_state == COUNTRY_KNOWN ||
			       o->facts->country_state == COUNTRY_NOT_FOUND
			   ? o->facts->country
			   : "",
	    .is_refusal = refusal,
	    .request = o->request,
	    .verdict = o->verdict,
	    .reason = o->verdict->reason,
	    .recipients = recipients,
	};

	if (!refusal && record.reason[0] == '\0') {
		grant_reason(o, grant);
		record.reason = grant;
	}
	if (o->request->recipient.len == 0)
		record.recipients_len = instances_recipients(
		    observer->instances, o->request->instance, recipients);
	decision_log_write(observer->decisions, line, decision_record(&record, line));
}

static int64_t wall_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void observe(
    struct observer *observer, const struct observed *o,
    char ret_event[static EVENT_ID_MAX])
{
	enum outcome_label label = label_of(o->verdict);
	bool notable = verdict_is_notable(o->verdict), refusal = is_refusal(label);
	bool recording = decision_log_is_on(observer->decisions);
	bool recorded =
	    recording && (refusal || ends_message(o->config, o->request->state));

	ret_event[0] = '\0';
	metrics_add(observer->requests[o->request->state], 1);
	count_verdict(observer, o->verdict, label);
	/* A recipient that we refuse for good or for now is none of the message. */
	if (recording && o->request->state == STATE_RCPT && label != LABEL_REJECT &&
	    label != LABEL_DEFER)
		instances_add_recipient(
		    observer->instances, o->request->instance, o->request->recipient);
	if (notable || recorded || o->plan->shadows_count > 0) {
		int64_t now_ms = wall_clock_ms();
		event_id(now_ms, ret_event);
		for (size_t i = 0; i < o->plan->shadows_count; i++) {
			count_verdict(observer, &o->plan->shadows[i], LABEL_SHADOW);
			log_line_of(o, &o->plan->shadows[i], ret_event, true);
		}
		if (notable)
			log_line_of(o, o->verdict, ret_event, false);
		if (recorded)
			record(observer, o, ret_event, now_ms, refusal);
	}
	metrics_observe(observer->seconds, metrics_clock_ns() - o->began_ns);
}
