/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/decision_line.h"
#include "policyd/event_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLICE(text)                                                                      \
	{                                                                                \
		text, sizeof(text) - 1                                                   \
	}

static const struct verdict refusal = {
    .action = ACTION_REPLY,
    .check = CHECK_LIMITS,
    .limit = "user-hour",
    .code = 451,
    .dsn = "4.7.1",
    .text = "Limit \"x\"",
    .reason = "because",
};

static void lines(void **state)
{
	static const struct {
		const char *why;
		struct request request;
		bool shadow;
		const char *line;
	} rows[] = {
	    {"everything known",
	     {.state = STATE_DATA,
	      .queue_id = SLICE("4F3D"),
	      .client_name = SLICE("host.example"),
	      .client_address = SLICE("192.0.2.1"),
	      .server_port = SLICE("587"),
	      .sender = SLICE("a@b.example"),
	      .recipient = SLICE("c@d.example"),
	      .protocol_name = SLICE("ESMTP"),
	      .helo_name = SLICE("h"),
	      .sasl_username = SLICE("ada")},
	     false,
	     "4F3D: event=E1 state=DATA check=limits limit=user-hour action=\"451 4.7.1 "
	     "Limit \\x22x\\x22\" client=host.example[192.0.2.1] port=587 "
	     "from=<a@b.example> to=<c@d.example> proto=ESMTP helo=<h> "
	     "sasl_username=ada reason=\"because\""},
	    {"nothing known, in shadow",
	     {.state = STATE_CONNECT},
	     true,
	     "NOQUEUE: event=E1 state=CONNECT check=limits limit=user-hour shadow=yes "
	     "action=\"451 4.7.1 Limit \\x22x\\x22\" client=unknown[unknown] port= "
	     "from=<> to=<> proto= helo=<> sasl_username= reason=\"because\""},
	    {"values that try to end their field",
	     {.state = STATE_RCPT,
	      .sender = SLICE("a> to=<b\n\x1b[2J"),
	      .sasl_username = SLICE("x action=OK")},
	     false,
	     "NOQUEUE: event=E1 state=RCPT check=limits limit=user-hour action=\"451 "
	     "4.7.1 Limit \\x22x\\x22\" client=unknown[unknown] port= "
	     "from=<a\\x3e to=<b\\x0a\\x1b[2J> to=<> proto= helo=<> "
	     "sasl_username=x\\x20action\\x3dOK reason=\"because\""},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char buf[DECISION_LINE_MAX];
		size_t len =
		    decision_line(&rows[i].request, &refusal, "E1", rows[i].shadow, buf);
		if (strcmp(buf, rows[i].line) != 0)
			fail_msg("%s:\n%s\nnot\n%s", rows[i].why, buf, rows[i].line);
		assert_int_equal(len, strlen(buf));
	}
}

/* Every field at its maximum and hostile: one line, and within its bound. */
static void bounded(void **state)
{
	enum { HUGE_LEN = 60000 };
	char *huge = malloc(HUGE_LEN);
	char buf[DECISION_LINE_MAX];
	(void)state;

	assert_non_null(huge);
	for (int c = 0; c < HUGE_LEN; c++)
		huge[c] = (char)(c * 7);
	struct slice hostile = {huge, HUGE_LEN};
	struct request request = {
	    .state = STATE_RCPT,
	    .queue_id = hostile,
	    .client_name = hostile,
	    .client_address = hostile,
	    .server_port = hostile,
	    .sender = hostile,
	    .recipient = hostile,
	    .protocol_name = hostile,
	    .helo_name = hostile,
	    .sasl_username = hostile,
	};
	size_t len = decision_line(&request, &refusal, "E1", false, buf);
	assert_true(len < DECISION_LINE_MAX);
	assert_int_equal(len, strlen(buf));
	assert_null(strpbrk(buf, "\n\r\x1b\x7f"));
	free(huge);
}

static void events_differ(void **state)
{
	char before[EVENT_ID_MAX] = "", now[EVENT_ID_MAX];
	(void)state;

	for (int i = 0; i < 16000; i++) {
		event_id(1767600000000, now);
		assert_int_equal(strlen(now), 13);
		assert_string_not_equal(now, before);
		memcpy(before, now, sizeof(before));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines),
	    cmocka_unit_test(bounded),
	    cmocka_unit_test(events_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
