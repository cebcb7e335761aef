/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "policyd/core/blocked.h"

#include <stddef.h>

/*
 * What a block names, in the form in which requests are looked up: as the access lists
 * and limits write it.
 */

/*
 * What an operator writes. Returns NULL and the canonical subject in @ret, or what is
 * wrong and what was expected, a phrase to stand behind the text and a colon. Blocking
 * everybody is refused.
 */
const char *block_subject(
    const struct config *config, enum block_kind kind, const char *text, size_t len,
    char ret[static ADDRESS_TEXT_MAX + 1]);

/* True: @subject could have come from block_subject() under some configuration. */
bool block_subject_is_canonical(enum block_kind kind, const char *subject, size_t len);
