/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * A harness without libFuzzer: ROUNDS inputs, each put together from pieces of the files
 * that are named, with bytes changed, taken out and repeated. The same seed makes the
 * same inputs.
 *
 *     fuzz_NAME ROUNDS SEED FILE...
 */

#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX  200000
#define SAMPLE_MAX 70000
#define SAMPLES    64

static struct sample {
	size_t len;
	uint8_t *data;
} samples[SAMPLES];

static uint64_t state;

/* xorshift64*; good enough, and the same everywhere. */
static size_t pick(size_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (size_t)((state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static void read_sample(const char *path, struct sample *ret)
{
	FILE *file = fopen(path, "re");

	ret->data = malloc(SAMPLE_MAX);
	if (!file || !ret->data) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	ret->len = fread(ret->data, 1, SAMPLE_MAX, file);
	fclose(file);
}

static size_t append(uint8_t *input, size_t len, const uint8_t *data, size_t more)
{
	if (more > INPUT_MAX - len)
		more = INPUT_MAX - len;
	memcpy(input + len, data, more);
	return len + more;
}

/* Whole samples, parts of them, and one part many times over. */
static size_t put_together(uint8_t *input, size_t count)
{
	size_t len = 0;

	for (size_t n = 1 + pick(4); n > 0; n--) {
		const struct sample *sample = &samples[pick(count)];
		size_t from = pick(4) ? 0 : pick(sample->len + 1);
		size_t size = sample->len - from;
		if (!pick(4))
			size = pick(size + 1);
		size_t times = pick(50) ? 1 : pick(3000);
		for (; times > 0; times--)
			len = append(input, len, sample->data + from, size);
	}
	return len;
}

static size_t damage(uint8_t *input, size_t len)
{
	static const uint8_t likely[] = "{}[]\",:\\\n\0\xff u0e-.";

	for (size_t n = pick(6); n > 0 && len > 0; n--) {
		size_t at = pick(len);
		if (pick(2)) {
			input[at] = likely[pick(sizeof(likely) - 1)];
		} else {
			memmove(input + at, input + at + 1, len - at - 1);
			len--;
		}
	}
	return len;
}

int main(int argc, char **argv)
{
	size_t count = argc > 3 ? (size_t)argc - 3 : 0;
	uint8_t *input = malloc(INPUT_MAX);

	if (count == 0 || count > SAMPLES || !input) {
		fprintf(stderr, "usage: %s ROUNDS SEED FILE...\n", argv[0]);
		return 64;
	}
	for (size_t i = 0; i < count; i++)
		read_sample(argv[i + 3], &samples[i]);
	state = strtoull(argv[2], NULL, 10) | 1;
	for (unsigned long round = strtoul(argv[1], NULL, 10); round > 0; round--) {
		size_t len = put_together(input, count);
		len = damage(input, len);
		/* A copy of its own length: reading on is seen. */
		uint8_t *copy = malloc(len + !len);
		if (!copy)
			return 1;
		memcpy(copy, input, len);
		LLVMFuzzerTestOneInput(copy, len);
		free(copy);
	}
	for (size_t i = 0; i < count; i++)
		free(samples[i].data);
	free(input);
	return 0;
}
