/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks/check.h"

void check_auth_tls(
    const struct config *config, const struct facts *facts, struct finding *ret)
{
	if (!facts->authenticated) {
		finding_none(ret, "not authenticated");
	} else if (!config->auth.require_tls) {
		finding_none(ret, "auth.require_tls is false");
	} else if (facts->encrypted) {
		finding_pass(ret, "the session is encrypted");
	} else if (ip_is_loopback(&facts->client.ip)) {
		finding_pass(ret, "a client on loopback needs no TLS");
	} else if (
	    host_list_match(config->auth.tls_exempt, &facts->client, &ret->match) ==
	    HOST_MATCH) {
		ret->matched = true;
		finding_pass(ret, "in auth.tls_exempt");
	} else {
		finding_object(
		    ret, 530, "5.7.0", "authenticated without TLS",
		    "Authenticated sessions must use TLS: issue STARTTLS first");
	}
}
