/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Reading what another thread may replace at any time, without a lock: readers mark the
 * short section in which they follow the pointer, and who replaced it waits until every
 * section that may still see the old object has ended, then frees it.
 *
 *     reader:  unsigned mark = grace_enter(); p = atomic_load(&pointer); ...;
 *              grace_leave(mark);
 *     writer:  old = atomic_exchange(&pointer, new); grace_wait(); free(old);
 *
 * Two atomic additions on a cache line that few threads share. A reader never waits. The
 * writer may be any thread that is not inside a section; it sleeps while it waits.
 */

unsigned grace_enter(void);
void grace_leave(unsigned mark);
void grace_wait(void);
