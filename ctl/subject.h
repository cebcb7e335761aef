/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <jansson.h>

/*
 * SUBJECT of `postern usage` and `postern reset`: bare, or "user:ada@example.org", where
 * the word in front narrows what it is.
 */

/* {"command": @command, "subject": ..., "kind": ...}. NULL: empty, no UTF-8, no memory.
 */
json_t *ctl_subject_message(const char *command, const char *subject);
