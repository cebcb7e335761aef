/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>

/*
 * The Postfix releases on which replacing Postfix's own Received header was seen to work.
 * The method rests on how Postfix hides that header; should a release compare otherwise,
 * the two edits would cancel out and the client's address would stay, silently.
 */

/* @version: the macro v, "Postfix 3.7.11" by default; NULL: not told. */
bool release_is_proven(const char *version);

/* Logs one warning per release that is not proven. */
void release_warn_once(const char *version);
