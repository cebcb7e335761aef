/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"
#include "milter/headers.h"
#include "milter/mask.h"

#include <stddef.h>

/*
 * What is to be done to a message's headers, as data: computed here, applied in order by
 * callbacks.c, all of it or the message is refused.
 *
 * Order and numbers are Postfix's. It hides the Received header that it adds itself, so
 * number 1 of a name is the first one that came along. Changes go from the last instance
 * to the first, because a deletion renumbers those after it (CVE-2022-48521). Then
 * Postfix's own header: an inserted one whose first line is empty is hidden in its place,
 * which makes it number 1, and deletes it. Signatures are inserted at position 1, right
 * beneath this hop's Received header.
 */

/* Postfix looks for each header from the first one on: to delete 8,000 takes it 10 s,
 * 1,000 a third of one. Mail has a few, and Postfix itself stops at 50 Received headers.
 */
#define PLAN_EDITS_MAX 1000

enum edit_kind { EDIT_INSERT, EDIT_CHANGE, EDIT_DELETE };

struct edit {
	enum edit_kind kind;
	int index; /* insert: position from 0; change, delete: instance from 1 */
	char *name;
	char *value; /* with its leading space; NULL for EDIT_DELETE */
};

struct plan {
	struct edit *edits;
	size_t count, allocated;
};

struct plan_input {
	const struct config *config;
	const struct headers *headers;
	bool mask;                 /* this message came in on a masked port */
	struct mask_hop hop;       /* with @mask */
	struct mask_client client; /* with @mask */
	/* Values of DKIM-Signature; the first stands above the others. */
	char *const *signatures;
	size_t signatures_count;
};

/* Returns 0, or -ENOMEM; *ret is then empty. plan_done() either way. */
int plan_make(const struct plan_input *input, struct plan *ret);
void plan_done(struct plan *plan);

/* True when masking deletes every header of this name: it does not leave with the
 * message, so no signature may cover it. */
bool plan_removes(const struct config *config, const char *name);
