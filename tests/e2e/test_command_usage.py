# SPDX-License-Identifier: BSD-2-Clause
"""`postern usage` and `postern reset` against a running daemon and its counters."""

import time

import pytest

import control_client
from control_client import Command, Control
from policyd_process import RELAY_HOST, UNDECIDED, request

LIMITS = [
    {"name": "host", "per": "client", "count": "messages", "max": 4, "window": "1h"},
    {"name": "sender", "per": "sender", "count": "messages", "max": 10, "window": "1d",
     "override": {"big@example.org": 1000}},
    {"name": "from", "per": "sender_domain", "count": "messages", "max": 100,
     "window": "1h"},
    {"name": "pair", "per": ["client", "sender"], "count": "messages", "max": 5,
     "window": "1h"},
    {"name": "places", "per": "user", "count": "clients", "max": 8, "window": "1h"},
]


@pytest.fixture
def counting(policyd_at_rest, build):
    """A daemon with counters: two messages of ada, one of big; and the command for it."""
    daemon = control_client.controlled(
        policyd_at_rest, limits=LIMITS, auth={"require_tls": False, "blocked_ports": []})
    with daemon.connect() as client:
        for n, sender in enumerate(("ada", "ada", "big")):
            assert client.ask(request(
                protocol_state="END-OF-MESSAGE", sender=f"{sender}@example.org",
                recipient_count="1", instance=f"1.{n}")) == UNDECIDED
    return daemon, Command(build, daemon)


def by_limit(rows):
    return {(row["limit"], row["subject"]): (row["used"], row["max"]) for row in rows}


def test_the_fullest_first(counting):
    _, postern = counting
    rows = postern.json("usage")
    assert by_limit(rows) == {
        ("host", RELAY_HOST): (3, 4),
        ("sender", "ada@example.org"): (2, 10),
        ("sender", "big@example.org"): (1, 1000),
        ("from", "example.org"): (3, 100),
        ("pair", f"{RELAY_HOST}|ada@example.org"): (2, 5),
        ("pair", f"{RELAY_HOST}|big@example.org"): (1, 5),
    }
    fullness = [row["used"] / row["max"] for row in rows]
    assert fullness == sorted(fullness, reverse=True)
    assert {row["frees_at"] for row in rows} == {None}
    assert {row["limit"]: row["window"] for row in rows}["sender"] == 86400
    top = postern.json("usage", "--top", "2")
    assert [row["limit"] for row in top] == ["host", "pair"]


@pytest.mark.parametrize("subject, found", [
    (RELAY_HOST, {"host", "pair"}),
    ("client:" + RELAY_HOST, {"host", "pair"}),
    ("Ada+x@Example.org", {"sender", "pair"}),
    ("sender:ada@example.org", {"sender", "pair"}),
    ("recipient:ada@example.org", set()),
    ("user:ada@example.org", set()),
    ("example.org", {"from"}),
    ("sender_domain:@example.org", {"from"}),
    ("192.0.2.99", set()),
])
def test_a_subject(counting, subject, found):
    _, postern = counting
    rows = postern.json("usage", subject)
    assert {row["limit"] for row in rows} == found


def test_when_it_frees_up(counting):
    daemon, postern = counting
    with daemon.connect() as client:
        assert client.ask(request(protocol_state="END-OF-MESSAGE", sender="x@example.org",
                                  instance="2.0", recipient_count="1")) == UNDECIDED
        assert b"451" in client.ask(request(
            protocol_state="END-OF-MESSAGE", sender="x@example.org", instance="2.1",
            recipient_count="1"))
    row = postern.json("usage", "client:" + RELAY_HOST)[0]
    assert (row["limit"], row["used"], row["max"]) == ("host", 4, 4)
    now = time.time()
    # The window slides: never later than two windows, never already over.
    assert now < row["frees_at"] <= now + 2 * 3600


def test_reset(counting):
    daemon, postern = counting
    assert postern.json("reset", "ada@example.org") == {"counters": 2}
    assert by_limit(postern.json("usage")).keys() == {
        ("host", RELAY_HOST), ("sender", "big@example.org"), ("from", "example.org"),
        ("pair", f"{RELAY_HOST}|big@example.org")}
    done = postern("reset", "ada@example.org")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no counters" in done.stderr
    done = postern("reset", "client:" + RELAY_HOST)
    assert (done.returncode, done.stdout) == (0, "2 counters set back\n")
    # All of it again, from zero.
    with daemon.connect() as client:
        for n in range(4):
            assert client.ask(request(
                protocol_state="END-OF-MESSAGE", sender="ada@example.org",
                recipient_count="1", instance=f"3.{n}")) == UNDECIDED
        assert b"451" in client.ask(request(
            protocol_state="END-OF-MESSAGE", sender="ada@example.org",
            recipient_count="1", instance="3.5"))


def test_distinct_counts(counting):
    daemon, postern = counting
    with daemon.connect() as client:
        for n in (1, 2, 3, 3):
            client.ask(request(sasl_username="bob@example.org", sasl_method="PLAIN",
                               sender="bob@example.org", instance=f"7.{n}",
                               client_address=f"192.0.2.{n}"))
    rows = by_limit(postern.json("usage", "user:bob@example.org"))
    assert rows == {("places", "bob@example.org"): (3, 8)}
    assert postern.json("reset", "user:bob@example.org") == {"counters": 1}
    assert postern.json("usage", "user:bob@example.org") == []


def test_for_people(counting):
    _, postern = counting
    lines = postern("usage").stdout.splitlines()
    assert lines[0].split() == ["LIMIT", "SUBJECT", "USED", "MAX", "WINDOW", "FREES", "AT"]
    assert lines[1].split() == ["host", RELAY_HOST, "3", "4", "1h", "has", "room"]
    assert postern("usage", "nobody@example.org").stdout == "no counters\n"


def test_hostile_subjects_are_escaped(counting):
    daemon, postern = counting
    with daemon.connect() as client:
        client.ask(request(protocol_state="END-OF-MESSAGE", instance="9.1",
                           sender="\x1b[31m\u202e|x%{}@example.org", recipient_count="1"))
    done = postern("usage")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    subjects = {row["subject"] for row in postern.json("usage")}
    assert any("\x1b" in subject or "1B" in subject for subject in subjects)


@pytest.mark.parametrize("args", [
    ("usage", "a", "b"), ("usage", "--top", "0"), ("usage", "--top", "x"),
    ("usage", "--top", "1001"), ("usage", ""), ("usage", "user:"), ("reset",),
    ("reset", "client:ada"), ("usage", "client:nonsense"), ("usage", "-x"),
])
def test_wrong_use(counting, args):
    done = counting[1](*args)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr


def test_the_daemon_is_away(counting):
    daemon, postern = counting
    daemon.stop()
    for args in (("usage",), ("reset", "a@b.c"), ("status",), ("blocks",),
                 ("block", "client", "192.0.2.1"), ("login", "192.0.2.1")):
        done = postern(*args)
        assert done.returncode == 69, args
        assert "nobody listens on" in done.stdout + done.stderr


def test_bad_members(counting):
    daemon, _ = counting
    with Control(daemon.control) as control:
        for members, says in (({"top": 1001}, "whole number"), ({"top": "1"}, "whole"),
                              ({"subject": ""}, "empty"), ({"kind": "x", "subject": "a"},
                                                           "a subject is a client"),
                              ({"all": True}, "unknown member")):
            reply = control.ask("usage", **members)
            assert (reply["ok"], reply["kind"]) == (False, "usage"), members
            assert says in reply["error"]
        assert control.ask("reset")["kind"] == "usage"
