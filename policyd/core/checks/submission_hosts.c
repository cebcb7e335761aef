/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

void check_submission_hosts(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (host_list_empty(config->auth.submission_hosts)) {
		finding_none(ret, "auth.submission_hosts is empty");
		return;
	}
	if (facts->server_port != 0 &&
	    !port_list_has(&config->auth.submission_ports, facts->server_port)) {
		finding_none(ret, "not a submission port");
		return;
	}
	switch (
	    host_list_match(config->auth.submission_hosts, &facts->client, &ret->match)) {
	case HOST_MATCH:
		ret->matched = true;
		finding_pass(ret, "in auth.submission_hosts");
		return;
	case HOST_NO_MATCH:
	case HOST_EXCEPTION:
		break;
	case HOST_CANNOT_TELL:
		if (facts->server_port != 0) {
			finding_defer(ret, FAILURE_CLIENT_NAME, CHECK_SUBMISSION_HOSTS);
			return;
		}
		break;
	}
	if (facts->server_port == 0)
		finding_cannot_tell(ret, FAILURE_SERVER_PORT, "no server_port");
	else
		finding_object(
		    ret, 554, "5.7.1", "not in auth.submission_hosts",
		    "Submission is not open to your host");
}
