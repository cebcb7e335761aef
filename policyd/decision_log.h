/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * The decision log's file. Decisions put whole lines into a bounded buffer and never
 * wait; a thread of its own writes them out within 100 ms. What does not fit, or cannot
 * be written, is lost, counted (METRIC_LOG_DROPPED), and said: once when it begins, once
 * a minute while it goes on, once when it is over.
 *
 * The file is opened anew when asked, and when its path leads to another file or to none.
 * It holds whole lines whatever happens: half a line that a full disk left is taken back,
 * and where that cannot be done it ends in a newline of its own.
 */

struct decision_log;

/*
 * Starts the thread, which creates the file with mode 0640 if it is not there. @path ""
 * is off: lines are not taken. 0 or negative errno; that the file cannot be opened is
 * logged and no failure.
 */
int decision_log_new(const char *path, struct decision_log **ret);

/* Writes out what is queued (2 s at most), joins the thread. */
struct decision_log *decision_log_free(struct decision_log *log);

/* True when there is a path. Any thread; cheap. */
bool decision_log_is_on(const struct decision_log *log);

/* Queues @len bytes, one line with its newline. Any thread; does not wait. */
void decision_log_write(struct decision_log *log, const char *line, size_t len);

/* Another file from now on, or the same one opened anew. Any thread. 0 or -ENOMEM (the
 * old file goes on). */
int decision_log_reopen(struct decision_log *log, const char *path);
