# SPDX-License-Identifier: BSD-2-Clause
"""A broken configuration: at start nothing runs, at SIGHUP the old one goes on."""

import re

import pytest

from letters import letter
from private_mail.postern import merged
from private_mail.system import RELAY_HOST
from signatures import assert_signed

OUTSIDE = "joe@outside.example"

# Each fault, and a word of the line that must name it.
FAULTS = {
    "an unknown key": ({"relay": {"hosst": []}}, r"relay\.hosst"),
    "a wrong type": ({"nodes": "2"}, "nodes"),
    "out of range": ({"policyd": {"max_connections": -1}}, r"policyd\.max_connections"),
    "a range with host bits": ({"relay": {"hosts": ["192.0.2.1/24"]}}, r"relay\.hosts\[0\]"),
    "any in a list that grants": ({"relay": {"hosts": ["0.0.0.0/0"]}}, r"relay\.hosts\[0\]"),
    "a missing list": ({"block": {"senders": ["file:gone"]}}, "gone"),
    "a missing key file": ({"milter": {"dkim": {"keys": {"default": {"file": "gone.pem"}}}}},
                           r"gone\.pem"),
    "an unknown key name": ({"domains": {"example.org": {"dkim": ["nokey"]}}}, "nokey"),
}


def readers_of(name, daemons):
    """The policy daemon does not read key files: its user need not be able to."""
    return [daemons.milter] if name == "a missing key file" else daemons.both()


def may_refuse(daemons):
    daemons.exit_codes = dict.fromkeys(daemons.exit_codes, (0, 78))
    return daemons


def refused(daemon):
    """Starts it, sees it end with 78; returns what it said."""
    daemon.launch()
    assert daemon.process.wait() == 78
    daemon.stop()
    return "\n".join(daemon.output())


@pytest.mark.parametrize("name", FAULTS)
def test_every_program_refuses(mail, postern_at_rest, name):
    settings, word = FAULTS[name]
    daemons = may_refuse(postern_at_rest)
    daemons.allow("error: ")
    daemons.configure(settings)
    for daemon in readers_of(name, daemons):
        assert_named(refused(daemon), daemons, word)
    done = daemons.command("check", "-c", daemons.configuration)
    assert done.returncode == 78
    assert_named(done.stdout + done.stderr, daemons, word)
    assert not (daemons.postfix.sockets / "policy").exists()


def assert_named(said, daemons, word):
    """A line FILE:LINE:COLUMN: ... with @word in it."""
    lines = [line for line in said.splitlines()
             if re.search(rf"{daemons.configuration}:\d+:\d+: ", line)
             and re.search(word, line)]
    assert lines, said


def test_all_errors_are_named_at_once(postern_at_rest):
    daemons = may_refuse(postern_at_rest)
    daemons.allow("error: ")
    together = {}
    for settings, _ in FAULTS.values():
        together = merged(together, settings)
    daemons.configure(together)
    done = daemons.command("check", "-c", daemons.configuration)
    said = {"check": done.stdout + done.stderr,
            **{daemon.name: refused(daemon) for daemon in daemons.both()}}
    for name, (_, word) in FAULTS.items():
        for program, lines in said.items():
            # The milter's parent checks all but the keys, which only its child reads.
            if program == "check" or name != "a missing key file":
                assert_named(lines, daemons, word)


def test_a_syntax_error_says_where(postern_at_rest):
    daemons = may_refuse(postern_at_rest)
    daemons.configuration.write_text('{\n  "nodes": 1,\n  "relay": {,}\n}\n')
    daemons.allow("error: ")
    for daemon in daemons.both():
        assert f"{daemons.configuration}:3:" in refused(daemon)


def test_the_test_flag_starts_nothing(postern_at_rest):
    daemons = postern_at_rest
    daemons.configure()
    for daemon in daemons.both():
        assert daemons.run(daemon.program, "-t", "-c", daemons.configuration
                           ).returncode == 0
    daemons.configure({"nodes": 0})
    for daemon in daemons.both():
        assert daemons.run(daemon.program, "-t", "-c", daemons.configuration
                           ).returncode == 78


@pytest.mark.parametrize("name", [*FAULTS, "no JSON at all"])
def test_reload_of_a_broken_file_changes_nothing(mail, postern, sink, tmp_path, name):
    """Old permissions, old blocks and the old key are still in force; then it is mended."""
    daemons = postern(relay={"hosts": [RELAY_HOST]}, block={"senders": ["bob@example.org"]})
    daemons.allow(r"error: |reload")
    if name == "no JSON at all":
        daemons.configuration.write_text("no JSON at all\n")
    else:
        daemons.configure(merged({"block": {"senders": []}}, FAULTS[name][0]))
    for daemon in readers_of(name, daemons):
        daemon.reload(fails=True)
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
        assert client.envelope("bob@example.org", [OUTSIDE]).code == 554
    with mail.client("smtp") as client:
        assert client.envelope("ada@example.org", [OUTSIDE]).code == 554
    assert_signed(sink.one(), daemons, tmp_path)

    daemons.configure({"relay": {"hosts": []}, "block": {"senders": []}})
    for daemon in daemons.both():
        daemon.reload()
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.envelope("ada@example.org", [OUTSIDE]).code == 554
    with mail.user("bob@example.org") as client:
        assert client.message("bob@example.org", [OUTSIDE], letter()).code == 250


def test_a_change_that_needs_a_restart_refuses_the_whole_reload(mail, postern, sink):
    daemons = postern(relay={"hosts": [RELAY_HOST]})
    daemons.allow(r"error: |restart|reload")
    elsewhere = [f"unix:{daemons.postfix.sockets}/elsewhere"]
    daemons.configure({"relay": {"hosts": []}, "policyd": {"listen": elsewhere},
                       "milter": {"listen": elsewhere}})
    for daemon, key in ((daemons.policyd, "policyd.listen"),
                        (daemons.milter, "milter.listen")):
        mark = daemon.mark()
        daemon.reload(fails=True)
        daemon.process.wait_for_line(key.replace(".", r"\."), mark)
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    sink.wait_for(1)
    assert not (daemons.postfix.sockets / "elsewhere").exists()


