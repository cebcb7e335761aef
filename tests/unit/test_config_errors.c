/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Broken values and the exact lines they must bring.
 */
#include "common/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/config_files.h"

#define COUNT(array) (sizeof(array) / sizeof(array[0]))

static void keys_and_types(void **state)
{
	(void)state;
	static const struct broken rows[] = {
	    {"not an object", "[1]",
	     "c.json:1:1: an array, expected an object { ... }\n"},
	    {"syntax: one error, with its place", "{\n  \"relay\": {,}\n, \"x\": 1}",
	     "c.json:2:13: expected a key in double quotes or }\n"},
	    {"unknown key, near", "{\"rellay\": {}}",
	     "c.json:1:2: rellay: unknown key, did you mean \"relay\"?\n"},
	    {"unknown key, in the wrong section",
	     "{\"relay\": {\"submission_ports\": []}}",
	     "c.json:1:12: relay.submission_ports: unknown key here, did you mean "
	     "\"auth.submission_ports\"?\n"},
	    {"unknown key, near and elsewhere: one slip wins",
	     "{\"block\": {\"sender\": []}}",
	     "c.json:1:12: block.sender: unknown key, did you mean \"senders\"?\n"},
	    {"unknown key, like nothing", "{\"wibble\": 1}",
	     "c.json:1:2: wibble: unknown key, expected one that postern.json(5) "
	     "names\n"},
	    {"a hostile key is shown harmless", "{\"a\\n\\u001b[31m\\u202e\": 1}",
	     "c.json:1:2: \"a\\x0a\\x1b[31m\\xe2\\x80\\xae\": unknown key, expected one "
	     "that postern.json(5) names\n"},
	    {"an empty key", "{\"\": 1}",
	     "c.json:1:2: \"\": unknown key, expected one that postern.json(5) names\n"},
	    {"a key twice, both lines named",
	     "{\n\"nodes\": 1,\n\"log\": {},\n  \"nodes\": 2}",
	     "c.json:4:3: nodes: duplicate key, first set in line 2 (column 1), expected "
	     "it once\n"},
	    {"a key twice under an unknown one", "{\"x-y\": {\"a\": 1,\n\"\\u0061\": 2}}",
	     "c.json:1:2: x-y: unknown key, expected one that postern.json(5) names\n"
	     "c.json:2:1: x-y.a: duplicate key, first set in line 1 (column 10), "
	     "expected it once\n"},
	    {"a section twice, of two shapes: the walk takes the last",
	     "{\"relay\": {\"hosts\": [\"192.0.2.1\", \"192.0.2.2\"]}, \"log\": "
	     "1,\n\"relay\": "
	     "{\"users\": 1},\n\"log\": {\"level\": \"x\"}, \"relay\": [[{}]]}",
	     "c.json:2:1: relay: duplicate key, first set in line 1 (column 2), expected "
	     "it once\n"
	     "c.json:3:1: log: duplicate key, first set in line 1 (column 50), expected "
	     "it once\n"
	     "c.json:3:18: log.level: the string \"x\", expected one of \"error\", "
	     "\"warning\", \"info\", \"debug\"\n"
	     "c.json:3:24: relay: duplicate key, first set in line 1 (column 2), "
	     "expected it once\n"
	     "c.json:3:33: relay: an array, expected an object { ... }\n"},
	    {"section of another type", "{\"relay\": [], \"auth\": null, \"log\": \"x\"}",
	     "c.json:1:11: relay: an empty array, expected an object { ... }\n"
	     "c.json:1:23: auth: null, expected an object { ... }\n"
	     "c.json:1:36: log: the string \"x\", expected an object { ... }\n"},
	    {"a count as string, real, boolean, null, array",
	     "{\"nodes\": \"100\", \"policyd\": {\"workers\": 100.0, "
	     "\"max_connections\": true},\n"
	     "\"milter\": {\"children\": null}}",
	     "c.json:1:11: nodes: the string \"100\", expected a whole number from 1 to "
	     "1000\n"
	     "c.json:1:41: policyd.workers: the number 100.0, expected a whole number "
	     "from 0 to 256\n"
	     "c.json:1:67: policyd.max_connections: true, expected a whole number from 1 "
	     "to 1000000\n"
	     "c.json:2:24: milter.children: null, expected a whole number from 1 to "
	     "64\n"},
	    {"a count out of range",
	     "{\"nodes\": 0, \"policyd\": {\"workers\": 257, \"max_connections\": -1}}",
	     "c.json:1:11: nodes: the number 0, expected a whole number from 1 to 1000\n"
	     "c.json:1:37: policyd.workers: the number 257, expected a whole number from "
	     "0 to 256\n"
	     "c.json:1:61: policyd.max_connections: the number -1, expected a whole "
	     "number from 1 to 1000000\n"},
	    {"beyond 63 bits, and a double's range",
	     "{\"nodes\": 9223372036854775808, \"policyd\": {\"workers\": "
	     "-99999999999999999999},\n\"milter\": {\"children\": 1e400}}",
	     "c.json:1:11: nodes: a number beyond 64 bits, expected a whole number from "
	     "1 to 1000\n"
	     "c.json:1:55: policyd.workers: a number beyond 64 bits, expected a whole "
	     "number from 0 to 256\n"
	     "c.json:2:24: milter.children: a number beyond 64 bits, expected a whole "
	     "number from 1 to 64\n"},
	    {"a truth as number or string",
	     "{\"auth\": {\"require_tls\": 1, \"required_on_submission\": \"true\"}}",
	     "c.json:1:26: auth.require_tls: the number 1, expected true or false\n"
	     "c.json:1:55: auth.required_on_submission: the string \"true\", expected "
	     "true or "
	     "false\n"},
	    {"a choice that is none", "{\"auth\": {\"sender\": \"domains\"}}",
	     "c.json:1:21: auth.sender: the string \"domains\", expected one of \"any\", "
	     "\"domain\", \"user\"\n"},
	    {"white space at the ends", "{\"hostname\": \"gw.example.org \"}",
	     "c.json:1:14: hostname: the string \"gw.example.org \", expected no white "
	     "space "
	     "at its ends and no control characters\n"},
	    {"an empty string", "{\"hostname\": \"\"}",
	     "c.json:1:14: hostname: an empty string, expected a string\n"},
	    {"a host name that is none", "{\"hostname\": \"a b\"}",
	     "c.json:1:14: hostname: the string \"a b\", expected a host name such as "
	     "\"gw.example.org\"\n"},
	    {"a delimiter that is a letter", "{\"recipient_delimiter\": \"x\"}",
	     "c.json:1:25: recipient_delimiter: the string \"x\", expected punctuation "
	     "such as "
	     "\"+\" or \"+-\", or \"\" for none\n"},
	    {"times: number, no unit, other unit, range",
	     "{\"policyd\": {\"idle_timeout\": 600},\n\"milter\": {\"dkim\": "
	     "{\"recheck\": "
	     "\"300\",\n\"settle\": \"1w\"}},\n\"dns\": {\"timeout\": \"2 s\"}}",
	     "c.json:1:30: policyd.idle_timeout: the number 600 without a unit, expected "
	     "one: "
	     "\"600s\" or \"600m\"\n"
	     "c.json:2:32: milter.dkim.recheck: the string \"300\", expected a time with "
	     "its "
	     "unit from \"1s\" to \"1d\"\n"
	     "c.json:3:11: milter.dkim.settle: the string \"1w\", expected a time with "
	     "its "
	     "unit from \"0s\" to \"30d\"\n"
	     "c.json:4:20: dns.timeout: the string \"2 s\", expected a time with its "
	     "unit "
	     "from \"10ms\" to \"1m\"\n"},
	    {"a time out of range",
	     "{\"policyd\": {\"idle_timeout\": \"0s\"}, \"milter\": {\"dkim\": "
	     "{\"recheck\": "
	     "\"2d\"}}}",
	     "c.json:1:30: policyd.idle_timeout: the string \"0s\", expected a time with "
	     "its "
	     "unit from \"1s\" to \"1d\"\n"
	     "c.json:1:68: milter.dkim.recheck: the string \"2d\", expected a time with "
	     "its "
	     "unit from \"1s\" to \"1d\"\n"},
	    {"modes",
	     "{\"policyd\": {\"socket_mode\": 660},\n\"milter\": {\"socket_mode\": "
	     "\"0888\"}}",
	     "c.json:1:29: policyd.socket_mode: the number 660, expected an octal mode "
	     "in "
	     "quotes, such as \"0660\"\n"
	     "c.json:2:27: milter.socket_mode: the string \"0888\", expected an octal "
	     "mode in "
	     "quotes, such as \"0660\"\n"},
	    {"ports",
	     "{\"auth\": {\"blocked_ports\": [0, 65536, \"25\", 25.0],\n"
	     "\"submission_ports\": 587}}",
	     "c.json:1:29: auth.blocked_ports[0]: the number 0, expected a port: a whole "
	     "number from 1 to 65535\n"
	     "c.json:1:32: auth.blocked_ports[1]: the number 65536, expected a port: a "
	     "whole "
	     "number from 1 to 65535\n"
	     "c.json:1:39: auth.blocked_ports[2]: the string \"25\", expected a port: a "
	     "whole "
	     "number from 1 to 65535\n"
	     "c.json:1:45: auth.blocked_ports[3]: the number 25.0, expected a port: a "
	     "whole "
	     "number from 1 to 65535\n"
	     "c.json:2:21: auth.submission_ports: the number 587, expected an array of "
	     "ports "
	     "from 1 to 65535\n"},
	    {"a port both blocked and for submission",
	     "{\"auth\": {\"blocked_ports\": [25, 465]}}",
	     "c.json:1:28: auth.blocked_ports: port 465 is in auth.submission_ports too, "
	     "expected it in one of them\n"},
	    {"the same, both written",
	     "{\"auth\": {\"blocked_ports\": [2525],\n\"submission_ports\": [2525]}}",
	     "c.json:2:21: auth.submission_ports: port 2525 is in auth.blocked_ports "
	     "too, "
	     "expected it in one of them\n"},
	    {"addresses to listen on",
	     "{\"policyd\": {\"listen\": [\"unix:postern/policy\", 7]},\n"
	     "\"milter\": {\"listen\": \"unix:/run/x\"}}",
	     "c.json:1:25: policyd.listen[0]: the string \"unix:postern/policy\": a "
	     "unix: path must be absolute\n"
	     "c.json:1:48: policyd.listen[1]: the number 7, expected an address: "
	     "unix:PATH, "
	     "HOST:PORT or [V6]:PORT\n"
	     "c.json:2:22: milter.listen: the string \"unix:/run/x\", expected an array "
	     "of "
	     "addresses: unix:PATH, HOST:PORT or [V6]:PORT\n"},
	    {"control sockets are of this machine: their mode is the permission",
	     "{\"policyd\": {\"control\": \"127.0.0.1:1\", \"login_socket\": "
	     "\"[::1]:2\"},\n"
	     "\"milter\": {\"control\": \"host:3\"}}",
	     "c.json:1:25: policyd.control: the string \"127.0.0.1:1\", expected a "
	     "socket of "
	     "this machine: unix:PATH\n"
	     "c.json:1:56: policyd.login_socket: the string \"[::1]:2\", expected a "
	     "socket "
	     "of this machine: unix:PATH\n"
	     "c.json:2:23: milter.control: the string \"host:3\", expected a socket of "
	     "this "
	     "machine: unix:PATH\n"},
	    {"headers",
	     "{\"milter\": {\"mask\": {\"remove\": [\"X-A:\", \"Received\"]}, \"dkim\": "
	     "{\"oversign\": [\"\", \"Received\"]}}}",
	     "c.json:1:33: milter.mask.remove[0]: the string \"X-A:\", expected a header "
	     "name without its colon\n"
	     "c.json:1:41: milter.mask.remove[1]: the string \"Received\", expected a "
	     "header that mail can do without (for Received see milter.mask.upstream)\n"
	     "c.json:1:77: milter.dkim.oversign[0]: the string \"\", expected something "
	     "in it\n"
	     "c.json:1:81: milter.dkim.oversign[1]: the string \"Received\", expected a "
	     "header that stays as it is on the way\n"},
	    {"realm", "{\"auth\": {\"default_realm\": \"a b\"}}",
	     "c.json:1:28: auth.default_realm: the string \"a b\", expected a domain "
	     "name\n"},
	    {"accounts", "{\"policyd\": {\"user\": \"-x\", \"socket_group\": \"a:b\"}}",
	     "c.json:1:22: policyd.user: the string \"-x\", expected the name of an "
	     "account\n"
	     "c.json:1:44: policyd.socket_group: the string \"a:b\", expected the name "
	     "of an "
	     "account\n"},
	};
	expect_lines(rows, COUNT(rows));
}

static void lists(void **state)
{
	(void)state;
	write_file(
	    "hosts", "\xEF\xBB\xBF# first\n192.0.2.0/24 office # no\n10.0.0.1/8\n\n"
		     "file:other\r\n fe80::1%eth0 x\n");
	write_bytes("nul", "192.0.2.1\n192.0.2.2\0\n", 21);
	static const struct broken rows[] = {
	    {"host entries",
	     "{\"relay\": {\"hosts\": [\"0.0.0.0/0\", \"*\", \"any\", \"::/0\", "
	     "\"10.0.0.1/8\"]}}",
	     "c.json:1:22: relay.hosts[0]: \"0.0.0.0/0\": would let every host in, which "
	     "a "
	     "list that grants does not take\n"
	     "c.json:1:35: relay.hosts[1]: \"*\": would let every host in, which a list "
	     "that "
	     "grants does not take\n"
	     "c.json:1:40: relay.hosts[2]: \"any\": would let every host in, which a "
	     "list "
	     "that grants does not take\n"
	     "c.json:1:47: relay.hosts[3]: \"::/0\": would let every host in, which a "
	     "list "
	     "that grants does not take\n"
	     "c.json:1:55: relay.hosts[4]: \"10.0.0.1/8\": host bits set behind the "
	     "prefix "
	     "length: the network is 10.0.0.0/8\n"},
	    {"catch-alls grant in trusted.hosts and tls_exempt, not in block.hosts",
	     "{\"trusted\": {\"hosts\": [\"any\"]}, \"auth\": {\"tls_exempt\": "
	     "[\"any\"],\n"
	     "\"submission_hosts\": [\"any\"]}, \"block\": {\"hosts\": [\"any\"]}}",
	     "c.json:1:24: trusted.hosts[0]: \"any\": would let every host in, which a "
	     "list "
	     "that grants does not take\n"
	     "c.json:1:57: auth.tls_exempt[0]: \"any\": would let every host in, which a "
	     "list "
	     "that grants does not take\n"},
	    {"entries of another type, empty, with blanks",
	     "{\"block\": {\"users\": [\"\", 5, \"ada \", []]}}",
	     "c.json:1:22: block.users[0]: \"\": expected an entry\n"
	     "c.json:1:26: block.users[1]: the number 5, expected an entry: a string\n"
	     "c.json:1:29: block.users[2]: the string \"ada \", expected no white space "
	     "at its ends and no control characters\n"
	     "c.json:1:37: block.users[3]: an empty array, expected an entry: a "
	     "string\n"},
	    {"a list file: each malformed line",
	     "{\"block\": {\"hosts\": [\"file:hosts\"]}}",
	     "hosts:3:1: block.hosts[0]: \"10.0.0.1/8\": host bits set behind the prefix "
	     "length: the network is 10.0.0.0/8\n"
	     "hosts:5:1: block.hosts[0]: \"file:other\": a list file cannot name "
	     "another\n"
	     "hosts:6:1: block.hosts[0]: \"fe80::1%eth0\": an address with a zone, which "
	     "means nothing to another host\n"},
	    {"a list file with a NUL", "{\"block\": {\"hosts\": [\"file:nul\"]}}",
	     "nul:2:1: block.hosts[0]: a NUL byte, expected text\n"},
	    {"list files that cannot be read",
	     "{\"block\": {\"users\": [\"file:\", \"file:none\", \"file:/dev/zero\", "
	     "\"file:.\"]}}",
	     "c.json:1:22: block.users[0]: \"file:\" without a name, expected file:PATH\n"
	     "c.json:1:31: block.users[1]: none: cannot be opened: No such file or "
	     "directory\n"
	     "c.json:1:44: block.users[2]: /dev/zero: is a device, expected a regular "
	     "file\n"
	     "c.json:1:62: block.users[3]: .: is a directory, expected a regular file\n"},
	    {"objects in relay.hosts",
	     "{\"relay\": {\"hosts\": [{}, {\"host\": \"192.0.2.1\", \"hosts\": []},\n"
	     "{\"host\": 7}, {\"hosts\": \"192.0.2.1\"},\n"
	     "{\"host\": \"192.0.2.2\", \"senders\": \"example.org\"},\n"
	     "{\"host\": \"192.0.2.3\", \"reasons\": \"x\", \"unknown_domains\": 1}]}}",
	     "c.json:1:22: relay.hosts[0]: neither \"host\" nor \"hosts\", expected one "
	     "of them\n"
	     "c.json:1:26: relay.hosts[1]: \"host\" and \"hosts\", expected one of them\n"
	     "c.json:2:10: relay.hosts[2].host: the number 7, expected a string\n"
	     "c.json:2:24: relay.hosts[3].hosts: the string \"192.0.2.1\", expected an "
	     "array of hosts, each a string\n"
	     "c.json:3:34: relay.hosts[4].senders: the string \"example.org\", expected "
	     "an array of mail addresses and domains, each a string\n"
	     "c.json:4:23: relay.hosts[5].reasons: unknown key, did you mean "
	     "\"reason\"?\n"
	     "c.json:4:58: relay.hosts[5].unknown_domains: the number 1, expected true "
	     "or false\n"},
	    {"one host under two rules",
	     "{\"relay\": {\"hosts\": [\"192.0.2.1\",\n{\"host\": \"192.0.2.1\", "
	     "\"senders\": []}]}}",
	     "c.json:2:10: relay.hosts: \"192.0.2.1\" stands at c.json:1:22 with another "
	     "rule, "
	     "expected it once\n"},
	    {"users of another type", "{\"relay\": {\"users\": \"ada\"}}",
	     "c.json:1:21: relay.users: the string \"ada\", expected true, false or an "
	     "array "
	     "of SASL user names and @realms\n"},
	    {"sender_logins",
	     "{\"auth\": {\"sender_logins\": [\"a@example.org\", \"info@ ada\", \"@ "
	     "ada\", \"<> "
	     "ada\", \"x.org , ,\", \"x.org @\"]}}",
	     "c.json:1:29: auth.sender_logins[0]: \"a@example.org\": expected the SASL "
	     "users "
	     "behind the sender\n"
	     "c.json:1:46: auth.sender_logins[1]: \"info@ ada\": expected a sender: "
	     "user@domain, @domain or domain\n"
	     "c.json:1:59: auth.sender_logins[2]: \"@ ada\": expected a sender: "
	     "user@domain, "
	     "@domain or domain\n"
	     "c.json:1:68: auth.sender_logins[3]: \"<> ada\": expected a sender: "
	     "user@domain, "
	     "@domain or domain\n"
	     "c.json:1:78: auth.sender_logins[4]: \"x.org , ,\": expected the SASL users "
	     "behind the sender\n"
	     "c.json:1:91: auth.sender_logins[5]: \"x.org @\": expected a realm that is "
	     "a "
	     "domain behind the @\n"},
	};
	expect_lines(rows, COUNT(rows));
}

static void names(void **state)
{
	(void)state;
	static const struct broken rows[] = {
	    {"domains that are none",
	     "{\"domains\": {\"a b\": {}, \"*.example.org\": {}, \"@example.org\": {}, "
	     "\"\": {},\n"
	     "\"[192.0.2.1]\": {}}}",
	     "c.json:1:14: domains.\"a b\": not a domain, expected a name such as "
	     "\"example.org\"\n"
	     "c.json:1:25: domains.*.example.org: not a domain, expected a name such as "
	     "\"example.org\" and \"subdomains\": true for those below it\n"
	     "c.json:1:46: domains.@example.org: not a domain, expected a name such as "
	     "\"example.org\"\n"
	     "c.json:1:66: domains.\"\": not a domain, expected a name such as "
	     "\"example.org\"\n"
	     "c.json:2:1: domains.\"[192.0.2.1]\": not a domain, expected a name such as "
	     "\"example.org\"\n"},
	    {"one domain in two spellings",
	     "{\"domains\": {\"b\xC3\xBC\x63her.example\": "
	     "{},\n\"XN--BCHER-KVA.Example.\": {}}}",
	     "c.json:2:1: domains.XN--BCHER-KVA.Example.: duplicate: first set at "
	     "c.json:1:14, expected it once\n"},
	    {"domains of another type", "{\"domains\": []}",
	     "c.json:1:13: domains: an empty array, expected an object { ... } of "
	     "domains\n"},
	    {"inside a domain",
	     "{\"domains\": {\"example.org\": {\"auth\": \"no\", \"subdomain\": true, "
	     "\"dkim\": "
	     "\"k\", \"limits\": []}}}",
	     "c.json:1:38: domains.example.org.auth: the string \"no\", expected true or "
	     "false\n"
	     "c.json:1:44: domains.example.org.subdomain: unknown key, did you mean "
	     "\"subdomains\"?\n"
	     "c.json:1:71: domains.example.org.dkim: the string \"k\", expected an array "
	     "of key names\n"
	     "c.json:1:86: domains.example.org.limits: an empty array, expected an "
	     "object of names, each with a whole number, a size or null\n"},
	    {"DKIM keys by name",
	     "{\"defaults\": {\"dkim\": [\"defualt\"]},\n"
	     "\"domains\": {\"example.org\": {\"dkim\": [\"default\", \"default\", "
	     "\"x\"]}},\n"
	     "\"milter\": {\"dkim\": {\"require_dns\": false, \"keys\": {\"default\": "
	     "{\"selector\": \"s\", \"file\": \"k\"}}}}}",
	     "c.json:1:24: defaults.dkim[0]: there is no DKIM key \"defualt\", did you "
	     "mean \"default\"?\n"
	     "c.json:2:49: domains.example.org.dkim[1]: \"default\" stands here before\n"
	     "c.json:2:60: domains.example.org.dkim[2]: there is no DKIM key \"x\", "
	     "expected a name from milter.dkim.keys\n"},
	    {"DKIM keys themselves",
	     "{\"milter\": {\"dkim\": {\"require_dns\": false, \"keys\": {\"a\": {},\n"
	     "\"b c\": {\"selector\": \"s\", \"file\": \"k\"},\n"
	     "\"d\": {\"selector\": \"s_1.\", \"file\": \"\", \"domain\": \"x "
	     "y\"},\n\"e\": 1}}}}",
	     "c.json:1:58: milter.dkim.keys.a: \"selector\" is missing\n"
	     "c.json:1:58: milter.dkim.keys.a: \"file\" is missing\n"
	     "c.json:2:1: milter.dkim.keys.\"b c\": not a key's name, expected 1 to 64 "
	     "letters, digits, '.', '_' or '-'\n"
	     "c.json:3:19: milter.dkim.keys.d.selector: the string \"s_1.\", expected a "
	     "selector such as \"s2026\": letters, digits and -, dots between them\n"
	     "c.json:3:35: milter.dkim.keys.d.file: an empty string, expected a file "
	     "name\n"
	     "c.json:3:49: milter.dkim.keys.d.domain: the string \"x y\", expected a "
	     "domain name\n"
	     "c.json:4:6: milter.dkim.keys.e: the number 1, expected an object { ... "
	     "}\n"},
	    {"limits of a domain",
	     "{\"domains\": {\"example.org\": {\"limits\": {\"user-hours\": 5, \"host\": "
	     "5,\n"
	     "\"user-hour\": \"25M\"}}},\n"
	     "\"limits\": [{\"name\": \"user-hour\", \"per\": \"user\", \"count\": "
	     "\"messages\", "
	     "\"max\": 1, \"window\": \"1h\", \"over\": \"warn\"},\n"
	     "{\"name\": \"host\", \"per\": \"client\", \"count\": \"messages\", "
	     "\"max\": 1, "
	     "\"window\": \"1h\", \"over\": \"warn\"}]}",
	     "c.json:1:41: domains.example.org.limits.user-hours: there is no limit "
	     "\"user-hours\", did you mean \"user-hour\"?\n"
	     "c.json:1:58: domains.example.org.limits.host: the limit \"host\" counts "
	     "nothing "
	     "that has a domain, expected one per user, sender or recipient, or their "
	     "domains\n"
	     "c.json:2:14: domains.example.org.limits.user-hour: the string \"25M\", "
	     "expected "
	     "a whole number: the limit does not count bytes\n"},
	    {"shadow", "{\"shadow\": [\"realy\", \"limits/x\", 7, \"wibble\"]}",
	     "c.json:1:13: shadow[0]: \"realy\" is no check, did you mean \"relay\"?\n"
	     "c.json:1:22: shadow[1]: \"limits/x\" is no check, did you mean "
	     "\"limits\"?\n"
	     "c.json:1:34: shadow[2]: the number 7, expected a string\n"
	     "c.json:1:37: shadow[3]: \"wibble\" is no check, expected one or "
	     "\"limits/NAME\"\n"},
	};
	expect_lines(rows, COUNT(rows));
}

static void limits(void **state)
{
	(void)state;
	static const struct broken rows[] = {
	    {"not an array", "{\"limits\": {}}",
	     "c.json:1:12: limits: an object, expected an array of objects\n"},
	    {"an empty one, and another type", "{\"limits\": [{}, 1]}",
	     "c.json:1:13: limits[0]: \"name\" is missing\n"
	     "c.json:1:13: limits[0]: \"per\" is missing\n"
	     "c.json:1:13: limits[0]: \"count\" is missing\n"
	     "c.json:1:13: limits[0]: \"max\" is missing\n"
	     "c.json:1:17: limits[1]: the number 1, expected an object { ... }\n"},
	    {"names",
	     "{\"limits\": [{\"name\": \"User_hour.2/x\", \"per\": \"user\", \"count\": "
	     "\"messages\", "
	     "\"max\": 1, \"window\": \"1h\", \"over\": \"warn\"},\n"
	     "{\"name\": \"b\", \"per\": \"user\", \"count\": \"messages\", \"max\": 1, "
	     "\"window\": \"1h\", \"over\": \"warn\"},\n"
	     "{\"name\": \"b\", \"per\": \"user\", \"count\": \"messages\", \"max\": 1, "
	     "\"window\": \"1h\", \"over\": \"warn\"}]}",
	     "c.json:1:22: limits[0].name: the string \"User_hour.2/x\", expected a "
	     "name of 1 to 64 letters, digits, \"-\", \"_\" and \".\"\n"
	     "c.json:3:10: limits[2].name: \"b\" is another limit's name too, at "
	     "c.json:2:1\n"},
	    {"per and window",
	     "{\"limits\": [{\"name\": \"a\", \"per\": [\"user\", \"user\", \"users\"], "
	     "\"count\": "
	     "\"messages\", \"max\": 1, \"over\": \"warn\"},\n"
	     "{\"name\": \"b\", \"per\": [\"message\", \"user\"], \"count\": "
	     "\"messages\", "
	     "\"max\": 1, \"over\": \"warn\"},\n"
	     "{\"name\": \"c\", \"per\": \"message\", \"count\": \"messages\", \"max\": "
	     "1, "
	     "\"window\": \"1h\", \"over\": \"warn\"},\n"
	     "{\"name\": \"d\", \"per\": \"client\", \"count\": \"messages\", \"max\": "
	     "1, "
	     "\"over\": \"warn\"},\n"
	     "{\"name\": \"e\", \"per\": [], \"count\": \"messages\", \"max\": 1, "
	     "\"over\": \"warn\", \"window\": \"0s\"},\n"
	     "{\"name\": \"f\", \"per\": [\"client\", \"everyone\"], \"count\": "
	     "\"messages\", "
	     "\"max\": 1, \"over\": \"warn\", \"window\": \"1h\"}]}",
	     "c.json:1:13: limits[0]: \"window\" is missing: only a limit per message "
	     "has none\n"
	     "c.json:1:43: limits[0].per[1]: \"user\" stands here twice\n"
	     "c.json:1:51: limits[0].per[2]: the string \"users\", expected one or an "
	     "array of \"client\", \"user\", \"sender\", \"sender_domain\", "
	     "\"recipient\", \"recipient_domain\", \"everyone\", \"message\"\n"
	     "c.json:2:22: limits[1].per: \"message\" with others, expected it alone\n"
	     "c.json:3:74: limits[2].window: a limit per message has no window, expected "
	     "none\n"
	     "c.json:4:1: limits[3]: \"window\" is missing: only a limit per message has "
	     "none\n"
	     "c.json:5:22: limits[4].per: an empty array, expected one or an array of "
	     "\"client\", \"user\", \"sender\", \"sender_domain\", \"recipient\", "
	     "\"recipient_domain\", \"everyone\", \"message\"\n"
	     "c.json:5:83: limits[4].window: the string \"0s\", expected a time with its "
	     "unit from \"1s\" to \"366d\"\n"
	     "c.json:6:22: limits[5].per: \"everyone\" with others, expected it alone\n"},
	    {"max and over",
	     "{\"limits\": [{\"name\": \"a\", \"per\": \"message\", \"count\": "
	     "\"bytes\", \"max\": "
	     "\"25MB\", \"over\": \"refuse\"},\n"
	     "{\"name\": \"b\", \"per\": \"message\", \"count\": \"messages\", \"max\": "
	     "\"25M\", "
	     "\"over\": \"filter:slow\"},\n"
	     "{\"name\": \"c\", \"per\": \"message\", \"count\": \"messages\", \"max\": "
	     "null, "
	     "\"over\": \"filter:a b:c\"},\n"
	     "{\"name\": \"d\", \"per\": \"message\", \"count\": \"messages\", \"max\": "
	     "-1, "
	     "\"over\": 1}]}",
	     "c.json:1:70: limits[0].max: the string \"25MB\", expected a whole number "
	     "from 0 on, or a size such as \"25M\"\n"
	     "c.json:1:86: limits[0].over: the string \"refuse\", expected "
	     "\"filter:TRANSPORT:NEXTHOP\" or one of \"defer\", \"reject\", \"hold\", "
	     "\"warn\"\n"
	     "c.json:2:61: limits[1].max: the string \"25M\", expected a whole number: "
	     "the limit does not count bytes\n"
	     "c.json:2:76: limits[1].over: the string \"filter:slow\", expected "
	     "\"filter:TRANSPORT:NEXTHOP\" or one of \"defer\", \"reject\", \"hold\", "
	     "\"warn\"\n"
	     "c.json:3:61: limits[2].max: null, expected a whole number from 0 on, or a "
	     "size such as \"25M\"\n"
	     "c.json:3:75: limits[2].over: the string \"filter:a b:c\", expected "
	     "\"filter:TRANSPORT:NEXTHOP\" or one of \"defer\", \"reject\", \"hold\", "
	     "\"warn\"\n"
	     "c.json:4:61: limits[3].max: the number -1, expected a whole number from 0 "
	     "on, or a size such as \"25M\"\n"
	     "c.json:4:73: limits[3].over: the number 1, expected "
	     "\"filter:TRANSPORT:NEXTHOP\" or one of \"defer\", \"reject\", \"hold\", "
	     "\"warn\"\n"},
	    {"when",
	     "{\"limits\": [{\"name\": \"a\", \"per\": \"message\", \"count\": "
	     "\"bytes\", \"max\": 1, "
	     "\"over\": \"warn\", \"when\": {\"authenticated\": 1,\n"
	     "\"ports\": [], \"hosts\": [], \"users\": [], \"sender_domains\": [],\n"
	     "\"sender_domain\": []}},\n"
	     "{\"name\": \"b\", \"per\": \"message\", \"count\": \"bytes\", \"max\": 1, "
	     "\"over\": "
	     "\"warn\", \"when\": {\"sender_domains\": [\"a@example.org\"]}}]}",
	     "c.json:1:115: limits[0].when.authenticated: the number 1, expected true or "
	     "false\n"
	     "c.json:2:10: limits[0].when.ports: an empty list never holds, leave it "
	     "out\n"
	     "c.json:2:23: limits[0].when.hosts: an empty list never holds, leave it "
	     "out\n"
	     "c.json:2:36: limits[0].when.users: an empty list never holds, leave it "
	     "out\n"
	     "c.json:2:58: limits[0].when.sender_domains: an empty list never holds, "
	     "leave it out\n"
	     "c.json:3:1: limits[0].when.sender_domain: unknown key, did you mean "
	     "\"sender_domains\"?\n"
	     "c.json:4:105: limits[1].when.sender_domains[0]: \"a@example.org\": "
	     "expected a domain: \"example.org\", \"@example.org\" or "
	     "\".example.org\"\n"},
	    {"override",
	     "{\"limits\": [{\"name\": \"a\", \"per\": \"user\", \"count\": "
	     "\"messages\", \"max\": 1, "
	     "\"window\": \"1h\", \"over\": \"warn\", \"override\": {\n"
	     "\"192.0.2.0/24\": 1, \"@x y\": 1, \"ada\": true, \"bob\": 1, \"BOB\": "
	     "2}},\n"
	     "{\"name\": \"b\", \"per\": \"client\", \"count\": \"messages\", \"max\": "
	     "1, \"window\": "
	     "\"1h\", \"over\": \"warn\", \"override\": {\n"
	     "\"@example.org\": 1, \"ada\": 1, \"a@example.org\": 1, \"192.0.2.1/24\": "
	     "1}}]}",
	     "c.json:2:1: limits[0].override.192.0.2.0/24: an address where the limit "
	     "does not "
	     "count per client, expected a subject of its \"per\", @domain or a CIDR "
	     "range\n"
	     "c.json:2:20: limits[0].override.\"@x y\": not a domain behind the @, "
	     "expected a "
	     "subject of its \"per\", @domain or a CIDR range\n"
	     "c.json:2:38: limits[0].override.ada: true, expected a whole number from 0 "
	     "on, a "
	     "size such as \"25M\", or null for none\n"
	     "c.json:2:54: limits[0].override.BOB: the same subject stands here before\n"
	     "c.json:4:1: limits[1].override.@example.org: a domain where the limit "
	     "counts "
	     "nothing that has one, expected a subject of its \"per\", @domain or a CIDR "
	     "range\n"
	     "c.json:4:20: limits[1].override.ada: a subject this limit does not count, "
	     "expected a subject of its \"per\", @domain or a CIDR range\n"
	     "c.json:4:30: limits[1].override.a@example.org: a user or address where the "
	     "limit "
	     "counts none, expected a subject of its \"per\", @domain or a CIDR range\n"
	     "c.json:4:50: limits[1].override.192.0.2.1/24: a subject this limit does "
	     "not "
	     "count, expected a subject of its \"per\", @domain or a CIDR range\n"},
	    {"what makes no sense together",
	     "{\"limits\": [\n"
	     "{\"name\": \"a\", \"per\": \"client\", \"count\": \"clients\", \"max\": 1, "
	     "\"window\": \"1h\"},\n"
	     "{\"name\": \"b\", \"per\": [\"client\", \"user\"], \"count\": "
	     "\"countries\", \"max\": 1, \"window\": \"1h\"},\n"
	     "{\"name\": \"c\", \"per\": [\"user\", \"sender\"], \"count\": \"senders\", "
	     "\"max\": 1, \"window\": \"1h\"},\n"
	     "{\"name\": \"d\", \"per\": \"message\", \"count\": \"refusals\", \"max\": "
	     "1},\n"
	     "{\"name\": \"e\", \"per\": \"recipient_domain\", \"count\": \"bytes\", "
	     "\"max\": 1, \"window\": \"1h\"},\n"
	     "{\"name\": \"f\", \"per\": \"recipient\", \"count\": \"messages\", "
	     "\"max\": 1, \"window\": \"1h\", \"over\": \"hold\"},\n"
	     "{\"name\": \"g\", \"per\": [\"client\", \"user\"], \"count\": "
	     "\"messages\", \"max\": 1, \"window\": \"1h\", \"block\": \"1h\"},\n"
	     "{\"name\": \"h\", \"per\": \"everyone\", \"count\": \"messages\", \"max\": "
	     "1, \"window\": \"1h\", \"block\": \"1h\"},\n"
	     "{\"name\": \"i\", \"per\": \"message\", \"count\": \"bytes\", \"max\": 1, "
	     "\"block\": \"1h\"},\n"
	     "{\"name\": \"j\", \"per\": \"user\", \"count\": \"senders\", \"max\": "
	     "10001, \"window\": \"1h\", \"override\": {\"ada\": 10001, \"bob\": "
	     "10000}},\n"
	     "{\"name\": \"k\", \"per\": \"user\", \"count\": \"bytes\", \"max\": "
	     "9007199254740992, \"window\": \"1h\", \"override\": {\"ada\": "
	     "\"8388608G\", \"bob\": \"8388607G\"}}]}",
	     "c.json:2:41: limits[0].count: clients per client, which are always one, "
	     "expected another \"count\" or \"per\"\n"
	     "c.json:3:51: limits[1].count: countries per client, which are always one, "
	     "expected another \"count\" or \"per\"\n"
	     "c.json:4:51: limits[2].count: senders per sender, which are always one, "
	     "expected another \"count\" or \"per\"\n"
	     "c.json:5:42: limits[3].count: not something a message has, expected "
	     "messages, recipients or bytes with \"per\": \"message\"\n"
	     "c.json:6:51: limits[4].count: bytes per recipient, expected no recipient "
	     "in \"per\": the size is known when recipients are not told apart any more\n"
	     "c.json:7:90: limits[5].over: an answer for whole messages, expected "
	     "\"defer\" or \"reject\" of a limit per recipient\n"
	     "c.json:8:98: limits[6].block: nobody to block, expected \"per\" to be one "
	     "of client, user, sender, sender_domain, recipient, recipient_domain\n"
	     "c.json:9:90: limits[7].block: nobody to block, expected \"per\" to be one "
	     "of client, user, sender, sender_domain, recipient, recipient_domain\n"
	     "c.json:10:70: limits[8].block: nobody to block, expected \"per\" to be one "
	     "of client, user, sender, sender_domain, recipient, recipient_domain\n"
	     "c.json:11:57: limits[9].max: the number 10001, expected at most 10000: "
	     "what is told apart is kept in memory\n"
	     "c.json:11:100: limits[9].override.ada: the number 10001, expected at most "
	     "10000: what is told apart is kept in memory\n"
	     "c.json:12:55: limits[10].max: the number 9007199254740992, expected at "
	     "most 9007199254740991\n"
	     "c.json:12:109: limits[10].override.ada: the string \"8388608G\", expected "
	     "at most 9007199254740991\n"},
	};
	expect_lines(rows, COUNT(rows));
}

static void not_supported_yet(void **state)
{
	(void)state;
	static const struct broken rows[] = {
	    {"commands", "{\"notify\": {\"command\": [\"/bin/true\"]}}",
	     "c.json:1:24: notify.command: running a command on events is not supported "
	     "yet\n"},
	};
	expect_lines(rows, COUNT(rows));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keys_and_types),
	    cmocka_unit_test(lists),
	    cmocka_unit_test(names),
	    cmocka_unit_test(limits),
	    cmocka_unit_test(not_supported_yet),
	};
	return cmocka_run_group_tests(tests, config_files_setup, config_files_teardown);
}
