/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Warnings about clients, of which a broken one could cause thousands: the first of a
 * kind in a minute are logged in full, the others are counted, and one line says how
 * many. Any thread may complain.
 */

enum complaint {
	COMPLAINT_PROTOCOL,    /* not a policy request */
	COMPLAINT_SLOW,        /* a request that does not end */
	COMPLAINT_UNREAD,      /* answers that nobody reads */
	COMPLAINT_MEMORY,      /* no memory for a connection */
	COMPLAINT_FULL,        /* max_connections reached */
	COMPLAINT_DESCRIPTORS, /* accept failed */
	COMPLAINTS,
};

struct complaints;

int complaints_new(struct complaints **ret);
struct complaints *complaints_free(struct complaints *complaints);

/*
 * Counts one of @kind at @now_s (monotonic). True: log it. *ret_silent: how many were not
 * logged in the minute before, when this one begins a new minute; else 0.
 */
bool complaints_count(
    struct complaints *complaints, enum complaint kind, int64_t now_s,
    unsigned long *ret_silent);

/* Logs a warning, or counts it. */
__attribute__((format(printf, 3, 4))) void complain(
    struct complaints *complaints, enum complaint kind, const char *format, ...);

/* Logs what was counted in minutes that are over. Called now and then. */
void complaints_report(struct complaints *complaints);
