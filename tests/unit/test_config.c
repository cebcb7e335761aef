/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a good configuration becomes.
 */
#include "common/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static void defaults(void **state)
{
	(void)state;
	struct config *config = load_good("{}");

	assert_int_equal(config->notices.count, 0);
	assert_true(config->hostname[0]);
	assert_string_equal(config->recipient_delimiter, "+");
	assert_true(config->defaults.auth);
	assert_int_equal(config->defaults.dkim.count, 0);
	assert_int_equal(config_domain_count(config), 0);
	assert_true(host_list_empty(config->relay.hosts));
	assert_true(config->relay.all_users);
	assert_null(config->relay.users);
	assert_false(config->relay.unknown_domains);
	assert_int_equal(config->relay.login_grace_s, 0);
	assert_int_equal(config->auth.blocked_ports.count, 1);
	assert_true(port_list_has(&config->auth.blocked_ports, 25));
	assert_int_equal(config->auth.submission_ports.count, 2);
	assert_true(port_list_has(&config->auth.submission_ports, 587));
	assert_true(port_list_has(&config->auth.submission_ports, 465));
	assert_true(config->auth.require_tls);
	assert_true(config->auth.required_on_submission);
	assert_int_equal(config->auth.sender, SENDER_DOMAIN);
	assert_string_equal(config->auth.default_realm, "");
	assert_false(config->block.forged_senders);
	assert_int_equal(config->limits_count, 0);
	assert_false(config->has_redis);
	assert_int_equal(config->nodes, 1);
	assert_string_equal(config->geoip_country, "");
	assert_int_equal(config->dns_timeout_ms, 2000);
	assert_int_equal(config->policyd.listen_count, 1);
	assert_string_equal(
	    config->policyd.listen[0].path, "/var/spool/postfix/postern/policy");
	assert_int_equal(config->policyd.socket_mode, 0660);
	assert_string_equal(config->policyd.socket_group, "postfix");
	assert_string_equal(config->policyd.user, "");
	assert_int_equal(config->policyd.workers, 0);
	assert_int_equal(config->policyd.max_connections, 10000);
	assert_int_equal(config->policyd.idle_timeout_s, 600);
	assert_int_equal(config->policyd.charge_at, CHARGE_AT_END_OF_MESSAGE);
	assert_int_equal(config->milter.listen_count, 1);
	assert_int_equal(config->milter.children, 1);
	assert_int_equal(config->milter.dkim.keys_count, 0);
	assert_int_equal(config->milter.dkim.header_canon, CANON_RELAXED);
	assert_int_equal(config->milter.dkim.body_canon, CANON_RELAXED);
	assert_int_equal(config->milter.dkim.oversign.count, 8);
	assert_string_equal(config->milter.dkim.oversign.items[0], "from");
	assert_int_equal(config->milter.dkim.recheck_s, 300);
	assert_int_equal(config->milter.dkim.settle_s, 3600);
	assert_int_equal(config->milter.dkim.match, SIGN_MATCH_ENVELOPE);
	assert_false(config->milter.dkim.accept_on_error);
	assert_int_equal(config->milter.mask.ports.count, 2);
	assert_int_equal(config->milter.mask.upstream, UPSTREAM_MASK);
	assert_int_equal(config->milter.mask.remove.count, 1);
	assert_int_equal(config->log.level, LOG_LEVEL_INFO);
	assert_string_equal(config->log.decisions, "/var/log/postern/decisions.jsonl");
	config_unref(config);
}

static void empty_arrays_empty(void **state)
{
	(void)state;
	struct config *config = load_good(
	    "{\"auth\": {\"blocked_ports\": [], \"submission_ports\": []}, \"policyd\": "
	    "{\"listen\": []}, \"milter\": {\"listen\": [], \"mask\": {\"ports\": [], "
	    "\"remove\": []}, \"dkim\": {\"oversign\": []}}, \"relay\": {\"users\": []}, "
	    "\"notify\": {\"events\": []}}");
	assert_int_equal(config->auth.blocked_ports.count, 0);
	assert_int_equal(config->auth.submission_ports.count, 0);
	assert_int_equal(config->policyd.listen_count, 0);
	assert_int_equal(config->milter.listen_count, 0);
	assert_int_equal(config->milter.mask.ports.count, 0);
	assert_int_equal(config->milter.mask.remove.count, 0);
	assert_int_equal(config->milter.dkim.oversign.count, 0);
	assert_false(config->relay.all_users);
	assert_non_null(config->relay.users);
	config_unref(config);
}

static void values(void **state)
{
	(void)state;
	struct config *config = load_good(
	    "{\"hostname\": \"gw.example.org\", \"recipient_delimiter\": \"-\",\n"
	    "\"auth\": {\"sender\": \"user\", \"default_realm\": \"Example.ORG\"},\n"
	    "\"policyd\": {\"listen\": [\"127.0.0.1:10031\", \"[::1]:10031\"], "
	    "\"charge_at\": "
	    "\"data\", \"idle_timeout\": \"90s\"},\n"
	    "\"milter\": {\"dkim\": {\"canonicalization\": \"simple/relaxed\", "
	    "\"on_error\": "
	    "\"accept\", \"oversign\": [\"From\"], \"match\": \"user\"}},\n"
	    "\"geoip\": {\"country\": \"\"}, \"dns\": {\"timeout\": \"150ms\"}}");
	assert_string_equal(config->hostname, "gw.example.org");
	assert_string_equal(config->recipient_delimiter, "-");
	assert_int_equal(config->auth.sender, SENDER_USER);
	assert_string_equal(config->auth.default_realm, "example.org");
	assert_int_equal(config->policyd.listen_count, 2);
	assert_string_equal(config->policyd.listen[1].host, "::1");
	assert_int_equal(config->policyd.charge_at, CHARGE_AT_DATA);
	assert_int_equal(config->policyd.idle_timeout_s, 90);
	assert_int_equal(config->milter.dkim.header_canon, CANON_SIMPLE);
	assert_int_equal(config->milter.dkim.body_canon, CANON_RELAXED);
	assert_true(config->milter.dkim.accept_on_error);
	assert_string_equal(config->milter.dkim.oversign.items[0], "from");
	assert_int_equal(config->milter.dkim.match, SIGN_MATCH_USER);
	assert_int_equal(config->dns_timeout_ms, 150);
	assert_int_equal(config->file[0], '/');
	config_unref(config);
}

static void domains(void **state)
{
	(void)state;
	struct config *config =
	    load_good("{\"defaults\": {\"auth\": false, \"dkim\": [\"a\"]},\n"
		      "\"domains\": {\"Example.ORG.\": {\"subdomains\": true}, "
		      "\"sub.example.org\": {\"auth\": "
		      "true, \"dkim\": [\"b\", \"a\"]},\n\"b\xC3\xBC\x63her.example\": "
		      "{\"dkim\": [], "
		      "\"limits\": {\"l\": null, \"m\": \"1K\"}}},\n"
		      "\"limits\": [{\"name\": \"m\", \"per\": \"sender\", \"count\": "
		      "\"bytes\", \"max\": "
		      "\"25M\", \"window\": \"1d\", \"over\": \"reject\"},\n"
		      "{\"name\": \"l\", \"per\": \"user\", \"count\": \"messages\", "
		      "\"max\": 1, \"window\": "
		      "\"1h\", \"over\": \"hold\"}],\n"
		      "\"milter\": {\"dkim\": {\"require_dns\": false, \"keys\": {\"a\": "
		      "{\"selector\": \"s\", "
		      "\"file\": \"a.pem\"}, \"b\": {\"selector\": \"t\", \"file\": "
		      "\"/k/b.pem\", \"domain\": "
		      "\"Example.COM\"}}}}}");

	assert_int_equal(config_domain_count(config), 3);
	static const struct {
		const char *asked, *found;
	} rows[] = {
	    {"example.org", "example.org"},
	    {"host.example.org", "example.org"},
	    {"a.b.example.org", "example.org"},
	    {"sub.example.org", "sub.example.org"},
	    {"x.sub.example.org", "example.org"},
	    {"xn--bcher-kva.example", "xn--bcher-kva.example"},
	    {"x.xn--bcher-kva.example", NULL},
	    {"notexample.org", NULL},
	    {"org", NULL},
	    {"", NULL},
	    {".", NULL},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct domain *domain = config_domain_find(config, rows[i].asked);
		const char *found = domain ? domain->name : "none";
		if (strcmp(found, rows[i].found ? rows[i].found : "none") != 0)
			fail_msg("%s: found %s", rows[i].asked, found);
	}

	const struct domain *domain = config_domain_find(config, "example.org");
	assert_false(domain->auth);
	assert_int_equal(domain->where.line, 2);
	assert_int_equal(domain->dkim_count, 1);
	assert_int_equal(domain->dkim[0], 0);
	domain = config_domain_find(config, "sub.example.org");
	assert_true(domain->auth);
	assert_int_equal(domain->dkim_count, 2);
	assert_int_equal(domain->dkim[0], 1);
	domain = config_domain_find(config, "xn--bcher-kva.example");
	assert_int_equal(domain->dkim_count, 0);
	assert_int_equal(domain->limits_count, 2);
	assert_int_equal(domain->limits[0].limit, 1);
	assert_true(domain->limits[0].unlimited);
	assert_int_equal(domain->limits[1].limit, 0);
	assert_int_equal(domain->limits[1].max, 1024);
	assert_false(domain->limits[1].unlimited);

	const struct dkim_key_config *key = config->milter.dkim.keys;
	assert_string_equal(key[0].name, "a");
	assert_string_equal(key[0].domain, "");
	assert_int_equal(key[0].file[0], '/');
	assert_non_null(strstr(key[0].file, "/a.pem"));
	assert_string_equal(key[1].file, "/k/b.pem");
	assert_string_equal(key[1].domain, "example.com");
	assert_false(key[0].require_dns);
	config_unref(config);
}

static void good_limits(void **state)
{
	(void)state;
	struct config *config =
	    load_good("{\"shadow\": [\"limits/b\", \"relay\"], \"limits\": [{\"name\": "
		      "\"a\", \"per\": "
		      "[\"client\", \"user\"], \"count\": \"recipients\", \"max\": 200, "
		      "\"window\": \"1h\", "
		      "\"over\": \"defer\",\n"
		      "\"when\": {\"authenticated\": true, \"trusted\": false, "
		      "\"ports\": [587], \"hosts\": "
		      "[\"any\"], \"sender_domains\": [\"example.org\"]},\n"
		      "\"override\": {\"192.0.2.0/24\": 5, \"::ffff:192.0.2.1\": 6, "
		      "\"@Example.org\": null, "
		      "\"Ada\": 7, \"ADA@Example.org\": 8}},\n"
		      "{\"name\": \"b\", \"per\": \"message\", \"count\": \"bytes\", "
		      "\"max\": \"25M\", \"over\": "
		      "\"filter:slow:[127.0.0.1]:10026\"},\n"
		      "{\"name\": \"c\", \"per\": \"sender_domain\", \"count\": "
		      "\"bytes\", \"max\": 0, "
		      "\"window\": \"1d\", \"override\": "
		      "{\"Example.org\": 1, \"<>\": "
		      "2}}]}");
	assert_int_equal(config->limits_count, 3);
	const struct limit *a = &config->limits[0];
	assert_string_equal(a->name, "a");
	assert_int_equal(a->per, PER_CLIENT | PER_USER);
	assert_int_equal(a->count, COUNT_RECIPIENTS);
	assert_int_equal(a->max, 200);
	assert_int_equal(a->window_s, 3600);
	assert_int_equal(a->over, OVER_DEFER);
	assert_int_equal(a->when.authenticated, YES);
	assert_int_equal(a->when.trusted, NO);
	assert_int_equal(a->when.relayed, EITHER);
	assert_true(port_list_has(&a->when.ports, 587));
	assert_non_null(a->when.hosts);
	assert_null(a->when.users);
	assert_non_null(a->when.sender_domains);
	assert_false(a->shadow);
	assert_int_equal(a->overrides_count, 5);
	assert_int_equal(a->overrides[0].prefix.length, 24);
	assert_string_equal(a->overrides[0].subject, "");
	assert_int_equal(a->overrides[1].prefix.ip.family, IP_V4);
	assert_string_equal(a->overrides[2].subject, "@example.org");
	assert_true(a->overrides[2].unlimited);
	assert_string_equal(a->overrides[3].subject, "ada");
	assert_string_equal(a->overrides[4].subject, "ada@example.org");
	assert_int_equal(a->overrides[4].max, 8);

	const struct limit *b = &config->limits[1];
	assert_int_equal(b->max, 25 << 20);
	assert_int_equal(b->window_s, 0);
	assert_int_equal(b->over, OVER_FILTER);
	assert_string_equal(b->filter, "slow:[127.0.0.1]:10026");
	assert_true(b->shadow);
	assert_int_equal(config->limits[2].over, OVER_DEFER);
	assert_string_equal(config->limits[2].overrides[0].subject, "example.org");
	assert_string_equal(config->limits[2].overrides[1].subject, "<>");
	assert_int_equal(config->shadow.count, 1);
	assert_string_equal(config->shadow.items[0], "relay");
	config_unref(config);
}

/* recipient_delimiter decides how lists are read, even from a later file. */
static void the_delimiter_comes_first(void **state)
{
	(void)state;
	write_file("late.json", "{\"recipient_delimiter\": \"-\"}");
	struct config *config = load_good(
	    "{\"block\": {\"senders\": [\"ada-list@example.org\"]}, \"include\": "
	    "[\"late.json\"]}");
	struct address sender;
	address_canonical("ada@example.org", 15, "-", &sender);
	assert_true(address_list_match(config->block.senders, &sender, NULL));
	config_unref(config);
}

static void notices(void **state)
{
	(void)state;
	write_file("many", "192.0.2.1\n192.0.2.1 again\n192.0.2.0/24\n");
	struct config *config =
	    load_good("{\"log\": {\"decisions\": \"/x\"},\n\"policyd\": {\"control\": "
		      "\"unix:/x\", \"state\": "
		      "\"/x\", \"status\": \"127.0.0.1:1\"},\n\"milter\": {\"control\": "
		      "\"unix:/y\", "
		      "\"status\": \"127.0.0.1:2\", \"dkim\": {\"state\": "
		      "\"/x\"}},\n\"dns\": {\"servers\": "
		      "[\"127.0.0.1\"]},\n"
		      "\"relay\": {\"anyone_from\": [\"a@example.org\"], \"anyone_to\": "
		      "[\"x.org\", "
		      "\"y.org\"]},\n\"block\": {\"hosts\": [\"file:many\"]}}");
	static const char *const want[] = {
	    ("c.json:5:26: relay.anyone_from: 1 entry: each lets anybody relay who "
	     "forges "
	     "such an envelope sender"),
	    ("c.json:5:58: relay.anyone_to: 2 entries: each lets anybody relay to such a "
	     "recipient, spam too"),
	    "c.json:6:20: block.hosts: 2 of 3 entries repeat others or are covered",
	};
	for (size_t i = 0; i < COUNT(want) && i < config->notices.count; i++)
		assert_string_equal(config->notices.items[i], want[i]);
	assert_int_equal(config->notices.count, COUNT(want));
	config_unref(config);

	config = load_good("{\"log\": {\"decisions\": \"\"}, \"policyd\": {\"control\": "
			   "\"\", \"state\": \"\", "
			   "\"status\": \"\"}, \"dns\": {\"servers\": []}, \"relay\": "
			   "{\"anyone_from\": []}}");
	assert_int_equal(config->notices.count, 0);
	config_unref(config);
}

static void restarts(void **state)
{
	(void)state;
	static const struct {
		const char *section, *text, *key;
	} rows[] = {
	    {"policyd", "{}", NULL},
	    {"policyd", "{\"policyd\": {\"listen\": [\"127.0.0.1:1\"]}}",
	     "policyd.listen"},
	    {"policyd", "{\"policyd\": {\"listen\": []}}", "policyd.listen"},
	    {"policyd", "{\"policyd\": {\"socket_mode\": \"0600\"}}",
	     "policyd.socket_mode"},
	    {"policyd", "{\"policyd\": {\"socket_group\": \"\"}}",
	     "policyd.socket_group"},
	    {"policyd", "{\"policyd\": {\"user\": \"x\"}}", "policyd.user"},
	    {"policyd", "{\"policyd\": {\"workers\": 3}}", "policyd.workers"},
	    {"policyd", "{\"policyd\": {\"control\": \"\"}}", "policyd.control"},
	    {"policyd", "{\"policyd\": {\"login_socket\": \"unix:/x\"}}",
	     "policyd.login_socket"},
	    {"policyd", "{\"policyd\": {\"login_mode\": \"0600\"}}",
	     "policyd.login_mode"},
	    {"policyd", "{\"policyd\": {\"login_group\": \"x\"}}", "policyd.login_group"},
	    {"policyd", "{\"policyd\": {\"state\": \"\"}}", "policyd.state"},
	    {"policyd", "{\"policyd\": {\"status\": \"\"}}", "policyd.status"},
	    {"policyd", "{\"policyd\": {\"max_connections\": 3}}", NULL},
	    {"policyd", "{\"milter\": {\"listen\": []}}", NULL},
	    {"milter", "{\"policyd\": {\"listen\": []}}", NULL},
	    {"milter", "{\"milter\": {\"listen\": []}}", "milter.listen"},
	    {"milter", "{\"milter\": {\"socket_mode\": \"0600\"}}", "milter.socket_mode"},
	    {"milter", "{\"milter\": {\"socket_group\": \"\"}}", "milter.socket_group"},
	    {"milter", "{\"milter\": {\"user\": \"x\"}}", "milter.user"},
	    {"milter", "{\"milter\": {\"children\": 3}}", "milter.children"},
	    {"milter", "{\"milter\": {\"control\": \"\"}}", "milter.control"},
	    {"milter", "{\"milter\": {\"status\": \"\"}}", "milter.status"},
	    {"milter", "{\"milter\": {\"dkim\": {\"state\": \"\"}}}",
	     "milter.dkim.state"},
	    {"milter", "{\"milter\": {\"dkim\": {\"match\": \"any\"}}}", NULL},
	};
	struct config *old = load_good("{}");
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *new = load_good(rows[i].text);
		const char *key = config_needs_restart(old, new, rows[i].section);
		if (strcmp(key ? key : "none", rows[i].key ? rows[i].key : "none") != 0)
			fail_msg("%s: %s", rows[i].text, key ? key : "none");
		config_unref(new);
	}
	config_unref(old);
}

/* What finds the daemons is read from a file that is broken elsewhere, and no list is. */
static void sockets_alone(void **state)
{
	(void)state;
	static const struct {
		const char *why, *text;
		int r;
		const char *control, *login_socket, *milter;
	} rows[] = {
	    {"the defaults", "{}", 0, "unix:/run/postern/policyd", "",
	     "unix:/run/postern/milter"},
	    {"what is set",
	     "{\"policyd\": {\"control\": \"unix:/a\", \"login_socket\": \"unix:/b\"}, "
	     "\"milter\": {\"control\": \"\"}}",
	     0, "unix:/a", "unix:/b", ""},
	    {"errors elsewhere",
	     "{\"nodes\": 0, \"x\": 1, \"block\": {\"hosts\": [\"file:none\"]}, "
	     "\"policyd\": "
	     "{\"control\": \"unix:/a\", \"y\": 2}, \"milter\": 3}",
	     0, "unix:/a", "", "unix:/run/postern/milter"},
	    {"in an included file", "{\"include\": [\"more.json\"], \"nodes\": 0}", 0,
	     "unix:/more", "", "unix:/run/postern/milter"},
	    {"a wrong address", "{\"policyd\": {\"control\": \"127.0.0.1:1\"}}", -EINVAL,
	     NULL, NULL, NULL},
	    {"no JSON", "{\"policyd\": {\"control\": \"unix:/a\"}", -EINVAL, NULL, NULL,
	     NULL},
	    {"nothing", "", -EINVAL, NULL, NULL, NULL},
	};
	write_file("more.json", "{\"policyd\": {\"control\": \"unix:/more\"}}");
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *config = NULL;
		struct config_errors errors;
		write_file("c.json", rows[i].text);
		int r = config_load_sockets("c.json", &config, &errors);
		if (r != rows[i].r)
			fail_msg("%s: %d", rows[i].why, r);
		if (r == 0) {
			assert_string_equal(config->policyd.control, rows[i].control);
			assert_string_equal(
			    config->policyd.login_socket, rows[i].login_socket);
			assert_string_equal(config->milter.control, rows[i].milter);
			assert_true(config->hostname[0] != '\0');
		} else {
			assert_true(errors.lines.count > 0);
		}
		config_errors_done(&errors);
		config_unref(config);
	}
	struct config *config;
	struct config_errors errors;
	assert_int_equal(config_load_sockets("none.json", &config, &errors), -EINVAL);
	assert_int_equal(errors.lines.count, 1);
	config_errors_done(&errors);
}

static void a_slot(void **state)
{
	(void)state;
	struct config_slot *slot;
	struct config *first = load_good("{\"nodes\": 1}");
	struct config *second = load_good("{\"nodes\": 2}");

	assert_int_equal(config_slot_new(first, &slot), 0);
	unsigned long generation = config_slot_generation(slot);
	struct config *held = config_slot_get(slot);
	assert_ptr_equal(held, first);
	config_slot_set(slot, second);
	assert_int_equal(config_slot_generation(slot), generation + 1);
	/* The old one lives as long as it is held. */
	assert_int_equal(held->nodes, 1);
	struct config *now = config_slot_get(slot);
	assert_int_equal(now->nodes, 2);
	assert_null(config_unref(held));
	assert_null(config_unref(now));
	assert_null(config_slot_free(slot));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),    cmocka_unit_test(empty_arrays_empty),
	    cmocka_unit_test(values),      cmocka_unit_test(domains),
	    cmocka_unit_test(good_limits), cmocka_unit_test(the_delimiter_comes_first),
	    cmocka_unit_test(notices),     cmocka_unit_test(restarts),
	    cmocka_unit_test(a_slot),      cmocka_unit_test(sockets_alone),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
