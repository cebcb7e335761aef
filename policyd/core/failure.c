/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/failure.h"

#include <stdio.h>

static const struct failure_row {
	int code;
	const char *dsn;
	const char *text;   /* for the client */
	const char *reason; /* for the log: what it takes to mend it */
} rows[] = {
    [FAILURE_CLIENT_NAME] =
	{450, "4.7.1", "Your host name cannot be verified now, try again later",
	 "an entry by name or from DNS may concern the client, and its name is unknown "
	 "or the entry not resolved; check this client's reverse and forward DNS, and "
	 "the "
	 "log for entries without an answer"},
    [FAILURE_CLIENT_ADDRESS] =
	{451, "4.7.1", "The client address is not known",
	 "Postfix sent no usable client_address"},
    [FAILURE_SERVER_PORT] =
	{451, "4.7.1", "The server port is not known",
	 "Postfix sent no server_port; port checks need Postfix 3.2 or later"},
    [FAILURE_ADDRESS] =
	{451, "4.7.1", "An address or login name cannot be understood",
	 "a sender, recipient or login name that cannot be parsed gets no grant"},
    [FAILURE_COUNTRY] =
	{451, "4.7.1", "The country of your address cannot be told now, try again later",
	 "countries are listed or counted and there is no database: set geoip.country, "
	 "or do without auth.countries, block.countries and limits that count "
	 "countries"},
    [FAILURE_COUNTRY_DATA] =
	{451, "4.7.1", "The country of your address cannot be told now, try again later",
	 "the database of geoip.country is damaged where this address stands: replace "
	 "the file and reload"},
    [FAILURE_LOGIN] =
	{450, "4.7.1",
	 "Your last POP or IMAP login cannot be looked up now, try again later",
	 "relay.login_grace is set and Redis, which brings other nodes' logins, does not "
	 "answer"},
    [FAILURE_STORE] =
	{451, "4.7.1", "Rate limits cannot be counted now, try again later",
	 "the store of the limits does not answer"},
    [FAILURE_MEMORY] =
	{451, "4.7.1", "Policy service trouble, try again later", "out of memory"},
};

void failure_verdict(
    enum failure failure, enum check_id check, bool withholds_grant, struct verdict *ret)
{
	const struct failure_row *row = &rows[failure];

	ret->action = withholds_grant ? ACTION_DEFER_IF_REJECT : ACTION_REPLY;
	ret->check = check;
	ret->limit = NULL;
	ret->code = row->code;
	snprintf(ret->dsn, sizeof(ret->dsn), "%s", row->dsn);
	snprintf(ret->text, sizeof(ret->text), "%s", row->text);
	snprintf(ret->reason, sizeof(ret->reason), "%s", row->reason);
}
