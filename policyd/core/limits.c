/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/limits.h"

#include "common/cleanup.h"
#include "policyd/core/identity.h"
#include "policyd/core/subject.h"

#include <string.h>

/* How a limit counts; its `count`, and for amounts its `per`, say which. */
enum manner {
	MANNER_MESSAGE,   /* one message alone, no counter */
	MANNER_AMOUNT,    /* looked at at DATA, charged at the message's end */
	MANNER_RECIPIENT, /* charged at RCPT, one for each */
	MANNER_REFUSALS,  /* charged when a check refuses, looked at otherwise */
	MANNER_DISTINCT,  /* charged from RCPT on: sets do not mind repetitions */
};

static enum manner manner_of(const struct limit *limit)
{
	switch (limit->count) {
	case COUNT_MESSAGES:
	case COUNT_RECIPIENTS:
	case COUNT_BYTES:
		break;
	case COUNT_REFUSALS:
		return MANNER_REFUSALS;
	case COUNT_CLIENTS:
	case COUNT_COUNTRIES:
	case COUNT_SENDERS:
		return MANNER_DISTINCT;
	}
	if (limit->per & PER_MESSAGE)
		return MANNER_MESSAGE;
	return limit->per & (PER_RECIPIENT | PER_RECIPIENT_DOMAIN) ? MANNER_RECIPIENT
								   : MANNER_AMOUNT;
}

static bool holds(enum ternary asked, bool is)
{
	return asked == EITHER || (asked == YES) == is;
}

static bool when_holds(
    const struct config *config, const struct limit_when *when, const struct facts *facts,
    bool relayed)
{
	if (!holds(when->authenticated, facts->authenticated) ||
	    !holds(when->relayed, relayed))
		return false;
	if (when->ports.count > 0 && !port_list_has(&when->ports, facts->server_port))
		return false;
	if (when->trusted != EITHER &&
	    !holds(when->trusted, client_is_trusted(config, facts)))
		return false;
	if (when->hosts &&
	    host_list_match_block(when->hosts, &facts->client, NULL) != HOST_MATCH)
		return false;
	if (when->users && !user_is_listed(config, when->users, &facts->user, NULL))
		return false;
	return !when->sender_domains ||
	       address_list_match(when->sender_domains, &facts->sender, NULL);
}

static bool is_complete(const struct facts *facts)
{
	return facts->state == STATE_DATA || facts->state == STATE_END_OF_MESSAGE;
}

/* What a message counts for; 0: not known in this state. */
static uint64_t message_amount(const struct limit *limit, const struct facts *facts)
{
	bool complete = is_complete(facts);

	switch (limit->count) {
	case COUNT_MESSAGES:
		return complete ? 1 : 0;
	case COUNT_RECIPIENTS:
		return complete ? facts->recipient_count : 0;
	case COUNT_BYTES:
		/* Without a claim a full window is still seen at DATA. */
		if (facts->size == 0 && complete && !(limit->per & PER_MESSAGE))
			return 1;
		return facts->size < WINDOW_USE_MAX ? facts->size : WINDOW_USE_MAX;
	case COUNT_REFUSALS:
	case COUNT_CLIENTS:
	case COUNT_COUNTRIES:
	case COUNT_SENDERS:
		break;
	}
	return 0;
}

static bool is_hard(const struct limit *limit)
{
	return !limit->shadow &&
	       (limit->over == OVER_REJECT || limit->over == OVER_DEFER);
}

static bool charge_amount(
    const struct limit *limit, const struct facts *facts, enum limit_moment moment,
    struct charge *ret)
{
	ret->amount = message_amount(limit, facts);
	ret->look = moment == MOMENT_LOOK;
	ret->answers = moment == MOMENT_CHARGE;
	return ret->amount > 0 && (moment == MOMENT_LOOK || moment == MOMENT_CHARGE);
}

static bool charge_message(
    const struct limit *limit, const struct facts *facts, enum limit_moment moment,
    struct charge *ret)
{
	ret->amount = message_amount(limit, facts);
	ret->look = ret->answers = true; /* when is the plan's matter */
	return ret->amount > 0 && moment != MOMENT_REFUSAL;
}

static bool charge_recipient(enum limit_moment moment, struct charge *ret)
{
	ret->amount = 1;
	ret->look = false;
	ret->answers = true;
	return moment == MOMENT_RECIPIENT || moment == MOMENT_UNGRANTED;
}

static bool charge_refusals(enum limit_moment moment, struct charge *ret)
{
	bool refused = moment == MOMENT_REFUSAL || moment == MOMENT_UNGRANTED;

	ret->amount = refused ? 1 : 0;
	ret->look = !refused;
	ret->answers = refused || moment == MOMENT_CHARGE;
	/* The check's reply stands. */
	ret->hard = ret->hard && !refused;
	return true;
}

static bool charge_distinct(enum limit_moment moment, struct charge *ret)
{
	ret->amount = 1;
	ret->look = false;
	ret->answers = moment == MOMENT_CHARGE;
	return moment != MOMENT_REFUSAL;
}

/* What the request asks of the limit, but for key, max and member. */
static bool charge_by_manner(
    const struct limit *limit, enum manner manner, const struct facts *facts,
    enum limit_moment moment, struct charge *ret)
{
	ret->hard = is_hard(limit);
	switch (manner) {
	case MANNER_MESSAGE:
		return charge_message(limit, facts, moment, ret);
	case MANNER_AMOUNT:
		return charge_amount(limit, facts, moment, ret);
	case MANNER_RECIPIENT:
		return charge_recipient(moment, ret);
	case MANNER_REFUSALS:
		return charge_refusals(moment, ret);
	case MANNER_DISTINCT:
		return charge_distinct(moment, ret);
	}
	return false;
}

/* The country to count. */
static enum limit_answer country_member(
    const struct config *config, const struct facts *facts, struct charge *ret,
    enum failure *ret_failure)
{
	/* Private addresses and trusted.hosts have none. */
	if (facts->country_state == COUNTRY_NONE ||
	    host_list_match(config->trusted.hosts, &facts->client, NULL) == HOST_MATCH)
		return LIMIT_SILENT;
	switch (facts->country_state) {
	case COUNTRY_KNOWN:
	case COUNTRY_NOT_FOUND:
		subject_member(facts->country, ret);
		return LIMIT_ASKS;
	case COUNTRY_NO_DATABASE:
		*ret_failure = FAILURE_COUNTRY;
		break;
	case COUNTRY_DAMAGED:
		*ret_failure = FAILURE_COUNTRY_DATA;
		break;
	case COUNTRY_NOT_ASKED:
	case COUNTRY_NONE:
		*ret_failure = FAILURE_CLIENT_ADDRESS;
		break;
	}
	return LIMIT_CANNOT_COUNT;
}

/* What a distinct count counts; nothing for the others. */
static enum limit_answer set_member(
    const struct config *config, const struct limit *limit, const struct facts *facts,
    struct charge *ret, enum failure *ret_failure)
{
	char client[IP_TEXT_MAX];

	ret->member_len = 0;
	switch (limit->count) {
	case COUNT_MESSAGES:
	case COUNT_RECIPIENTS:
	case COUNT_BYTES:
	case COUNT_REFUSALS:
		break;
	case COUNT_CLIENTS:
		subject_member(subject_client(facts, client), ret);
		break;
	case COUNT_SENDERS:
		subject_member(subject_address(&facts->sender), ret);
		break;
	case COUNT_COUNTRIES:
		return country_member(config, facts, ret, ret_failure);
	}
	return LIMIT_ASKS;
}

enum limit_moment limit_moment(const struct config *config, enum protocol_state state)
{
	bool at_data = config->policyd.charge_at == CHARGE_AT_DATA;

	switch (state) {
	case STATE_DATA:
		return at_data ? MOMENT_CHARGE : MOMENT_LOOK;
	case STATE_END_OF_MESSAGE:
		return at_data ? MOMENT_AFTER : MOMENT_CHARGE;
	case STATE_UNKNOWN:
	case STATE_CONNECT:
	case STATE_EHLO:
	case STATE_MAIL:
	case STATE_RCPT:
	case STATE_VRFY:
	case STATE_ETRN:
		break;
	}
	return MOMENT_RECIPIENT;
}

enum limit_answer limit_charge(
    const struct config *config, size_t index, const struct facts *facts, bool relayed,
    enum limit_moment moment, struct charge *ret, enum failure *ret_failure)
{
	const struct limit *limit = &config->limits[index];
	enum manner manner = manner_of(limit);
	struct subject_part parts[SUBJECT_PARTS_MAX] UNINITIALIZED;
	size_t count;

	if (!charge_by_manner(limit, manner, facts, moment, ret) ||
	    !when_holds(config, &limit->when, facts, relayed) ||
	    !subject_parts(limit->per, facts, moment == MOMENT_REFUSAL, parts, &count) ||
	    !subject_max(config, index, parts, count, &ret->max))
		return LIMIT_SILENT;
	ret->limit = (uint32_t)index;
	ret->window_s = manner == MANNER_MESSAGE ? 0 : limit->window_s;
	ret->key_len = ret->subject_at = 0;
	if (ret->window_s > 0)
		subject_key(limit->name, parts, count, ret);
	return set_member(config, limit, facts, ret, ret_failure);
}

const char *limit_unit(enum limit_count count)
{
	switch (count) {
	case COUNT_MESSAGES:
		return "messages";
	case COUNT_RECIPIENTS:
		return "recipients";
	case COUNT_BYTES:
		return "bytes";
	case COUNT_REFUSALS:
		return "refusals";
	case COUNT_CLIENTS:
		return "clients";
	case COUNT_COUNTRIES:
		return "countries";
	case COUNT_SENDERS:
		return "senders";
	}
	return "";
}
