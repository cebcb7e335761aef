/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/address.h"

#include <stddef.h>

/*
 * The author address of a message: the one mailbox of its one From header (RFC 5322,
 * 3.6.2). What a reader of the message could take for another author is no author:
 * groups, several mailboxes and whatever does not parse.
 *
 * Display names may contain more than the RFC allows (dots, an @, brackets): mailers
 * write them unquoted, and the signature is made for the address alone.
 */

enum author_result {
	AUTHOR_ONE,
	AUTHOR_EMPTY,
	AUTHOR_SEVERAL, /* more than one mailbox */
	AUTHOR_GROUP,   /* group syntax */
	AUTHOR_BROKEN,  /* does not parse, or the address has no canonical form */
};

/*
 * @value: the header's text after the colon, folded or not. @delimiters: as
 * address_canonical() takes them. *ret is set with AUTHOR_ONE.
 */
enum author_result author_parse(
    const char *value, size_t len, const char *delimiters, struct address *ret);

/* What is wrong, to follow "the From header ". */
const char *author_result_text(enum author_result result);
