/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A message's body in pieces, made canonical (RFC 6376, 3.4.3 and 3.4.4) once for all of
 * its signatures. Runs that are canonical already, which is most of a text, are copied
 * whole; what is held between two pieces is a few flags.
 *
 * A bare LF is a line end, as Postfix sends it on; a body that is not empty ends in CRLF.
 * A bare CR, which Postfix may turn into a line end or not, and endless lines cannot be
 * signed so that others can verify it.
 */

#define BODY_LINE_MAX  (1024 * 1024)
#define BODY_LONG_LINE 998 /* RFC 5322, 2.1.1; Postfix folds longer ones */

enum body_result { BODY_GOOD, BODY_BARE_CR, BODY_LINE_TOO_LONG };

struct body {
	enum canonicalization canon;
	/* Takes canonical bytes; not 0: body_add() and body_end() stop and return it. */
	int (*sink)(void *context, const unsigned char *bytes, size_t len);
	void *context;

	size_t line_len; /* of the line under way, without its end */
	size_t long_lines;
	size_t line_ends; /* that wait for more text */
	bool held_cr;     /* a CR that waits for its LF */
	bool held_blank;  /* white space that waits for more text on its line */
	bool any;         /* something went to the sink */

	size_t filled;
	unsigned char buffer[4096];
};

void body_init(
    struct body *body, enum canonicalization canon,
    int (*sink)(void *context, const unsigned char *bytes, size_t len), void *context);

/* A body_result, or what the sink returned; after anything but BODY_GOOD no more. The
 * sink's own values are negative. */
int body_add(struct body *body, const unsigned char *bytes, size_t len);
int body_end(struct body *body);
