/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/address.h"
#include "common/lists.h"
#include "policyd/core/protocol.h"

#include <stdbool.h>
#include <stdint.h>

/* What policy_context asks for. */
enum request_context {
	CONTEXT_ALL,     /* none given: the protocol state selects the work */
	CONTEXT_RELAY,   /* the same, said aloud */
	CONTEXT_ACCESS,  /* the checks without the grant: never OK */
	CONTEXT_LIMITS,  /* limits alone; at DATA also host_block and user_block */
	CONTEXT_UNKNOWN, /* acts as CONTEXT_ACCESS */
};

/*
 * What is known about one request, canonical. A fact is present, absent or unavailable
 * ("cannot be told now"); what an unavailable fact means stands in failure.c alone.
 */

struct facts {
	enum protocol_state state;
	struct client client; /* ip.family IP_NONE: absent */
	uint16_t server_port; /* 0: absent */
	bool authenticated;   /* sasl_username or sasl_method not empty */
	struct address
	    user;       /* ADDRESS_ABSENT without a login; default_realm not applied */
	bool encrypted; /* encryption_protocol not empty */
	struct address sender;    /* ADDRESS_ABSENT before MAIL and at VRFY, ETRN */
	struct address recipient; /* ADDRESS_ABSENT where the state has none */
	uint32_t recipient_count; /* DATA and END-OF-MESSAGE; at least 1 there */
	uint64_t
	    size; /* bytes: SIZE claim before END-OF-MESSAGE, 0 unknown; real there */

	enum request_context context;

	/* From the table of (node, instance). */
	bool relayed; /* a recipient of this message was granted by Postern */

	/* Postfix's name of the message, unique per host; empty: charges are not
	 * idempotent. */
	struct slice instance;
};
