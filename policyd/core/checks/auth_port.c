/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

static unsigned port_to_use(const struct config *config)
{
	const struct port_list *ports = &config->auth.submission_ports;

	return ports->count > 0 ? ports->ports[0] : 0;
}

void check_auth_port(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (!facts->authenticated) {
		finding_none(ret, "not authenticated");
	} else if (config->auth.blocked_ports.count == 0) {
		finding_none(ret, "auth.blocked_ports is empty");
	} else if (facts->server_port == 0) {
		finding_cannot_tell(ret, FAILURE_SERVER_PORT, "no server_port");
	} else if (!port_list_has(&config->auth.blocked_ports, facts->server_port)) {
		finding_pass(ret, "not a port of auth.blocked_ports");
	} else if (port_to_use(config) == 0) {
		finding_object(
		    ret, 550, "5.7.1", "a port of auth.blocked_ports",
		    "Authenticated mail is not accepted on port %u", facts->server_port);
	} else {
		finding_object(
		    ret, 550, "5.7.1", "a port of auth.blocked_ports",
		    "Authenticated mail is not accepted on port %u, use port %u",
		    facts->server_port, port_to_use(config));
	}
}
