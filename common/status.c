/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/status.h"

#include "common/metrics.h"
#include "common/status_http.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SOCKET_MODE 0666

struct status {
	uint32_t reload_successful;
	atomic_bool leaving;
	_Atomic(status_trouble_ask *) ask; /* NULL: none */
	void *context;                     /* set before it */
	struct status_http *http;
};

static void describe(void *context, struct status_health *ret)
{
	struct status *status = context;

	status_trouble_ask *ask = atomic_load(&status->ask);
	const char *trouble = ask ? ask(status->context) : NULL;

	ret->serving = !atomic_load(&status->leaving) && !trouble;
	if (trouble)
		snprintf(ret->trouble, sizeof(ret->trouble), "%s", trouble);
	else if (!ret->serving)
		snprintf(ret->trouble, sizeof(ret->trouble), "leaving");
	else if (metrics_value(status->reload_successful) == 0)
		snprintf(
		    ret->trouble, sizeof(ret->trouble),
		    "the last reload failed, the old configuration is in force; the log "
		    "says why");
}

int status_listen(const char *address, struct endpoint *ret, char *errbuf, size_t errsize)
{
	const char *wrong = endpoint_parse(address, ret);

	if (wrong) {
		snprintf(errbuf, errsize, "%s", wrong);
		return -1;
	}
	return endpoint_listen(ret, SOCKET_MODE, NULL, errbuf, errsize);
}

int status_new(int fd, const char *program, struct status **ret)
{
	struct status *status = calloc(1, sizeof(*status));

	if (!status)
		return -ENOMEM;
	status->reload_successful =
	    metrics_series(METRIC_CONFIG_RELOAD_SUCCESSFUL, NULL, NULL);
	metrics_set(metrics_series(METRIC_BUILD_INFO, POSTERN_VERSION, NULL), 1);
	int r = status_http_new(fd, program, describe, status, &status->http);
	if (r < 0) {
		free(status);
		return r;
	}
	*ret = status;
	return 0;
}

void status_watch(struct status *status, status_trouble_ask *ask, void *context)
{
	status->context = context;
	atomic_store(&status->ask, ask);
}

void status_leaving(struct status *status)
{
	if (status)
		atomic_store(&status->leaving, true);
}

struct status *status_free(struct status *status)
{
	if (!status)
		return NULL;
	status_http_free(status->http);
	free(status);
	return NULL;
}

void status_count_load(bool taken)
{
	metrics_set(metrics_series(METRIC_CONFIG_RELOAD_SUCCESSFUL, NULL, NULL), taken);
	if (taken)
		metrics_set(
		    metrics_series(METRIC_CONFIG_RELOAD_TIME, NULL, NULL),
		    (uint64_t)time(NULL));
}
