/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/address.h"
#include "common/config.h"
#include "common/lists.h"
#include "policyd/core/blocked.h"
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

/* What is known of the country that the client's address lies in. */
enum country_state {
	COUNTRY_NOT_ASKED,   /* nothing configured needs it, or there is no address */
	COUNTRY_NONE,        /* an address that lies in no country: private, loopback */
	COUNTRY_KNOWN,       /* facts.country is its code */
	COUNTRY_NOT_FOUND,   /* a public address that the database lacks; "ZZ" */
	COUNTRY_NO_DATABASE, /* unavailable: there is none */
	COUNTRY_DAMAGED,     /* unavailable: the database cannot be read there */
};

/* A POP or IMAP login from this client within relay.login_grace. */
enum login_state {
	LOGIN_NOT_ASKED, /* login_grace is off, or there is no address */
	LOGIN_NONE,
	LOGIN_RECENT,
	LOGIN_CANNOT_TELL, /* none is known here, and others cannot be asked now */
};

#define COUNTRY_UNKNOWN "ZZ" /* ISO 3166 leaves it to users */

/*
 * What is known about one request, canonical. Absent: Postfix did not say. What a fact
 * that cannot be told means stands in failure.c alone.
 */
struct facts {
	enum protocol_state state;
	enum request_context context;
	struct client client; /* ip.family IP_NONE: absent */
	enum country_state country_state;
	char country[3];      /* "" unless known or not found */
	uint16_t server_port; /* 0: absent */
	bool authenticated;   /* sasl_username or sasl_method not empty */
	bool encrypted;       /* encryption_protocol not empty */
	bool relayed; /* a recipient of this message was granted by Postern before */
	enum login_state login;
	struct blocked blocked[BLOCK_KINDS]; /* by command or by a limit */
	/* DATA and END-OF-MESSAGE: accepted recipients, at least 1; else 0. */
	uint32_t recipient_count;
	/* Bytes: the client's claim before END-OF-MESSAGE (0: none), the real size there.
	 */
	uint64_t size;
	/* Postfix's name of the message, unique per host; empty: charges are not
	 * idempotent. */
	struct slice instance;
	struct address user;   /* default_realm applied; ADDRESS_ABSENT without a login */
	struct address sender; /* ADDRESS_ABSENT before MAIL, at VRFY and ETRN */
	struct address
	    recipient; /* ADDRESS_ABSENT where the state has none, or several */
};

/*
 * What a request says, in canonical form. Fills in all of *ret; what a request does not
 * tell is false, not asked, not blocked (`relayed`, `login`, `blocked`).
 */
void facts_read(
    const struct config *config, const struct request *request, struct facts *ret);
