/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

/*
 * The `postern` command: one file per subcommand, each a function of the table in main.c.
 * It gets its own name as argv[0] and returns the exit code: 0 answered, 1 a named thing
 * does not exist, 64 wrong use, 69 no daemon, 78 bad configuration.
 */

#define EXIT_NOT_FOUND 1
#define EXIT_NO_DAEMON 69 /* sysexits.h EX_UNAVAILABLE */

int cmd_block(int argc, char **argv);
int cmd_blocks(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_dkim(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_import(int argc, char **argv);
int cmd_login(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_reset(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_unblock(int argc, char **argv);
int cmd_usage(int argc, char **argv);

/*
 * Loads @file for a command that answers from it. Returns 0 and *ret; otherwise every
 * error stands on standard error and the exit code is returned.
 */
int ctl_load_config(const char *file, unsigned flags, struct config **ret);

/* The same with config_load_sockets(), for a command that asks a daemon. */
int ctl_load_sockets(const char *file, struct config **ret);
