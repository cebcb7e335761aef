/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/log.h"
#include "milter/gate_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the log is told of a record: its name and key, what DNS has, what follows for
 * mail, and what to do. Pure text.
 */

#define GATE_LINE_MAX 1600

/*
 * The line about @change, which the log does not have yet; "" when there is nothing to be
 * said. @ret_other: the key that signs instead and is named in the line, or NULL.
 */
enum log_level gate_line(
    const struct gate_view *view, const struct gate_pair *pair, enum gate_change change,
    int64_t now_s, char buf[static GATE_LINE_MAX], const struct gate_pair **ret_other);

/* @pair signs from now on, and that is no news of its own record. */
void gate_line_takes_over(const struct gate_pair *pair, char buf[static GATE_LINE_MAX]);

/* "DNS has no such name"; what the last answer was, also for people who ask. */
void gate_line_last_answer(const struct gate_pair *pair, char *buf, size_t size);
