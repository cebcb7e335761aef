/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>

/*
 * The program's own log: standard error (with sd-daemon priority prefixes when systemd
 * reads it) or syslog, facility mail. One line per call; callers escape foreign text with
 * printable(). Never blocks a serving thread: lines go through a bounded ring that one
 * thread writes out; what does not fit is dropped and counted, and a line says how many.
 * Ordinary lines may wait 5 ms for others to go out with, errors and warnings do not.
 *
 * Lower layers do not log; the programs do.
 */

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* False: not one of error, warning, info, debug. */
bool log_level_parse(const char *name, enum log_level *ret);

/* @ident: the program's name, kept by pointer. @syslog: else standard error. Until this
 * is called, lines go to standard error at once. */
int log_start(const char *ident, bool to_syslog, enum log_level level);
void log_set_level(enum log_level level);
/* Writes out what is queued and stops the thread. Later lines go to standard error. */
void log_stop(void);

__attribute__((format(printf, 2, 3))) void log_line(
    enum log_level level, const char *format, ...);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Lines dropped since the start because the ring was full. */
unsigned long log_dropped(void);
