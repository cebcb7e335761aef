# SPDX-License-Identifier: BSD-2-Clause
"""The link to a real Cluster of three masters."""

import pytest
from redis_servers import RedisError, is_before_7, wait_until


# What is promised is 2 s; beside other work on two cores.
RECOVERY_S = 8


def keyed(probe, *arguments, key):
    return probe.patiently(*arguments, key=key)


def test_slots_are_those_of_redis(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses[:1])
    for key in ("", "a", "123456789", "{user}:a", "{user}:b", "{}a", "a{b}{c}", "a{b", "a}b",
                "{{b}}", "postern:{ada@example.org}:user-hour"):
        assert probe.slot(key) == cluster.servers[0].command("CLUSTER", "KEYSLOT", key), key


def test_each_key_goes_to_its_node(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses[:1])
    probe.good("PING")
    for i in range(60):
        assert keyed(probe, "SET", f"k{i}", str(i), key=f"k{i}")["result"] == "answered"
    sizes = [server.command("DBSIZE") for server in cluster.servers]
    assert sum(sizes) == 60 and min(sizes) > 5
    assert probe.state() == {"connected": True, "server": "cluster of 3", "trouble": ""}
    # SCAN of each master.
    assert sum(probe.good("DBSIZE", node=i) for i in range(3)) == 60
    assert probe.call("DBSIZE", node=3)["result"] == "no such node"
    assert probe.log() == []


def test_a_slot_that_moved(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses)
    assert keyed(probe, "SET", "a", "b", key="a")["result"] == "answered"
    slot = probe.slot("a")
    source = cluster.owner(slot)
    target = next(s for s in cluster.servers if s is not source)
    cluster.move(slot, target)
    assert keyed(probe, "GET", "a", key="a")["reply"] == "b"
    assert keyed(probe, "SET", "a", "c", key="a")["result"] == "answered"
    # The map was learnt: no further redirection.
    before = source.command("INFO", "errorstats")
    for _ in range(10):
        assert keyed(probe, "GET", "a", key="a")["reply"] == "c"
    assert source.command("INFO", "errorstats") == before
    assert probe.log() == []


def test_a_slot_that_is_moving(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses)
    assert keyed(probe, "SET", "{t}old", "1", key="{t}old")["result"] == "answered"
    slot = probe.slot("{t}old")
    target = next(s for s in cluster.servers if s is not cluster.owner(slot))
    source = cluster.begin_move(slot, target)
    # What is still there is answered there; what is new goes to the other one by ASK.
    assert keyed(probe, "GET", "{t}old", key="{t}old")["reply"] == "1"
    assert keyed(probe, "SET", "{t}new", "2", key="{t}new")["result"] == "answered"
    with target.client() as client:
        client.command("ASKING")
        assert client.command("GET", "{t}new") == "2"
    # Some here, some there: TRYAGAIN, until the time or the hops are over.
    answer = keyed(probe, "MGET", "{t}old", "{t}new", key="{t}old")
    assert answer["result"] == "moving" and "TRYAGAIN" in answer["error"]
    cluster.move_keys(slot, source, target)
    answer = keyed(probe, "MGET", "{t}old", "{t}new", key="{t}old")
    assert answer["reply"] == ["1", "2"], answer
    cluster.finish_move(slot, source, target)
    assert keyed(probe, "MGET", "{t}old", "{t}new", key="{t}old")["reply"] == ["1", "2"]


def test_resharding_under_load(link, redis_cluster):
    """Counters move between masters while they count: none is lost, none counts twice."""
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses, timeout="10s")
    keys = [f"c{i}" for i in range(3)]
    slots = {key: probe.slot(key) for key in keys}
    asked = {key: [] for key in keys}
    for turn in range(3):
        for key in keys:
            asked[key] += [probe.ask("INCR", key, key=key) for _ in range(30)]
        for key in keys:
            source = cluster.owner(slots[key])
            target = cluster.servers[(cluster.servers.index(source) + 1) % 3]
            cluster.move(slots[key], target)
    for key in keys:
        replies = [probe.answer(number) for number in asked[key]]
        good = [answer["reply"] for answer in replies if answer["result"] == "answered"]
        assert len(good) == 90, [a for a in replies if a["result"] != "answered"][:3]
        assert sorted(good) == list(range(1, 91))


def test_a_node_is_lost_and_comes_back(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses)
    homes = {}
    for i in range(100):
        server = cluster.owner(probe.slot(f"k{i}"))
        homes.setdefault(server.port, f"k{i}")
        if len(homes) == 3:
            break
    for key in homes.values():
        assert keyed(probe, "SET", key, "x", key=key)["result"] == "answered"
    lost = cluster.servers[1]
    lost.kill()
    line = probe.wait_log(f"redis {lost.address}: ")
    assert "limits count in this daemon alone" in line
    assert keyed(probe, "GET", homes[lost.port], key=homes[lost.port])["result"] == \
        "unavailable"
    for server in (cluster.servers[0], cluster.servers[2]):
        key = homes[server.port]
        assert keyed(probe, "GET", key, key=key)["reply"] == "x", "the others go on"
    assert not probe.state()["connected"]
    lost.start()
    key = homes[lost.port]
    took, _ = probe.until_good("SET", key, "y", key=key)
    assert took < RECOVERY_S
    probe.wait_log("is back after")


def test_slots_without_a_node(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses)
    slot = probe.slot("a")
    owner = cluster.owner(slot)
    assert keyed(probe, "SET", "a", "b", key="a")["result"] == "answered"
    owner.command("DEL", "a")
    for server in cluster.servers:
        server.command("CLUSTER", "DELSLOTS", slot)
    answer = keyed(probe, "SET", "a", "b", key="a")
    assert answer["result"] == "unavailable"
    assert "CLUSTERDOWN" in answer["error"] or "no node" in answer["error"], answer
    for server in cluster.servers:
        try:
            server.command("CLUSTER", "SETSLOT", slot, "NODE", cluster.node_id(owner))
        except RedisError:
            pass
    took, _ = probe.until_good("SET", "a", "b", key="a")
    assert took < RECOVERY_S


def test_a_cluster_that_is_asked_as_one_server(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(servers=cluster.addresses[:1])
    key = next(f"k{i}" for i in range(1000)
               if cluster.owner(cluster.servers[0].command("CLUSTER", "KEYSLOT", f"k{i}"))
               is not cluster.servers[0])
    answer = keyed(probe, "SET", key, "b", key=key)
    assert answer["result"] == "configuration" and "MOVED" in answer["error"]
    probe.wait_log("set redis.mode to cluster")


def test_one_server_that_is_asked_as_a_cluster(link, redis_server):
    probe = link(mode="cluster", servers=[redis_server().address])
    probe.wait_log("it is no cluster: set redis.mode")
    assert probe.patiently("SET", "a", "b", key="a")["result"] == "configuration"


def test_messages_reach_a_listener_of_any_node(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses)
    probe.subscribe("news")
    for i, server in enumerate(cluster.servers):
        server.command("PUBLISH", "news", f"from {i}")
        assert f"from {i}" in probe.wait_said("message", i + 1)
    # The node that is listened to dies: another one is found.
    cluster.servers[0].kill()
    probe.wait_said("lost", 2)
    cluster.servers[2].command("PUBLISH", "news", "still")
    assert "still" in probe.wait_said("message", 4)


def test_a_seed_that_is_down_is_passed_over(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=["127.0.0.1:1", *cluster.addresses[:1]])
    took, _ = probe.until_good("SET", "a", "b", key="a")
    assert took < RECOVERY_S


def test_no_node_at_all(link, redis_cluster):
    probe = link(mode="cluster", servers=["127.0.0.1:1"])
    probe.wait_log("redis cluster: node 127.0.0.1:1: Connection refused")
    answer = probe.call("SET", "a", "b", key="a")
    assert answer["result"] == "unavailable"
    assert probe.quickest_ms("SET", "a", "b", key="a") < 90


@pytest.mark.skipif(is_before_7(), reason="there is no setting for it")
def test_a_map_with_an_empty_host(link, redis_cluster):
    """A node that does not know its own address yet: the one we asked it at."""
    cluster = redis_cluster(cluster_preferred_endpoint_type="unknown-endpoint")
    ranges = cluster.servers[0].command("CLUSTER", "SLOTS")
    assert ranges[0][2][0] is None, ranges[0]
    probe = link(mode="cluster", servers=cluster.addresses[:1])
    for i in range(20):
        assert keyed(probe, "SET", f"k{i}", "x", key=f"k{i}")["result"] == "answered"


@pytest.mark.threads
def test_four_loops_and_a_cluster(link, redis_cluster):
    cluster = redis_cluster()
    probe = link(mode="cluster", servers=cluster.addresses)
    storm = probe.storm(4, 2000)
    assert (storm["good"], storm["bad"]) == (8000, 0)
    assert probe.churn(200)["good"] == 100
