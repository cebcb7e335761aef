/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/log.h"

#include <stddef.h>

/*
 * What a thread under test tells its log, for a test to wait for: a line each, "LEVEL
 * TEXT".
 */

/* For what must happen; a broken test is noticed after that. */
#define PATIENCE_MS 20000

/* A names_say, a gate_say. Any thread. */
void told_say(enum log_level level, const char *line);

/* Until @text is part of it; fails the test when it does not come. */
void told_wait_for(const char *text);

size_t told_times(const char *text);

/* All of it: for a message, when nothing tells any more. */
const char *told_all(void);

void told_forget(void);
