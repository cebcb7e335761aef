/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>

/*
 * The child: serves one listening socket with libmilter, holds the keys, and lives and
 * dies by two pipes. It ignores HUP, INT, TERM and USR1, so that a signal sent to all
 * processes of the name reloads through the parent and stops nothing.
 *
 * The main thread is the control thread: it reads commands and loads configurations, off
 * the callbacks; a second one runs libmilter.
 */

/* Descriptors the parent puts there. */
#define CHILD_SOCKET  3
#define CHILD_COMMAND 4 /* read; its end means: stop */
#define CHILD_STATUS  5 /* write */
#define CHILD_METRICS 6 /* all children count into one arena */
#define CHILD_PAGE    7 /* the listening socket of milter.status; may be missing */
#define CHILD_CONTROL 8 /* that of milter.control; the first child's alone */

/* A reload has two steps, so that all children change or none. */
enum child_command {
	CHILD_PREPARE = 'R', /* load the file; answered */
	CHILD_PUBLISH = 'P', /* serve what was prepared; answered */
	CHILD_DROP = 'D',    /* forget it */
};

enum child_status {
	CHILD_READY = 'Y',
	CHILD_PREPARED = 'K',
	CHILD_BROKEN = 'B', /* every error is in the log */
	CHILD_PUBLISHED = 'S',
};

/*
 * @first: this child speaks for all of them where all would log the same. Returns the
 * exit code: 0 after its command pipe ended, EXIT_CONFIG when the configuration is broken
 * at its start, 1 else.
 */
int child_main(const char *config_path, bool first, bool to_syslog);
