/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

#include <string.h>

/*
 * Two questions about the client's country: is it blocked, for everybody and from CONNECT
 * on; and may one log in from there, from MAIL on. Closed: a country that cannot be told
 * lets nobody log in and carries no grant.
 */

static bool has(const struct string_list *countries, const char *code)
{
	for (size_t i = 0; i < countries->count; i++)
		if (strcmp(countries->items[i], code) == 0)
			return true;
	return false;
}

/* SMTP AUTH may come after an EHLO that it is asked about: MAIL is where it counts. */
static bool judges_login(const struct facts *facts)
{
	return facts->authenticated && facts->state != STATE_CONNECT &&
	       facts->state != STATE_EHLO;
}

/*
 * The refusal would stand, but for a name in trusted.hosts that the client may have: DNS
 * may know more later.
 */
static bool waits_for_name(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (host_list_match(config->trusted.hosts, &facts->client, NULL) !=
	    HOST_CANNOT_TELL)
		return false;
	finding_defer(ret, FAILURE_CLIENT_NAME, CHECK_COUNTRY);
	return true;
}

static void judge(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (has(&config->block.countries, facts->country)) {
		if (!waits_for_name(config, facts, ret))
			finding_object(
			    ret, 554, "5.7.1", "the country is in block.countries",
			    "Clients from country %s are not accepted here",
			    facts->country);
	} else if (
	    judges_login(facts) && config->auth.countries.count > 0 &&
	    !has(&config->auth.countries, facts->country)) {
		if (!waits_for_name(config, facts, ret))
			finding_object(
			    ret, 554, "5.7.1", "the country is not in auth.countries",
			    "Authenticated mail is not accepted from country %s",
			    facts->country);
	} else {
		finding_pass(ret, "a country that is not refused");
	}
}

/* No country for a reason of our own or Postfix's, @failure. */
static void judge_unknown(
    const struct config *config, const struct facts *facts, enum failure failure,
    struct finding *ret)
{
	/* Who blocks what the database lacks gets no stranger in by damaging it. */
	bool is_blocked = facts->country_state == COUNTRY_DAMAGED &&
			  has(&config->block.countries, COUNTRY_UNKNOWN);

	if (is_blocked || judges_login(facts))
		finding_defer(ret, failure, CHECK_COUNTRY);
	else
		finding_cannot_tell(ret, failure, "the client's country cannot be told");
}

void check_country(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (config->block.countries.count == 0 && config->auth.countries.count == 0) {
		finding_none(ret, "block.countries and auth.countries are empty");
		return;
	}
	if (config->block.countries.count == 0 && !judges_login(facts)) {
		finding_none(ret, "block.countries is empty, and not authenticated");
		return;
	}
	if (host_list_match(config->trusted.hosts, &facts->client, &ret->match) ==
	    HOST_MATCH) {
		ret->matched = true;
		finding_pass(ret, "in trusted.hosts, which have no country");
		return;
	}
	switch (facts->country_state) {
	case COUNTRY_NONE:
		finding_pass(ret, "a private address has no country");
		break;
	case COUNTRY_KNOWN:
	case COUNTRY_NOT_FOUND:
		judge(config, facts, ret);
		break;
	case COUNTRY_NO_DATABASE:
		judge_unknown(config, facts, FAILURE_COUNTRY, ret);
		break;
	case COUNTRY_DAMAGED:
		judge_unknown(config, facts, FAILURE_COUNTRY_DATA, ret);
		break;
	case COUNTRY_NOT_ASKED:
		judge_unknown(config, facts, FAILURE_CLIENT_ADDRESS, ret);
		break;
	}
}
