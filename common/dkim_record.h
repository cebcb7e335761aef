/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/dkim_key.h"
#include "common/dns.h"

#include <stddef.h>

/*
 * The DNS side of a DKIM key: the record that belongs to it, and what a record that was
 * found says against it (RFC 6376, 3.6.1; RFC 8463). Asks no DNS.
 */

#define DKIM_RECORD_TEXT_MAX 200

enum dkim_record_match {
	DKIM_RECORD_MATCHES,
	DKIM_RECORD_OTHER_KEY, /* a good record, of another key */
	DKIM_RECORD_REVOKED,   /* p= is empty */
	DKIM_RECORD_UNUSABLE,  /* verifiers refuse it, whatever its p= */
	DKIM_RECORD_NONE,      /* a TXT record of something else: it has no p= */
};

/*
 * @text: all strings of one TXT record as one. @buf gets what is to be said of it, ready
 * to follow "DNS has ": "another key (p= ends in ...)"; of a match only what does not
 * hinder, and "" otherwise. Printable ASCII.
 */
enum dkim_record_match dkim_record_compare(
    const struct dkim_key *key, const char *text, size_t len,
    char buf[static DKIM_RECORD_TEXT_MAX]);

/*
 * The same of all TXT records that DNS has at the name (DNS_FOUND): the best counts, what
 * is said is of it. That there are several is said of a match too: which of them
 * verifiers take is undefined (3.6.2.2).
 */
enum dkim_record_match dkim_record_judge(
    const struct dkim_key *key, const struct dns_answer *answer,
    char buf[static DKIM_RECORD_TEXT_MAX]);

/* "v=DKIM1; k=rsa; p=...", malloc'd; NULL without memory. */
char *dkim_record_text(const struct dkim_key *key);

/*
 * One line of a zone file for @text: `NAME. IN TXT ( "..." "..." )`, strings of 255 bytes
 * at most. @text has no quotes. malloc'd; NULL without memory.
 */
char *dkim_record_zone_line(const char *name, const char *text);

/* SELECTOR._domainkey.DOMAIN, malloc'd; NULL without memory. */
char *dkim_record_name(const char *selector, const char *domain);
