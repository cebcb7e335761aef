/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/explain.h"

#include "policyd/core/checks.h"

#include <stdio.h>
#include <string.h>

static const char *result_word(enum check_result result)
{
	switch (result) {
	case CHECK_NOT_APPLICABLE:
		return "not applicable";
	case CHECK_PASSED:
		return "passed";
	case CHECK_OBJECTED:
		return "objected";
	case CHECK_CANNOT_TELL:
		return "cannot tell";
	case CHECK_NOT_REACHED:
		return "not asked";
	}
	return "?";
}

/* The counter's answer to charge number @i; NULL: it was not asked. */
static const struct charge_result *result_of_charge(
    const struct explanation *explanation, size_t i)
{
	const struct outcome *outcome = explanation->outcome;

	return outcome && outcome->kind != OUTCOME_UNAVAILABLE && i < outcome->count
		   ? &outcome->results[i]
		   : NULL;
}

/* "user-hour counts 1 messages for ada@example.org (max 200 in 3600s)". */
static size_t explain_charge(
    const struct explanation *explanation, size_t i, char *buf, size_t size)
{
	const struct charge *charge = &explanation->plan->charges[i];
	const struct limit *limit = &explanation->config->limits[charge->limit];
	const struct charge_result *result = result_of_charge(explanation, i);
	char what[CHARGE_MEMBER_MAX + 32], used[48] = "";

	if (charge->member_len > 0)
		snprintf(
		    what, sizeof(what), "%.*s among its %s", (int)charge->member_len,
		    charge->member, limit_unit(limit->count));
	else
		snprintf(
		    what, sizeof(what), "%llu %s", (unsigned long long)charge->amount,
		    limit_unit(limit->count));
	if (result)
		snprintf(
		    used, sizeof(used), "%llu used of ",
		    (unsigned long long)result->used);
	int len = snprintf(
	    buf, size, "%s%s %s %s for %s (%smax %llu in %us)%s%s", i > 0 ? "; " : "",
	    limit->name, charge->look ? "looks at" : "counts", what,
	    charge->key + charge->subject_at, used, (unsigned long long)charge->max,
	    charge->window_s, result && result->over ? ": over" : "",
	    limit->shadow ? " in shadow" : "");
	return len < 0 ? 0 : (size_t)len;
}

static void explain_limits(const struct explanation *explanation, char *buf, size_t size)
{
	const struct plan *plan = explanation->plan;
	size_t len = 0;

	if (plan->charges_count == 0)
		snprintf(
		    buf, size, "%s",
		    plan->verdict.check == CHECK_LIMITS ? plan->verdict.text
							: "no limit counts this request");
	for (size_t i = 0; i < plan->charges_count && len < size; i++)
		len += explain_charge(explanation, i, buf + len, size - len);
}

static enum check_result limits_result(const struct explanation *explanation)
{
	if (explanation->verdict->check == CHECK_LIMITS)
		return CHECK_OBJECTED;
	if (explanation->plan->refused)
		return CHECK_NOT_REACHED;
	return explanation->plan->charges_count > 0 ? CHECK_PASSED : CHECK_NOT_APPLICABLE;
}

static json_t *entry_json(const struct list_match *match)
{
	json_t *entry = json_pack("{s:s}", "entry", match->text);

	if (match->where.line > 0) {
		json_object_set_new(entry, "file", json_string(match->where.file));
		json_object_set_new(entry, "line", json_integer(match->where.line));
	}
	if (match->reason)
		json_object_set_new(entry, "reason", json_string(match->reason));
	return entry;
}

static json_t *check_json(const struct explanation *explanation, enum check_id id)
{
	const struct finding *finding = &explanation->trace->checks[id].finding;
	bool limits = id == CHECK_LIMITS;
	char buf[2048];

	if (limits)
		explain_limits(explanation, buf, sizeof(buf));
	json_t *check = json_pack(
	    "{s:s, s:s, s:b, s:s}", "check", check_name(id), "result",
	    result_word(limits ? limits_result(explanation) : finding->result), "shadow",
	    explanation->trace->checks[id].shadow, "why",
	    limits         ? buf
	    : finding->why ? finding->why
			   : "");
	if (check && !limits && finding->matched)
		json_object_set_new(check, "match", entry_json(&finding->match));
	return check;
}

static json_t *charge_json(const struct explanation *explanation, size_t i)
{
	const struct charge *charge = &explanation->plan->charges[i];
	const struct limit *limit = &explanation->config->limits[charge->limit];
	const struct charge_result *result = result_of_charge(explanation, i);
	json_t *one = json_pack(
	    "{s:s, s:s, s:s, s:I, s:I, s:I, s:b}", "limit", limit->name, "subject",
	    charge->key + charge->subject_at, "count", limit_unit(limit->count), "amount",
	    (json_int_t)charge->amount, "max", (json_int_t)charge->max, "window",
	    (json_int_t)charge->window_s, "charges", !charge->look);

	if (charge->member_len > 0)
		json_object_set_new(
		    one, "member", json_stringn(charge->member, charge->member_len));
	if (result) {
		json_object_set_new(one, "used", json_integer((json_int_t)result->used));
		json_object_set_new(one, "over", json_boolean(result->over));
	}
	return one;
}

json_t *explain_json(const struct explanation *explanation)
{
	char action[VERDICT_WIRE_MAX];
	json_t *checks = json_array(), *limits = json_array();

	for (unsigned i = 0; i < CHECK_COUNT; i++)
		json_array_append_new(checks, check_json(explanation, (enum check_id)i));
	for (size_t i = 0; i < explanation->plan->charges_count; i++)
		json_array_append_new(limits, charge_json(explanation, i));
	verdict_action_text(explanation->verdict, "", action);
	return json_pack(
	    "{s:o, s:o, s:s, s:b, s:b}", "checks", checks, "limits", limits, "reply",
	    action, "live", explanation->outcome != NULL, "refused",
	    explanation->plan->refused);
}
