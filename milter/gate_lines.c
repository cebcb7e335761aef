/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate_lines.h"

#include "common/dkim_key.h"
#include "common/dkim_record.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *algorithm(const struct gate_pair *pair)
{
	return dkim_algorithm_name(pair->key->key->algorithm);
}

/* "example.org", "example.org and 3 more domains". */
static void name_domains(const struct gate_pair *pair, char *buf, size_t size)
{
	if (pair->users <= 1)
		snprintf(buf, size, "%.253s", pair->served->name);
	else
		snprintf(
		    buf, size, "%.253s and %zu more", pair->served->name,
		    pair->users - 1);
}

static void describe_time(int64_t time_s, char *buf, size_t size)
{
	time_t time = (time_t)time_s;
	struct tm tm;
	gmtime_r(&time, &tm);
	strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void gate_line_last_answer(const struct gate_pair *pair, char *buf, size_t size)
{
	const char *said = pair->said ? pair->said : "";
	switch (pair->state.last) {
	case GATE_MATCHES:
		snprintf(
		    buf, size, "DNS has the key%s%s", said[0] ? ", with " : "", said);
		return;
	case GATE_NO_NAME:
		snprintf(buf, size, "DNS has no such name");
		return;
	case GATE_NO_DATA:
		snprintf(buf, size, "DNS has %s", said[0] ? said : "no TXT record there");
		return;
	case GATE_OTHER:
		snprintf(buf, size, "DNS has %s", said[0] ? said : "another key");
		return;
	case GATE_NO_ANSWER:
		snprintf(
		    buf, size, "DNS has not answered since the start%s",
		    pair->state.seen.state == GATE_PUBLISHED ? ", and had the key before"
		    : pair->state.seen.state == GATE_UNPUBLISHED
			? ", and did not have the key before"
			: "");
		return;
	}
	assert(0);
}

/* Who signs now that this one does not. */
static const struct gate_pair *say_instead(
    const struct gate_view *view, const struct gate_pair *pair, char *buf, size_t size)
{
	char domains[300];
	const struct gate_pair *other = gate_view_signer(view, pair->served, pair);
	name_domains(pair, domains, sizeof(domains));
	if (other)
		snprintf(buf, size, "key %s signs for %s", other->key->name, domains);
	else
		snprintf(
		    buf, size, "mail of %s leaves without an %s signature", domains,
		    algorithm(pair));
	return other;
}

/* What is published: who signs, or from when on it does. */
static const struct gate_pair *say_published(
    const struct gate_view *view, const struct gate_pair *pair, int64_t now_s, char *buf,
    size_t size)
{
	char domains[300], at[32];
	uint32_t settle_s = view->config->milter.dkim.settle_s;
	const struct gate_pair *other = gate_view_signer(view, pair->served, pair);
	int64_t at_s = gate_settles_at(&pair->state.seen, now_s, settle_s);
	name_domains(pair, domains, sizeof(domains));
	if (pair->signs || !other) {
		snprintf(buf, size, "it signs for %s", domains);
		return NULL;
	}
	/* Whether it then does depends on its place in the list. */
	if (at_s != INT64_MAX) {
		describe_time(at_s, at, sizeof(at));
		snprintf(
		    buf, size,
		    "key %s goes on signing for %s, and this one has settled at %s "
		    "(milter.dkim.settle)",
		    other->key->name, domains, at);
	} else {
		snprintf(buf, size, "key %s signs for %s", other->key->name, domains);
	}
	return NULL;
}

static void say_remedy(const struct gate_pair *pair, char *buf, size_t size)
{
	if (pair->state.last == GATE_OTHER)
		snprintf(
		    buf, size,
		    "\"postern dkim record %s\" prints the record that belongs there; a "
		    "new key is better given a selector of its own",
		    pair->key->name);
	else
		snprintf(
		    buf, size, "publish what \"postern dkim record %s\" prints",
		    pair->key->name);
}

enum log_level gate_line(
    const struct gate_view *view, const struct gate_pair *pair, enum gate_change change,
    int64_t now_s, char buf[static GATE_LINE_MAX], const struct gate_pair **ret_other)
{
	char has[DKIM_RECORD_TEXT_MAX + 32], follows[500], remedy[300];
	char head[400];
	*ret_other = NULL;
	buf[0] = '\0';
	gate_line_last_answer(pair, has, sizeof(has));
	say_remedy(pair, remedy, sizeof(remedy));
	snprintf(
	    head, sizeof(head), "DKIM record %.300s of key %s", pair->record,
	    pair->key->name);
	switch (change) {
	case GATE_SAME:
		return LOG_LEVEL_DEBUG;
	case GATE_APPEARED:
		*ret_other = say_published(view, pair, now_s, follows, sizeof(follows));
		snprintf(
		    buf, GATE_LINE_MAX, "%s is published: %s; %s", head, has, follows);
		return LOG_LEVEL_INFO;
	case GATE_MISSED:
		snprintf(
		    buf, GATE_LINE_MAX,
		    "%s was published, and now %s: the key goes on signing until %d "
		    "checks in a row found that; %s",
		    head, has, GATE_MISSES, remedy);
		return LOG_LEVEL_WARNING;
	case GATE_CAME_BACK:
		snprintf(buf, GATE_LINE_MAX, "%s is there again: %s", head, has);
		return LOG_LEVEL_INFO;
	case GATE_VANISHED:
	case GATE_NOT_THERE:
	case GATE_STILL_WRONG:
		*ret_other = say_instead(view, pair, follows, sizeof(follows));
		snprintf(
		    buf, GATE_LINE_MAX, "%s is %s: %s; %s; %s", head,
		    change == GATE_VANISHED ? "no longer published" : "not published",
		    has, follows, remedy);
		return LOG_LEVEL_WARNING;
	}
	assert(0);
	return LOG_LEVEL_DEBUG;
}

void gate_line_takes_over(const struct gate_pair *pair, char buf[static GATE_LINE_MAX])
{
	char domains[300], why[80] = "it needs no DNS record", at[32];
	name_domains(pair, domains, sizeof(domains));
	describe_time(pair->state.seen.since_s, at, sizeof(at));
	if (pair->state.seen.state == GATE_PUBLISHED)
		snprintf(why, sizeof(why), "DNS has shown its record since %s", at);
	else if (pair->state.seen.state == GATE_UNKNOWN)
		snprintf(why, sizeof(why), "nothing is known of its record");
	snprintf(
	    buf, GATE_LINE_MAX, "key %s (s=%s, a=%s) signs for %s from now on: %s",
	    pair->key->name, pair->key->selector, algorithm(pair), domains, why);
}
