/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/ip.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Countries of addresses, from a MaxMind DB file (GeoLite2-Country and whatever has the
 * same keys: City, Enterprise, DB-IP's). The only door to libmaxminddb.
 *
 * The library maps its file: one that is cut short or written over while it is in use is
 * a SIGBUS or a silent wrong answer. So the file is copied into sealed memory, the copy
 * is read through once (every node, every record), and nothing that happens to the file
 * afterwards matters. A new file is seen by loading it anew.
 *
 * A country is `country`, where the network is used; where nobody knows that,
 * `registered_country`, where it is registered. What is represented (an embassy, a
 * military base) is not looked at.
 *
 * Which addresses have a country at all is the caller's question: see ip_is_private().
 */

struct geoip;

/*
 * Reads and checks @path. Returns 0 and *ret, or -EINVAL with one sentence in @errbuf:
 * the file, what is wrong, what mends it. Blocks on the file; never called on a serving
 * thread.
 */
int geoip_load(const char *path, struct geoip **ret, char *errbuf, size_t errsize);
struct geoip *geoip_free(struct geoip *geoip);

/* When the database was built, in seconds since 1970. */
int64_t geoip_built_s(const struct geoip *geoip);

#define GEOIP_COUNTRY_MAX 3 /* ISO 3166 alpha-2 and its NUL */

enum geoip_result {
	GEOIP_FOUND,     /* the code is set */
	GEOIP_NOT_FOUND, /* no network, or one without a country */
	GEOIP_DAMAGED,   /* the database cannot be read there */
};

/* Any thread, no lock. On all but GEOIP_FOUND @ret is "". */
enum geoip_result geoip_look_up(
    const struct geoip *geoip, const struct ip *ip, char ret[static GEOIP_COUNTRY_MAX]);
