/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Ownership by scope: CLEANUP(thing_freep) frees on every way out, TAKE() hands over.
 * DEFINE_CLEANUP(type, thing_free) makes thing_freep() from a destructor that accepts
 * NULL.
 */

#define CLEANUP(function) __attribute__((cleanup(function)))

#define TAKE(pointer)                                                                    \
	__extension__({                                                                  \
		__typeof__(pointer) taken_ = (pointer);                                  \
		(pointer) = 0;                                                           \
		taken_;                                                                  \
	})

#define DEFINE_CLEANUP(type, destructor)                                                 \
	static inline __attribute__((unused)) void destructor##p(type **pointer)         \
	{                                                                                \
		destructor(*pointer);                                                    \
	}

/*
 * For large buffers on a hot path that are written before they are read:
 * -ftrivial-auto-var-init=zero would clear them at each call.
 */
#define UNINITIALIZED __attribute__((uninitialized))
