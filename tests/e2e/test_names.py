# SPDX-License-Identifier: BSD-2-Clause
"""Host-list entries that come from DNS, in a running postern-policyd."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from milter_client import STRANGER
from milter_daemon import milter, milter_at_rest, unsigned  # noqa: F401
from name_server import NameServer
from policyd_process import GRANTED, LEFT_TO_POSTFIX, UNDECIDED, Load, PolicyDaemon, request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("POSTERN_BUILD", ROOT / "build")).resolve()

DEFERRED = b"action=DEFER_IF_REJECT "
NO_ANSWER = r"warning: .*it matches nobody until DNS gives a good answer"


@pytest.fixture
def dns():
    server = NameServer()
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def policyd(dns):
    """policyd(hosts, **settings): a daemon that asks `dns`."""
    made = []

    def start(hosts, timeout="500ms", **settings):
        daemon = PolicyDaemon(BUILD)
        made.append(daemon)
        daemon.settings = {"dns": {"servers": [dns.address], "timeout": timeout}, **settings}
        return daemon.run(relay={"hosts": hosts}, **daemon.settings)

    yield start
    for daemon in made:
        daemon.inspect()


def ask(daemon, ip, **changes):
    with daemon.connect() as client:
        return client.ask(request(client_address=ip, client_name="unknown", **changes))


def reload(daemon, hosts):
    daemon.configure(relay={"hosts": hosts}, **daemon.settings)
    mark = daemon.mark()
    daemon.process.signal(signal.SIGHUP)
    daemon.wait_for_line("reloaded .*", mark)


def wait_until(daemon, ip, wanted, timeout=20):
    """Asks until the answer begins so; each is one of the server's own pace.

    That may be faster than the log can be read, which the daemon then says.
    """
    daemon.allow("log lines dropped")
    until = time.monotonic() + timeout
    while not (answer := ask(daemon, ip)).startswith(wanted):
        assert time.monotonic() < until, answer


def test_every_kind_is_resolved_before_the_first_answer(policyd, dns):
    for line in ("a.example A 60 192.0.2.1", "a.example A 60 192.0.2.2",
                 "a.example AAAA 60 2001:db8::1", "b.example A 60 192.0.2.3",
                 "b.example AAAA 60 2001:db8::3", "c.example AAAA 60 2001:db8::4",
                 "d.example MX 60 10 mx.d.example", "mx.d.example A 60 192.0.2.5",
                 "d.example TXT 60 v=spf1 -ip4:198.51.100.9 include:i.example ~all",
                 "i.example TXT 60 v=spf1 ip4:198.51.100.0/24 -all"):
        dns.say(f"add {line}")
    daemon = policyd(["a.example", "b.example/a", "c.example/aaaa", "d.example/mx",
                      "d.example/spf", "!192.0.2.2"])
    for ip in ("192.0.2.1", "2001:db8::1", "192.0.2.3", "2001:db8::4", "192.0.2.5",
               "198.51.100.8", "::ffff:192.0.2.1"):
        assert ask(daemon, ip) == GRANTED, ip
    for ip in ("192.0.2.2", "2001:db8::3", "2001:db8::5", "198.51.100.9", "192.0.2.9"):
        assert ask(daemon, ip) == UNDECIDED, ip
    lines = daemon.all_lines("networks")
    assert len(lines) == 5, lines
    assert re.search(r"relay\.hosts entry d\.example/spf at \S+/postern\.json:\d+: "
                     r"\+2 -0 networks$", lines[-1]) or \
        any("d.example/spf" in line and "+2 -0" in line for line in lines), lines


def test_the_senders_rule_of_an_entry_holds(policyd, dns):
    dns.say("add a.example A 60 192.0.2.1")
    daemon = policyd([{"host": "a.example/a", "senders": ["eve@elsewhere.example"]}])
    assert ask(daemon, "192.0.2.1", sender="eve@elsewhere.example") == GRANTED
    assert ask(daemon, "192.0.2.1") == LEFT_TO_POSTFIX


def test_dns_down_at_start(policyd, dns):
    """It starts all the same, defers whom it may concern, and learns when DNS is back."""
    dns.say("mode * drop")
    dns.say("add a.example A 60 192.0.2.1")
    began = time.monotonic()
    daemon = policyd(["a.example/a", "192.0.2.7"], timeout="200ms")
    assert time.monotonic() - began < 15
    daemon.allow(NO_ANSWER)
    assert ask(daemon, "192.0.2.7") == GRANTED
    assert ask(daemon, "192.0.2.1").startswith(DEFERRED)
    assert ask(daemon, "203.0.113.9").startswith(DEFERRED)
    # A sender that no entry would grant does not depend on DNS.
    assert ask(daemon, "203.0.113.9", sender="eve@elsewhere.example") == UNDECIDED
    dns.say("mode * normal")
    wait_until(daemon, "192.0.2.1", GRANTED)
    assert ask(daemon, "203.0.113.9") == UNDECIDED
    assert len(daemon.all_lines("it matches nobody")) == 1


def test_a_reload_while_dns_is_down_forgets_nothing(policyd, dns):
    dns.say("add a.example A 60 192.0.2.1")
    dns.say("add b.example A 60 192.0.2.2")
    daemon = policyd(["a.example/a"], timeout="200ms")
    daemon.allow(NO_ANSWER)
    dns.say("mode * servfail")
    reload(daemon, ["b.example/a", "a.example/a"])
    assert ask(daemon, "192.0.2.1") == GRANTED
    assert ask(daemon, "192.0.2.2").startswith(DEFERRED)
    reload(daemon, ["a.example/a"])
    assert ask(daemon, "192.0.2.1") == GRANTED
    assert ask(daemon, "192.0.2.2") == UNDECIDED
    dns.say("mode * normal")
    reload(daemon, ["b.example/a"])
    assert ask(daemon, "192.0.2.1") == UNDECIDED
    assert ask(daemon, "192.0.2.2") == GRANTED


def test_a_name_that_does_not_exist_matches_nobody(policyd, dns):
    daemon = policyd(["nobody.example/a"])
    daemon.allow("nobody.example does not exist: .0 -0 networks")
    # Believed the second time, some seconds later.
    wait_until(daemon, "192.0.2.1", UNDECIDED)
    assert dns.count("nobody.example", "A") == 2


def test_blocks_and_exceptions(policyd, dns):
    dns.say("add bad.example A 60 192.0.2.66")
    dns.say("add good.example A 60 192.0.2.67")
    daemon = policyd(["192.0.2.0/24"], block={
        "hosts": ["bad.example", "192.0.2.64/30", "!good.example/a"]})
    assert ask(daemon, "192.0.2.66").startswith(b"action=554 5.7.1")
    assert ask(daemon, "192.0.2.65").startswith(b"action=554 5.7.1")
    assert ask(daemon, "192.0.2.67") == GRANTED


@pytest.mark.threads
def test_changes_under_load(policyd, dns):
    """The main answer never wavers while names come, change and go."""
    dns.say("add a.example A 0 192.0.2.1")
    dns.say("add b.example TXT 0 v=spf1 ip4:192.0.2.0/28 -all")
    daemon = policyd(["192.0.2.7", "a.example/a"])
    load = Load(daemon.path)
    for turn in range(10):
        dns.say(f"add n{turn}.example A 0 198.51.100.{turn}")
        reload(daemon, ["192.0.2.7", "a.example/a", "b.example/spf", f"n{turn}.example"])
        assert ask(daemon, f"198.51.100.{turn}") == GRANTED
        assert ask(daemon, f"198.51.100.{turn + 1}") == UNDECIDED
        load.wait_for(10)
    load.finish()


def test_the_milter_knows_the_same_relay_hosts(milter, dns):  # noqa: F811
    dns.say("add a.example A 60 192.0.2.1")
    daemon = milter(relay={"hosts": ["a.example/a"]},
                    dns={"servers": [dns.address], "timeout": "500ms"})
    headers = [("From", " <ada@example.org>")]
    for ip, is_signed in (("192.0.2.1", True), ("192.0.2.2", False)):
        with daemon.session(dict(STRANGER, **{"{client_addr}": ip})) as session:
            reply = session.message(headers)
        if is_signed:
            daemon.assert_signed(headers, b"hello\r\n", reply)
        else:
            assert unsigned(reply), reply
    dns.say("add b.example A 60 192.0.2.2")
    daemon.configure({"relay": {"hosts": ["b.example/a"]},
                      "dns": {"servers": [dns.address], "timeout": "500ms"}})
    daemon.reload("reloaded")
    for ip, is_signed in (("192.0.2.2", True), ("192.0.2.1", False)):
        with daemon.session(dict(STRANGER, **{"{client_addr}": ip})) as session:
            reply = session.message(headers)
        assert unsigned(reply) != is_signed, reply


def test_the_milter_knows_its_relay_hosts_while_dns_is_away(milter_at_rest, dns):  # noqa: F811
    """A restart, and a child that is started again: neither turns them into strangers."""
    daemon = milter_at_rest
    daemon.allow("the last good answer is kept|was killed by signal 9")
    dns.say("add a.example A 60 192.0.2.1")
    settings = {"relay": {"hosts": ["a.example/a"]},
                "dns": {"servers": [dns.address], "timeout": "300ms"},
                "milter": {"dkim": {"state": str(daemon.run / "dkim.json")}}}
    headers = [("From", " <ada@example.org>")]

    def assert_signed():
        with daemon.session(dict(STRANGER, **{"{client_addr}": "192.0.2.1"})) as session:
            daemon.assert_signed(headers, b"hello\r\n", session.message(headers))
    daemon.start(settings)
    assert_signed()
    dns.say("mode * servfail")
    (child,) = daemon.children()
    os.kill(child, signal.SIGKILL)
    daemon.daemon.process.wait_for_line("child 0 serves again")
    assert_signed()
    daemon.daemon.stop()
    daemon.daemon.start()
    assert_signed()


def test_what_names_stand_for_outlives_a_restart(policyd, dns, tmp_path):
    """DNS is dead when the daemon is started again: who relayed still does, and who was
    blocked or excepted still is; for a day."""
    for line in ("a.example A 60 192.0.2.1", "bad.example A 60 192.0.2.66",
                 "out.example A 60 192.0.2.70"):
        dns.say(f"add {line}")
    state = tmp_path / "state.json"
    hosts = ["a.example/a", "192.0.2.64/26", "!out.example/a"]
    daemon = policyd(hosts, timeout="200ms", block={"hosts": ["bad.example/a"]},
                     policyd={"state": str(state)})
    daemon.allow("the last good answer is kept|" + NO_ANSWER)

    def assert_as_before():
        assert ask(daemon, "192.0.2.1") == ask(daemon, "192.0.2.71") == GRANTED
        assert ask(daemon, "192.0.2.66").startswith(b"action=554 5.7.1")
        assert ask(daemon, "192.0.2.70") == ask(daemon, "192.0.2.2") == UNDECIDED

    assert_as_before()
    daemon.stop()
    file = tmp_path / "state.json.names"
    assert file.stat().st_mode & 0o7777 == 0o600
    dns.stop()
    daemon.start()
    assert_as_before()
    # A name that it does not know yet: whom it grants, or excepts, nobody can tell.
    daemon.stop()
    daemon.configure(relay={"hosts": hosts + ["new.example/a"]}, **daemon.settings)
    daemon.start()
    assert ask(daemon, "192.0.2.1") == GRANTED
    assert ask(daemon, "192.0.2.2").startswith(DEFERRED)
    daemon.stop()
    # A day later.
    kept = json.loads(file.read_text())
    assert {name["name"] for name in kept["names"]} == {
        "a.example/a", "bad.example/a", "out.example/a"}
    for name in kept["names"]:
        name["good"] -= 86400
    file.write_text(json.dumps(kept))
    daemon.start()
    for ip in ("192.0.2.1", "192.0.2.70", "192.0.2.71"):
        assert ask(daemon, ip).startswith(DEFERRED), ip


def test_explain_asks_dns(policyd, dns):
    dns.say("add a.example A 60 192.0.2.1")
    daemon = policyd(["a.example/a"])
    for ip, wanted in (("192.0.2.1", "OK"), ("192.0.2.2", "DUNNO")):
        done = subprocess.run(
            [BUILD / "ctl" / "postern", "explain", "-c", daemon.configuration, "--client", ip,
             "--sender", "ada@example.org", "--recipient", "joe@outside.example"],
            capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert wanted in done.stdout, done.stdout
        assert ("a.example/a" in done.stdout) == (wanted == "OK"), done.stdout


def test_check_asks_nobody(policyd, dns):
    daemon = policyd(["192.0.2.7"])
    daemon.configure(relay={"hosts": ["a.example/spf", "b.example"]}, **daemon.settings)
    done = subprocess.run([BUILD / "ctl" / "postern", "check", "-c", daemon.configuration],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert dns.count("a.example", "TXT") == 0
    daemon.configure(relay={"hosts": ["a.example/ptr"]}, **daemon.settings)
    done = subprocess.run([BUILD / "ctl" / "postern", "check", "-c", daemon.configuration],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 78
    assert "a.example/ptr" in done.stdout + done.stderr
