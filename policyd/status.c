/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/status.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/sockets.h"
#include "common/status_http.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whoever may log in may see it at a TCP address, so a path is no narrower. */
#define SOCKET_MODE 0666

struct status {
	struct endpoint endpoint;
	int fd;
	uint32_t reload_successful;
	atomic_bool leaving;
	struct status_http *http;
};

static void describe(void *context, struct status_health *ret)
{
	struct status *status = context;

	ret->serving = !atomic_load(&status->leaving);
	if (!ret->serving)
		snprintf(ret->trouble, sizeof(ret->trouble), "leaving");
	else if (metrics_value(status->reload_successful) == 0)
		snprintf(
		    ret->trouble, sizeof(ret->trouble),
		    "the last reload failed, the old configuration is in force; the log "
		    "says why");
}

int status_open(const struct config *config, struct status **ret)
{
	char why[512];

	*ret = NULL;
	if (config->policyd.status[0] == '\0')
		return 0;
	struct status *status = calloc(1, sizeof(*status));
	if (!status)
		return -ENOMEM;
	const char *wrong = endpoint_parse(config->policyd.status, &status->endpoint);
	if (wrong)
		snprintf(why, sizeof(why), "%s", wrong);
	status->fd =
	    wrong
		? -1
		: endpoint_listen(&status->endpoint, SOCKET_MODE, NULL, why, sizeof(why));
	if (status->fd < 0) {
		log_error(
		    "policyd.status: %s; there is no status page, policy requests are "
		    "served all the same",
		    why);
		free(status);
		return 0;
	}
	status->reload_successful =
	    metrics_series(METRIC_CONFIG_RELOAD_SUCCESSFUL, NULL, NULL);
	*ret = status;
	return 0;
}

void status_start(struct status *status)
{
	if (!status)
		return;
	int r = status_http_new(
	    status->fd, "postern-policyd", describe, status, &status->http);
	if (r < 0)
		log_error(
		    "policyd.status: %s; there is no status page, policy requests are "
		    "served all the same",
		    strerror(-r));
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
	endpoint_unlink(&status->endpoint);
	close(status->fd);
	free(status);
	return NULL;
}
