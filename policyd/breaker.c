/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/breaker.h"

bool breaker_succeeded(struct breaker *breaker)
{
	bool closes = breaker->open;

	*breaker = (struct breaker){0};
	return closes;
}

bool breaker_failed(struct breaker *breaker, bool grave)
{
	if (breaker->failures < BREAKER_FAILURES)
		breaker->failures++;
	if (breaker->open || (!grave && breaker->failures < BREAKER_FAILURES))
		return false;
	breaker->open = true;
	breaker->probe_ms = BREAKER_PROBE_FIRST_MS;
	return true;
}

uint32_t breaker_wait_ms(struct breaker *breaker)
{
	uint32_t wait_ms = breaker->probe_ms;

	/* One failure: look again soon, whether it stays the only one. */
	if (!breaker->open)
		return breaker->failures > 0 ? BREAKER_PROBE_FIRST_MS : BREAKER_CLOSED_MS;
	breaker->probe_ms =
	    wait_ms * 2 < BREAKER_PROBE_MS ? wait_ms * 2 : BREAKER_PROBE_MS;
	return wait_ms;
}
