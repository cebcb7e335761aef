/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/event_id.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/random.h>

/* 42 bits of milliseconds, 8 that tell processes apart, 14 of a serial: 64 in all. */
void event_id(long long now_ms, char buf[static EVENT_ID_MAX])
{
	static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	static _Atomic uint64_t serial;
	static _Atomic int process = -1;

	if (process < 0) {
		unsigned char byte = 0;
		if (getrandom(&byte, 1, GRND_NONBLOCK) != 1)
			byte = (unsigned char)now_ms;
		int unset = -1;
		atomic_compare_exchange_strong(&process, &unset, byte);
	}
	uint64_t id = (uint64_t)now_ms << 22 | (uint64_t)process << 14 |
		      (atomic_fetch_add(&serial, 1) & 0x3fff);
	for (int i = 12; i >= 0; i--, id >>= 5)
		buf[i] = digits[id & 31];
	buf[13] = '\0';
}
