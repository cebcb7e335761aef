/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/state_file.h"
#include "milter/gate_view.h"

#include <stddef.h>

/*
 * milter.dkim.state: what DNS showed of each record, kept over a restart. JSON, mode
 * 0600, replaced whole. Records that the configuration no longer has are forgotten, and
 * so is a record whose key is another one now.
 */

#define GATE_FILE_ERROR_MAX STATE_FILE_ERROR_MAX

/*
 * Gives the pairs of @view what @path knows of them. 0, also when there is no such file;
 * or -1 with one sentence in @errbuf: then nothing was taken from it.
 */
int gate_file_load(
    const char *path, struct gate_view *view, int64_t now_s,
    char errbuf[static GATE_FILE_ERROR_MAX]);

/* 0, or -1 with one sentence in @errbuf: what was there before still is. */
int gate_file_save(
    const char *path, const struct gate_view *view,
    char errbuf[static GATE_FILE_ERROR_MAX]);
