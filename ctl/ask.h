/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/config.h"

#include <jansson.h>
#include <stdbool.h>

/*
 * A subcommand's question to a daemon, with the exit codes of postern(1).
 */

/*
 * Asks policyd, over policyd.control of @config. Takes @message; NULL is a want of
 * memory. Returns 0 and the reply in *ret (the caller's, without "ok"); else the exit
 * code, with one line on standard error.
 */
int ctl_ask(const char *name, const struct config *config, json_t *message, json_t **ret);

/* Why a daemon gave no answer, in one sentence, or refused: prints it and returns the
 * exit code. @reply NULL: there is none, and @error says why. */
int ctl_refused(const char *name, const json_t *reply, const char *error);

/* Something worth knowing that the daemon adds, on standard error. */
void ctl_note(const char *name, const char *note);

/* The reply as JSON on standard output. */
void ctl_print_json(const json_t *value);

/* For how long an answer is waited for: a scan of many counters takes a while. */
#define CTL_ASK_MS 20000
