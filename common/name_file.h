/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "common/name_state.h"
#include "common/state_file.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What names stood for when DNS last answered, in a file, so that a daemon that is
 * started while DNS is away knows its hosts. JSON; each name with its networks and when
 * the answer was good.
 */

/*
 * Gives those of @names that are not resolved what @path knows of them, unless that is
 * older than @times allow. @now_ms: the clock of the names; @calendar_s: of the file. 0,
 * also when there is no such file; -1 with a sentence: then nothing was taken.
 */
int name_file_load(
    const char *path, struct name *const *names, size_t count,
    const struct name_times *times, int64_t now_ms, int64_t calendar_s,
    char errbuf[static STATE_FILE_ERROR_MAX]);

int name_file_save(
    const char *path, struct name *const *names, size_t count, int64_t now_ms,
    int64_t calendar_s, char errbuf[static STATE_FILE_ERROR_MAX]);
