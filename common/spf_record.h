/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/address.h"
#include "common/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One SPF record, parsed (RFC 7208, 4.6.1, 5, 6, 7.1, 12). Syntax alone: no DNS, and no
 * judgement of what a mechanism grants.
 */

enum spf_mechanism {
	SPF_ALL,
	SPF_INCLUDE,
	SPF_A,
	SPF_MX,
	SPF_PTR,
	SPF_IP4,
	SPF_IP6,
	SPF_EXISTS,
};

struct spf_term {
	enum spf_mechanism mechanism;
	char qualifier; /* + - ~ ? */
	bool macro;     /* the domain has one, which is then not set */
	/* Lower case, no final dot; "": none written, the record's own. */
	char domain[ADDRESS_DOMAIN_MAX + 1];
	uint8_t length4, length6;
	struct ip network; /* ip4 and ip6, host bits cleared; as common/ip.h has it, so
			      that of a mapped ip6 network the family is IP_V4 */
};

struct spf_record {
	struct spf_term *terms; /* up to the first `all` */
	size_t count;
	bool has_redirect, redirect_macro; /* never with `all`: it is then ignored */
	char redirect[ADDRESS_DOMAIN_MAX + 1];
};

/* True for "v=spf1", alone or followed by a space. */
bool spf_is_record(const char *text, size_t len);

/* Returns 0, -ENOMEM, or -EINVAL with a phrase in @errbuf. *ret is to be given to
 * spf_record_done() in any case. */
int spf_record_parse(
    const char *text, size_t len, struct spf_record *ret, char errbuf[static 200]);
void spf_record_done(struct spf_record *record);

/* The mechanism's name, for messages. */
const char *spf_mechanism_name(enum spf_mechanism mechanism);
