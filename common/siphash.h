/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * SipHash (Aumasson and Bernstein, 2012), the keyed hash against those who choose the
 * keys of a hash table so that all fall into one slot. The caller picks the rounds: 2 and
 * 4 are the published function with test vectors, 1 and 3 what hash tables use.
 */

struct siphash {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t siphash_rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static inline void siphash_rounds(struct siphash *s, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		s->v0 += s->v1;
		s->v1 = siphash_rotate(s->v1, 13) ^ s->v0;
		s->v0 = siphash_rotate(s->v0, 32);
		s->v2 += s->v3;
		s->v3 = siphash_rotate(s->v3, 16) ^ s->v2;
		s->v0 += s->v3;
		s->v3 = siphash_rotate(s->v3, 21) ^ s->v0;
		s->v2 += s->v1;
		s->v1 = siphash_rotate(s->v1, 17) ^ s->v2;
		s->v2 = siphash_rotate(s->v2, 32);
	}
}

static inline struct siphash siphash_begin(const uint64_t key[static 2])
{
	return (struct siphash){
	    .v0 = key[0] ^ 0x736f6d6570736575U,
	    .v1 = key[1] ^ 0x646f72616e646f6dU,
	    .v2 = key[0] ^ 0x6c7967656e657261U,
	    .v3 = key[1] ^ 0x7465646279746573U,
	};
}

static inline void siphash_data(
    struct siphash *s, const void *data, size_t len, int compression)
{
	const unsigned char *bytes = data;
	uint64_t word;
	size_t left = len;

	for (; left >= 8; left -= 8, bytes += 8) {
		memcpy(&word, bytes, 8);
		word = le64toh(word);
		s->v3 ^= word;
		siphash_rounds(s, compression);
		s->v0 ^= word;
	}
	word = (uint64_t)len << 56;
	if (left > 0 && len >= 8) {
		/* The last eight bytes, without those that were taken. */
		uint64_t last;
		memcpy(&last, bytes + left - 8, 8);
		word |= le64toh(last) >> (8 * (8 - left));
	} else {
		for (size_t i = 0; i < left; i++)
			word |= (uint64_t)bytes[i] << (8 * i);
	}
	s->v3 ^= word;
	siphash_rounds(s, compression);
	s->v0 ^= word;
}

static inline uint64_t siphash(
    const void *data, size_t len, const uint64_t key[static 2], int compression,
    int finalization)
{
	struct siphash s = siphash_begin(key);

	siphash_data(&s, data, len, compression);
	s.v2 ^= 0xff;
	siphash_rounds(&s, finalization);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The same family's 128 bits, for where a hash stands for the text itself. */
static inline void siphash128(
    const void *data, size_t len, const uint64_t key[static 2], int compression,
    int finalization, uint64_t ret[static 2])
{
	struct siphash s = siphash_begin(key);

	s.v1 ^= 0xee;
	siphash_data(&s, data, len, compression);
	s.v2 ^= 0xee;
	siphash_rounds(&s, finalization);
	ret[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
	s.v1 ^= 0xdd;
	siphash_rounds(&s, finalization);
	ret[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
