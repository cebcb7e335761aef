/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Sets of addresses of one family, as sorted ranges that do not overlap. What DNS answers
 * and SPF records come to: "first match wins" is arithmetic on them.
 *
 * Neighbours are not joined: a network stays one range, to be counted as such. A range
 * carries a tag, the caller's own. The family is the caller's to know: a set of IPv4
 * never meets one of IPv6.
 */

__extension__ typedef unsigned __int128 ip_number;

struct ip_range {
	ip_number first, last;
	uint32_t tag;
};

struct ip_set {
	struct ip_range *ranges;
	size_t count;
};

ip_number ip_number_of(const struct ip *ip);
/* The last host of a network with @bits host bits (0 to 128): that many ones. */
ip_number ip_number_hosts(unsigned bits);

/* Puts all of a family's addresses, or one prefix, into an empty set. 0 or -ENOMEM. */
int ip_set_all(enum ip_family family, struct ip_set *ret);
int ip_set_prefix(const struct ip_prefix *prefix, struct ip_set *ret);

/* Adds the part of @more that @set lacks; @more keeps what it has. 0 or -ENOMEM, and
 * @set is then as before. */
int ip_set_add(struct ip_set *set, const struct ip_set *more);

/* The part of @set that @without lacks. 0 or -ENOMEM. */
int ip_set_minus(
    const struct ip_set *set, const struct ip_set *without, struct ip_set *ret);

int ip_set_copy(const struct ip_set *set, uint32_t tag, struct ip_set *ret);

/* The range that @ip lies in, or NULL. */
const struct ip_range *ip_set_find(const struct ip_set *set, const struct ip *ip);

/* How many ranges of @set @other does not have exactly so. */
size_t ip_set_count_missing(const struct ip_set *set, const struct ip_set *other);

void ip_set_done(struct ip_set *set); /* and it is empty again */
