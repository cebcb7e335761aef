/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* The checks in the order in which they run; the first that objects gives the reply. */
enum check_id {
	CHECK_HOST_BLOCK,
	CHECK_SUBMISSION_HOSTS,
	CHECK_COUNTRY,
	CHECK_AUTH_PORT,
	CHECK_AUTH_TLS,
	CHECK_AUTH_REQUIRED,
	CHECK_USER_BLOCK,
	CHECK_SENDER_BLOCK,
	CHECK_SENDER_LOGIN,
	CHECK_FORGED_SENDER,
	CHECK_RECIPIENT_BLOCK,
	CHECK_RELAY,
	CHECK_LIMITS,
	CHECK_COUNT,
	CHECK_NONE = CHECK_COUNT,
};

/* The name that logs, metrics, `shadow` and `explain` show. */
const char *check_name(enum check_id id);

/* The check of that name; CHECK_NONE: there is none. */
enum check_id check_by_name(const char *name);

enum check_result {
	CHECK_NOT_APPLICABLE, /* nothing configured, or nothing to look at */
	CHECK_PASSED,
	CHECK_OBJECTED,    /* finding.verdict is the reply */
	CHECK_CANNOT_TELL, /* passes, but no grant may rest on it: finding.failure */
	CHECK_NOT_REACHED, /* not asked in this state or context */
};
