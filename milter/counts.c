/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/counts.h"

#include "common/metrics.h"

#include <pthread.h>
#include <stdint.h>

static const char *const result_names[COUNTED_MESSAGES] = {
    [COUNTED_UNTOUCHED] = "untouched", [COUNTED_SIGNED] = "signed",
    [COUNTED_UNSIGNED] = "unsigned",   [COUNTED_MASKED] = "masked",
    [COUNTED_DEFERRED] = "deferred",   [COUNTED_REFUSED] = "refused",
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t messages[COUNTED_MESSAGES], signatures[DKIM_ALGORITHMS], masked;

static void find_series(void)
{
	for (int i = 0; i < COUNTED_MESSAGES; i++)
		messages[i] =
		    metrics_series(METRIC_MILTER_MESSAGES, result_names[i], NULL);
	for (int i = 0; i < DKIM_ALGORITHMS; i++)
		signatures[i] = metrics_series(
		    METRIC_DKIM_SIGNATURES, dkim_algorithm_name((enum dkim_algorithm)i),
		    NULL);
	masked = metrics_series(METRIC_RECEIVED_MASKED, NULL, NULL);
}

void counts_init(void)
{
	pthread_once(&once, find_series);
}

void counts_message(enum counted_message what)
{
	counts_init();
	metrics_add(messages[what], 1);
}

uint64_t counts_messages(enum counted_message what)
{
	counts_init();
	return metrics_value(messages[what]);
}

const char *counts_message_name(enum counted_message what)
{
	return result_names[what];
}

void counts_signature(enum dkim_algorithm algorithm)
{
	counts_init();
	metrics_add(signatures[algorithm], 1);
}

void counts_masked(size_t fields)
{
	counts_init();
	metrics_add(masked, fields);
}

uint64_t counts_received_masked(void)
{
	counts_init();
	return metrics_value(masked);
}
