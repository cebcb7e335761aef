/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/checks.h"

#include <string.h>

static const char *const names[CHECK_COUNT + 1] = {
    [CHECK_HOST_BLOCK] = "host_block",
    [CHECK_SUBMISSION_HOSTS] = "submission_hosts",
    [CHECK_COUNTRY] = "country",
    [CHECK_AUTH_PORT] = "auth_port",
    [CHECK_AUTH_TLS] = "auth_tls",
    [CHECK_AUTH_REQUIRED] = "auth_required",
    [CHECK_USER_BLOCK] = "user_block",
    [CHECK_SENDER_BLOCK] = "sender_block",
    [CHECK_SENDER_LOGIN] = "sender_login",
    [CHECK_FORGED_SENDER] = "forged_sender",
    [CHECK_RECIPIENT_BLOCK] = "recipient_block",
    [CHECK_RELAY] = "relay",
    [CHECK_LIMITS] = "limits",
    [CHECK_NONE] = "none",
};

const char *check_name(enum check_id id)
{
	return names[id];
}

enum check_id check_by_name(const char *name)
{
	for (unsigned i = 0; i < CHECK_COUNT; i++)
		if (strcmp(names[i], name) == 0)
			return (enum check_id)i;
	return CHECK_NONE;
}
