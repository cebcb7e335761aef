# SPDX-License-Identifier: BSD-2-Clause
"""`postern usage`, `reset` and `explain --live` where the counters live in Redis: what one
node counted, the other one shows and sets back; and what is said when Redis is away."""

import json

import pytest

import control_client
from control_client import Command
from redis_servers import wait_until
from policyd_process import RELAY_HOST, UNDECIDED, request

LIMITS = [
    {"name": "host", "per": "client", "count": "messages", "max": 4, "window": "1h"},
    {"name": "pair", "per": ["client", "sender"], "count": "messages", "max": 5,
     "window": "1h"},
    {"name": "places", "per": "user", "count": "clients", "max": 8, "window": "1h"},
]
END = {"protocol_state": "END-OF-MESSAGE", "recipient_count": "1"}


@pytest.fixture
def redis(redis_server):
    return redis_server()


@pytest.fixture
def node(redis, policyd_at_rest, build):
    """A daemon on that Redis, with its command."""
    def start(name, on_failure, timeout="5s", **settings):
        daemon = control_client.controlled(
            policyd_at_rest, hostname=name, limits=LIMITS,
            redis={"servers": [redis.address], "timeout": timeout, "on_failure": on_failure},
            auth={"require_tls": False, "blocked_ports": []}, **settings)
        daemon.allow(r"warning: redis |error: redis ")
        return daemon, Command(build, daemon)
    return start


@pytest.fixture
def nodes(node):
    """Two of them."""
    return node("gw1.example.org", "defer"), node("gw2.example.org", "defer")


def used(postern, *args):
    return {(row["limit"], row["subject"]): row["used"]
            for row in postern.json("usage", *args)}


def charge(daemon, instance, **changes):
    with daemon.connect() as client:
        return client.ask(request(**{**END, "instance": instance, **changes}))


def test_both_nodes_see_what_either_counted(nodes):
    (one, first), (two, second) = nodes
    assert charge(one, "1.1") == UNDECIDED and charge(two, "1.2") == UNDECIDED
    with one.connect() as client:
        for n in (1, 2):
            client.ask(request(sasl_username="bob@example.org", sasl_method="PLAIN",
                               sender="bob@example.org", client_address=f"192.0.2.{n}"))
    both = {("host", RELAY_HOST): 2, ("pair", f"{RELAY_HOST}|ada@example.org"): 2,
            ("places", "bob@example.org"): 2}
    assert used(first) == used(second) == both
    assert used(second, "client:" + RELAY_HOST) == {
        key: both[key] for key in both if key[0] != "places"}
    answer = second.json("explain", "--client", RELAY_HOST, "--sender", "ada@example.org",
                         "--state", "END-OF-MESSAGE", "--recipients", "1", "--live")
    assert {limit["limit"]: limit["used"] for limit in answer["limits"]} == {
        "host": 2, "pair": 2}

    # Set back by one, gone for the other, and counted from zero.
    assert second.json("reset", "client:" + RELAY_HOST) == {"counters": 2}
    assert used(first) == {("places", "bob@example.org"): 2}
    for n in range(4):
        assert charge(one, f"2.{n}") == UNDECIDED
    assert b"451" in charge(two, "2.9")
    assert first("reset", "nobody@example.org").returncode == 1
    assert first.json("status")["policyd"]["store"] == {"kind": "redis", "up": True}


def test_redis_is_away(nodes, redis):
    """With on_failure local the daemon's own counters would be shown: they act then."""
    (one, first), _ = nodes
    assert charge(one, "1.1") == UNDECIDED
    redis.kill()
    for args in (("usage",), ("usage", RELAY_HOST), ("reset", RELAY_HOST)):
        done = first(*args)
        assert (done.returncode, done.stdout) == (69, ""), args
        assert "the store of counters does not answer" in done.stderr
    # The daemon itself answers.
    assert first("status").returncode == 0


def test_what_counts_alone_is_shown_against_its_share(node, redis):
    daemon, postern = node("gw1.example.org", "local", timeout="100ms", nodes=4)
    redis.kill()
    # The thread that answers commands finds out by itself.
    wait_until(lambda: postern("usage").returncode == 0, "the daemon's own counters")
    wait_until(lambda: charge(daemon, "1.1") == UNDECIDED and
               b"451" in charge(daemon, "1.2"), "a share of one message")
    shown = postern("usage", "--json")
    assert "counters of this daemon alone" in shown.stderr
    row = next(row for row in json.loads(shown.stdout) if row["limit"] == "host")
    assert (row["used"], row["max"]) == (1, 1) and row["frees_at"]
