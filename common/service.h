/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a daemon does once about itself: log, privileges, descriptors, systemd. */

#define EXIT_USAGE  64 /* sysexits.h EX_USAGE */
#define EXIT_CONFIG 78 /* sysexits.h EX_CONFIG */

/*
 * Becomes @user with its groups for good, and proves that root cannot be regained. @user
 * "" stays: *ret_is_root then tells whether a warning is due. Not root and @user is
 * another: an error. Returns 0, or -1 with a sentence in @errbuf.
 */
int service_drop_privileges(
    const char *user, int *ret_is_root, char *errbuf, size_t errsize);

/* Raises the descriptor limit to its hard maximum; returns the limit now in force. */
size_t service_raise_descriptors(void);

/* Tells the service manager, as sd_notify(3) does; nothing when none asked to be told.
 * Waits for it a second at most. Any thread. */
void service_notify(const char *state);

/*
 * Makes sure that descriptors 0 to 2 exist, so that no socket can be taken for standard
 * error, and starts the log: to syslog when @to_syslog, or when standard error goes
 * nowhere (closed, /dev/null). @program is kept by pointer. As log_start() otherwise.
 */
int service_start_log(const char *program, bool to_syslog);
