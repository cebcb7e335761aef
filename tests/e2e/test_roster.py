# SPDX-License-Identifier: BSD-2-Clause
"""Blocks and logins on several nodes, through a real Redis: there within a second, not
lost when Redis or a message is, and in force while nobody can be asked."""

import time

import pytest

from policyd_process import GRANTED, UNDECIDED
from redis_servers import best_of
from test_blocks import BAN, answer, blocks, refuse
from test_control import Control

STRANGER = "203.0.113.9"
KEYS = "postern:{roster}:"


def subscribers(redis):
    return redis.command("PUBSUB", "NUMSUB", f"{KEYS}changes")[1]


def settings_of(redis):
    return {"redis": {"servers": [redis.address], "timeout": "500ms"}}


def until(condition, timeout=60, every=0.01):
    """Waits for @condition; returns the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "it did not happen"
        time.sleep(every)
    return time.monotonic() - began


@pytest.fixture
def redis(redis_server):
    server = redis_server()
    yield server
    server.resume()


@pytest.fixture
def node(policyd_at_rest):
    """node(redis, name, **settings): a daemon with a control socket."""
    made = []

    def make(server, name, at_rest=False, **settings):
        daemon = policyd_at_rest()
        daemon.allow(r"warning: redis |error: redis |limit state lost")
        daemon.control = daemon.top / "run" / "control"
        settings = {"hostname": name, **(settings_of(server) if server else {}), **settings}
        daemon.settings = {**settings, "policyd": {
            "control": f"unix:{daemon.control}", **settings.get("policyd", {})}}
        if not at_rest:
            daemon.run(**daemon.settings)
        made.append(daemon)
        return daemon

    yield make


@pytest.fixture
def two(redis, node):
    """Two nodes that hear of each other."""
    nodes = node(redis, "a"), node(redis, "b")
    until(lambda: subscribers(redis) == 2)
    return nodes


def tell(daemon, command, **members):
    with Control(daemon.control) as control:
        reply = control.ask(command, **members)
        assert reply["ok"], reply
        return reply


def is_blocked(daemon, address=STRANGER):
    return "Client host blocked" in answer(daemon, client_address=address)


def block(daemon, address=STRANGER, **members):
    return tell(daemon, "block", kind="client", value=address, **members)


def block_briefly(a, b, address=STRANGER):
    """For two seconds; again, should they be over before @b has heard of it."""
    def is_heard():
        if not is_blocked(a, address):
            block(a, address, **{"for": 2})
        return is_blocked(b, address)
    until(is_heard)


def unblock(daemon, address=STRANGER):
    return tell(daemon, "unblock", kind="client", value=address)


def test_within_a_second(redis, two):
    a, b = two
    reply = block(a, reason="spam", by="ada@a", **{"for": 600})
    assert reply["shared"] is True
    assert is_blocked(a)
    until(lambda: is_blocked(b))
    mine, theirs = (blocks(daemon)["client", STRANGER] for daemon in two)
    assert (theirs["by"], theirs["reason"], theirs["automatic"]) == \
        ("ada@a (root)", "spam", False)
    for member in ("since", "until"):
        assert abs(mine[member] - theirs[member]) <= 10
    # And back from the other one.
    assert unblock(b)["shared"] is True
    assert not is_blocked(b)
    until(lambda: not is_blocked(a))
    assert blocks(a) == blocks(b) == {}

    def here_and_there():
        block(a)
        took = until(lambda: is_blocked(b))
        unblock(b)
        return max(took, until(lambda: not is_blocked(a)))
    best_of(5, 1, here_and_there)


@pytest.mark.parametrize("kind, value", [
    ("user", "@example.org"), ("sender", "<>"), ("sender", ".example.org"),
    ("recipient", "joe@outside.example"), ("client", "2001:db8::/64")])
def test_all_kinds(two, kind, value):
    a, b = two
    tell(a, "block", kind=kind, value=value, reason="\u00fc \\ \" {}\t")
    until(lambda: (kind, value) in blocks(b))
    assert blocks(b)[kind, value]["reason"] == blocks(a)[kind, value]["reason"]


def test_without_messages(redis, two):
    """The connections that listen are cut again and again: the second's question brings
    every change, and none is lost."""
    a, b = two
    addresses = [f"203.0.113.{n}" for n in range(1, 9)]
    for address in addresses:
        redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        block(a, address)
        redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: is_blocked(b, address))
    assert blocks(a).keys() == blocks(b).keys()
    for address in addresses[::2]:
        redis.command("CLIENT", "KILL", "TYPE", "pubsub")
        unblock(b, address)
    until(lambda: blocks(a).keys() == blocks(b).keys() and len(blocks(a)) == 4)


def test_cut_while_it_writes(redis, two):
    """All connections are cut around every change."""
    a, b = two
    for n in range(20):
        redis.command("CLIENT", "KILL", "TYPE", "normal")
        block(a, f"203.0.113.{n}")
    until(lambda: len(blocks(b)) == 20)
    assert len(blocks(a)) == 20


def test_redis_away(redis, two):
    a, b = two
    block(a)
    until(lambda: is_blocked(b))
    redis.kill()
    assert is_blocked(a) and is_blocked(b)
    # What changes meanwhile holds here, and is told when it is back.
    began = time.monotonic()
    reply = block(a, "198.51.100.1", **{"for": 600})
    assert time.monotonic() - began < 10 and reply["shared"] is False
    assert "Redis is away" in reply["note"]
    unblock(b)
    assert is_blocked(a, "198.51.100.1") and not is_blocked(b)
    redis.start()
    until(lambda: is_blocked(b, "198.51.100.1") and not is_blocked(a))
    assert {key for key in blocks(a)} == {("client", "198.51.100.1")} == set(blocks(b))
    time_left = blocks(b)["client", "198.51.100.1"]["until"] - time.time()
    assert 500 < time_left <= 610


def test_redis_frozen(redis, two):
    a, b = two
    redis.pause()
    began = time.monotonic()
    assert block(a)["shared"] is False
    assert time.monotonic() - began < 10
    assert is_blocked(a) and not is_blocked(b)
    redis.resume()
    until(lambda: is_blocked(b))


def test_flushall(redis, two):
    """Redis forgets everything: the nodes write it again, tombstones too."""
    a, b = two
    block(a)
    block(a, "198.51.100.1")
    until(lambda: len(blocks(b)) == 2)
    unblock(b, "198.51.100.1")
    until(lambda: len(blocks(a)) == 1)
    redis.command("FLUSHALL")
    until(lambda: redis.command("HEXISTS", f"{KEYS}blocks", f"client:{STRANGER}") == 1)
    assert is_blocked(a) and is_blocked(b)
    assert len(blocks(a)) == len(blocks(b)) == 1
    block(b, "198.51.100.2")
    until(lambda: is_blocked(a, "198.51.100.2"))


def test_a_new_node_learns_everything(redis, node):
    first = node(redis, "a")
    for n in range(1200):  # several pages, several writes
        block(first, f"10.1.{n // 250}.{n % 250}")
    second = node(redis, "b")
    until(lambda: len(blocks(second)) == 1200)
    assert set(blocks(first)) == set(blocks(second))


def test_a_restart_with_redis(redis, two):
    a, b = two
    block(a)
    block(a, "198.51.100.1")
    until(lambda: len(blocks(b)) == 2)
    b.stop()
    unblock(a, "198.51.100.1")
    b.run(**b.settings)
    until(lambda: len(blocks(b)) == 1)
    assert is_blocked(b)



def test_restarts_with_a_state_file(redis, node):
    """The file keeps what is in force; what others lifted meanwhile stays lifted."""
    a = node(redis, "a")
    b = node(redis, "b", at_rest=True)
    b.allow("state file")
    b.settings["policyd"]["state"] = str(b.top / "state.json")
    b.run(**b.settings)
    until(lambda: subscribers(redis) == 2)
    block(a)
    block(b, "198.51.100.1")
    block(a, "198.51.100.2", **{"for": 600})
    until(lambda: len(blocks(a)) == len(blocks(b)) == 3)
    b.stop()
    unblock(a, "198.51.100.1")
    # With Redis: in force at once, and corrected.
    b.run(**b.settings)
    assert is_blocked(b)
    until(lambda: not is_blocked(b, "198.51.100.1"))
    until(lambda: set(blocks(a)) == set(blocks(b)))
    assert len(blocks(a)) == 2
    time.sleep(1.1)  # a younger change than the file's may come within its second
    assert len(blocks(a)) == len(blocks(b)) == 2
    # Without: as it was.
    b.stop()
    redis.kill()
    b.run(**b.settings)
    assert is_blocked(b) and is_blocked(b, "198.51.100.2")
    ends = blocks(b)["client", "198.51.100.2"]["until"]
    assert abs(ends - blocks(a)["client", "198.51.100.2"]["until"]) <= 1
    # And Redis, which has forgotten it all, learns it from them.
    redis.start()
    until(lambda: all(redis.command("HEXISTS", f"{KEYS}blocks", f"client:{address}")
                      for address in (STRANGER, "198.51.100.2")))
    assert set(blocks(a)) == set(blocks(b))


def test_lifted_while_redis_is_away(redis, node):
    """And that node ends before Redis is back: its state file knows of it."""
    a, b = node(redis, "a"), node(redis, "b", at_rest=True)
    b.allow("state file")
    b.settings["policyd"]["state"] = str(b.top / "state.json")
    b.run(**b.settings)
    until(lambda: subscribers(redis) == 2)
    for address in (STRANGER, "198.51.100.1", "198.51.100.2"):
        block(a, address)
    until(lambda: len(blocks(b)) == 3)
    redis.command("SAVE")
    redis.kill()
    assert unblock(b)["shared"] is False
    unblock(b, "198.51.100.1")
    block(b, "198.51.100.1", reason="once more")
    b.stop()
    b.run(**b.settings)
    assert not is_blocked(b) and is_blocked(a)
    redis.start()
    assert redis.command("HLEN", f"{KEYS}blocks") >= 3  # it has kept them
    until(lambda: not is_blocked(a))
    until(lambda: blocks(a)["client", "198.51.100.1"]["reason"] == "once more")
    assert set(blocks(a)) == set(blocks(b)) == {
        ("client", "198.51.100.1"), ("client", "198.51.100.2")}
    record = redis.command("HGET", f"{KEYS}blocks", f"client:{STRANGER}")
    assert record.split()[2] == "R"


def test_behind_sentinel(redis_sentinels, node):
    """A failover: the blocks of the new master, and what the old one had alone."""
    pair = redis_sentinels()
    settings = {"redis": {"servers": pair.addresses, "mode": "sentinel", "timeout": "500ms",
                          "master": pair.name}}
    a, b = node(None, "a", **settings), node(None, "b", **settings)
    until(lambda: block(a)["shared"])
    until(lambda: is_blocked(b))
    old = pair.master()
    old.kill()
    assert block(a, "198.51.100.1")["shared"] is False
    unblock(b)
    until(lambda: is_blocked(b, "198.51.100.1") and not is_blocked(a))
    assert set(blocks(a)) == set(blocks(b)) == {("client", "198.51.100.1")}
    until(lambda: block(b, "198.51.100.2")["shared"])
    until(lambda: is_blocked(a, "198.51.100.2"))


def test_in_a_cluster(redis_cluster, node):
    cluster = redis_cluster()
    settings = {"redis": {"servers": cluster.addresses, "mode": "cluster", "timeout": "500ms"}}
    a, b = node(None, "a", **settings), node(None, "b", **settings)
    until(lambda: block(a)["shared"])
    until(lambda: is_blocked(b))
    assert unblock(b)["shared"]
    until(lambda: not is_blocked(a))
    # The slot moves to another master.
    block(a, "198.51.100.1")
    slot = cluster.servers[0].command("CLUSTER", "KEYSLOT", f"{KEYS}blocks")
    there = cluster.owner(slot)
    cluster.move(slot, next(s for s in cluster.servers if s is not there))
    until(lambda: block(b, "198.51.100.2")["shared"])
    until(lambda: len(blocks(a)) == len(blocks(b)) == 2)


def test_younger_wins(redis, two):
    """Both change the same while they cannot hear each other."""
    a, b = two
    block(a, reason="first")
    until(lambda: is_blocked(b))
    redis.kill()
    unblock(a)
    time.sleep(0.4)  # by which one is younger
    block(b, reason="second")
    redis.start()
    until(lambda: is_blocked(a) and is_blocked(b))
    assert blocks(a)["client", STRANGER]["reason"] == "second"
    redis.kill()
    block(a, reason="third")
    time.sleep(0.4)  # by which one is younger
    unblock(b)
    redis.start()
    until(lambda: not is_blocked(a))
    assert not is_blocked(b)


def test_expiry(redis, two):
    a, b = two
    block_briefly(a, b)
    assert answer(b, client_address=STRANGER).startswith("action=450 4.7.1")
    redis.kill()  # ends all the same
    until(lambda: not is_blocked(a) and not is_blocked(b))
    redis.start()
    until(lambda: block(a, "198.51.100.9")["shared"])
    block_briefly(a, b, "198.51.100.1")
    until(lambda: not is_blocked(b, "198.51.100.1"))
    # Redis is rid of it with the next change.
    def is_gone():
        block(a, "198.51.100.3")
        return redis.command("HEXISTS", f"{KEYS}blocks", "client:198.51.100.1") == 0
    until(is_gone, every=0.3)
    assert 0 < redis.command("TTL", f"{KEYS}blocks") <= 30 * 86400


def test_a_limit_blocks_everywhere(redis, node):
    """Also where the limit is not: else b, which shares the counter, blocks by itself."""
    a, b = node(redis, "a", limits=[BAN]), node(redis, "b")
    a.allow("limit ban: client .* is blocked until")
    until(lambda: subscribers(redis) == 2)
    refuse(a, 3, client_address=STRANGER)
    assert is_blocked(a)
    until(lambda: is_blocked(b))
    assert blocks(b)["client", STRANGER]["by"] == "limit ban on a"
    assert answer(b, client_address=STRANGER).startswith("action=450 4.7.1")


def test_foreign_records(redis, two):
    """Somebody else writes there: what is none of ours is left out and told once."""
    a, b = two
    for daemon in two:
        daemon.allow("a record that is none of ours is left out")
    block(a)
    until(lambda: is_blocked(b))
    now = int(time.time() * 1000)
    for number, (name, value) in enumerate([
            ("client:0.0.0.0/0", f"{now} 0 K -\tx\ty"), ("client:x", f"{now} 0 K -\tx\ty"),
            ("client:192.0.2.9", "nonsense"), ("client:192.0.2.9", f"{now} 0 K nonsense"),
            ("user:ada@example.org", f"{now} 0 K -\tx\ny\tz"), ("", "0")], 1000):
        redis.command("HSET", f"{KEYS}blocks", name, value)
        redis.command("ZADD", f"{KEYS}blocks:changes", number, name)
        redis.command("HSET", f"{KEYS}blocks", "", 2000 + number)
    a.wait_for_line("a record that is none of ours is left out")
    block(a, "198.51.100.1")
    until(lambda: is_blocked(b, "198.51.100.1"))
    assert set(blocks(b)) == {("client", STRANGER), ("client", "198.51.100.1")}
    assert answer(b, client_address="192.0.2.9") == UNDECIDED.decode()


def test_somebody_elses_key(redis, node):
    redis.command("SET", f"{KEYS}blocks", "not a hash")
    daemon = node(redis, "a")
    daemon.allow("blocks and logins of other nodes are not heard")
    assert block(daemon)["shared"] is False
    assert is_blocked(daemon)
    daemon.wait_for_line("WRONGTYPE|not heard")
    redis.command("DEL", f"{KEYS}blocks")
    until(lambda: redis.command("HEXISTS", f"{KEYS}blocks", f"client:{STRANGER}") == 1)


def test_redis_comes_and_goes_by_reload(redis, node):
    a, b = node(None, "a"), node(redis, "b")
    assert block(a)["shared"] is False
    until(lambda: subscribers(redis) == 1)
    a.configure(**{**a.settings, **settings_of(redis)})
    a.hang_up()
    until(lambda: is_blocked(b))
    a.configure(**a.settings)
    mark = a.mark()
    a.hang_up()
    a.wait_for_line("reloaded ", mark)
    until(lambda: subscribers(redis) == 1)
    assert is_blocked(a)
    assert unblock(a)["shared"] is False
    assert is_blocked(b)


def test_times_are_those_of_redis(redis, node):
    """What lies in Redis is Redis's time, told as durations; no node's clock is asked."""
    a = node(redis, "a")
    until(lambda: subscribers(redis) == 1)
    block(a, **{"for": 600})
    made, ends, *_ = redis.command("HGET", f"{KEYS}blocks", f"client:{STRANGER}").split()
    seconds, micros = map(int, redis.command("TIME"))
    assert abs(int(made) / 1000 - seconds) < 60
    assert abs(int(ends) - int(made) - 600000) < 1100


GRACE = {"relay": {"login_grace": "1h"}}


def test_logins(redis, node):
    a, b = node(redis, "a", **GRACE), node(redis, "b", **GRACE)
    until(lambda: subscribers(redis) == 2)
    until(lambda: answer(b, client_address=STRANGER) == UNDECIDED.decode())
    assert tell(a, "login", ip=STRANGER, user="ada")["recorded"]
    until(lambda: answer(b, client_address=STRANGER) == GRANTED.decode())
    # Away: what is known is known, of others nobody can tell.
    redis.kill()
    until(lambda: answer(b, client_address="203.0.113.10").startswith(
        "action=DEFER_IF_REJECT"))
    assert answer(b, client_address=STRANGER) == GRANTED.decode()
    assert answer(b) == GRANTED.decode()  # a relay host needs no login
    tell(a, "login", ip="203.0.113.10")
    assert answer(a, client_address="203.0.113.10") == GRANTED.decode()
    redis.start()
    until(lambda: answer(b, client_address="203.0.113.10") == GRANTED.decode())
    until(lambda: answer(b, client_address="203.0.113.11") == UNDECIDED.decode())


def test_before_redis_is_reached_nobody_can_tell(node, redis_at_rest):
    server = redis_at_rest()
    daemon = node(server, "a", **GRACE)
    assert answer(daemon, client_address=STRANGER).startswith("action=DEFER_IF_REJECT")
    server.start()
    until(lambda: answer(daemon, client_address=STRANGER) == UNDECIDED.decode())


@pytest.mark.threads
def test_changes_on_both(two):
    """Changes on both nodes at once: both end with the same."""
    a, b = two
    for n in range(60):
        block(a, f"198.51.100.{n}")
        block(b, f"203.0.113.{n}")
        if n % 3 == 0:
            unblock(a, f"198.51.100.{n}")
    until(lambda: len(blocks(a)) == len(blocks(b)) == 100)
    assert set(blocks(a)) == set(blocks(b))
