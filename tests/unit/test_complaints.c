/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/complaints.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/capture.h"

/* One after another on one counter. */
static const struct {
	enum complaint kind;
	int64_t now_s;
	bool loud;
	unsigned long silent;
	const char *why;
} rows[] = {
    {COMPLAINT_FULL, 100, true, 0, "the first"},
    {COMPLAINT_FULL, 101, false, 0, "the second in the same minute"},
    {COMPLAINT_SLOW, 101, true, 0, "another kind has its own count"},
    {COMPLAINT_FULL, 159, false, 0, "the minute runs from the first"},
    {COMPLAINT_FULL, 160, true, 2, "a new minute, and what the last one hid"},
    {COMPLAINT_FULL, 500, true, 0, "nothing was hidden"},
};

static void test_minutes(void **state)
{
	(void)state;
	struct complaints *complaints;
	assert_int_equal(complaints_new(&complaints), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned long silent = 99;
		bool loud =
		    complaints_count(complaints, rows[i].kind, rows[i].now_s, &silent);
		if (loud != rows[i].loud || silent != rows[i].silent)
			fail_msg("%s: loud %d, silent %lu", rows[i].why, loud, silent);
	}
	complaints_free(complaints);
}

static void test_the_first_ten(void **state)
{
	(void)state;
	struct complaints *complaints;
	unsigned long silent;
	int loud = 0;
	assert_int_equal(complaints_new(&complaints), 0);
	for (int i = 0; i < 1000; i++)
		loud += complaints_count(complaints, COMPLAINT_PROTOCOL, 7, &silent);
	assert_int_equal(loud, 10);
	assert_true(complaints_count(complaints, COMPLAINT_PROTOCOL, 67, &silent));
	assert_int_equal(silent, 990);
	complaints_free(complaints);
}

static void test_lines(void **state)
{
	(void)state;
	struct complaints *complaints;
	struct capture capture;
	char buf[2048];
	unsigned long silent;
	assert_int_equal(complaints_new(&complaints), 0);
	/* A minute long ago that hid one. */
	complaints_count(complaints, COMPLAINT_FULL, -1000, &silent);
	complaints_count(complaints, COMPLAINT_FULL, -1000, &silent);
	assert_int_equal(capture_begin(&capture), 0);
	complaints_report(complaints);
	complaints_report(complaints);
	complain(complaints, COMPLAINT_FULL, "no room for %s", "you");
	complain(complaints, COMPLAINT_FULL, "no room for %s", "me");
	complaints_report(complaints); /* the minute is not over */
	capture_end(&capture, buf, sizeof(buf));
	assert_string_equal(
	    buf, "postern: warning: 1 more connections closed for "
		 "policyd.max_connections in the last minute\n"
		 "postern: warning: no room for you\n");
	complaints_free(complaints);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_minutes),
	    cmocka_unit_test(test_the_first_ten),
	    cmocka_unit_test(test_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
