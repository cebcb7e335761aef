/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/name_networks.h"

/*
 * The networks that an SPF record (RFC 7208) passes: the addresses for which check_host()
 * would say "pass", worked out for all addresses of a family at once. Each mechanism
 * takes its addresses out of those not decided yet, so the first match wins, as there; an
 * include matches what the included record passes.
 *
 * Departures, all to the closed side:
 * - `+all`, and a `+` network shorter than /16 (IPv4) or /32 (IPv6), make an error.
 * - No macros, `exists` or `ptr`: where leaving one out can only shrink the result (a `+`
 *   mechanism, below includes with `+` alone) it is left out with a note, else an error.
 * - A record that is in error anywhere on the way, or fails for one family only, is so
 * for every address. But more than two void look-ups (terms for which DNS has nothing)
 *   count per family, as check_host() would meet them: what stands before them holds.
 */
int spf_find(
    const char *domain, const struct name_source *source, struct name_networks *ret);

#define SPF_LOOK_UPS_MAX 10 /* RFC 7208, 4.6.4 */
#define SPF_VOIDS_MAX    2  /* RFC 7208, 4.6.4 */
