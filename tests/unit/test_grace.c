/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/grace.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* What readers follow: good as long as it is not freed, which the sanitizers see too. */
struct object {
	_Atomic unsigned value;
};

#define GOOD    0x600d600dU
#define READERS 3
#define ROUNDS  2000

static _Atomic(struct object *) current;
static atomic_bool stopping;
static atomic_ulong reads, bad_reads;

static struct object *new_object(void)
{
	struct object *object = malloc(sizeof(*object));

	assert_non_null(object);
	atomic_init(&object->value, GOOD);
	return object;
}

static void *read_on(void *context)
{
	(void)context;
	while (!atomic_load(&stopping)) {
		unsigned mark = grace_enter();
		struct object *object = atomic_load(&current);
		for (unsigned i = 0; i < 20; i++)
			if (atomic_load(&object->value) != GOOD)
				atomic_fetch_add(&bad_reads, 1);
		grace_leave(mark);
		atomic_fetch_add(&reads, 1);
	}
	return NULL;
}

static void test_replacing_under_readers(void **state)
{
	pthread_t readers[READERS];

	(void)state;
	atomic_store(&current, new_object());
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_on, NULL), 0);
	for (unsigned i = 0; i < ROUNDS || atomic_load(&reads) < ROUNDS; i++) {
		struct object *old = atomic_exchange(&current, new_object());
		grace_wait();
		atomic_store(&old->value, 0xdeadU);
		free(old);
	}
	atomic_store(&stopping, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	free(atomic_load(&current));
	assert_int_equal(atomic_load(&bad_reads), 0);
}

static atomic_bool inside, waited;

static void *wait_once(void *context)
{
	(void)context;
	atomic_store(&inside, true);
	grace_wait();
	atomic_store(&waited, true);
	return NULL;
}

static void test_waits_for_a_section(void **state)
{
	pthread_t writer;
	unsigned mark = grace_enter();

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, wait_once, NULL), 0);
	while (!atomic_load(&inside))
		;
	/* However long the writer is given: sections of others come and go. */
	for (unsigned i = 0; i < 100000; i++)
		grace_leave(grace_enter());
	assert_false(atomic_load(&waited));
	grace_leave(mark);
	pthread_join(writer, NULL);
	assert_true(atomic_load(&waited));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_replacing_under_readers),
	    cmocka_unit_test(test_waits_for_a_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
