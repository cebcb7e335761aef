/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "common/relay.h"
#include "milter/mask.h"

#include <stdbool.h>

/*
 * How a message arrived: what the MTA told at MAIL FROM, read and made canonical, and
 * what follows from it before a header is seen. Pure: no clock but the one given, no log.
 */

/* As the MTA tells it; NULL: not told. */
struct arrival_told {
	const char *sender;      /* with or without angle brackets */
	bool smtputf8, esmtp;    /* by the parameters of MAIL */
	const char *daemon_port; /* {daemon_port} */
	const char *daemon_name; /* {daemon_name} */
	const char *client_addr; /* {client_addr} */
	const char *client_name; /* {client_name} */
	const char *auth_authen; /* {auth_authen} */
	const char *tls_version; /* {tls_version} */
	const char *hostname;    /* j */
	const char *version;     /* v */
	const char *queue_id;    /* i */
};

#define ARRIVAL_WORD_MAX 256 /* a host name, a HELO */

struct arrival {
	/* Submitted on this machine, over non_smtpd_milters. */
	bool local;
	/* The MTA tells no port, and it does not come from this machine: nobody knows
	 * whether it is to be masked. */
	bool port_missing;
	/* One of milter.mask.ports, by {daemon_port} or, where a terminator or balancer
	 * took the connection, by a {daemon_name} that is the number or the name of one.
	 */
	bool masked_port;

	struct client client;
	struct address sender;
	/* ADDRESS_ABSENT: not authenticated; ADDRESS_BAD: under a name that is none. */
	struct address user;
	struct relay_host relay;

	/* Points into the words below: the struct stays where it was read. */
	struct mask_hop hop;
	char hostname[ARRIVAL_WORD_MAX];
	char client_addr[ARRIVAL_WORD_MAX], client_name[ARRIVAL_WORD_MAX];
	char login[ADDRESS_TEXT_MAX];
	char queue_id[64]; /* "" as long as there is none; printable */
};

void arrival_read(
    const struct config *config, const struct arrival_told *told, time_t now,
    struct arrival *ret);

/* The queue id, which most messages get after MAIL. NULL or "" changes nothing. */
void arrival_set_queue_id(struct arrival *arrival, const char *queue_id);

/* Copies a word that fits; else, or when @from is NULL, *to is "". */
void arrival_copy_word(char *to, size_t size, const char *from);
