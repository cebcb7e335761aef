/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * The door to libsystemd: systemd.c with it, systemd_absent.c without; the build chooses.
 * Programs use sockets_activated() instead.
 */

/* How many descriptors systemd passed, from SYSTEMD_FIRST on; 0: none; else -errno. The
 * environment that says so is cleared: a second call finds none. */
int systemd_listen_fds(void);

#define SYSTEMD_FIRST 3
