# SPDX-License-Identifier: BSD-2-Clause
"""`postern usage`, `reset` and `explain --live` where the counters live in Redis: what one
node counted, the other one shows and sets back; and what is said when Redis is away."""

import pytest

import control_client
from control_client import Command
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
def nodes(redis, policyd_at_rest, build):
    """Two daemons on one Redis, each with its command."""
    def node(name):
        daemon = control_client.controlled(
            policyd_at_rest, hostname=name, limits=LIMITS,
            redis={"servers": [redis.address], "on_failure": "defer"},
            auth={"require_tls": False, "blocked_ports": []})
        daemon.allow(r"warning: redis |error: redis ")
        return daemon, Command(build, daemon)
    return node("gw1.example.org"), node("gw2.example.org")


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
