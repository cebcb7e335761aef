/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Circuit breaker: after a few failures in a row nobody waits for a store that is away.
 * It is open then, and only a probe now and then finds out whether to close it. Reads no
 * clock; the caller arms its timer with breaker_wait_ms().
 */

/* Failures in a row that open it: one lost connection is not yet a store that is away. */
#define BREAKER_FAILURES 3

/* Between probes while it is open, doubling; and between the questions whether all is
 * well while it is closed. */
#define BREAKER_PROBE_FIRST_MS 50
#define BREAKER_PROBE_MS       500
#define BREAKER_CLOSED_MS      1000

struct breaker {
	bool open;
	unsigned failures; /* in a row */
	uint32_t probe_ms; /* before the next probe */
};

/* All zero is a closed one. */

/* An answer came. True: that closed it. */
bool breaker_succeeded(struct breaker *breaker);

/* None came; @grave: nor will the next try bring one. True: that opened it. */
bool breaker_failed(struct breaker *breaker, bool grave);

/* How long until the next probe; each call while it is open doubles it, up to
 * BREAKER_PROBE_MS. */
uint32_t breaker_wait_ms(struct breaker *breaker);
