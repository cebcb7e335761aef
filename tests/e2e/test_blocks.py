# SPDX-License-Identifier: BSD-2-Clause
"""Blocks at run time on one node: by command over the control socket, and by a limit."""

import json
import re
import subprocess
import time

import pytest

from policyd_process import GRANTED, Load, UNDECIDED, request
from test_control import Control, controlled  # noqa: F401 (a fixture)

STRANGER = "203.0.113.9"



def answer(daemon, **changes):
    with daemon.connect() as client:
        return client.ask(request(**changes)).decode()


def blocks(daemon):
    with Control(daemon.control) as control:
        return {(row["kind"], row["subject"]): row for row in control.ask("blocks")["blocks"]}


# Kind, what is written, what it becomes, a request that it refuses, and the reply.
KINDS = [
    ("client", "192.0.2.7/32", "192.0.2.7", {}, "554 5.7.1 Client host blocked: spam"),
    ("client", "192.0.2.0/24", "192.0.2.0/24", {"protocol_state": "CONNECT"},
     "554 5.7.1 Client host blocked: spam"),
    ("user", "Ada@Example.Org", "ada@example.org",
     {"sasl_method": "plain", "sasl_username": "ada@example.org",
      "encryption_protocol": "TLSv1.3", "server_port": "587"},
     "554 5.7.1 Account blocked: spam"),
    ("sender", "@example.org", "@example.org", {}, "554 5.7.1 Sender address blocked: spam"),
    ("sender", "<>", "<>", {"sender": ""}, "554 5.7.1 Sender address blocked: spam"),
    ("recipient", "Joe@outside.example", "joe@outside.example", {},
     "554 5.7.1 Recipient address blocked: spam"),
]


@pytest.mark.parametrize("kind, value, subject, attributes, reply", KINDS)
def test_block_and_unblock(controlled, kind, value, subject, attributes, reply):
    daemon = controlled()
    before = answer(daemon, **attributes)
    assert not before.startswith("action=5")
    with Control(daemon.control) as control:
        began = int(time.time()) - 1  # time(2) lags by some milliseconds
        told = control.ask("block", kind=kind, value=value, reason="spam", by="ada@gw1")
        assert told == {"ok": True, "subject": subject, "until": None, "shared": False}
        assert answer(daemon, **attributes).startswith(f"action={reply}")
        [row] = control.ask("blocks")["blocks"]
        # time(2) may be a tick behind the clock that Python reads.
        assert began - 1 <= row.pop("since") <= time.time()
        assert row == {"kind": kind, "subject": subject, "until": None, "reason": "spam",
                       "by": "ada@gw1 (root)", "automatic": False}
        assert control.ask("unblock", kind=kind, value=subject)["ok"]
        assert answer(daemon, **attributes) == before
        gone = control.ask("unblock", kind=kind, value=subject)
        assert (gone["ok"], gone["kind"]) == (False, "missing")
    daemon.wait_for_line(f"{kind} {re.escape(subject)} is blocked until it is lifted by "
                         r"ada@gw1 \(root\): spam; lift it with: postern unblock")
    daemon.wait_for_line("is blocked no more")


WRONG = [
    ({"kind": "host", "value": "192.0.2.7"}, "expected client, user, sender or recipient"),
    ({"kind": "client", "value": "0.0.0.0/0"}, "everybody"),
    ({"kind": "client", "value": "192.0.2.7/24"}, "bits set"),
    ({"kind": "client", "value": "gw.example.org"}, "expected an IP address"),
    ({"kind": "sender", "value": "ada"}, "expected ada@example.org"),
    ({"kind": "client", "value": "192.0.2.7", "for": 0}, "for"),
    ({"kind": "client", "value": "192.0.2.7", "for": "2h"}, "for"),
    ({"kind": "client", "value": "192.0.2.7", "for": -1}, "for"),
    ({"kind": "client"}, "value"),
    ({"value": "192.0.2.7"}, "kind"),
    ({"kind": "client", "value": "192.0.2.7", "why": "x"}, "why"),
    ({"kind": ["client"], "value": "192.0.2.7"}, "kind"),
    ({"kind": "user", "value": "a\nb@\x1bexample"}, "expected a name"),
]


def test_wrong_use(controlled):
    daemon = controlled()
    with Control(daemon.control) as control:
        for members, words in WRONG:
            reply = control.ask("block", **members)
            assert (reply["ok"], reply["kind"]) == (False, "usage"), members
            assert words in reply["error"], (members, reply)
            assert "\n" not in reply["error"] and "\x1b" not in reply["error"]
        assert control.ask("blocks")["blocks"] == []
        for ip in ("", "nonsense", "192.0.2.0/24"):
            assert control.ask("login", ip=ip)["kind"] == "usage"


def test_timed_block_of_a_client_ends(controlled):
    daemon = controlled()
    with Control(daemon.control) as control:
        until = control.ask("block", kind="client", value=STRANGER, **{"for": 2})["until"]
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
        assert answer(daemon, client_address=STRANGER).startswith(
            f"action=450 4.7.1 Client host blocked until {end}")
        while time.time() < until + 0.1:
            assert answer(daemon, client_address=STRANGER).startswith("action=450 4.7.1") \
                or time.time() > until - 0.1
        assert answer(daemon, client_address=STRANGER) == UNDECIDED.decode()
        assert control.ask("blocks")["blocks"] == []


def test_a_reload_keeps_blocks(controlled):
    daemon = controlled()
    with Control(daemon.control) as control:
        control.ask("block", kind="client", value="192.0.2.7")
        mark = daemon.mark()
        daemon.hang_up()
        daemon.wait_for_line("reloaded ", mark)
        assert answer(daemon).startswith("action=554 5.7.1")


def test_the_command(controlled, build):
    """`postern block` and its like, end to end."""
    daemon = controlled(hostname="gw1")
    def postern(*args):
        return subprocess.run([build / "ctl" / "postern", *args, "-c", daemon.configuration],
                              capture_output=True, text=True, timeout=60)
    done = postern("block", "client", "192.0.2.7", "--for", "2h", "--reason", "spam run")
    assert done.returncode == 0 and "is blocked until" in done.stdout, done
    assert answer(daemon).startswith("action=450 4.7.1")
    [row] = json.loads(postern("blocks", "--json").stdout)
    assert (row["by"], row["reason"]) == ("root@gw1", "spam run")
    assert row["until"] - row["since"] == 7200
    assert postern("block", "client", "::/0").returncode == 64
    assert postern("unblock", "client", "192.0.2.7").returncode == 0
    assert postern("unblock", "client", "192.0.2.7").returncode == 1
    assert answer(daemon) == GRANTED.decode()


BAN = {"name": "ban", "per": "client", "count": "refusals", "max": 2, "window": "10m",
       "over": "reject", "block": "1h"}
REFUSED = {"sasl_method": "plain", "sasl_username": "ada@example.org"}  # on port 25


def refuse(daemon, times, **changes):
    """Requests that a check refuses, each a message of its own."""
    return [answer(daemon, instance=f"ban.{time.monotonic_ns()}", **REFUSED, **changes)
            for _ in range(times)]


def test_a_limit_blocks(controlled):
    daemon = controlled(limits=[BAN], hostname="gw1")
    daemon.allow("limit ban: client .* is blocked until .*; lift it with: "
                 "postern unblock client 203.0.113.9|reject: |refused|NOQUEUE|check=")
    assert all(reply.startswith("action=550") for reply in
               refuse(daemon, 3, client_address=STRANGER))
    blocked = refuse(daemon, 5, client_address=STRANGER)
    assert all(reply.startswith("action=450 4.7.1 Client host blocked until")
               for reply in blocked), blocked
    row = blocks(daemon)["client", STRANGER]
    assert row["automatic"] and row["by"] == "limit ban on gw1"
    assert row["until"] - row["since"] == 3600
    assert answer(daemon, client_address="203.0.113.10") == UNDECIDED.decode()
    with Control(daemon.control) as control:
        assert control.ask("unblock", kind="client", value=STRANGER)["ok"]
    assert len(daemon.all_lines("limit ban: client")) == 1


def test_a_limit_blocks_an_ipv6_network(controlled):
    daemon = controlled(limits=[BAN])
    daemon.allow("limit ban: client 2001:db8:1::/64 is blocked|refused|reject")
    refuse(daemon, 3, client_address="2001:db8:1::a")
    assert answer(daemon, client_address="2001:db8:1::b").startswith("action=450 4.7.1")
    assert answer(daemon, client_address="2001:db8:1:1::a") == UNDECIDED.decode()


@pytest.mark.parametrize("spared", [
    {"relay": {"hosts": [STRANGER]}}, {"trusted": {"hosts": [STRANGER]}},
    {"trusted": {"users": ["ada@example.org"]}}])
def test_a_limit_never_blocks_trusted_and_relay_hosts(controlled, spared):
    daemon = controlled(limits=[BAN], **spared)
    replies = refuse(daemon, 10, client_address=STRANGER)
    assert all(reply.startswith("action=550") for reply in replies), replies
    assert blocks(daemon) == {}
    # Who does so by hand means it.
    with Control(daemon.control) as control:
        control.ask("block", kind="client", value=STRANGER)
    assert answer(daemon, client_address=STRANGER).startswith("action=554 5.7.1")


def test_shadow_blocks_nobody(controlled):
    daemon = controlled(limits=[BAN], shadow=["limits/ban"])
    refuse(daemon, 10, client_address=STRANGER)
    assert blocks(daemon) == {}
    daemon = controlled(shadow=["host_block"])
    with Control(daemon.control) as control:
        control.ask("block", kind="client", value="192.0.2.7")
    assert answer(daemon) == GRANTED.decode()


def test_logins_grant(controlled):
    daemon = controlled(relay={"login_grace": "1h"})
    assert answer(daemon, client_address=STRANGER) == UNDECIDED.decode()
    with Control(daemon.login) as login:
        assert login.ask("login", ip=STRANGER, user="ada")["recorded"]
        assert login.ask("login", ip="::ffff:203.0.113.11", user="x" * 2000)["recorded"]
    for address in (STRANGER, "203.0.113.11"):
        assert answer(daemon, client_address=address) == GRANTED.decode()
    assert answer(daemon, client_address="203.0.113.10") == UNDECIDED.decode()


@pytest.mark.threads
def test_blocks_under_load(controlled):
    """Blocks that come and go while both loops decide: every answer is one of two."""
    daemon = controlled()
    class Either:
        def __contains__(self, reply):
            return reply == GRANTED or reply.startswith(b"action=554 5.7.1 Client host")
    load = Load(daemon.path, clients=3, expected=Either())
    with Control(daemon.control) as control:
        for n in range(300):
            assert control.ask("block", kind="client", value="192.0.2.0/24")["ok"]
            assert control.ask("block", kind="client", value=f"198.51.100.{n % 250}")["ok"]
            assert control.ask("unblock", kind="client", value="192.0.2.0/24")["ok"]
    load.wait_for(100)
    load.finish()
    assert answer(daemon) == GRANTED.decode()
