/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>

/*
 * The parent: owns the signals, because libmilter takes HUP for stop, and the listening
 * sockets, so that a dead child costs no waiting connection. One loop; the only other
 * thread is the log's. It reads the configuration once, without keys, to learn where to
 * listen and as whom, gives up its privileges, and starts the children by exec of itself:
 * keys must be readable by the service user, and the parent never sees one.
 *
 *	HUP		all children load the file anew; all of them change or none
 *	TERM, INT	children stop, then it leaves with 0
 *	CHLD		a child that died is started again: after 0.1 s, doubled up to 10
 *s, from the beginning once one lived for 60 s
 */

/*
 * Returns the exit code: 0 after TERM or INT, EXIT_CONFIG when the configuration is
 * broken at the start (also when a child finds that out before its first READY), 1 when a
 * socket or a privilege cannot be had.
 */
int parent_main(const char *config_path, bool to_syslog);
