/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stddef.h>
#include <unistd.h>

/* Standard error as a pipe that the test reads; what is written must fit the pipe. */
struct capture {
	int old, pipe[2];
};

static inline int capture_begin(struct capture *capture)
{
	capture->old = dup(STDERR_FILENO);
	if (capture->old < 0 || pipe(capture->pipe) < 0 ||
	    dup2(capture->pipe[1], STDERR_FILENO) < 0)
		return -1;
	return close(capture->pipe[1]);
}

/* Gives standard error back; what was written in between is in @buf. */
static inline size_t capture_end(struct capture *capture, char *buf, size_t size)
{
	dup2(capture->old, STDERR_FILENO);
	close(capture->old);
	size_t len = 0;
	for (ssize_t n; (n = read(capture->pipe[0], buf + len, size - 1 - len)) > 0;)
		len += (size_t)n;
	close(capture->pipe[0]);
	buf[len] = '\0';
	return len;
}
