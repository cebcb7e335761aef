/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/decision_record.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLICE(text)                                                                      \
	{                                                                                \
		text, sizeof(text) - 1                                                   \
	}

static const struct request usual = {
    .state = STATE_END_OF_MESSAGE,
    .state_name = SLICE("END-OF-MESSAGE"),
    .client_address = SLICE("192.0.2.1"),
    .client_name = SLICE("client.example.net"),
    .reverse_client_name = SLICE("client.example.net"),
    .helo_name = SLICE("laptop"),
    .server_port = SLICE("587"),
    .sasl_username = SLICE("ada@example.org"),
    .sasl_method = SLICE("PLAIN"),
    .encryption_protocol = SLICE("TLSv1.3"),
    .sender = SLICE("ada@example.org"),
    .recipient = SLICE(""),
    .recipient_count = SLICE("2"),
    .size = SLICE("1234"),
    .queue_id = SLICE("3F2A1C0123"),
    .instance = SLICE("1a.67.2.0"),
    .policy_context = SLICE(""),
};

static const struct verdict passed = {.action = ACTION_DUNNO, .check = CHECK_NONE};

static const struct verdict refused = {
    .action = ACTION_REPLY,
    .check = CHECK_LIMITS,
    .limit = "user-hour",
    .code = 451,
    .dsn = "4.7.1",
    .text = "Limit \"user-hour\"",
    .reason = "201 of 200",
};

static void whole_line(void **state)
{
	static const char recipients[] = "bob@example.net\0eve@example.com";
	struct decision_record record = {
	    .time_ms = 1767600000007,
	    .node = "gw.example.org",
	    .id = "01ABCDEFGHJKM",
	    .country = "",
	    .request = &usual,
	    .verdict = &passed,
	    .reason = "",
	    .recipients = recipients,
	    .recipients_len = sizeof(recipients),
	};
	char buf[DECISION_RECORD_MAX + 1];
	(void)state;

	buf[decision_record(&record, buf)] = '\0';
	assert_string_equal(
	    buf, "{\"time\":\"2026-01-05T08:00:00.007Z\",\"node\":\"gw.example.org\","
		 "\"id\":\"01ABCDEFGHJKM\",\"event\":\"message\",\"check\":\"none\","
		 "\"action\":\"DUNNO\",\"client\":\"192.0.2.1\","
		 "\"client_name\":\"client.example.net\","
		 "\"reverse_client_name\":\"client.example.net\",\"helo\":\"laptop\","
		 "\"country\":\"\",\"port\":587,\"user\":\"ada@example.org\","
		 "\"sasl_method\":\"PLAIN\",\"tls\":\"TLSv1.3\",\"sender\":\"ada@example."
		 "org\","
		 "\"recipients\":[\"bob@example.net\",\"eve@example.com\"],\"size\":1234,"
		 "\"queue_id\":\"3F2A1C0123\",\"instance\":\"1a.67.2.0\","
		 "\"state\":\"END-OF-MESSAGE\",\"context\":\"\",\"reason\":\"\","
		 "\"recipient_count\":2}\n");

	struct request one = usual;
	one.recipient = (struct slice)SLICE("bob@example.net");
	one.recipient_count = (struct slice)SLICE("1");
	record.request = &one;
	record.verdict = &refused;
	record.reason = refused.reason;
	record.is_refusal = true;
	buf[decision_record(&record, buf)] = '\0';
	assert_non_null(strstr(
	    buf, "\"event\":\"refusal\",\"check\":\"limits\","
		 "\"action\":\"451 4.7.1 Limit \\\"user-hour\\\"\","));
	assert_non_null(strstr(buf, "\"recipients\":[\"bob@example.net\"],"));
	assert_non_null(
	    strstr(buf, "\"reason\":\"201 of 200\",\"recipient_count\":1}\n"));
}

static void values(void **state)
{
	static const struct {
		const char *why;
		struct slice sender;
		const char *line;
	} rows[] = {
	    {"absent", {NULL, 0}, "\"sender\":null,"},
	    {"the null sender", SLICE(""), "\"sender\":\"\","},
	    {"a quote", SLICE("\"a b\"@x"), "\"sender\":\"\\\"a b\\\"@x\","},
	    {"a backslash", SLICE("a\\n"), "\"sender\":\"a\\\\x5cn\","},
	    {"a newline", SLICE("a\nb"), "\"sender\":\"a\\\\x0ab\","},
	    {"UTF-8", SLICE("j\xc3\xbcrgen@x"), "\"sender\":\"j\xc3\xbcrgen@x\","},
	    {"not UTF-8", SLICE("j\xfcrgen@x"), "\"sender\":\"j\\\\xfcrgen@x\","},
	    {"a half character", SLICE("\xe2\x82"), "\"sender\":\"\\\\xe2\\\\x82\","},
	    {"an override", SLICE("a\xe2\x80\xae"),
	     "\"sender\":\"a\\\\xe2\\\\x80\\\\xae\","},
	    {"a NUL", SLICE("a\0b"), "\"sender\":\"a\\\\x00b\","},
	};
	char buf[DECISION_RECORD_MAX + 1];
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct request request = usual;
		request.sender = rows[i].sender;
		struct decision_record record = {
		    .node = "n",
		    .id = "i",
		    .country = "",
		    .request = &request,
		    .verdict = &passed,
		    .reason = ""};
		buf[decision_record(&record, buf)] = '\0';
		if (!strstr(buf, rows[i].line))
			fail_msg("%s: %s", rows[i].why, buf);
	}
}

static void numbers(void **state)
{
	static const struct {
		const char *why;
		struct slice size;
		const char *line;
	} rows[] = {
	    {"absent", {NULL, 0}, "\"size\":null,"},
	    {"empty", SLICE(""), "\"size\":null,"},
	    {"zero", SLICE("0"), "\"size\":0,"},
	    {"leading zeros", SLICE("007"), "\"size\":7,"},
	    {"zeros alone", SLICE("000"), "\"size\":0,"},
	    {"no number", SLICE("12,\"x\":1"), "\"size\":null,"},
	    {"a sign", SLICE("-1"), "\"size\":null,"},
	    {"too long", SLICE("12345678901234567890"), "\"size\":null,"},
	    {"just not", SLICE("1234567890123456789"), "\"size\":1234567890123456789,"},
	};
	char buf[DECISION_RECORD_MAX + 1];
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct request request = usual;
		request.size = rows[i].size;
		struct decision_record record = {
		    .node = "n",
		    .id = "i",
		    .country = "",
		    .request = &request,
		    .verdict = &passed,
		    .reason = ""};
		buf[decision_record(&record, buf)] = '\0';
		if (!strstr(buf, rows[i].line))
			fail_msg("%s: %s", rows[i].why, buf);
	}
}

static const char *const names[] = {"time",     "node",        "id",
				    "event",    "check",       "action",
				    "client",   "client_name", "reverse_client_name",
				    "helo",     "country",     "port",
				    "user",     "sasl_method", "tls",
				    "sender",   "recipients",  "size",
				    "queue_id", "instance",    "state",
				    "context",  "reason",      "recipient_count"};

/* One line, valid JSON, the fields in their order, within the bound. */
static void assert_sound(const char *why, const char *buf, size_t len)
{
	json_error_t error;
	size_t i = 0;

	if (len > DECISION_RECORD_MAX || buf[len - 1] != '\n' ||
	    memchr(buf, '\n', len - 1))
		fail_msg("%s: %zu bytes", why, len);
	json_t *root = json_loadb(buf, len, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		fail_msg("%s: %s\n%.*s", why, error.text, (int)len, buf);
	for (void *at = json_object_iter(root); at; at = json_object_iter_next(root, at))
		if (i >= sizeof(names) / sizeof(names[0]) ||
		    strcmp(json_object_iter_key(at), names[i++]) != 0)
			fail_msg("%s: field %zu is %s", why, i, json_object_iter_key(at));
	assert_int_equal(i, sizeof(names) / sizeof(names[0]));
	json_decref(root);
}

/* Every value at its largest, of bytes that grow most when they are escaped. */
static void hostile_and_large(void **state)
{
	static const struct {
		const char *why, *pattern;
		size_t len;
	} rows[] = {
	    {"backslashes", "\\", 1},
	    {"invalid UTF-8", "\xff", 1},
	    {"NULs", "\0", 1},
	    {"newlines", "\n", 1},
	    {"quotes", "\"", 1},
	    {"plain", "x", 1},
	    {"two bytes", "\xc3\xbc", 2},
	    {"three bytes", "\xe2\x82\xac", 3},
	    {"four bytes", "\xf0\x9f\x92\xa3", 4},
	    {"digits", "7", 1},
	    {"a mix", "\xf0\x9f\x92\xa3\"x\\", 7},
	};
	static char value[60001], recipients[3072], buf[DECISION_RECORD_MAX + 64];
	static char node[600];
	struct verdict verdict = refused;
	(void)state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Every length near the cut, so that it falls into every unit. */
		for (size_t len = 380; len < 60000; len = len < 420 ? len + 1 : len * 9) {
			for (size_t at = 0; at < sizeof(value); at++)
				value[at] = rows[i].pattern[at % rows[i].len];
			memcpy(recipients, value, sizeof(recipients));
			recipients[sizeof(recipients) - 1] = '\0';
			snprintf(node, sizeof(node), "%.500s", value);
			snprintf(verdict.text, sizeof(verdict.text), "%.319s", node);
			snprintf(verdict.reason, sizeof(verdict.reason), "%.319s", node);
			struct slice all = {value, len};
			struct request request = {
			    STATE_RCPT, all, all, all, all, all, all, all, all,
			    all,        all, all, all, all, all, all, all, all,
			    all,        all, all, all, all, all, all};
			if (len % 2)
				request.recipient = (struct slice){0};
			struct decision_record record = {
			    .time_ms = 253402300799999,
			    .node = node,
			    .id = "01ABCDEFGHJKM",
			    .country = "ZZ",
			    .is_refusal = true,
			    .request = &request,
			    .verdict = &verdict,
			    .reason = verdict.reason,
			    .recipients = recipients,
			    .recipients_len = sizeof(recipients)};
			memset(buf, '#', sizeof(buf));
			size_t got = decision_record(&record, buf);
			assert_sound(rows[i].why, buf, got);
			for (size_t at = DECISION_RECORD_MAX; at < sizeof(buf); at++)
				assert_int_equal(buf[at], '#');
		}
	}
}

/* Of more recipients than fit, the first ones are shown, whole, and all are counted. */
static void many_recipients(void **state)
{
	static char recipients[3072], buf[DECISION_RECORD_MAX];
	struct request request = usual;
	size_t len = 0;
	(void)state;

	for (int i = 0; len + 21 <= sizeof(recipients); i++)
		len += (size_t)snprintf(
			   recipients + len, sizeof(recipients) - len,
			   "user%04d@example.org", i) +
		       1;
	request.recipient_count = (struct slice)SLICE("1000");
	struct decision_record record = {
	    .node = "n",
	    .id = "i",
	    .country = "",
	    .request = &request,
	    .verdict = &passed,
	    .reason = "",
	    .recipients = recipients,
	    .recipients_len = len};
	size_t got = decision_record(&record, buf);
	assert_sound("many recipients", buf, got);
	json_t *root = json_loadb(buf, got, 0, NULL);
	json_t *list = json_object_get(root, "recipients");
	assert_in_range(json_array_size(list), 80, 146);
	for (size_t i = 0; i < json_array_size(list); i++) {
		char expected[48];
		snprintf(expected, sizeof(expected), "user%04zu@example.org", i);
		assert_string_equal(json_string_value(json_array_get(list, i)), expected);
	}
	assert_int_equal(
	    json_integer_value(json_object_get(root, "recipient_count")), 1000);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_line),      cmocka_unit_test(values),
	    cmocka_unit_test(numbers),         cmocka_unit_test(hostile_and_large),
	    cmocka_unit_test(many_recipients),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
