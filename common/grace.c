/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/grace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/*
 * Readers count themselves in one of two sides, the current one; the writer waits for the
 * other side to be empty, changes sides, and waits for the one it left. A reader that
 * read the side and was stopped before it counted itself is no danger: it follows the
 * pointer afterwards, and the next writer begins by waiting for it (the sides' orders
 * rest on sequential consistency, the default of C11 atomics).
 *
 * The counters are split by thread, a power of two, so that threads do not fight for one
 * cache line.
 */
#define SHARDS 16

static struct {
	_Alignas(64) atomic_uint readers[2];
} shards[SHARDS];

static atomic_uint side;
static atomic_uint threads_seen;
static pthread_mutex_t writers = PTHREAD_MUTEX_INITIALIZER;

/* Two threads may share a number, and a session may move between threads: a section
 * begins and ends in one function, which is all this is for. */
static _Thread_local unsigned shard_of_thread;

unsigned grace_enter(void)
{
	if (!shard_of_thread)
		shard_of_thread = atomic_fetch_add(&threads_seen, 1) % SHARDS + 1;
	unsigned shard = shard_of_thread - 1, current = atomic_load(&side);
	atomic_fetch_add(&shards[shard].readers[current], 1);
	return shard * 2 + current;
}

void grace_leave(unsigned mark)
{
	atomic_fetch_sub(&shards[mark / 2].readers[mark % 2], 1);
}

static void wait_for_side(unsigned which)
{
	static const struct timespec pause = {.tv_nsec = 50000};

	for (unsigned i = 0; i < SHARDS; i++)
		while (atomic_load(&shards[i].readers[which]) != 0)
			nanosleep(&pause, NULL);
}

void grace_wait(void)
{
	pthread_mutex_lock(&writers);
	unsigned old = atomic_load(&side);
	wait_for_side(1 - old);
	atomic_store(&side, 1 - old);
	wait_for_side(old);
	pthread_mutex_unlock(&writers);
}
