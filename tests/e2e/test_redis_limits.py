# SPDX-License-Identifier: BSD-2-Clause
"""Limits through real Redis servers, asked at the daemon's front door: what is promised
while they are well, and what happens to mail when they are not."""

import time

import pytest

from control_client import Control
from policyd_process import UNDECIDED, request
from redis_servers import wait_until

# The daemon's own time for one answer; an answer that takes LATE_S did not keep it, even
# beside other work on two cores.
TIMEOUT = "200ms"
LATE_S = 3.0

# A server that is back is used again within 2 s; here there is other work, too.
BACK_S = 10.0

PASSED, OVER, UNAVAILABLE = "passed", "over", "unavailable"


class Node:
    """A daemon whose limits count in Redis, or wherever @redis says."""

    def __init__(self, daemon, name, redis, limits, **settings):
        self.daemon = daemon
        daemon.allow(r"(error|warning): (redis|Redis|limit state lost|key )")
        self.control = daemon.top / "control"
        self.settings = {
            "hostname": name, "limits": limits,
            "policyd": {"control": f"unix:{self.control}"}, **settings}
        self.name = name
        self.sent = 0
        self.slowest_s = 0.0
        daemon.run(**self._whole(redis))
        self.client = daemon.connect()

    def _whole(self, redis):
        return {**self.settings, **({"redis": redis} if redis else {})}

    def reload(self, redis):
        self.daemon.configure(**self._whole(redis))
        self.daemon.process.mark()
        self.daemon.hang_up()

    def message(self, sender="ada@example.org"):
        """The end of one more message."""
        self.sent += 1
        return request(protocol_state="END-OF-MESSAGE", sender=sender,
                       recipient_count="1", instance=f"{self.name}.{self.sent}")

    @staticmethod
    def outcome(answer):
        if answer == UNDECIDED:
            return PASSED
        if answer.startswith(b"action=554 "):
            return OVER
        assert answer.startswith(b"action=451 "), answer
        return UNAVAILABLE

    def charge(self, sender="ada@example.org"):
        began = time.monotonic()
        outcome = self.outcome(self.client.ask(self.message(sender)))
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        return outcome

    def charges(self, count, sender="ada@example.org"):
        """How often each outcome came; each in time."""
        outcomes = [self.charge(sender) for _ in range(count)]
        assert self.slowest_s < LATE_S, self.slowest_s
        return {outcome: outcomes.count(outcome) for outcome in set(outcomes)}

    def tell(self, command, **members):
        with Control(self.control) as control:
            return control.ask(command, **members)

    def used(self, subject):
        """What `postern usage` says of @subject: by limit, (used, max)."""
        reply = self.tell("usage", subject=subject)
        assert reply["ok"], reply
        return {row["limit"]: (row["used"], row["max"]) for row in reply["usage"]}

    def store(self):
        return self.tell("status")["store"]

    def wait_store(self, up, kind="redis"):
        wait_until(lambda: self.store() == {"kind": kind, "up": up},
                   f"the store is {kind}, up {up}")

    def wait_counted(self, server):
        """Until a message counts in @server again; the seconds it took."""
        began = time.monotonic()
        for n in range(10 ** 6):
            sender = f"back{n}.{self.name}@example.org"
            self.charge(sender)
            if server.command("KEYS", f"*{sender}*"):
                break
            assert time.monotonic() - began < BACK_S
        return time.monotonic() - began


def limit(maximum=100, **members):
    return {"name": "sender", "per": "sender", "count": "messages", "max": maximum,
            "window": "1d", "over": "reject", **members}


def redis_of(*servers, **members):
    return {"servers": [getattr(server, "address", server) for server in servers],
            "timeout": TIMEOUT, **members}


@pytest.fixture
def node(policyd_at_rest):
    """node(redis, limits..., name=..., **settings): a running Node that counts there."""
    made = []

    def start(redis, *limits, name="a", **settings):
        made.append(Node(policyd_at_rest(), name, redis, list(limits or [limit()]),
                         **settings))
        return made[-1]

    yield start
    for one in made:
        one.client.socket.close()


@pytest.fixture
def redis(redis_server):
    server = redis_server()
    yield server
    server.resume()


# ---- what an operator sees ----

def test_usage_and_reset_act_on_redis(node, redis):
    a, b = (node(redis_of(redis), name=name) for name in "ab")
    for one in (a, b):
        one.wait_store(up=True)
    assert a.charges(60) == {PASSED: 60}
    assert b.charges(41) == {PASSED: 40, OVER: 1}
    for one in (a, b):
        wait_until(lambda one=one: one.used("ada@example.org") == {"sender": (100, 100)},
                   "usage shows what both have counted")
        assert [row["used"] for row in one.tell("usage")["usage"]] == [100]
    assert b.tell("reset", subject="ada@example.org") == {"ok": True, "counters": 1}
    assert redis.command("KEYS", "*ada*:sender") == []
    assert a.used("ada@example.org") == {}
    assert a.charges(50) == {PASSED: 50}
    assert b.charges(51) == {PASSED: 50, OVER: 1}
    gone = a.tell("reset", subject="bob@example.org")
    assert (gone["ok"], gone["kind"]) == (False, "missing")


def test_usage_and_reset_while_redis_is_away(node, redis):
    a = node(redis_of(redis, on_failure="local"), nodes=2)
    a.wait_store(up=True)
    assert a.charges(10) == {PASSED: 10}
    redis.kill()
    a.wait_store(up=False)
    wait_until(lambda: "Redis does not answer" in a.tell("usage").get("note", ""),
               "usage says whose counters these are")
    gone = a.tell("reset", subject="ada@example.org")
    assert (gone["ok"], gone["kind"]) == (False, "failed")
    assert "Redis does not answer" in gone["error"]
    assert a.charges(3) == {PASSED: 3}
    assert a.used("ada@example.org") == {"sender": (3, 100)}
    redis.start()
    a.wait_store(up=True)
    wait_until(lambda: "note" not in a.tell("usage"), "usage asks Redis again")
    assert a.used("ada@example.org") == {}


def test_usage_without_an_answer(node, redis):
    """No fall-back that counts: then there is nothing to show."""
    a = node(redis_of(redis, on_failure="defer"))
    a.wait_store(up=True)
    redis.kill()
    a.wait_store(up=False)
    wait_until(lambda: not a.tell("usage")["ok"], "usage says that it cannot")
    reply = a.tell("usage", subject="ada@example.org")
    assert (reply["kind"], "does not answer" in reply["error"]) == ("failed", True)


def test_explain_looks_at_redis(node, redis):
    a = node(redis_of(redis), limit(2))
    b = node(redis_of(redis), limit(2), name="b")
    b.wait_store(up=True)
    assert a.charges(2) == {PASSED: 2}

    def explained():
        reply = b.tell("explain", request=b.message().decode())
        assert reply["ok"], reply
        return str(reply)
    wait_until(lambda: "2 of 2" in explained() or "'used': 2" in explained(),
               "explain sees what the other node counted")
    assert a.charges(1) == {OVER: 1}
