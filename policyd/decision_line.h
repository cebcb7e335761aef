/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/protocol.h"
#include "policyd/core/verdict.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The one log line of a decision that is neither DUNNO nor OK, in Postfix's spelling:
 * QUEUEID: event= state= check= action="" client=name[addr] from=<> to=<> sasl_username=
 * ... Foreign text is escaped so that no value can end its field.
 */

#define DECISION_LINE_MAX 2048

/* Returns the length. @shadow: the action was not given, only watched. */
size_t decision_line(
    const struct request *request, const struct verdict *verdict, const char *event,
    bool shadow, char buf[static DECISION_LINE_MAX]);
