/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/ip_set.h"

#include "common/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

ip_number ip_number_of(const struct ip *ip)
{
	ip_number number = 0;
	size_t bytes = ip->family == IP_V4 ? 4 : 16;

	for (size_t i = 0; i < bytes; i++)
		number = number << 8 | ip->bytes[i];
	return number;
}

ip_number ip_number_hosts(unsigned bits)
{
	return bits >= 128 ? ~(ip_number)0 : ((ip_number)1 << bits) - 1;
}

static ip_number host_part(enum ip_family family, unsigned length)
{
	return ip_number_hosts((family == IP_V4 ? 32 : 128) - length);
}

void ip_set_done(struct ip_set *set)
{
	free(set->ranges);
	*set = (struct ip_set){0};
}

static int set_one(ip_number first, ip_number last, struct ip_set *ret)
{
	struct ip_range *range = calloc(1, sizeof(*range));

	if (!range)
		return -ENOMEM;
	range->first = first;
	range->last = last;
	*ret = (struct ip_set){.ranges = range, .count = 1};
	return 0;
}

int ip_set_all(enum ip_family family, struct ip_set *ret)
{
	return set_one(0, host_part(family, 0), ret);
}

int ip_set_prefix(const struct ip_prefix *prefix, struct ip_set *ret)
{
	ip_number hosts = host_part(prefix->ip.family, prefix->length);
	ip_number first = ip_number_of(&prefix->ip) & ~hosts;

	return set_one(first, first | hosts, ret);
}

int ip_set_copy(const struct ip_set *set, uint32_t tag, struct ip_set *ret)
{
	struct ip_range *ranges = calloc(set->count + 1, sizeof(*ranges));

	if (!ranges)
		return -ENOMEM;
	for (size_t i = 0; i < set->count; i++) {
		ranges[i] = set->ranges[i];
		ranges[i].tag = tag;
	}
	*ret = (struct ip_set){.ranges = ranges, .count = set->count};
	return 0;
}

int ip_set_minus(
    const struct ip_set *set, const struct ip_set *without, struct ip_set *ret)
{
	/* Every range of @without cuts at most one of @set in two. */
	struct ip_range *ranges =
	    calloc(set->count + without->count + 1, sizeof(*ranges));
	size_t count = 0, at = 0;

	if (!ranges)
		return -ENOMEM;
	for (size_t i = 0; i < set->count; i++) {
		struct ip_range rest = set->ranges[i];
		bool left = true;

		while (at < without->count && without->ranges[at].last < rest.first)
			at++;
		/* The last one may reach into the next range too, so it stays. */
		for (size_t cut = at; left && cut < without->count; cut++) {
			const struct ip_range *gone = &without->ranges[cut];
			if (gone->first > rest.last)
				break;
			if (gone->first > rest.first) {
				ranges[count] = rest;
				ranges[count++].last = gone->first - 1;
			}
			left = gone->last < rest.last;
			if (left)
				rest.first = gone->last + 1;
		}
		if (left)
			ranges[count++] = rest;
	}
	*ret = (struct ip_set){.ranges = ranges, .count = count};
	return 0;
}

int ip_set_add(struct ip_set *set, const struct ip_set *more)
{
	CLEANUP(ip_set_done) struct ip_set added = {0};
	int r = ip_set_minus(more, set, &added);

	if (r < 0)
		return r;
	struct ip_range *ranges = calloc(set->count + added.count + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	for (size_t i = 0, j = 0; i + j < set->count + added.count;) {
		bool mine =
		    j == added.count ||
		    (i < set->count && set->ranges[i].first < added.ranges[j].first);
		ranges[i + j] = mine ? set->ranges[i] : added.ranges[j];
		*(mine ? &i : &j) += 1;
	}
	size_t count = set->count + added.count;
	free(set->ranges);
	*set = (struct ip_set){.ranges = ranges, .count = count};
	return 0;
}

const struct ip_range *ip_set_find(const struct ip_set *set, const struct ip *ip)
{
	ip_number number = ip_number_of(ip);
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct ip_range *range = &set->ranges[middle];
		if (number < range->first)
			high = middle;
		else if (number > range->last)
			low = middle + 1;
		else
			return range;
	}
	return NULL;
}

size_t ip_set_count_missing(const struct ip_set *set, const struct ip_set *other)
{
	size_t missing = 0, j = 0;

	for (size_t i = 0; i < set->count; i++) {
		const struct ip_range *range = &set->ranges[i];
		while (j < other->count && other->ranges[j].first < range->first)
			j++;
		missing += j == other->count || other->ranges[j].first != range->first ||
			   other->ranges[j].last != range->last;
	}
	return missing;
}
