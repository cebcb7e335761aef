# SPDX-License-Identifier: BSD-2-Clause
"""The link to a master that real Sentinels watch."""

import time

import pytest
from redis_servers import ScriptedServer, wait_until

# Sentinels vote, perhaps again and again.
SENTINEL_SAYS_AT_MOST_S = 60
# What is promised is 2 s; beside other work on two cores.
RECOVERY_S = 8
# redis.timeout is 100 ms here, what other clocks there are is 1 s.
IN_TIME_MS = 900


def started(link, pair, **settings):
    return link(mode="sentinel", servers=pair.addresses, **settings)


def test_the_master_is_found_and_used(link, redis_sentinels):
    pair = redis_sentinels(agree=False)
    probe = started(link, pair)
    assert probe.good("SET", "a", "b") == "OK"
    assert probe.state() == {"connected": True, "server": pair.servers[0].address,
                             "trouble": ""}
    assert probe.log() == []


def test_a_failover_is_followed_at_once(link, redis_sentinels):
    pair = redis_sentinels()
    probe = started(link, pair)
    probe.subscribe("news")
    probe.good("SET", "a", "b")
    old, new = pair.servers
    pair.sentinels[0].command("SENTINEL", "FAILOVER", pair.name)
    wait_until(lambda: pair.master() is new, "the sentinels agree")
    start = time.monotonic()
    probe.wait_state(lambda state: state["connected"] and state["server"] == new.address)
    probe.until_good("SET", "a", "c", repeatable=True)
    assert time.monotonic() - start < RECOVERY_S
    assert new.command("GET", "a") == "c"
    assert probe.state()["server"] == new.address
    probe.wait_log(f"master mymaster is {new.address} now, it was {old.address}")
    probe.wait_said("lost", 2)
    new.command("PUBLISH", "news", "from the new one")
    assert probe.wait_said("message", 1) == ["from the new one"]


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_a_master_that_dies(link, redis_sentinels, how):
    pair = redis_sentinels()
    probe = started(link, pair)
    probe.good("SET", "a", "b")
    old, new = pair.servers
    getattr(old, how)()
    # Every call is answered in its time meanwhile.
    deadline = time.monotonic() + SENTINEL_SAYS_AT_MOST_S
    while pair.master() is not new:
        assert time.monotonic() < deadline
        assert probe.call("SET", "a", "c")["ms"] < IN_TIME_MS
    took, _ = probe.until_good("SET", "a", "d")
    assert took < RECOVERY_S
    assert new.command("GET", "a") == "d"
    # The old one comes back, still a master in its own eyes: nobody writes to it.
    if how == "kill":
        old.start()
    else:
        old.resume()
    for value in range(20):
        assert probe.good("SET", "a", str(value)) == "OK"
        assert new.command("GET", "a") == str(value)
    assert probe.state()["server"] == new.address


class StaleSentinel(ScriptedServer):
    """Was cut off, and names whom it knew."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        super().__init__(lambda command, _: {
            "PING": "PONG", "ROLE": ["sentinel", ["mymaster"]], "SENTINEL": [host, port],
            "SUBSCRIBE": ["subscribe", "+switch-master", 1]}[command])


@pytest.mark.parametrize("what", ["replica", "nowhere"])
def test_a_stale_answer_is_refused(link, redis_sentinels, what):
    """It names a replica, or an address that only it can reach; another one knows."""
    pair = redis_sentinels(agree=False)
    stale = StaleSentinel(pair.servers[1].address if what == "replica" else "127.0.0.1:1")
    try:
        probe = link(mode="sentinel", servers=[stale.address, pair.addresses[0]])
        took, _ = probe.until_good("SET", "a", "b")
        assert took < RECOVERY_S
        assert probe.state()["server"] == pair.servers[0].address
        assert pair.servers[0].command("GET", "a") == "b"
    finally:
        stale.stop()


def test_only_stale_answers(link, redis_sentinels):
    pair = redis_sentinels(agree=False)
    stale = StaleSentinel(pair.servers[1].address)
    try:
        probe = link(mode="sentinel", servers=[stale.address])
        probe.wait_log(f"redis {pair.servers[1].address}: is a replica, expected a master")
        assert probe.call("GET", "a")["result"] == "unavailable", "a replica is never asked"
    finally:
        stale.stop()


def test_sentinels_that_are_down_are_passed_over(link, redis_sentinels):
    pair = redis_sentinels(agree=False)
    pair.sentinels[0].kill()
    pair.sentinels[1].pause()
    probe = started(link, pair)
    took, _ = probe.until_good("SET", "a", "b")
    assert took < RECOVERY_S
    assert probe.log() == []


def test_all_sentinels_down(link, redis_sentinels):
    pair = redis_sentinels(agree=False)
    probe = started(link, pair)
    probe.good("SET", "a", "b")
    for sentinel in pair.sentinels:
        sentinel.kill()
    probe.wait_log("no sentinel can be asked .*Connection refused.*stays in use")
    assert probe.good("SET", "a", "c") == "OK"
    assert probe.state()["connected"]
    pair.sentinels[2].start()
    probe.wait_log("a sentinel answers again")
    pair.sentinels[2].kill()
    # Who starts now finds nobody, and says so.
    other = started(link, pair)
    line = other.wait_log("redis mymaster: sentinel 127.0.0.1:.* Connection refused; limits")
    assert "redis.servers" in line
    assert other.call("GET", "a")["result"] == "unavailable"
    pair.sentinels[2].start()
    took, _ = other.until_good("GET", "a")
    assert took < RECOVERY_S


def test_a_name_that_no_sentinel_knows(link, redis_sentinels):
    pair = redis_sentinels(agree=False)
    probe = started(link, pair, master="relay")
    line = probe.wait_log('knows no master "relay"')
    assert "mend redis.master" in line and "error:" in line
    answer = probe.patiently("GET", "a")
    assert answer["result"] == "configuration" and "relay" in answer["error"]
    probe.set({"mode": "sentinel", "servers": pair.addresses})
    took, _ = probe.until_good("GET", "a")
    assert took < RECOVERY_S


def test_a_data_server_instead_of_a_sentinel(link, redis_server):
    probe = link(mode="sentinel", servers=[redis_server().address])
    probe.wait_log("is a master, expected a sentinel")
    assert probe.call("GET", "a")["result"] == "unavailable"


def test_passwords_of_servers_and_of_sentinels(link, redis_sentinels, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("pw")
    secret.chmod(0o600)
    pair = redis_sentinels(agree=False, requirepass="pw")
    probe = started(link, pair, password_file=str(secret))
    assert probe.good("SET", "a", "b") == "OK"
    for sentinel in pair.sentinels:
        sentinel.restart(requirepass="pw")
    other = started(link, pair, password_file=str(secret))
    took, _ = other.until_good("GET", "a")
    assert took < RECOVERY_S
