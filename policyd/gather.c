/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/gather.h"

void gather(
    const struct config *config, const struct request *request,
    const struct remembered *remembered, int64_t now_s, struct facts *ret)
{
	uint32_t grace_s = config->relay.login_grace_s;

	facts_read(config, request, ret);
	ret->relayed = instances_was_granted(remembered->instances, request->instance);
	blocks_look(remembered->blocks, config, now_s, ret);
	if (grace_s > 0 && ret->client.ip.family != IP_NONE)
		ret->login =
		    logins_look(remembered->logins, &ret->client.ip, now_s, grace_s);
}
