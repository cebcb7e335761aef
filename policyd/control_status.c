/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * {"command": "status"}: how the daemon is, from what it counts anyway.
 */

#include "common/metrics.h"
#include "policyd/control_commands.h"

#include <time.h>
#include <unistd.h>

/* Every request ends as one observation. */
static uint64_t requests_count(void)
{
	return metrics_value(metrics_series(METRIC_POLICY_REQUEST_SECONDS, NULL, NULL));
}

void control_rate_sample(struct control_rate *rate)
{
	rate->samples[rate->next].requests = requests_count();
	rate->samples[rate->next].at_ns = metrics_clock_ns();
	rate->next = (rate->next + 1) % RATE_SAMPLES;
	if (rate->count < RATE_SAMPLES)
		rate->count++;
}

/* Requests a second since the oldest sample, a minute ago at most. */
static double rate_now(const struct control_rate *rate, uint64_t requests)
{
	size_t oldest = rate->count < RATE_SAMPLES ? 0 : rate->next;
	uint64_t elapsed_ns = metrics_clock_ns() - rate->samples[oldest].at_ns;

	return elapsed_ns == 0 ? 0
			       : (double)(requests - rate->samples[oldest].requests) *
				     1e9 / (double)elapsed_ns;
}

static json_t *reload_json(struct reload *reload)
{
	struct reload_report report;

	reload_last(reload, &report);
	json_t *object =
	    json_pack("{s:I, s:b}", "time", (json_int_t)report.at_s, "ok", report.taken);
	if (object && !report.taken)
		json_object_set_new(object, "error", json_string(report.why));
	return object;
}

static json_t *store_json(const struct config *config)
{
	const char *kind = config->has_redis ? "redis" : "memory";

	return json_pack(
	    "{s:s, s:b}", "kind", kind, "up",
	    metrics_value(metrics_series(METRIC_STORE_UP, kind, NULL)) != 0);
}

static void count_block(void *context, const struct block *block)
{
	(void)block;
	++*(json_int_t *)context;
}

static void count_login(void *context, const struct login *login)
{
	(void)login;
	++*(json_int_t *)context;
}

/* What commands and limits have made, and whether other nodes hear of it. */
static bool add_remembered(const struct control_context *context, json_t *reply)
{
	const struct remembered *remembered = &context->parts.remembered;
	uint32_t grace_s = context->config->relay.login_grace_s;
	json_int_t blocks = 0, logins = 0;
	struct roster_state roster;
	int64_t now_s = time(NULL);

	blocks_each(remembered->blocks, now_s, count_block, &blocks);
	if (grace_s > 0)
		logins_each(remembered->logins, now_s - grace_s, count_login, &logins);
	if (json_object_set_new(reply, "blocks", json_integer(blocks)) < 0 ||
	    json_object_set_new(reply, "logins", json_integer(logins)) < 0)
		return false;
	roster_state(context->roster, &roster);
	if (!roster.configured)
		return true;
	json_t *sharing = json_pack("{s:b}", "ok", roster.shares);
	if (sharing && roster.trouble[0])
		json_object_set_new(sharing, "error", json_string(roster.trouble));
	return json_object_set_new(reply, "sharing", sharing) == 0;
}

void control_status(
    struct control_context *context, struct control_request *request,
    const json_t *message)
{
	const struct config *config = context->config;
	uint64_t requests = requests_count();

	if (!control_members(request, message, NULL, 0))
		return;
	/* In the order in which a reader wants it; the command prints what there is. */
	json_t *reply = json_pack(
	    "{s:s, s:s, s:i, s:I, s:s, s:s, s:o, s:o, s:I, s:I, s:f, s:I, s:I}",
	    "program", "postern-policyd", "version", POSTERN_VERSION, "pid",
	    (int)getpid(), "since", (json_int_t)context->since_s, "hostname",
	    config->hostname, "configuration", config->file, "last_reload",
	    reload_json(context->parts.reload), "store", store_json(config),
	    "connections",
	    (json_int_t)metrics_value(
		metrics_series(METRIC_POLICY_CONNECTIONS, NULL, NULL)),
	    "requests", (json_int_t)requests, "requests_per_second",
	    rate_now(&context->rate, requests), "domains",
	    (json_int_t)config_domain_count(config), "limits",
	    (json_int_t)config->limits_count);
	if (reply && !add_remembered(context, reply)) {
		json_decref(reply);
		reply = NULL;
	}
	control_reply(request, reply);
}
