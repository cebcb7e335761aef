/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/core/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *result_name(enum protocol_result result)
{
	switch (result) {
	case PROTOCOL_MORE:
		return "more";
	case PROTOCOL_REQUEST:
		return "request";
	case PROTOCOL_ERROR:
		return "error";
	}
	return "?";
}

/* A copy without a byte to spare, so that ASan sees an over-read. */
static char *exact_copy(const char *data, size_t len)
{
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	return copy;
}

static void results(void **state)
{
	static const struct {
		const char *why, *bytes;
		size_t len; /* 0: strlen */
		enum protocol_result result;
		const char *error;
	} rows[] = {
	    {"nothing yet", "", 0, PROTOCOL_MORE, NULL},
	    {"half a line", "reque", 0, PROTOCOL_MORE, NULL},
	    {"no empty line yet", "request=smtpd_access_policy\n", 0, PROTOCOL_MORE,
	     NULL},
	    {"the smallest request", "request=smtpd_access_policy\n\n", 0,
	     PROTOCOL_REQUEST, NULL},
	    {"request last", "sender=a@b\nrequest=smtpd_access_policy\n\n", 0,
	     PROTOCOL_REQUEST, NULL},
	    {"unknown attributes", "request=smtpd_access_policy\nnew_in_4.0=x\n\n", 0,
	     PROTOCOL_REQUEST, NULL},
	    {"an = in a value", "request=smtpd_access_policy\nsender=a=b@c\n\n", 0,
	     PROTOCOL_REQUEST, NULL},
	    {"an empty request", "\n", 0, PROTOCOL_ERROR, "an empty request"},
	    {"no request=", "sender=a@b\n\n", 0, PROTOCOL_ERROR,
	     "no request=smtpd_access_policy"},
	    {"another request", "request=junk\n\n", 0, PROTOCOL_ERROR,
	     "a request other than smtpd_access_policy"},
	    {"a longer request name", "request=smtpd_access_policy2\n\n", 0,
	     PROTOCOL_ERROR, "a request other than smtpd_access_policy"},
	    {"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, PROTOCOL_ERROR,
	     "a line without \"=\""},
	    {"CRLF lines", "request=smtpd_access_policy\r\n\r\n", 0, PROTOCOL_ERROR,
	     "a request other than smtpd_access_policy"},
	    {"a known name without =", "protocol_state\n\n", 0, PROTOCOL_ERROR,
	     "a line without \"=\""},
	    {"names that are not read",
	     "request=smtpd_access_policy\nccert_subject=a=b\nmail_version=4.0\n\n", 0,
	     PROTOCOL_REQUEST, NULL},
	    {"no name", "=x\n", 0, PROTOCOL_ERROR, "an attribute without a name"},
	    {"NUL in a line", "request=smtpd\0access\n\n", 22, PROTOCOL_ERROR,
	     "a NUL byte"},
	    {"NUL before any newline", "\x16\x03\x01\0", 4, PROTOCOL_ERROR, "a NUL byte"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t len = rows[i].len ? rows[i].len : strlen(rows[i].bytes);
		char *bytes = exact_copy(rows[i].bytes, len);
		struct protocol_scan scan = {0};
		struct request request;
		const char *error = NULL;
		size_t used = 0;
		enum protocol_result result =
		    protocol_parse(bytes, len, &scan, &request, &used, &error);
		if (result != rows[i].result)
			fail_msg(
			    "%s: %s (%s), not %s", rows[i].why, result_name(result),
			    error ? error : "", result_name(rows[i].result));
		if (rows[i].error && strcmp(error, rows[i].error) != 0)
			fail_msg(
			    "%s: \"%s\", not \"%s\"", rows[i].why, error, rows[i].error);
		if (result == PROTOCOL_REQUEST && used != len)
			fail_msg("%s: used %zu of %zu", rows[i].why, used, len);
		free(bytes);
	}
}

static const char full[] = "request=smtpd_access_policy\nprotocol_state=RCPT\n"
			   "protocol_name=ESMTP\nclient_address=192.0.2.1\n"
			   "client_name=host.example.org\nsender=a=b@example.org\n"
			   "recipient=c@example.net\nsasl_username=\nserver_port=587\n"
			   "instance=1.2.3\nsender=last@example.org\n\n";

static void check_full(const struct request *request)
{
	assert_int_equal(request->state, STATE_RCPT);
	assert_int_equal(request->sender.len, strlen("last@example.org"));
	assert_memory_equal(
	    request->sender.data, "last@example.org", request->sender.len);
	assert_memory_equal(request->client_address.data, "192.0.2.1", 9);
	assert_non_null(request->sasl_username.data);
	assert_int_equal(request->sasl_username.len, 0);
	assert_null(request->sasl_method.data);
	assert_int_equal(request->server_port.len, 3);
}

static void names_that_begin_alike(void **state)
{
	static const char bytes[] =
	    "request=smtpd_access_policy\nprotocol_statement=EHLO\nprotocol_state=RCPT\n"
	    "protocol_names=a\nclient=b\nsender_login=c\nsize=12\nsizes=3\n\n";
	struct protocol_scan scan = {0};
	struct request request;
	const char *error = NULL;
	size_t used = 0, len = sizeof(bytes) - 1;
	(void)state;

	char *copy = exact_copy(bytes, len);
	assert_int_equal(
	    protocol_parse(copy, len, &scan, &request, &used, &error), PROTOCOL_REQUEST);
	assert_int_equal(request.state, STATE_RCPT);
	assert_null(request.protocol_name.data);
	assert_null(request.client_address.data);
	assert_null(request.sender.data);
	assert_int_equal(request.size.len, 2);
	assert_memory_equal(request.size.data, "12", 2);
	free(copy);
}

/* The bytes arrive cut at every place, and move in between as a growing buffer does. */
static void split_everywhere(void **state)
{
	(void)state;
	size_t len = sizeof(full) - 1;

	for (size_t cut = 0; cut < len; cut++) {
		struct protocol_scan scan = {0};
		struct request request;
		const char *error = NULL;
		size_t used = 0;
		char *part = exact_copy(full, cut);
		assert_int_equal(
		    protocol_parse(part, cut, &scan, &request, &used, &error),
		    PROTOCOL_MORE);
		free(part);
		char *whole = exact_copy(full, len);
		assert_int_equal(
		    protocol_parse(whole, len, &scan, &request, &used, &error),
		    PROTOCOL_REQUEST);
		assert_int_equal(used, len);
		check_full(&request);
		assert_int_equal(scan.pos, 0);
		free(whole);
	}
}

static void byte_by_byte(void **state)
{
	(void)state;
	struct protocol_scan scan = {0};
	struct request request;
	const char *error = NULL;
	size_t used = 0, len = sizeof(full) - 1;

	for (size_t n = 1; n <= len; n++) {
		char *part = exact_copy(full, n);
		enum protocol_result result =
		    protocol_parse(part, n, &scan, &request, &used, &error);
		assert_int_equal(result, n < len ? PROTOCOL_MORE : PROTOCOL_REQUEST);
		if (n == len)
			check_full(&request);
		free(part);
	}
}

static void two_in_one(void **state)
{
	(void)state;
	static const char two[] = "request=smtpd_access_policy\nsender=one\n\n"
				  "request=smtpd_access_policy\nsender=two\n\nrest";
	struct protocol_scan scan = {0};
	struct request request;
	const char *error = NULL;
	size_t used = 0, len = sizeof(two) - 1;

	assert_int_equal(
	    protocol_parse(two, len, &scan, &request, &used, &error), PROTOCOL_REQUEST);
	assert_memory_equal(request.sender.data, "one", 3);
	assert_int_equal(
	    protocol_parse(two + used, len - used, &scan, &request, &used, &error),
	    PROTOCOL_REQUEST);
	assert_memory_equal(request.sender.data, "two", 3);
}

static void states(void **state)
{
	static const struct {
		const char *name;
		enum protocol_state state;
	} rows[] = {
	    {"CONNECT", STATE_CONNECT}, {"EHLO", STATE_EHLO},
	    {"HELO", STATE_EHLO},       {"MAIL", STATE_MAIL},
	    {"RCPT", STATE_RCPT},       {"DATA", STATE_DATA},
	    {"BDAT", STATE_DATA},       {"END-OF-MESSAGE", STATE_END_OF_MESSAGE},
	    {"VRFY", STATE_VRFY},       {"ETRN", STATE_ETRN},
	    {"", STATE_UNKNOWN},        {"rcpt", STATE_UNKNOWN},
	    {"RCPT2", STATE_UNKNOWN},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char bytes[128];
		struct protocol_scan scan = {0};
		struct request request;
		const char *error = NULL;
		size_t used = 0;
		int len = snprintf(
		    bytes, sizeof(bytes),
		    "request=smtpd_access_policy\nprotocol_state=%s\n\n", rows[i].name);
		assert_int_equal(
		    protocol_parse(bytes, (size_t)len, &scan, &request, &used, &error),
		    PROTOCOL_REQUEST);
		if (request.state != rows[i].state)
			fail_msg(
			    "%s: %d, not %d", rows[i].name, (int)request.state,
			    (int)rows[i].state);
	}
}

/* Exactly at a bound passes, one more is an error, whether the end is in sight or not. */
static void bounds(void **state)
{
	(void)state;
	static char bytes[PROTOCOL_REQUEST_MAX + 64];
	struct protocol_scan scan = {0};
	struct request request;
	const char *error = NULL;
	size_t used = 0;
	size_t head = (size_t)snprintf(
	    bytes, sizeof(bytes), "request=smtpd_access_policy\nsender=");

	memset(bytes + head, 'a', sizeof(bytes) - head);
	memcpy(bytes + PROTOCOL_REQUEST_MAX - 2, "\n\n", 2);
	assert_int_equal(
	    protocol_parse(bytes, PROTOCOL_REQUEST_MAX, &scan, &request, &used, &error),
	    PROTOCOL_REQUEST);
	assert_int_equal(used, PROTOCOL_REQUEST_MAX);

	memset(bytes + PROTOCOL_REQUEST_MAX - 2, 'a', 2);
	memcpy(bytes + PROTOCOL_REQUEST_MAX - 1, "\n\n", 2);
	assert_int_equal(
	    protocol_parse(
		bytes, PROTOCOL_REQUEST_MAX + 1, &scan, &request, &used, &error),
	    PROTOCOL_ERROR);
	scan = (struct protocol_scan){0};
	memset(bytes + head, 'a', sizeof(bytes) - head);
	assert_int_equal(
	    protocol_parse(bytes, PROTOCOL_REQUEST_MAX, &scan, &request, &used, &error),
	    PROTOCOL_ERROR);

	for (unsigned extra = 127; extra <= 128; extra++) {
		size_t len = (size_t)snprintf(
		    bytes, sizeof(bytes), "request=smtpd_access_policy\n");
		for (unsigned i = 0; i < extra; i++)
			len += (size_t)snprintf(
			    bytes + len, sizeof(bytes) - len, "x%u=\n", i);
		bytes[len++] = '\n';
		scan = (struct protocol_scan){0};
		assert_int_equal(
		    protocol_parse(bytes, len, &scan, &request, &used, &error),
		    extra == 127 ? PROTOCOL_REQUEST : PROTOCOL_ERROR);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(results),          cmocka_unit_test(names_that_begin_alike),
	    cmocka_unit_test(split_everywhere), cmocka_unit_test(byte_by_byte),
	    cmocka_unit_test(two_in_one),       cmocka_unit_test(states),
	    cmocka_unit_test(bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
