/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config_text.h"

/*
 * The scanner of config_text.c: judges encoding and syntax (RFC 8259, and comments),
 * blanks comments, notes where each value stands. Makes no values.
 */

/*
 * Scans text->bytes and fills text->nodes; the keys are left as written. Returns 0, 1 and
 * *reterr, or -ENOMEM.
 */
int config_scan(struct config_text *text, struct config_fault *reterr);

/* The XXXX of \uXXXX; -1: not four hexadecimal digits. */
int config_scan_unicode(const char *p);
