/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * The children as their parent sees them: started, heard, reloaded in two steps, started
 * again with back-off when they die, and ended. Everything happens in the calls of the
 * parent's loop, none of which blocks. Logs what an operator must know.
 */

/* Descriptors of the parent lie above those that a child gets by number (child.h). */
#define FD_FLOOR 10

struct children_params {
	const char *config_path;
	bool to_syslog;
	const int *sockets; /* @each children share one */
	size_t sockets_count, each;
	int page, metrics; /* of the status page; -1: none */
	int control;       /* the listening socket, for the first child; -1: none */
};

struct children;

/* 0 or -ENOMEM. Copies @params, not what it points to. */
int children_new(const struct children_params *params, struct children **ret);
struct children *children_free(struct children *all);

/* Moves @fd out of the way of the numbers that children get, close-on-exec. -1: errno. */
int children_lift(int fd);

/* Starts those that are due. */
void children_start_due(struct children *all);
/* SIGCHLD: some may have ended. One that leaves with EXIT_CONFIG before it was ever ready
 * ends all. */
void children_reap(struct children *all);
/* SIGHUP: all of them take the file anew, or none; those that wait to be started again
 * are started at once. */
void children_reload(struct children *all);
/* SIGTERM: they end what is under way and leave; killed after a while. */
void children_stop(struct children *all, int exit_code);

size_t children_count(const struct children *all);
/* Fills in one entry for each. */
void children_fill_poll(const struct children *all, struct pollfd *fds);
/* How long poll() may sleep; -1: until something happens. */
int children_wait_ms(const struct children *all);
/* After poll(), before signals are looked at: their last words count. */
void children_hear(struct children *all, const struct pollfd *fds);
/* Then: takes the next step of a reload or stop. */
void children_work(struct children *all);

/* True once they were told to stop and all are gone; then the exit code. */
bool children_done(const struct children *all);
int children_exit_code(const struct children *all);
