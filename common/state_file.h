/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>

/*
 * Files in which a daemon keeps what it knows over a restart: read whole, replaced whole,
 * mode 0600, on the disk when the call returns. What is in them is the caller's.
 */

#define STATE_FILE_ERROR_MAX 400

/*
 * Reads at most @max bytes. 0 and the text (malloc'd, NUL-terminated); 1: there is no
 * such file; -1 with one sentence in @errbuf, which begins with @path.
 */
int state_file_read(
    const char *path, size_t max, char **ret, size_t *ret_len,
    char errbuf[static STATE_FILE_ERROR_MAX]);

/* 0, or -1 with such a sentence: what was there before still is. */
int state_file_write(
    const char *path, const char *text, char errbuf[static STATE_FILE_ERROR_MAX]);

/* Such a sentence about the content, for the caller; returns -1. */
__attribute__((format(printf, 3, 4))) int state_file_complain(
    const char *path, char errbuf[static STATE_FILE_ERROR_MAX], const char *format, ...);
