/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>
#include <sys/time.h>

/*
 * One packet that libmilter must not see.
 *
 * Macros come as names and values by turns. libmilter looks for a name by stepping over
 * pairs until the list's end, and past it where the last name has no value: whoever
 * reaches the socket could make a child read beyond its memory and die, and every message
 * under way in it would be deferred. libmilter reads packets by mi_rd_cmd(), an ordinary
 * dynamic symbol, so the one defined here, in the program, is called in its place, and
 * passes everything else through. Where another libmilter's calls do not arrive here
 * nothing is different.
 */

/*
 * As in libmilter (comm.c): the packet's content, malloc'd, its command in *command; NULL
 * with a code below ' ' in *command ends the session.
 */
char *mi_rd_cmd(int fd, struct timeval *timeout, char *command, size_t *len, char *name);
