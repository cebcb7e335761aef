/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/verdict.h"

/*
 * What a fact that cannot be told now, and trouble of our own, become: one table. A grant
 * that depends on such a fact is withheld (DEFER_IF_REJECT: Postfix turns its own 554
 * into 450); a permission list that cannot be judged defers. Never a grant.
 */
enum failure {
	/* An entry by name, and the client's name is not known; an entry from DNS that is
	 * not resolved. */
	FAILURE_CLIENT_NAME,
	FAILURE_CLIENT_ADDRESS, /* Postfix sent no usable client_address */
	FAILURE_SERVER_PORT,    /* no server_port: Postfix before 3.2 */
	FAILURE_ADDRESS,        /* a sender, recipient or login that cannot be parsed */
	FAILURE_COUNTRY,        /* a list of countries and no database */
	FAILURE_COUNTRY_DATA,   /* the database of countries is damaged */
	FAILURE_LOGIN,          /* recent logins, and the other nodes are away */
	FAILURE_STORE,          /* limits cannot be counted */
	FAILURE_MEMORY,
};

/* Fills in @ret for a failure that @check met. @withholds_grant: else it refuses for now.
 */
void failure_verdict(
    enum failure failure, enum check_id check, bool withholds_grant, struct verdict *ret);
