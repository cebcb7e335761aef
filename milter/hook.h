/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

/*
 * What the hooks into libopendkim's calls of OpenSSL have in common: tickets, which are
 * texts that the library carries without understanding them, and that name an object of
 * ours.
 *
 * A ticket begins with a word that is random in every process, so that nothing from
 * outside can be one.
 */

/* To @buf, NUL-terminated: "-----POSTERN ...", which libopendkim takes for PEM; no blank
 * but single ones, so that it is canonical as a body too. */
void hook_write_ticket(const void *object, char *buf, size_t size);

/* The object that @text names, @len bytes that may go on behind it; NULL: no ticket. */
void *hook_read_ticket(const void *text, size_t len);

/* The function of that name in the libraries after this program. */
void *hook_next(const char *symbol);
