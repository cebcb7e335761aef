/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/checks.h"
#include "policyd/core/facts.h"
#include "policyd/core/failure.h"
#include "policyd/core/verdict.h"

/*
 * One check, one file. A check sees the policy and the facts and says what it found;
 * which checks run in which state, and what becomes of shadowed ones, is the table's and
 * decide()'s work.
 */

struct finding {
	enum check_result result;
	enum failure failure; /* CHECK_CANNOT_TELL */
	const char *why;      /* static; for `postern explain` */
	bool matched;         /* @match is the entry that decided */
	struct list_match match;
	struct verdict
	    verdict; /* CHECK_OBJECTED; check and limit are filled in by decide() */
};

typedef void check_function(
    const struct config *config, const struct facts *facts, struct finding *ret);

check_function check_host_block, check_submission_hosts, check_country, check_auth_port,
    check_auth_tls, check_auth_required, check_user_block, check_sender_block,
    check_sender_login, check_forged_sender, check_recipient_block;

/* Shorthands for the ends of a check. */
void finding_none(struct finding *ret, const char *why);
void finding_pass(struct finding *ret, const char *why);
void finding_cannot_tell(struct finding *ret, enum failure failure, const char *why);

/* Objects with CODE DSN TEXT; the matched entry's reason, if any, is appended. */
__attribute__((format(printf, 5, 6))) void finding_object(
    struct finding *ret, int code, const char *dsn, const char *why, const char *format,
    ...);

/*
 * Objects because of a block at run time: 554 5.7.1 TEXT and the block's reason; with
 * @says_end a block that ends by itself is 450 4.7.1 TEXT until its end.
 */
void finding_blocked(
    struct finding *ret, const struct blocked *blocked, enum block_kind kind,
    bool says_end, const char *text);

/* Objects with the reply that the failure table has. */
void finding_defer(struct finding *ret, enum failure failure, enum check_id check);
