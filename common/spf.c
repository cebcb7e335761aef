/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/spf.h"

#include "common/cleanup.h"
#include "common/spf_record.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Shorter networks of `+` mechanisms are taken for a mistake. */
#define SHORTEST_V4 16
#define SHORTEST_V6 32

/* The limit on void look-ups was met: what was passed before it holds. */
#define VOIDS_EXCEEDED (NAME_PERMANENT + 1)

/* The evaluation of one name for one family. */
struct evaluation {
	const struct name_source *source;
	enum ip_family family;
	unsigned look_ups, voids;
	size_t networks; /* of all terms, granted or not: bounds time and memory */
	unsigned skipped;
	bool pending;
	struct name_networks *about; /* ttl_s, error, note */
};

/* One record on the way: what it has passed, and what is decided either way. */
struct state {
	const char *domain;
	bool
	    widens; /* what passes here is granted; false below `-include` and the like */
	struct ip_set passed, decided;
};

DEFINE_CLEANUP(struct spf_record, spf_record_done)

static void state_done(struct state *state)
{
	ip_set_done(&state->passed);
	ip_set_done(&state->decided);
}

__attribute__((format(printf, 2, 3))) static int permanent(
    struct evaluation *evaluation, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(
	    evaluation->about->error, sizeof(evaluation->about->error), format, args);
	va_end(args);
	return NAME_PERMANENT;
}

static int count_look_up(struct evaluation *evaluation)
{
	if (++evaluation->look_ups > SPF_LOOK_UPS_MAX)
		return permanent(
		    evaluation, "SPF: more than %d look-ups", SPF_LOOK_UPS_MAX);
	return NAME_FOUND;
}

/* ---- records ---- */

/* Fetches and parses the record of @domain. NAME_EMPTY: it has none. */
static int fetch_record(
    struct evaluation *evaluation, const char *domain, struct spf_record *ret)
{
	struct name_networks *about = evaluation->about;
	const struct dns_answer *answer =
	    evaluation->source->look_up(evaluation->source->context, domain, DNS_TXT);
	int result = name_answer_result(answer, domain, DNS_TXT, about);
	const struct dns_record *record = NULL;
	char why[200];

	if (result != NAME_FOUND)
		return result;
	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_record *text = &answer->records[i];
		if (!spf_is_record(text->text, text->len))
			continue;
		if (record)
			return permanent(
			    evaluation, "SPF: %.180s has more than one record", domain);
		record = text;
	}
	if (!record) {
		snprintf(
		    about->error, sizeof(about->error), "%.200s has no SPF record",
		    domain);
		return NAME_EMPTY;
	}
	int r = spf_record_parse(record->text, record->len, ret, why);
	if (r == -EINVAL)
		return permanent(
		    evaluation, "SPF: the record of %.80s: %.150s", domain, why);
	return r < 0 ? r : NAME_FOUND;
}

/* ---- one mechanism ---- */

/* @term cannot be evaluated. Without it the result may only become smaller. */
static int skip(
    struct evaluation *evaluation, const struct state *state, char qualifier,
    const char *what)
{
	struct name_networks *about = evaluation->about;

	if (qualifier != '+' || !state->widens)
		return permanent(
		    evaluation,
		    "SPF: %.80s in the record of %.100s is not supported, and without it "
		    "more would pass",
		    what, state->domain);
	evaluation->skipped++;
	snprintf(
	    about->note, sizeof(about->note),
	    "SPF: %.80s in the record of %.100s is not supported and left out", what,
	    state->domain);
	return NAME_FOUND;
}

static int skip_term(
    struct evaluation *evaluation, const struct state *state, const struct spf_term *term)
{
	char what[40];

	snprintf(
	    what, sizeof(what), "%c%s%s", term->qualifier,
	    spf_mechanism_name(term->mechanism), term->macro ? " with a macro" : "");
	return skip(evaluation, state, term->qualifier, what);
}

/* Whether what @term matches is passed and granted. */
static bool grants(const struct state *state, const struct spf_term *term)
{
	return term->qualifier == '+' && state->widens;
}

static int check_length(
    struct evaluation *evaluation, const struct state *state, const struct spf_term *term)
{
	bool v4 = evaluation->family == IP_V4;
	unsigned length = v4 ? term->length4 : term->length6;

	if (!grants(state, term) || length >= (v4 ? SHORTEST_V4 : SHORTEST_V6))
		return NAME_FOUND;
	return permanent(
	    evaluation,
	    "SPF: %s/%u in the record of %.100s, shorter than /%d, lets too many in",
	    spf_mechanism_name(term->mechanism), length, state->domain,
	    v4 ? SHORTEST_V4 : SHORTEST_V6);
}

static int match_all(
    struct evaluation *evaluation, const struct state *state, const struct spf_term *term,
    struct ip_set *ret)
{
	if (grants(state, term))
		return permanent(
		    evaluation, "SPF: +all in the record of %.180s lets every host in",
		    state->domain);
	return ip_set_all(evaluation->family, ret) < 0 ? -ENOMEM : NAME_FOUND;
}

/* Of `a` and `mx`. */
static int match_hosts(
    struct evaluation *evaluation, const struct state *state, const struct spf_term *term,
    struct ip_set *ret)
{
	uint8_t length = evaluation->family == IP_V4 ? term->length4 : term->length6;
	const char *name = term->domain[0] ? term->domain : state->domain;
	int r = check_length(evaluation, state, term);

	if (r == NAME_FOUND)
		r = count_look_up(evaluation);
	if (r != NAME_FOUND)
		return r;
	if (term->macro)
		return skip_term(evaluation, state, term);
	r = term->mechanism == SPF_A ? name_addresses_find(
					   evaluation->source, name, evaluation->family,
					   length, ret, evaluation->about)
				     : name_exchanges_find(
					   evaluation->source, name, evaluation->family,
					   length, ret, evaluation->about);
	if (r == NAME_PENDING)
		evaluation->pending = true;
	if (r == NAME_EMPTY && ++evaluation->voids > SPF_VOIDS_MAX)
		return VOIDS_EXCEEDED;
	return r == NAME_EMPTY || r == NAME_PENDING ? NAME_FOUND : r;
}

static int match_network(
    struct evaluation *evaluation, const struct state *state, const struct spf_term *term,
    struct ip_set *ret)
{
	bool v4 = evaluation->family == IP_V4;
	struct ip_prefix prefix = {
	    .ip = term->network, .length = v4 ? term->length4 : term->length6};

	/* An IPv4-mapped ip6 network is of neither: RFC 7208, 5 takes such a client for
	 * an IPv4 one, which ip6 never matches. */
	if (v4 != (term->mechanism == SPF_IP4) ||
	    term->network.family != evaluation->family)
		return NAME_FOUND;
	int r = check_length(evaluation, state, term);
	if (r == NAME_FOUND && ip_set_prefix(&prefix, ret) < 0)
		return -ENOMEM;
	return r;
}

/* ---- whole records ---- */

/* Takes what one term matched: of that, what is not decided yet. */
static int decide_matched(
    struct evaluation *evaluation, struct state *state, bool passes,
    const struct ip_set *matched)
{
	CLEANUP(ip_set_done) struct ip_set fresh = {0};

	evaluation->networks += matched->count;
	if (evaluation->networks > NAME_NETWORKS_MAX)
		return permanent(
		    evaluation, "SPF: more than %d networks", NAME_NETWORKS_MAX);
	if (ip_set_minus(matched, &state->decided, &fresh) < 0 ||
	    (passes && ip_set_add(&state->passed, &fresh) < 0) ||
	    ip_set_add(&state->decided, &fresh) < 0)
		return -ENOMEM;
	return NAME_FOUND;
}

/*
 * check_host() of state->domain for all addresses of the family: fills in state->passed,
 * also when it ends with VOIDS_EXCEEDED. NAME_EMPTY: there is no record. Declared here
 * because records include records; the ten look-ups bound the depth.
 */
static int evaluate(struct evaluation *evaluation, struct state *state);

/* What `include` and `redirect` have in common: what the record of another domain passes.
 */
static int evaluate_other(
    struct evaluation *evaluation, const struct state *state, const char *domain,
    bool widens, struct ip_set *ret)
{
	CLEANUP(state_done) struct state other = {.domain = domain, .widens = widens};
	int r = count_look_up(evaluation);

	if (r == NAME_FOUND)
		r = evaluate(evaluation, &other);
	if (r == NAME_EMPTY)
		return permanent(
		    evaluation, "SPF: %.100s, named by the record of %.100s, has none",
		    domain, state->domain);
	*ret = other.passed;
	other.passed = (struct ip_set){0};
	return r;
}

static int match_include(
    struct evaluation *evaluation, const struct state *state, const struct spf_term *term,
    struct ip_set *ret)
{
	if (!term->macro)
		return evaluate_other(
		    evaluation, state, term->domain, grants(state, term), ret);
	int r = count_look_up(evaluation);
	return r == NAME_FOUND ? skip_term(evaluation, state, term) : r;
}

/* The addresses that @term matches, decided or not. */
static int match_term(
    struct evaluation *evaluation, const struct state *state, const struct spf_term *term,
    struct ip_set *ret)
{
	int r = -EINVAL;

	switch (term->mechanism) {
	case SPF_ALL:
		return match_all(evaluation, state, term, ret);
	case SPF_INCLUDE:
		return match_include(evaluation, state, term, ret);
	case SPF_A:
	case SPF_MX:
		return match_hosts(evaluation, state, term, ret);
	case SPF_IP4:
	case SPF_IP6:
		return match_network(evaluation, state, term, ret);
	case SPF_PTR:
	case SPF_EXISTS:
		r = count_look_up(evaluation);
		return r == NAME_FOUND ? skip_term(evaluation, state, term) : r;
	}
	return r;
}

static int evaluate_redirect(
    struct evaluation *evaluation, struct state *state, const struct spf_record *record)
{
	CLEANUP(ip_set_done) struct ip_set matched = {0};
	int r;

	if (record->redirect_macro) {
		r = count_look_up(evaluation);
		return r == NAME_FOUND
			   ? skip(evaluation, state, '+', "redirect= with a macro")
			   : r;
	}
	r = evaluate_other(evaluation, state, record->redirect, state->widens, &matched);
	if (r != NAME_FOUND && r != VOIDS_EXCEEDED)
		return r;
	int taken = decide_matched(evaluation, state, true, &matched);
	return taken == NAME_FOUND ? r : taken;
}

static int evaluate(struct evaluation *evaluation, struct state *state)
{
	CLEANUP(spf_record_done) struct spf_record record = {0};
	int r = fetch_record(evaluation, state->domain, &record);

	if (r == NAME_PENDING) {
		/* As if it were empty: what stands behind it is asked for meanwhile. */
		evaluation->pending = true;
		return NAME_FOUND;
	}
	for (size_t i = 0; r == NAME_FOUND && i < record.count; i++) {
		CLEANUP(ip_set_done) struct ip_set matched = {0};
		r = match_term(evaluation, state, &record.terms[i], &matched);
		if (r != NAME_FOUND && r != VOIDS_EXCEEDED)
			return r;
		int taken = decide_matched(
		    evaluation, state, record.terms[i].qualifier == '+', &matched);
		if (taken != NAME_FOUND)
			return taken;
	}
	if (r == NAME_FOUND && record.has_redirect)
		r = evaluate_redirect(evaluation, state, &record);
	return r;
}

/* ---- both families ---- */

static int find_family(
    const char *domain, const struct name_source *source, enum ip_family family,
    struct name_networks *about, struct ip_set *ret)
{
	CLEANUP(state_done) struct state state = {.domain = domain, .widens = true};
	struct evaluation evaluation = {
	    .source = source, .family = family, .about = about};
	int r = evaluate(&evaluation, &state);

	if (r < 0)
		return r;
	/* An error met while answers are missing may not be one once they are there. */
	if (evaluation.pending)
		return NAME_PENDING;
	if (evaluation.skipped > 1) {
		size_t len = strlen(about->note);
		snprintf(
		    about->note + len, sizeof(about->note) - len, ", and %u more like it",
		    evaluation.skipped - 1);
	}
	*ret = state.passed;
	state.passed = (struct ip_set){0};
	return r;
}

int spf_find(
    const char *domain, const struct name_source *source, struct name_networks *ret)
{
	*ret = (struct name_networks){.ttl_s = UINT32_MAX};
	int v4 = find_family(domain, source, IP_V4, ret, &ret->v4);
	if (v4 == NAME_TEMPORARY || v4 == NAME_PERMANENT || v4 < 0)
		return v4;
	int v6 = find_family(domain, source, IP_V6, ret, &ret->v6);

	if (v6 < 0 || v6 == NAME_TEMPORARY || v6 == NAME_PERMANENT)
		return v6;
	if (v4 == NAME_PENDING || v6 == NAME_PENDING)
		return NAME_PENDING;
	if (v4 == VOIDS_EXCEEDED && v6 == VOIDS_EXCEEDED) {
		snprintf(
		    ret->error, sizeof(ret->error),
		    "SPF: more than %d terms for which DNS has nothing", SPF_VOIDS_MAX);
		return NAME_PERMANENT;
	}
	if (v4 == VOIDS_EXCEEDED || v6 == VOIDS_EXCEEDED)
		snprintf(
		    ret->note, sizeof(ret->note),
		    "SPF: more than %d terms for which DNS has no %s address: what "
		    "stands "
		    "behind them is left out for %s",
		    SPF_VOIDS_MAX, v4 == VOIDS_EXCEEDED ? "IPv4" : "IPv6",
		    v4 == VOIDS_EXCEEDED ? "IPv4" : "IPv6");
	if (v4 == NAME_EMPTY)
		return NAME_EMPTY;
	if (ret->v4.count + ret->v6.count == 0) {
		snprintf(
		    ret->error, sizeof(ret->error),
		    "SPF: the record of %.180s passes no address", domain);
		return NAME_EMPTY;
	}
	return NAME_FOUND;
}
