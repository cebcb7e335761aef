/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The Postfix policy delegation protocol (SMTPD_POLICY_README) as a state machine over
 * bytes that somebody else reads: no descriptor, no clock. Lines name=value, an empty
 * line ends the request. Unknown attributes are ignored, the order is free, of a repeated
 * one the last counts.
 */

#define PROTOCOL_REQUEST_MAX                                                             \
	(64 * 1024) /* bytes of one request, its empty line included */
#define PROTOCOL_ATTRIBUTES_MAX 128

enum protocol_state {
	STATE_UNKNOWN, /* absent or a name of the future: acts as RCPT without a grant */
	STATE_CONNECT,
	STATE_EHLO, /* HELO too */
	STATE_MAIL,
	STATE_RCPT,
	STATE_DATA, /* BDAT too */
	STATE_END_OF_MESSAGE,
	STATE_VRFY,
	STATE_ETRN,
};

/* A value inside the caller's buffer; data is NULL when the attribute was not sent. */
struct slice {
	const char *data;
	size_t len;
};

/* The attributes Postern reads, as sent; absent and empty are told apart by slice.data.
 */
struct request {
	enum protocol_state state;
	struct slice state_name;
	struct slice protocol_name, helo_name, queue_id, sender, recipient,
	    recipient_count;
	struct slice client_address, client_name, reverse_client_name, client_port;
	struct slice server_address, server_port, instance, size, policy_context, stress;
	struct slice sasl_method, sasl_username, sasl_sender;
	struct slice encryption_protocol, encryption_cipher, encryption_keysize;
	struct slice etrn_domain;
};

enum protocol_result {
	PROTOCOL_MORE,    /* the request is not complete yet */
	PROTOCOL_REQUEST, /* one request: *ret is set, *ret_used bytes belong to it */
	PROTOCOL_ERROR,   /* close without a reply; *reterr says why */
};

/* Where the scan of an incomplete request stands, so that no byte is looked at twice. */
struct protocol_scan {
	size_t pos;  /* bytes scanned so far */
	size_t line; /* where the line begun last begins */
	unsigned attributes;
};

/*
 * Parses the request that begins at @data. After PROTOCOL_MORE call again with the same
 * bytes and more behind them (they may have moved) and the same @scan; zero @scan for a
 * new request. The slices of *ret point into @data. PROTOCOL_ERROR: a NUL, a line without
 * `=`, a request that is not smtpd_access_policy or not named, an empty request, or a
 * bound exceeded.
 */
enum protocol_result protocol_parse(
    const char *data, size_t len, struct protocol_scan *scan, struct request *ret,
    size_t *ret_used, const char **reterr);

const char *protocol_state_name(enum protocol_state state);
