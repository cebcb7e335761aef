/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

/*
 * Hostile text made harmless. Printable ASCII and valid printable UTF-8 pass; control
 * characters, DEL, C1, bidirectional overrides, invalid UTF-8 and the backslash come out
 * as \xNN. Never a newline, CR or NUL in the output. A cut never splits an escape or a
 * character.
 */

/*
 * Writes @len bytes of @text to @buf (@size > 0, always NUL-terminated), cut with "..."
 * where it does not fit. Returns the length written.
 */
size_t printable(char *buf, size_t size, const char *text, size_t len);

/* The same, and ASCII alone: for SMTP replies, where SMTPUTF8 may not be on. */
size_t printable_ascii(char *buf, size_t size, const char *text, size_t len);
