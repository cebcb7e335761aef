/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/thread.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>
#include <event2/event.h>

struct seen {
	sigset_t blocked;
	pthread_mutex_t lock; /* the name is given to a thread that runs already */
	char name[16];
};

static void *look(void *context)
{
	struct seen *seen = context;

	pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
	pthread_mutex_lock(&seen->lock);
	pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
	pthread_mutex_unlock(&seen->lock);
	return seen;
}

static void it_takes_no_signal_and_has_a_name(void **state)
{
	(void)state;
	static const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGPIPE, SIGXFSZ};
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t thread;
	void *result;
	sigset_t mine;

	pthread_mutex_lock(&seen.lock);
	assert_int_equal(thread_start(&thread, "worker 7", look, &seen), 0);
	pthread_mutex_unlock(&seen.lock);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &seen);
	assert_string_equal(seen.name, "worker 7");
	pthread_sigmask(SIG_SETMASK, NULL, &mine);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		assert_true(sigismember(&seen.blocked, signals[i]));
		assert_false(sigismember(&mine, signals[i]));
	}
}

static void a_wait_goes_by_the_steady_clock(void **state)
{
	(void)state;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t cond;
	struct timespec until, now;

	thread_cond_init(&cond);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += 20 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&lock);
	/* By the wall clock this would have been over for decades. */
	int r;
	do
		r = pthread_cond_timedwait(&cond, &lock, &until);
	while (r == 0);
	pthread_mutex_unlock(&lock);
	assert_int_equal(r, ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &now);
	assert_true(
	    now.tv_sec > until.tv_sec ||
	    (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));
	pthread_cond_destroy(&cond);
}

static void a_loop_turns(void **state)
{
	(void)state;
	struct event_base *base = thread_loop_new();

	assert_non_null(base);
	assert_int_equal(event_base_loop(base, EVLOOP_NONBLOCK), 1); /* nothing to do */
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_takes_no_signal_and_has_a_name),
	    cmocka_unit_test(a_wait_goes_by_the_steady_clock),
	    cmocka_unit_test(a_loop_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
