/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/gather.h"

void gather(
    const struct config *config, const struct request *request,
    struct instances *instances, struct facts *ret)
{
	facts_read(config, request, ret);
	ret->relayed = instances_was_granted(instances, request->instance);
}
