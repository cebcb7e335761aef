/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/arena.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *why;
	size_t size;
} sizes[] = {
    {"nothing", 0},
    {"one byte", 1},
    {"odd", 17},
    {"a block", 32 * 1024},
    {"over a block", 99999},
    {"small after large", 3},
    {"fills what is left", 32000},
};

/* Nothing overlaps and everything is aligned. */
static void test_memory(void **state)
{
	(void)state;
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	unsigned char *got[COUNT];
	for (int wipe = 0; wipe < 2; wipe++) {
		struct arena arena = {0};
		for (size_t i = 0; i < COUNT; i++) {
			got[i] = arena_alloc(&arena, sizes[i].size);
			if (!got[i] || (uintptr_t)got[i] % alignof(max_align_t) != 0)
				fail_msg("%s: %p", sizes[i].why, (void *)got[i]);
			memset(got[i], (int)i + 1, sizes[i].size);
		}
		for (size_t i = 0; i < COUNT; i++) {
			for (size_t at = 0; at < sizes[i].size; at++) {
				if (got[i][at] != i + 1)
					fail_msg(
					    "%s: overwritten at %zu", sizes[i].why, at);
			}
		}
		arena_done(&arena, wipe);
		assert_null(arena.blocks);
		/* Usable again. */
		assert_non_null(arena_alloc(&arena, 1));
		arena_done(&arena, wipe);
	}
}

static void test_impossible_sizes(void **state)
{
	(void)state;
	struct arena arena = {0};
	assert_null(arena_alloc(&arena, SIZE_MAX));
	assert_null(arena_alloc(&arena, SIZE_MAX - 15));
	assert_non_null(arena_alloc(&arena, 8));
	arena_done(&arena, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_impossible_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
