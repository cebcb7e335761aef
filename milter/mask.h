/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * Received headers without the client: text in, text out.
 *
 * Two kinds. The header of this hop is written anew from what the MTA told. Of a header
 * that came along the words after by, with and id and the date are kept, each read and
 * checked by itself and printed again; everything else goes, so that a malformed header
 * cannot carry anything through. What could be the client (an address, his name, HELO or
 * login) is dropped from the kept words too.
 *
 * Values begin with what follows the colon (SMFIP_HDR_LEADSPC), folds are LF. They hold
 * printable ASCII alone: no CR, no NUL, no newline but those of the folds.
 */

/* by 253, with 32, id 128, a token of 540, the date, and the words between. */
#define MASK_VALUE_MAX 1200

/* What the MTA knows of this hop. NULL or "": not told. */
struct mask_hop {
	const char *hostname; /* who received it: Postfix's $myhostname */
	const char *queue_id;
	bool smtputf8, esmtp, tls, authenticated;
	time_t time;
	const char *token; /* who handed it in, sealed (common/token.h) */
};

/* Who must not show. NULL or "": not known. */
struct mask_client {
	const char *address, *name, *helo, *login;
};

/* The protocol's name by RFC 3848 and RFC 6531, 4.3. */
const char *mask_protocol(const struct mask_hop *hop);

/*
 * The header that takes the place of Postfix's own. Its first line is empty: that line is
 * what Postfix compares when it hides its own header from milters, and an empty one
 * stands in for it (hidden_header() in its cleanup_milter.c).
 */
void mask_own(const struct mask_hop *hop, char ret[static MASK_VALUE_MAX]);

/* A header that came along. Without a readable date it gets @hop's time. */
void mask_upstream(
    const char *value, size_t len, const struct mask_client *client,
    const struct mask_hop *hop, char ret[static MASK_VALUE_MAX]);

#define MASK_DATE_MAX 48
/* RFC 5322 date-time in the local zone. */
void mask_date(time_t time, char ret[static MASK_DATE_MAX]);
