/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"
#include "policyd/core/identity.h"

void check_auth_required(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (!config->auth.required_on_submission) {
		finding_none(ret, "auth.required_on_submission is false");
		return;
	}
	if (facts->authenticated) {
		finding_pass(ret, "authenticated");
		return;
	}
	if (facts->server_port != 0 &&
	    !port_list_has(&config->auth.submission_ports, facts->server_port)) {
		finding_none(ret, "not a submission port");
		return;
	}
	switch (client_is_relay_host(config, facts)) {
	case YES:
		finding_pass(ret, "a relay host");
		break;
	case EITHER:
		if (facts->server_port == 0)
			finding_cannot_tell(ret, FAILURE_CLIENT_NAME, "no server_port");
		else
			finding_defer(ret, FAILURE_CLIENT_NAME, CHECK_AUTH_REQUIRED);
		break;
	case NO:
		if (facts->server_port == 0)
			finding_cannot_tell(ret, FAILURE_SERVER_PORT, "no server_port");
		else
			finding_object(
			    ret, 530, "5.7.0", "not authenticated on a submission port",
			    "Authentication required");
		break;
	}
}
