/* SPDX-License-Identifier: BSD-2-Clause */
#include "common/dkim_key.h"
#include "common/log.h"
#include "milter/session.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/capture.h"
#include "tests/unit/config_files.h"

static EVP_PKEY *rsa, *ed25519;

/* What publish() makes of every key. */
struct key_kind {
	enum dkim_algorithm algorithm;
	EVP_PKEY **pkey;
};
static const struct key_kind good = {DKIM_RSA_SHA256, &rsa};
/* What dkim_key_load() never lets through: the library fails with it at the end. */
static const struct key_kind bad = {DKIM_RSA_SHA256, &ed25519};

static struct generation_slot *slot;
static struct capture capture;
static char said[16384];

static int set_up(void **state)
{
	rsa = EVP_RSA_gen(1024);
	ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	log_set_level(LOG_LEVEL_DEBUG);
	return rsa && ed25519 ? config_files_setup(state) : -1;
}

/* Configurations as a reload would publish them; @more: further members. */
static void publish(const char *more, const struct key_kind *kind)
{
	char text[2048];
	snprintf(
	    text, sizeof(text),
	    "{ \"domains\": { \"a.example\": { \"subdomains\": true },"
	    "                 \"c.example\": { \"dkim\": [] },"
	    "                 \"d.example\": { \"dkim\": [\"fixed\"] },"
	    "                 \"e.example\": { \"dkim\": [\"k\", \"ed\"] } },"
	    "  \"defaults\": { \"dkim\": [\"k\"] }, \"relay\": { \"hosts\": "
	    "[\"192.0.2.1\"] },"
	    "  \"milter\": { \"dkim\": { \"require_dns\": false, \"keys\": {"
	    "      \"k\": { \"selector\": \"s1\", \"file\": \"k.pem\" },"
	    "      \"ed\": { \"selector\": \"e1\", \"file\": \"k.pem\" },"
	    "      \"fixed\": { \"selector\": \"s2\", \"file\": \"k.pem\","
	    "                   \"domain\": \"all.example\" } } %s } } }",
	    more);
	struct config *config = load_good(text);
	for (size_t i = 0; i < config->milter.dkim.keys_count; i++) {
		struct dkim_key *key = calloc(1, sizeof(*key));
		key->algorithm = kind->algorithm;
		key->pkey = *kind->pkey;
		EVP_PKEY_up_ref(key->pkey);
		config->milter.dkim.keys[i].key = key;
		/* The one that signs besides. */
		if (strcmp(config->milter.dkim.keys[i].name, "ed") == 0) {
			EVP_PKEY_free(key->pkey);
			key->algorithm = DKIM_ED25519_SHA256;
			key->pkey = ed25519;
			EVP_PKEY_up_ref(key->pkey);
		}
	}
	struct generation *generation;
	assert_int_equal(generation_new(config, &generation), 0);
	if (slot)
		generation_slot_set(slot, generation);
	else
		assert_int_equal(generation_slot_new(generation, &slot), 0);
}

static int tear_down(void **state)
{
	slot = generation_slot_free(slot);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ed25519);
	return config_files_teardown(state);
}

static const struct arrival_told user_on_587 = {
    .sender = "<x@a.example>",
    .esmtp = true,
    .daemon_port = "587",
    .client_addr = "203.0.113.7",
    .client_name = "pc.isp.example",
    .auth_authen = "x@a.example",
    .tls_version = "TLSv1.3",
    .hostname = "gw.example",
    .version = "Postfix 3.7.11",
};

struct outcome {
	enum session_answer mail, end;
	struct session_reply reply;
	struct plan plan;
};

#define FROM_X                                                                           \
	{                                                                                \
		"From", " x@a.example", NULL                                             \
	}

/* A message; @headers: name, value, ..., NULL. What is logged lands in @said. */
static struct outcome run(
    const struct arrival_told *mail, const char *const *headers, const char *body)
{
	struct outcome outcome = {.end = SESSION_ACCEPT};
	struct session *session;
	assert_int_equal(session_new(slot, &session), 0);
	assert_int_equal(capture_begin(&capture), 0);
	session_helo(session, "pc.lan");
	outcome.mail = session_mail(session, mail, &outcome.reply);
	if (outcome.mail == SESSION_CONTINUE) {
		for (size_t i = 0; headers[i]; i += 2)
			session_header(session, headers[i], headers[i + 1]);
		session_end_of_headers(session);
		session_body(session, (const unsigned char *)body, strlen(body));
		outcome.end = session_end_of_message(
		    session, "4XyZ", &outcome.plan, &outcome.reply);
		if (outcome.end == SESSION_CONTINUE)
			outcome.end = session_edited(session, NULL, &outcome.reply);
		session_message_done(session);
	}
	session_free(session);
	capture_end(&capture, said, sizeof(said));
	assert_int_equal(session_messages(), 0);
	return outcome;
}

static const char *signature_of(const struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (strcmp(plan->edits[i].name, "DKIM-Signature") == 0)
			return plan->edits[i].value;
	}
	return NULL;
}

static const struct {
	const char *why;
	const char *port, *addr, *name, *user, *queue_id, *sender;
	enum session_answer want; /* at MAIL */
	bool is_signed, masked;
} mails[] = {
    {"a user on 587", "587", "203.0.113.7", "pc", "x@a.example", NULL, "<x@a.example>",
     SESSION_CONTINUE, true, true},
    {"a user on another port", "2525", "203.0.113.7", "pc", "x@a.example", NULL,
     "<x@a.example>", SESSION_CONTINUE, true, false},
    {"a stranger on 25", "25", "203.0.113.7", "pc", NULL, NULL, "<x@a.example>",
     SESSION_ACCEPT, false, false},
    {"a stranger on 587 is masked", "587", "203.0.113.7", "pc", NULL, NULL,
     "<x@a.example>", SESSION_CONTINUE, false, true},
    {"a relay host on 25", "25", "192.0.2.1", "unknown", NULL, NULL, "<x@a.example>",
     SESSION_CONTINUE, true, false},
    {"a relay host, IPv6 spelling", "25", "IPv6:::ffff:192.0.2.1", "unknown", NULL, NULL,
     "<x@a.example>", SESSION_CONTINUE, true, false},
    {"a relay host on 587", "587", "192.0.2.1", "unknown", NULL, NULL, "<x@a.example>",
     SESSION_CONTINUE, true, true},
    {"a relay host with another's sender", "25", "192.0.2.1", "unknown", NULL, NULL,
     "<x@far.example>", SESSION_ACCEPT, false, false},
    {"local, as cleanup(8) says it", "0", "127.0.0.1", "localhost", NULL, "4XyZ",
     "<x@a.example>", SESSION_CONTINUE, true, false},
    {"local over IPv6", "0", "::1", "localhost", NULL, "4XyZ", "<x@a.example>",
     SESSION_CONTINUE, true, false},
    {"local without brackets around the sender", "0", "127.0.0.1", "localhost", NULL,
     "4XyZ", "x@a.example", SESSION_CONTINUE, true, false},
    {"local from an MTA that tells no port", NULL, "127.0.0.1", "localhost", NULL, "4XyZ",
     "<x@a.example>", SESSION_CONTINUE, true, false},
    {"SMTP from loopback has a port", "25", "127.0.0.1", "localhost", NULL, "4XyZ",
     "<x@a.example>", SESSION_ACCEPT, false, false},
    {"SMTP has no queue id at MAIL", "0", "127.0.0.1", "localhost", NULL, NULL,
     "<x@a.example>", SESSION_ACCEPT, false, false},
    {"a name is not an address", "0", "203.0.113.7", "localhost", NULL, "4XyZ",
     "<x@a.example>", SESSION_ACCEPT, false, false},
    {"a login of blanks has no domain to agree with", "25", "203.0.113.7", "pc", "  ",
     NULL, "<>", SESSION_CONTINUE, false, false},
    {"a port beyond all ports", "66123", "203.0.113.7", "pc", NULL, NULL, "<>",
     SESSION_ACCEPT, false, false},
};

static void test_who(void **state)
{
	(void)state;
	static const char *const headers[] = FROM_X;
	publish("", &good);
	for (size_t i = 0; i < sizeof(mails) / sizeof(mails[0]); i++) {
		struct arrival_told mail = user_on_587;
		mail.daemon_port = mails[i].port;
		mail.client_addr = mails[i].addr;
		mail.client_name = mails[i].name;
		mail.auth_authen = mails[i].user;
		mail.queue_id = mails[i].queue_id;
		mail.sender = mails[i].sender;
		struct outcome outcome = run(&mail, headers, "x\r\n");
		if (outcome.mail != mails[i].want)
			fail_msg("%s: %d at MAIL\n%s", mails[i].why, outcome.mail, said);
		if ((signature_of(&outcome.plan) != NULL) != mails[i].is_signed)
			fail_msg("%s: signature\n%s", mails[i].why, said);
		bool masked = outcome.plan.count > 0 &&
			      outcome.plan.edits[0].kind == EDIT_INSERT &&
			      outcome.plan.edits[0].index == 0;
		if (masked != mails[i].masked)
			fail_msg("%s: masked %d", mails[i].why, masked);
		plan_done(&outcome.plan);
	}
}

static const struct {
	const char *why;
	const char *from, *sender;
	const char *want; /* in the signature; NULL: none */
	const char *log;
} authors[] = {
    {"both algorithms", " x@e.example", "<x@e.example>", "a=ed25519-sha256",
     "signed d=e.example s=s1 a=rsa-sha256 d=e.example s=e1 a=ed25519-sha256"},
    {"plain", " x@a.example", "<x@a.example>", "d=a.example; s=s1;",
     "queue_id=4XyZ signed d=a.example s=s1 a=rsa-sha256 received=masked\n"},
    {"a subdomain is signed by the domain that is served", " x@host.a.example",
     "<x@host.a.example>", "d=a.example; s=s1;", "signed d=a.example"},
    {"a key with a domain of its own", " x@d.example", "<x@d.example>",
     "d=all.example; s=s2;", "signed d=all.example s=s2"},
    {"a domain without keys", " x@c.example", "<x@c.example>", NULL,
     "debug: queue_id=4XyZ unsigned: domain c.example has no dkim keys"},
    {"a domain that is not served", " x@far.example", "<x@a.example>", NULL,
     "debug: queue_id=4XyZ unsigned: author domain far.example: "},
    {"disagreement", " x@a.example", "<x@c.example>", NULL,
     "postern: queue_id=4XyZ unsigned: author domain a.example: the author domain does"},
    {"two mailboxes", " x@a.example, y@a.example", "<x@a.example>", NULL,
     "postern: queue_id=4XyZ unsigned: the From header has more than one address"},
};

static void test_authors(void **state)
{
	(void)state;
	publish("", &good);
	for (size_t i = 0; i < sizeof(authors) / sizeof(authors[0]); i++) {
		const char *headers[] = {"From", authors[i].from, NULL};
		struct arrival_told mail = user_on_587;
		mail.sender = authors[i].sender;
		struct outcome outcome = run(&mail, headers, "x\r\n");
		if (outcome.end != SESSION_CONTINUE)
			fail_msg("%s: %s", authors[i].why, outcome.reply.text);
		const char *signature = signature_of(&outcome.plan);
		if (!authors[i].want != !signature ||
		    (signature && !strstr(signature, authors[i].want)))
			fail_msg("%s: %s", authors[i].why, signature);
		if (!strstr(said, authors[i].log))
			fail_msg("%s: says %s", authors[i].why, said);
		plan_done(&outcome.plan);
	}
}

static void expect_refusal(
    const char *why, struct outcome *outcome, const char *code, const char *log)
{
	if (outcome->end != SESSION_REFUSE || strcmp(outcome->reply.code, code) != 0)
		fail_msg("%s: %d", why, outcome->end);
	if (outcome->plan.count > 0)
		fail_msg("%s: a plan all the same", why);
	if (!strstr(said, log))
		fail_msg("%s: says %s", why, said);
	if (strpbrk(outcome->reply.text, "\r\n%"))
		fail_msg("%s: reply \"%s\"", why, outcome->reply.text);
}

static void test_messages_that_cannot_be_signed(void **state)
{
	(void)state;
	static const char *const headers[] = FROM_X;
	static const char *const control[] = {
	    "From", " x@a.example", "Subject%s", " x", "Subject", " a\vb", NULL};
	publish("", &good);
	struct outcome outcome = run(&user_on_587, headers, "a\rb");
	expect_refusal("a bare CR", &outcome, "554", "bare CR in the body");
	assert_string_equal(outcome.reply.dsn, "5.6.0");
	outcome = run(&user_on_587, control, "x");
	expect_refusal(
	    "a control character", &outcome, "554",
	    "control character in header Subject");

	/* on_error is about our faults, not about these. */
	publish(", \"on_error\": \"accept\"", &good);
	outcome = run(&user_on_587, headers, "a\rb");
	expect_refusal("a bare CR, on_error accept", &outcome, "554", "bare CR");
}

static void test_faults_of_our_own(void **state)
{
	(void)state;
	static const char *const headers[] = FROM_X;
	publish("", &bad);
	struct outcome outcome = run(&user_on_587, headers, "x\r\n");
	expect_refusal(
	    "tempfail", &outcome, "451",
	    "error: queue_id=4XyZ is refused with 451, the client keeps it: libopendkim "
	    "failed in dkim_eom");
	assert_string_equal(outcome.reply.dsn, "4.7.1");

	publish(", \"on_error\": \"accept\"", &bad);
	outcome = run(&user_on_587, headers, "x\r\n");
	assert_int_equal(outcome.end, SESSION_CONTINUE);
	assert_null(signature_of(&outcome.plan));
	/* Masked all the same. */
	assert_int_equal(outcome.plan.count, 2);
	assert_non_null(strstr(
	    said, "error: queue_id=4XyZ leaves unsigned, as milter.dkim.on_error says"));
	plan_done(&outcome.plan);
}

static void test_too_many_headers(void **state)
{
	(void)state;
	static const char *headers[2 * HEADERS_MAX + 5] = {"From", " x@a.example"};
	publish("", &good);
	for (size_t i = 2; i < 2 * HEADERS_MAX + 4; i += 2) {
		headers[i] = "X";
		headers[i + 1] = " y";
	}
	struct outcome outcome = run(&user_on_587, headers, "x\r\n");
	expect_refusal("20,001 headers", &outcome, "554", "more than 20000 headers");
	/* Masking needs them all too. */
	struct arrival_told mail = user_on_587;
	mail.auth_authen = NULL;
	outcome = run(&mail, headers, "x\r\n");
	expect_refusal("20,001 headers, unsigned", &outcome, "554", "20000 headers");
}

/* Each of them costs the MTA a walk over all headers. */
static void test_too_many_edits(void **state)
{
	(void)state;
	static const char *headers[2 * PLAN_EDITS_MAX] = {"From", " x@a.example"};
	size_t i = 2;
	publish("", &good);
	/* Two are of this hop's own header, one is the signature. */
	for (; i < 2 + 2 * (PLAN_EDITS_MAX - 3); i += 2) {
		headers[i] = "X-Originating-IP";
		headers[i + 1] = " 192.0.2.1";
	}
	struct outcome outcome = run(&user_on_587, headers, "x\r\n");
	assert_int_equal(outcome.end, SESSION_CONTINUE);
	assert_int_equal(outcome.plan.count, PLAN_EDITS_MAX);
	plan_done(&outcome.plan);

	headers[i] = "X-Originating-IP";
	headers[i + 1] = " 192.0.2.1";
	outcome = run(&user_on_587, headers, "x\r\n");
	expect_refusal(
	    "one more", &outcome, "554", "more than 1000 headers to be masked");
	assert_int_equal(outcome.plan.count, 0);
}

static void test_edits_that_were_not_taken(void **state)
{
	(void)state;
	struct session *session;
	struct session_reply reply;
	struct plan plan;
	publish("", &good);
	assert_int_equal(session_new(slot, &session), 0);
	assert_int_equal(session_mail(session, &user_on_587, &reply), SESSION_CONTINUE);
	session_header(session, "From", " x@a.example");
	session_end_of_headers(session);
	assert_int_equal(
	    session_end_of_message(session, "4XyZ", &plan, &reply), SESSION_CONTINUE);
	capture_begin(&capture);
	assert_int_equal(session_edited(session, "Received", &reply), SESSION_REFUSE);
	capture_end(&capture, said, sizeof(said));
	assert_string_equal(reply.code, "451");
	assert_non_null(strstr(said, "did not take the change of a header (Received)"));
	plan_done(&plan);
	session_free(session);
}

/* Left in every state, then another message over the same connection. */
static void test_abort(void **state)
{
	(void)state;
	publish("", &good);
	for (int steps = 0; steps < 5; steps++) {
		struct session *session;
		struct session_reply reply;
		struct plan plan;
		assert_int_equal(session_new(slot, &session), 0);
		for (int round = 0; round < 2; round++) {
			int limit = round ? 5 : steps;
			if (limit > 0)
				session_mail(session, &user_on_587, &reply);
			if (limit > 1)
				session_header(session, "From", " x@a.example");
			if (limit > 2)
				session_end_of_headers(session);
			if (limit > 3)
				session_body(session, (const unsigned char *)"x\r\n", 3);
			if (round == 0)
				session_message_done(session);
		}
		assert_int_equal(
		    session_end_of_message(session, "4XyZ", &plan, &reply),
		    SESSION_CONTINUE);
		/* One From header, not two. */
		assert_non_null(signature_of(&plan));
		plan_done(&plan);
		session_free(session);
		assert_int_equal(session_messages(), 0);
	}
}

/* A message keeps the configuration it began with. */
static void test_reload_in_mid_message(void **state)
{
	(void)state;
	struct session *session;
	struct session_reply reply;
	struct plan plan;
	publish("", &good);
	assert_int_equal(session_new(slot, &session), 0);
	session_mail(session, &user_on_587, &reply);
	session_header(session, "From", " x@a.example");
	publish("", &bad);
	session_end_of_headers(session);
	assert_int_equal(
	    session_end_of_message(session, "4XyZ", &plan, &reply), SESSION_CONTINUE);
	assert_non_null(signature_of(&plan));
	plan_done(&plan);
	session_free(session);
}

static void test_end_before_the_headers_end(void **state)
{
	(void)state;
	struct session *session;
	struct session_reply reply;
	struct plan plan;
	publish("", &good);
	assert_int_equal(session_new(slot, &session), 0);
	session_mail(session, &user_on_587, &reply);
	session_header(session, "From", " x@a.example");
	assert_int_equal(
	    session_end_of_message(session, "4XyZ", &plan, &reply), SESSION_REFUSE);
	assert_string_equal(reply.code, "451");
	session_free(session);
}

static void test_end_without_a_message(void **state)
{
	(void)state;
	struct session *session;
	struct session_reply reply;
	struct plan plan;
	assert_int_equal(session_new(slot, &session), 0);
	session_header(session, "From", " x@a.example");
	session_end_of_headers(session);
	session_body(session, (const unsigned char *)"x", 1);
	assert_int_equal(
	    session_end_of_message(session, "4XyZ", &plan, &reply), SESSION_REFUSE);
	assert_string_equal(reply.code, "451");
	session_free(session);
}

static void test_port_not_told(void **state)
{
	(void)state;
	static const char *const headers[] = FROM_X;
	struct arrival_told mail = user_on_587;
	mail.daemon_port = NULL;
	publish("", &good);
	struct outcome outcome = run(&mail, headers, "x");
	assert_int_equal(outcome.mail, SESSION_REFUSE);
	assert_string_equal(outcome.reply.code, "451");
	assert_non_null(strstr(said, "client=203.0.113.7 is refused with 451"));
}

/* Last: it is for good. */
static void test_leaving(void **state)
{
	(void)state;
	static const char *const headers[] = FROM_X;
	session_refuse_new();
	struct outcome outcome = run(&user_on_587, headers, "x");
	assert_int_equal(outcome.mail, SESSION_REFUSE);
	assert_string_equal(outcome.reply.code, "451");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_who),
	    cmocka_unit_test(test_authors),
	    cmocka_unit_test(test_messages_that_cannot_be_signed),
	    cmocka_unit_test(test_faults_of_our_own),
	    cmocka_unit_test(test_too_many_headers),
	    cmocka_unit_test(test_too_many_edits),
	    cmocka_unit_test(test_edits_that_were_not_taken),
	    cmocka_unit_test(test_abort),
	    cmocka_unit_test(test_reload_in_mid_message),
	    cmocka_unit_test(test_end_before_the_headers_end),
	    cmocka_unit_test(test_end_without_a_message),
	    cmocka_unit_test(test_port_not_told),
	    cmocka_unit_test(test_leaving),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
