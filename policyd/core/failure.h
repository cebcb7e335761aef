/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/core/verdict.h"

/* What trouble of our own becomes, in one table. Never a grant. */
enum failure {
	FAILURE_MEMORY,
	FAILURE_STORE,       /* limits cannot be counted */
	FAILURE_CLIENT_NAME, /* an entry by name, the client's name is not known */
	FAILURE_NO_CLIENT,   /* Postfix sent no usable client_address */
	FAILURE_OVERLOAD,
};

void failure_verdict(enum failure failure, enum check_id check, struct verdict *ret);
