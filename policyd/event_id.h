/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/verdict.h"

/*
 * A short name for one decision, in the reply and in every log: time, process and serial
 * in 13 letters and digits that are hard to mistake on the telephone (Crockford's base
 * 32).
 */
void event_id(long long now_ms, char buf[static EVENT_ID_MAX]);
