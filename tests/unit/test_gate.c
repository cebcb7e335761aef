/* SPDX-License-Identifier: BSD-2-Clause */
#include "milter/gate.h"

#include "common/dkim_key.h"
#include "common/metrics.h"
#include "tests/unit/dns_server.h"
#include "tests/unit/told.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

/* The whole of it: keys of a configuration, the thread, a name server that changes its
 * mind, the file. The keys are names for bytes: nothing is signed here. */

#define WAIT_MS 5000

/* 32 bytes each, as p= of an Ed25519 key. */
#define OLD   "b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2w="
#define NEW   "bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmV3bmU="
#define OTHER "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q="

static struct dns_server server;

/* ---- configurations ---- */

/* @more: further members of milter.dkim. Keys o and n have the public halves given. */
static struct config *configure(
    const char *keys_of_a, const char *more, const char *public_o, const char *public_n)
{
	char text[2048];
	snprintf(
	    text, sizeof(text),
	    "{ \"dns\": { \"servers\": [\"%s\"], \"timeout\": \"300ms\" },"
	    "  \"domains\": { \"a.example\": { \"dkim\": [%s] } },"
	    "  \"milter\": { \"dkim\": { \"keys\": {"
	    "     \"o\": { \"selector\": \"old\", \"file\": \"o.pem\" },"
	    "     \"n\": { \"selector\": \"new\", \"file\": \"n.pem\" },"
	    "     \"f\": { \"selector\": \"free\", \"file\": \"f.pem\","
	    "              \"require_dns\": false, \"domain\": \"f.example\" } },"
	    "  \"recheck\": \"1s\" %s } } }",
	    server.address, keys_of_a, more);
	struct config *config = load_good(text);
	for (size_t i = 0; i < config->milter.dkim.keys_count; i++) {
		struct dkim_key_config *of = &config->milter.dkim.keys[i];
		of->key = calloc(1, sizeof(*of->key));
		of->key->algorithm = DKIM_ED25519_SHA256;
		of->key->public_base64 =
		    strdup(strcmp(of->name, "n") == 0 ? public_n : public_o);
	}
	return config;
}

/* The view of it; what it belongs to is gone with its last reference. */
static struct gate_view *view_of(struct config *config)
{
	struct gate_view *view;
	assert_int_equal(gate_view_new(config, &view), 0);
	config_unref(config);
	return view;
}

/* The name of the key that signs for a.example, "" for none. */
static const char *signer(const struct gate_view *view)
{
	const struct domain *domain = config_domain_find(view->config, "a.example");
	for (size_t i = 0; i < domain->dkim_count; i++)
		if (gate_view_signs(view, domain, i))
			return view->config->milter.dkim.keys[domain->dkim[i]].name;
	return "";
}

static void wait_for_signer(const struct gate_view *view, const char *wanted)
{
	static const struct timespec pause = {.tv_nsec = 1000000};
	for (int waited = 0; strcmp(signer(view), wanted) != 0; waited++) {
		if (waited > PATIENCE_MS)
			fail_msg(
			    "\"%s\" signs, not \"%s\":\n%s", signer(view), wanted,
			    told_all());
		nanosleep(&pause, NULL);
	}
}

static struct gate *start(void)
{
	struct gate *gate;
	told_forget();
	assert_int_equal(gate_new(told_say, true, &gate), 0);
	return gate;
}

static void take(struct gate *gate, struct gate_view *view, uint32_t wait_ms)
{
	gate_take(gate, view);
	gate_wait(gate, wait_ms);
}

static void publish(const char *selector, const char *public)
{
	dns_server_say(&server, "del %s._domainkey.a.example", selector);
	if (public)
		dns_server_say(
		    &server, "add %s._domainkey.a.example TXT 1 v=DKIM1; k=ed25519; p=%s",
		    selector, public);
}

static int clear(void **state)
{
	(void)state;
	dns_server_say(&server, "clear");
	told_forget();
	remove("dkim.json");
	return 0;
}

/* ---- tests ---- */

static void test_before_any_answer(void **state)
{
	static const struct {
		const char *why, *keys, *signs;
	} rows[] = {
	    {"the first", "\"n\", \"o\"", "n"},
	    {"a list of one", "\"o\"", "o"},
	    {"no list", "", ""},
	    {"one that needs no DNS is known to be good", "\"n\", \"f\"", "f"},
	    {"one that needs no DNS, first", "\"f\", \"n\"", "f"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gate_view *view = view_of(configure(rows[i].keys, "", OLD, NEW));
		if (strcmp(signer(view), rows[i].signs) != 0)
			fail_msg("%s: \"%s\"", rows[i].why, signer(view));
		gate_view_unref(view);
	}
}

static void test_published_or_not_at_load(void **state)
{
	(void)state;
	struct gate *gate = start();
	publish("new", OTHER);
	publish("old", OLD);
	struct gate_view *view =
	    view_of(configure("\"n\", \"o\", \"f\"", ", \"settle\": \"0s\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	/* Known before it returns; the unpublished first key never signed. */
	assert_string_equal(signer(view), "o");
	told_wait_for(
	    "DKIM records: 1 published, 1 not published, 0 not known, 1 not asked for");
	told_wait_for(
	    "1 DKIM record new._domainkey.a.example of key n is not published: DNS has "
	    "another key (its p= ends in ");
	told_wait_for(
	    "; key o signs for a.example; \"postern dkim record n\" prints the record");
	told_wait_for(
	    "2 DKIM record old._domainkey.a.example of key o is published: DNS has the "
	    "key; it signs for a.example\n");
	assert_int_equal(
	    metrics_value(metrics_series(METRIC_DKIM_KEY_PUBLISHED, "n", "a.example")),
	    0);
	assert_int_equal(
	    metrics_value(metrics_series(METRIC_DKIM_KEY_PUBLISHED, "o", "a.example")),
	    1);

	json_t *keys = gate_status(gate);
	assert_int_equal(json_array_size(keys), 3);
	for (size_t i = 0; i < 3; i++) {
		static const char *const states[] = {
		    "unpublished", "published", "not required"};
		json_t *key = json_array_get(keys, i);
		assert_string_equal(
		    json_string_value(json_object_get(key, "state")), states[i]);
		assert_int_equal(json_is_true(json_object_get(key, "signing")), i == 1);
		assert_string_equal(
		    json_string_value(json_object_get(key, "domain")),
		    i == 2 ? "f.example" : "a.example");
		assert_string_equal(
		    json_string_value(json_object_get(key, "algorithm")),
		    "ed25519-sha256");
		assert_int_equal(
		    json_integer_value(json_object_get(key, "since")) > 0, i < 2);
	}
	json_decref(keys);
	/* A reload tells nothing of that again. */
	size_t lines = told_times("is not published");
	struct gate_view *next = view_of(configure("\"n\", \"o\"", "", OLD, NEW));
	take(gate, next, WAIT_MS);
	assert_string_equal(signer(next), "o");
	told_wait_for(
	    "DKIM records: 1 published, 1 not published, 0 not known, 0 not asked for");
	assert_int_equal(told_times("is not published"), lines);
	gate_free(gate);
	gate_view_unref(view);
	gate_view_unref(next);
}

static void test_unsigned_then_at_once(void **state)
{
	(void)state;
	struct gate *gate = start();
	struct gate_view *view =
	    view_of(configure("\"n\"", ", \"settle\": \"1h\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	assert_string_equal(signer(view), "");
	told_wait_for(
	    "is not published: DNS has no such name; mail of a.example leaves without "
	    "an ed25519-sha256 signature; publish what \"postern dkim record n\" "
	    "prints");
	publish("new", NEW);
	wait_for_signer(view, "n");
	told_wait_for("key n is published: DNS has the key; it signs for a.example");
	assert_int_equal(told_times("mail of a.example leaves"), 1);
	gate_free(gate);
	gate_view_unref(view);
}

static void test_a_new_key_takes_over_when_settled(void **state)
{
	(void)state;
	struct gate *gate = start();
	publish("old", OLD);
	struct gate_view *view =
	    view_of(configure("\"n\", \"o\"", ", \"settle\": \"2s\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	assert_string_equal(signer(view), "o");
	told_forget();
	publish("new", NEW);
	told_wait_for(
	    "key n is published: DNS has the key; key o goes on signing for a.example");
	assert_string_equal(signer(view), "o");
	told_wait_for(
	    "key n (s=new, a=ed25519-sha256) signs for a.example from now on: DNS has "
	    "shown its record since ");
	assert_string_equal(signer(view), "n");

	/* One answer against it is not enough, three in a row are. */
	told_forget();
	publish("new", NULL);
	told_wait_for(
	    "1 DKIM record new._domainkey.a.example of key n was published, and now "
	    "DNS has no such name: the key goes on signing until 3 checks in a row");
	assert_string_equal(signer(view), "n");
	told_wait_for(
	    "of key n is no longer published: DNS has no such name; key o signs for "
	    "a.example");
	assert_string_equal(signer(view), "o");
	assert_int_equal(told_times("from now on"), 0);
	gate_free(gate);
	gate_view_unref(view);
}

static void test_dns_down_changes_nothing_and_the_file_remembers(void **state)
{
	struct stat st;
	(void)state;
	struct gate *gate = start();
	publish("old", OLD);
	struct gate_view *view =
	    view_of(configure("\"n\", \"o\"", ", \"state\": \"dkim.json\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	assert_string_equal(signer(view), "o");
	dns_server_say(&server, "mode * servfail");
	told_wait_for("1 DNS does not answer for 2 of 2 DKIM records "
		      "(new._domainkey.a.example: ");
	assert_string_equal(signer(view), "o");
	gate_free(gate);
	gate_view_unref(view);
	assert_int_equal(stat("dkim.json", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	/* The next process: what was known holds, and of the first key the absence. */
	gate = start();
	view = view_of(configure("\"n\", \"o\"", ", \"state\": \"dkim.json\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	assert_string_equal(signer(view), "o");
	told_wait_for("DNS does not answer for 2 of 2");
	dns_server_say(&server, "mode * normal");
	told_wait_for("2 DNS answers for all DKIM records again");
	assert_string_equal(signer(view), "o");
	gate_free(gate);
	gate_view_unref(view);

	/* Without the file the first key would sign. */
	remove("dkim.json");
	dns_server_say(&server, "mode * servfail");
	gate = start();
	view = view_of(configure("\"n\", \"o\"", ", \"state\": \"dkim.json\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	assert_string_equal(signer(view), "n");
	gate_free(gate);
	gate_view_unref(view);
}

static void test_another_file_is_another_key(void **state)
{
	(void)state;
	struct gate *gate = start();
	publish("old", OLD);
	struct gate_view *view =
	    view_of(configure("\"o\"", ", \"state\": \"dkim.json\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	assert_string_equal(signer(view), "o");
	struct gate_view *next =
	    view_of(configure("\"o\"", ", \"state\": \"dkim.json\"", OTHER, NEW));
	take(gate, next, WAIT_MS);
	assert_string_equal(signer(next), "");
	/* Messages under way end as they began. */
	assert_string_equal(signer(view), "o");
	told_wait_for("key o is not published: DNS has another key");

	/* What is gone from the configuration is forgotten. */
	struct gate_view *last =
	    view_of(configure("\"n\"", ", \"state\": \"dkim.json\"", OLD, NEW));
	take(gate, last, WAIT_MS);
	gate_free(gate);
	char *page;
	size_t page_len;
	assert_int_equal(metrics_print(&page, &page_len), 0);
	assert_non_null(strstr(page, "published{key=\"n\",domain=\"a.example\"} 0"));
	assert_null(strstr(page, "published{key=\"o\""));
	free(page);
	json_t *root = json_load_file("dkim.json", 0, NULL);
	json_t *records = json_object_get(root, "records");
	assert_int_equal(json_array_size(records), 1);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(records, 0), "record")),
	    "new._domainkey.a.example");
	json_decref(root);
	gate_view_unref(view);
	gate_view_unref(next);
	gate_view_unref(last);
}

static void test_broken_files(void **state)
{
	static const struct {
		const char *why, *text, *said;
	} rows[] = {
	    {"empty", "", "is broken: line "},
	    {"cut short", "{\"version\": 1, \"records\": [{\"rec", "is broken: line "},
	    {"another version", "{\"version\": 2, \"records\": []}",
	     "its version is not 1"},
	    {"no list", "{\"version\": 1}", "no list of records"},
	    {"a state that is none",
	     "{\"version\": 1, \"records\": [{\"record\": \"old._domainkey.a.example\", "
	     "\"fingerprint\": \"x\", \"state\": \"good\", \"since\": 1}]}",
	     "record 0 is not understood"},
	    {"a time that is none",
	     "{\"version\": 1, \"records\": [{\"record\": \"old._domainkey.a.example\", "
	     "\"fingerprint\": \"x\", \"state\": \"published\", \"since\": -1}]}",
	     "record 0 is not understood"},
	    {"no objects", "{\"version\": 1, \"records\": [1]}",
	     "record 0 is not understood"},
	};
	(void)state;
	publish("old", OLD);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_file("dkim.json", rows[i].text);
		struct gate *gate = start();
		struct gate_view *view =
		    view_of(configure("\"o\"", ", \"state\": \"dkim.json\"", OLD, NEW));
		take(gate, view, WAIT_MS);
		if (!told_times("0 milter.dkim.state: ") || !told_times(rows[i].said) ||
		    !told_times("learnt from DNS anew"))
			fail_msg("%s: %s", rows[i].why, told_all());
		assert_string_equal(signer(view), "o");
		gate_free(gate);
		gate_view_unref(view);
		/* It is good again. */
		json_t *root = json_load_file("dkim.json", 0, NULL);
		assert_non_null(root);
		json_decref(root);
	}
}

static void test_a_file_that_cannot_be_written(void **state)
{
	(void)state;
	publish("old", OLD);
	struct gate *gate = start();
	struct gate_view *view =
	    view_of(configure("\"o\"", ", \"state\": \"none/dkim.json\"", OLD, NEW));
	take(gate, view, WAIT_MS);
	told_wait_for("cannot be written: No such file or directory; a restart forgets");
	assert_int_equal(mkdir("none", 0700), 0);
	told_wait_for("is written again");
	assert_string_equal(signer(view), "o");
	gate_free(gate);
	gate_view_unref(view);
	assert_int_equal(told_times("a restart forgets"), 1);
	assert_int_equal(remove("none/dkim.json"), 0);
	assert_int_equal(remove("none"), 0);
}

static void test_several_records(void **state)
{
	static const struct {
		const char *why, *first, *second, *signs, *said;
	} rows[] = {
	    {"ours second", "v=DKIM1; k=ed25519; p=" OTHER, "v=DKIM1; k=ed25519; p=" OLD,
	     "o", "1 further TXT records beside it"},
	    {"ours first", "k=ed25519; p=" OLD, "v=spf1 -all", "o",
	     "1 further TXT records"},
	    {"none of them ours", "v=spf1 -all", "v=DKIM1; k=ed25519; p=" OTHER, "",
	     "DNS has another key"},
	    {"none of them a key", "hello", "v=spf1 -all", "",
	     "DNS has a TXT record that is no DKIM key: \\\"hello\\\""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		clear(state);
		dns_server_say(
		    &server, "add old._domainkey.a.example TXT 1 %s", rows[i].first);
		dns_server_say(
		    &server, "add old._domainkey.a.example TXT 1 %s", rows[i].second);
		struct gate *gate = start();
		struct gate_view *view = view_of(configure("\"o\"", "", OLD, NEW));
		take(gate, view, WAIT_MS);
		json_t *keys = gate_status(gate);
		char *text = json_dumps(keys, 0);
		if (strcmp(signer(view), rows[i].signs) != 0 ||
		    !strstr(text, rows[i].said))
			fail_msg("%s: \"%s\", %s", rows[i].why, signer(view), text);
		free(text);
		json_decref(keys);
		gate_free(gate);
		gate_view_unref(view);
	}
}

/* One key for two domains under a name of its own, and each algorithm by itself. */
static void test_fixed_domains_and_algorithms(void **state)
{
	char text[1024];
	(void)state;
	snprintf(
	    text, sizeof(text),
	    "{ \"dns\": { \"servers\": [\"%s\"], \"timeout\": \"300ms\" },"
	    "  \"defaults\": { \"dkim\": [\"r\", \"x\", \"e\"] },"
	    "  \"domains\": { \"a.example\": {}, \"b.example\": {} },"
	    "  \"milter\": { \"dkim\": { \"keys\": {"
	    "     \"r\": { \"selector\": \"r\", \"file\": \"r.pem\" },"
	    "     \"x\": { \"selector\": \"x\", \"file\": \"x.pem\","
	    "              \"domain\": \"f.example\" },"
	    "     \"e\": { \"selector\": \"e\", \"file\": \"e.pem\" } } } } }",
	    server.address);
	struct config *config = load_good(text);
	for (size_t i = 0; i < config->milter.dkim.keys_count; i++) {
		struct dkim_key_config *of = &config->milter.dkim.keys[i];
		of->key = calloc(1, sizeof(*of->key));
		of->key->algorithm =
		    of->name[0] == 'r' ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256;
		of->key->public_base64 = strdup(OLD);
	}
	dns_server_say(
	    &server, "add x._domainkey.f.example TXT 1 v=DKIM1; k=ed25519; p=" OLD);
	dns_server_say(
	    &server, "add e._domainkey.a.example TXT 1 v=DKIM1; k=ed25519; p=" OLD);
	struct gate *gate = start();
	struct gate_view *view = view_of(config);
	take(gate, view, WAIT_MS);
	/* r and e for each domain, x once. */
	assert_int_equal(view->pairs_count, 5);
	assert_int_equal(dns_server_say(&server, "count x._domainkey.f.example TXT"), 1);
	for (const struct domain *domain = NULL;
	     (domain = config_domain_next(config, domain));) {
		assert_false(gate_view_signs(view, domain, 0));
		assert_true(gate_view_signs(view, domain, 1));
		assert_false(gate_view_signs(view, domain, 2));
	}
	told_wait_for(
	    "key x is published: DNS has the key; it signs for a.example and 1 more");
	told_wait_for("mail of a.example leaves without an rsa-sha256 signature");
	told_wait_for(
	    "key e is not published: DNS has no such name; key x signs for b.example");
	gate_free(gate);
	gate_view_unref(view);
}

/* A question under way when the next configuration comes, and when all ends. */
static void test_slow_answers(void **state)
{
	(void)state;
	publish("old", OLD);
	dns_server_say(&server, "mode * delay:200");
	struct gate *gate = start();
	struct gate_view *view = view_of(configure("\"o\"", "", OLD, NEW));
	take(gate, view, 0);
	struct gate_view *next = view_of(configure("\"o\", \"n\"", "", OLD, NEW));
	take(gate, next, 0);
	told_wait_for("1 published, 1 not published");
	assert_int_equal(told_times("DNS does not answer"), 0);
	struct gate_view *last = view_of(configure("\"n\"", "", OLD, NEW));
	take(gate, last, 0);
	gate_free(gate);
	gate_view_unref(view);
	gate_view_unref(next);
	gate_view_unref(last);
}

static int set_up(void **state)
{
	dns_server_start(&server);
	return config_files_setup(state);
}

static int tear_down(void **state)
{
	dns_server_stop(&server);
	return config_files_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_before_any_answer, clear),
	    cmocka_unit_test_setup(test_published_or_not_at_load, clear),
	    cmocka_unit_test_setup(test_unsigned_then_at_once, clear),
	    cmocka_unit_test_setup(test_a_new_key_takes_over_when_settled, clear),
	    cmocka_unit_test_setup(
		test_dns_down_changes_nothing_and_the_file_remembers, clear),
	    cmocka_unit_test_setup(test_another_file_is_another_key, clear),
	    cmocka_unit_test_setup(test_broken_files, clear),
	    cmocka_unit_test_setup(test_a_file_that_cannot_be_written, clear),
	    cmocka_unit_test_setup(test_several_records, clear),
	    cmocka_unit_test_setup(test_fixed_domains_and_algorithms, clear),
	    cmocka_unit_test_setup(test_slow_answers, clear),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
