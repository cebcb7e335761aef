/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <pthread.h>

struct event_base;

/*
 * What every thread of the daemons begins with.
 */

/* Starts @run(@context) under a name of at most 15 characters. Signals are other threads'
 * business: all are blocked in it. 0 or a negative errno. */
int thread_start(
    pthread_t *ret, const char *name, void *(*run)(void *context), void *context);

/* A condition whose timed waits go by CLOCK_MONOTONIC. */
void thread_cond_init(pthread_cond_t *cond);

/* A loop that is one thread's alone: libevent needs no locks of its own. NULL: no memory.
 */
struct event_base *thread_loop_new(void);
