# SPDX-License-Identifier: BSD-2-Clause
"""The link to one Redis server: what real servers do to it."""

import pathlib
import re
import select
import socket
import threading
import time

import pytest
from redis_servers import RedisClient, RedisError, best_of, is_before_7, wait_until

# What is promised; then the same beside other work on two cores.
PROMISED_S = 2.0
RECOVERY_S = 8.0
# redis.timeout is 100 ms here, what other clocks there are is 1 s.
IN_TIME_MS = 900


def connections(server):
    """How many it has seen, this one included."""
    facts = server.command("INFO", "stats")
    return int(facts.split("total_connections_received:")[1].split("\r")[0])


def test_a_call_is_answered(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    assert probe.good("SET", "a", "b") == "OK"
    assert probe.good("GET", "a") == "b"
    assert probe.good("GET", "nothing") is None
    assert probe.good("INCR", "n") == 1
    assert probe.good("EVAL", "return {1, 'two', {3}}", "0") == [1, "two", [3]]
    assert probe.state() == {"connected": True, "server": server.address, "trouble": ""}
    assert probe.log() == []


def test_a_unix_socket(link, redis_server):
    server = redis_server()
    probe = link(servers=[f"unix:{server.unix}"])
    assert probe.good("PING") == "PONG"
    assert probe.state()["server"] == f"unix:{server.unix}"


def test_a_name_is_resolved(link, redis_server):
    probe = link(servers=[f"localhost:{redis_server().port}"])
    assert probe.good("PING") == "PONG"


def test_password_user_and_database(link, redis_server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    server = redis_server(requirepass="other")
    server.command("ACL", "SETUSER", "postern", "on", ">open sesame", "~p:*", "+@all")
    probe = link(servers=[server.address], username="postern", password_file=str(secret),
                 db=3)
    assert probe.good("SET", "p:a", "b") == "OK"
    assert server.command("INFO", "keyspace").count("db3:keys=1") == 1
    answer = probe.patiently("SET", "q:a", "b")
    assert answer["result"] == "configuration"
    assert "NOPERM" in answer["error"]
    probe.wait_log("SET: .*NOPERM.*ACL SETUSER")
    assert not [line for line in probe.log() if "sesame" in line]


def test_a_user_without_the_channel(link, redis_server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("pw")
    secret.chmod(0o600)
    server = redis_server()
    server.command("ACL", "SETUSER", "postern", "on", ">pw", "~*", "resetchannels", "+@all")
    probe = link(servers=[server.address], username="postern", password_file=str(secret))
    probe.tell("subscribe", "news")
    line = probe.wait_log("SUBSCRIBE: .*NOPERM")
    assert "blocks and logins of other nodes are not heard" in line
    assert probe.good("SET", "a", "b") == "OK"
    state = probe.state()
    assert state["connected"] and "NOPERM" in state["trouble"]


def test_large_replies(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address], timeout="5s")
    with server.client() as client:
        client.command("SETRANGE", "big", 8_000_000, "x")
        client.command("EVAL", "for i = 1, 50000 do redis.call('RPUSH', 'l', i) end", 0)
        client.command("SETRANGE", "huge", 17_000_000, "x")
    assert probe.good("GET", "big") == "8000001 bytes"
    assert probe.good("LRANGE", "l", "0", "-1") == [str(i) for i in range(1, 50001)]
    answer = probe.patiently("GET", "huge")
    assert answer["result"] != "answered"
    took, _ = probe.until_good("PING")
    assert took < RECOVERY_S


def test_a_name_that_has_no_address(link):
    """However long the resolver takes: the loop goes on, and calls keep their time."""
    probe = link(servers=["redis.invalid:6379"])
    for _ in range(5):
        answer = probe.call("PING")
        assert answer["result"] == "unavailable" and answer["ms"] < IN_TIME_MS
    probe.wait_log("its name (has no address|is not resolved)", timeout=60)
    assert probe.quickest_ms("PING") < 90


def test_connections_that_are_dropped(link):
    """As behind a firewall that says nothing: a full backlog drops what comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = []
        while True:
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(address)
            if not select.select([], [waiting[-1]], [], 0.2)[1]:
                break
        probe = link(servers=["%s:%d" % address])
        answer = probe.call("PING")
        assert answer["result"] == "unavailable" and answer["ms"] < IN_TIME_MS
        probe.wait_log("has not answered for 1000 ms")
        assert probe.quickest_ms("PING") < 90
        for one in waiting:
            one.close()


def test_messages_and_what_was_missed(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.subscribe("news")
    server.command("PUBLISH", "news", "one\x01two")
    assert probe.wait_said("message", 1) == ["one\x01two"]
    server.restart()
    assert len(probe.wait_said("lost", 2)) == 2
    server.command("PUBLISH", "news", "after")
    assert probe.wait_said("message", 2)[1] == "after"


def test_absent_at_the_start(link, redis_at_rest):
    server = redis_at_rest()
    probe = link(servers=[server.address])
    probe.wait_log(r"redis 127\.0\.0\.1:\d+: Connection refused; limits count in this "
                   r"daemon alone until then.*redis\.servers")
    answer = probe.call("PING")
    assert (answer["result"], answer["error"]) == ("unavailable", "Connection refused")
    assert probe.quickest_ms("PING") < 90, "who is known to be away is not waited for"
    server.start()
    took, _ = probe.until_good("PING")
    assert took < RECOVERY_S
    probe.wait_log("is back after .* limits are shared again")
    assert len(probe.log()) == 2


def test_killed_and_back(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.good("PING")
    def attempt():
        server.kill()
        assert probe.call("GET", "a", repeatable=True)["result"] == "unavailable"
        server.start()
        return probe.until_good("PING")[0]
    attempt()
    best_of(3, PROMISED_S, attempt)


def test_what_is_repeatable_survives_a_cut(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address], timeout="5s")
    probe.good("PING")
    server.command("CLIENT", "PAUSE", 10000, "ALL")
    repeatable = probe.ask("INCR", "a", repeatable=True)
    single = probe.ask("INCR", "b")
    # Both are on their way when the probe, which takes one word after the other, has gone
    # on to later ones.
    for _ in range(2):
        probe.state()
    server.restart()
    assert probe.answer(repeatable)["result"] == "answered"
    answer = probe.answer(single)
    assert answer["result"] == "unavailable"
    assert "cut" in answer["error"]


def test_a_hanging_server_costs_the_time_of_a_call(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.good("PING")
    server.pause()
    answer = probe.call("GET", "a", repeatable=True)
    assert answer["result"] == "unavailable"
    assert 90 <= answer["ms"] < IN_TIME_MS
    # Given up soon, and then it costs nothing.
    probe.wait_log("has not answered for")
    state = probe.wait_state(lambda state: not state["connected"])
    assert "has not answered" in state["trouble"]
    assert probe.quickest_ms("GET", "a") < 90
    server.resume()
    took, _ = probe.until_good("GET", "a")
    assert took < RECOVERY_S


def test_a_slow_server_keeps_its_connection(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.good("PING")
    before = connections(server)
    server.command("CLIENT", "PAUSE", 200, "ALL")
    answer = probe.call("INCR", "a")
    assert (answer["result"], answer["error"]) == ("unavailable", "no answer in time")
    # The late reply belongs to nobody, and nobody else gets it.
    took, answer = probe.until_good("GET", "a")
    assert answer["reply"] in (None, "1") and took < RECOVERY_S
    # Two connections of this test's own client.
    assert connections(server) == before + 2


def test_pauses_longer_than_patience(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.good("PING")
    server.command("CLIENT", "PAUSE", 2500, "ALL")
    start = time.monotonic()
    while time.monotonic() - start < 1.5:
        answer = probe.call("GET", "a", repeatable=True)
        assert answer["result"] == "unavailable" and answer["ms"] < IN_TIME_MS
    took, _ = probe.until_good("GET", "a")
    assert took < RECOVERY_S


def change_password(server, old, new):
    """And who is logged in has to do so again."""
    with RedisClient(("127.0.0.1", server.port), old) as client:
        client.command("CONFIG", "SET", "requirepass", new or "")
    with RedisClient(("127.0.0.1", server.port), new) as client:
        client.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def mended(server, probe, password):
    """The server takes the probe's password (None: it wants none); how long until it is
    used, which it no longer is then."""
    change_password(server, "right", password)
    took, _ = probe.until_good("PING")
    change_password(server, password, "right")
    wait_until(lambda: probe.patiently("PING")["result"] == "configuration", "refused")
    return took


@pytest.mark.parametrize("password, expected", [
    ("wrong", "WRONGPASS"), (None, "NOAUTH")], ids=["wrong", "none"])
def test_credentials(link, redis_server, tmp_path, password, expected):
    server = redis_server(requirepass="right")
    settings = {}
    if password:
        secret = tmp_path / "secret"
        secret.write_text(password)
        secret.chmod(0o600)
        settings["password_file"] = str(secret)
    probe = link(servers=[server.address], **settings)
    line = probe.wait_log(expected)
    assert "error:" in line and "redis.password_file" in line
    answer = probe.patiently("PING")
    assert answer["result"] == "configuration" and expected in answer["error"]
    # No storm, whoever asks: somebody has to mend this first.
    start, tried = time.monotonic(), connections(server)
    while time.monotonic() - start < 1:
        assert probe.patiently("PING")["result"] == "configuration"
    again = connections(server) - tried - 1
    assert again <= (time.monotonic() - start) / 0.5 + 1
    # Mended in Redis: found soon, and as soon when it breaks again.
    best_of(3, PROMISED_S, lambda: mended(server, probe, password))
    # A reload with the right one is heard, too.
    secret = tmp_path / "secret"
    secret.write_text("right")
    secret.chmod(0o600)
    probe.set({"servers": [server.address], "password_file": str(secret)})
    took, _ = probe.until_good("PING")
    assert took < RECOVERY_S
    # One line each time it broke, however often it was tried.
    assert len([line for line in probe.log() if expected in line]) <= 4


def test_a_password_nobody_wants(link, redis_server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("some")
    secret.chmod(0o600)
    probe = link(servers=[redis_server().address], password_file=str(secret))
    probe.wait_log("it wants no password: empty redis.password_file")
    assert probe.patiently("PING")["result"] == "configuration"


def test_a_user_without_evalsha(link, redis_server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("pw")
    secret.chmod(0o600)
    server = redis_server()
    server.command("ACL", "SETUSER", "postern", "on", ">pw", "~*", "+@all", "-evalsha")
    probe = link(servers=[server.address], username="postern", password_file=str(secret))
    answer = probe.patiently("EVALSHA", "0" * 40, "0")
    assert answer["result"] == "configuration"
    assert "NOPERM" in answer["error"] and "evalsha" in answer["error"].lower()
    assert probe.good("GET", "a") is None, "others are answered"
    assert "NOPERM" in probe.state()["trouble"]
    server.command("ACL", "SETUSER", "postern", "+evalsha")
    assert probe.patiently("EVALSHA", "0" * 40, "0")["result"] == "no script"
    probe.until_well("EVALSHA", server.command("SCRIPT", "LOAD", "return 1"), "0")
    probe.wait_log("is back after")


def test_the_rights_that_the_manual_asks_for(link, redis_server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("pw")
    secret.chmod(0o600)
    server = redis_server()
    text = (pathlib.Path(__file__).parents[2] / "docs" / "redis.md").read_text()
    rights = re.search(r"ACL SETUSER postern on >PASSWORD ([^`]*)`", text).group(1).split()
    server.command("ACL", "SETUSER", "postern", "on", ">pw", *rights)
    probe = link(servers=[server.address], username="postern", db=1,
                 password_file=str(secret))
    probe.subscribe("postern:news")
    probe.good("EVAL", "redis.call('HSET', KEYS[1], 'n', redis.call('TIME')[1]) "
               "return redis.call('PEXPIRE', KEYS[1], 1000)", "1", "postern:a")
    probe.good("SCAN", "0")
    assert probe.good("INFO", "memory")
    probe.good("PUBLISH", "postern:news", "all")
    assert probe.wait_said("message", 1) == ["all"]
    # And no more than that.
    assert probe.patiently("GET", "other")["result"] == "configuration"
    server.command("ACL", "SETUSER", "postern", "-time")
    answer = probe.patiently("EVAL", "return redis.call('TIME')", "0")
    assert answer["result"] == "configuration", answer
    probe.wait_log("grant what the scripts call")


def test_a_database_that_is_not_there(link, redis_server):
    probe = link(servers=[redis_server().address], db=99)
    probe.wait_log("it has fewer databases: mend redis.db")


def test_maxclients(link, redis_server):
    server = redis_server(maxclients=2)
    holders = []

    def hold():
        holders.append(server.client())
        return holders[-1].command("PING")
    # The test's own last connection may not be gone yet, and be one of the two.
    for n in (1, 2):
        wait_until(hold, f"connection {n} is there")
    probe = link(servers=[server.address])
    probe.wait_log("max number of clients|closed the connection")
    assert probe.call("PING")["result"] == "unavailable"
    for holder in holders:
        holder.close()
    took, _ = probe.until_good("PING")
    assert took < RECOVERY_S


@pytest.mark.skipif(is_before_7(), reason="nothing is answered in so short a while")
def test_loading(link, redis_at_rest):
    server = redis_at_rest(save="3600 1", loading_process_events_interval_bytes=1024)
    server.start()
    with server.client() as client:
        client.command("EVAL", "for i = 1, 20000 do redis.call('SET', i, 'x') end", 0)
        client.command("SAVE")
    server.options["key-load-delay"] = 100  # microseconds
    probe = link(servers=[server.address])
    probe.good("PING")
    server.kill()
    server.start(wait=False)
    line = probe.wait_log("LOADING")
    assert "by itself" in line
    assert probe.call("GET", "1")["result"] == "unavailable"
    took, answer = probe.until_good("GET", "1")
    assert answer["reply"] == "x"


def test_a_disk_that_is_full(link, redis_server):
    server = redis_server(dbfilename="taken.rdb")
    probe = link(servers=[server.address])
    probe.good("SET", "a", "b")
    (server.folder / "taken.rdb").mkdir()  # so that no snapshot can be written
    with server.client() as client:
        client.command("CONFIG", "SET", "save", "3600 1")
        client.command("BGSAVE")
        wait_until(lambda: "rdb_last_bgsave_status:err" in
                   client.command("INFO", "persistence"), "the snapshot failed")
        answer = probe.patiently("SET", "a", "c")
        assert answer["result"] == "unavailable" and "MISCONF" in answer["error"]
        assert "disk is full" in probe.wait_log("MISCONF")
        client.command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    probe.until_well("SET", "a", "c")
    probe.wait_log("is back after")


def test_out_of_memory(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.good("SET", "a", "b")
    server.command("CONFIG", "SET", "maxmemory", "1")
    answer = probe.patiently("SET", "a", "c")
    assert answer["result"] == "unavailable" and "OOM" in answer["error"]
    probe.wait_log("OOM.*maxmemory")
    assert probe.good("GET", "a") == "b", "reading goes on, and says nothing of writing"
    assert "OOM" in probe.state()["trouble"]
    # From inside a script it is the same.
    answer = probe.patiently("EVAL", "return redis.call('SET', 'a', 'c')", "0")
    assert answer["result"] == "unavailable", answer
    server.command("CONFIG", "SET", "maxmemory", "0")
    probe.good("SET", "a", "c")
    probe.until_well("EVAL", "return 1", "0")


def test_a_server_that_refuses_some_calls_is_told_of_once(link, redis_server):
    server = redis_server(maxmemory="1")
    probe = link(servers=[server.address])
    for _ in range(50):
        probe.patiently("SET", "a", "b")
        probe.good("GET", "a")
        probe.patiently("EVAL", "return 1", "0")
        probe.patiently("EVAL", "return redis.call('SET', 'a', 'c')", "0")
    assert len(probe.log()) == 1, probe.log()


def test_a_master_that_becomes_a_replica(link, redis_server):
    server, other = redis_server(), redis_server()
    probe = link(servers=[server.address])
    probe.good("SET", "a", "b")
    server.command("REPLICAOF", "127.0.0.1", other.port)
    for command in (("SET", "a", "c"),
                    ("EVAL", "return redis.call('SET', 'a', 'c')", "0")):
        answer = probe.call(*command)
        assert answer["result"] == "unavailable", answer
    probe.wait_log("is a replica, expected a master")
    assert not probe.state()["connected"], "a replica is never asked"
    server.command("REPLICAOF", "NO", "ONE")
    took, _ = probe.until_good("SET", "a", "d")
    assert took < RECOVERY_S


def test_a_replica_that_lost_its_master(link, redis_server):
    server = redis_server(replica_serve_stale_data="no")
    probe = link(servers=[server.address])
    probe.good("PING")
    server.command("REPLICAOF", "127.0.0.1", 1)
    answer = probe.call("GET", "a")
    assert answer["result"] == "unavailable"
    assert not probe.wait_state(lambda state: not state["connected"])["connected"]


def test_no_replicas(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    server.command("CONFIG", "SET", "min-replicas-to-write", 1)
    answer = probe.patiently("SET", "a", "b")
    assert answer["result"] == "unavailable" and "NOREPLICAS" in answer["error"]
    probe.wait_log("NOREPLICAS.*min-replicas-to-write")
    server.command("CONFIG", "SET", "min-replicas-to-write", 0)
    probe.good("SET", "a", "b")


def test_a_busy_script(link, redis_server):
    server = redis_server(lua_time_limit=100)
    probe = link(servers=[server.address])
    probe.good("PING")
    with server.client() as busy, server.client() as killer:
        busy.send("EVAL", "while true do end", 0)
        deadline = time.monotonic() + 60
        while True:
            answer = probe.patiently("GET", "a")
            if "BUSY" in answer["error"]:
                assert answer["result"] == "unavailable"
                break
            assert time.monotonic() < deadline
        probe.wait_log("BUSY")
        # Nobody but an operator ends it.
        with pytest.raises(RedisError, match="^BUSY"):
            killer.command("GET", "a")
        killer.command("SCRIPT", "KILL")
        with pytest.raises(RedisError):
            busy.reply()
    took, _ = probe.until_good("GET", "a")
    assert took < RECOVERY_S


def test_keys_of_somebody_else(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.good("SET", "text", "no number")
    assert probe.patiently("INCR", "text")["result"] == "bad key"
    assert probe.patiently("HGET", "text", "f")["result"] == "bad key"
    probe.good("HSET", "hash", "f", "x")
    assert probe.patiently("HINCRBY", "hash", "f", "1")["result"] == "bad key"
    assert probe.patiently("EVAL", "return redis.call('GET', 'text') + 1", "0")["result"] == \
        "bad key"
    assert probe.patiently("EVALSHA", "f" * 40, "0")["result"] == "no script"
    assert probe.state()["trouble"] == "", "the server is well"
    assert probe.log() == []


class Impostor:
    """A server that accepts and sends @says, without reading; then it stays or closes."""

    def __init__(self, says=b"", close=False, again=True):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        self._says, self._close, self._kept = says, close, []
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            self._kept.append(peer)
            try:
                peer.recv(1)
                says = self._says
                while callable(says):
                    peer.sendall(says())
                if says:
                    peer.sendall(says)
                if self._close:
                    peer.close()
            except OSError:
                pass

    def stop(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for peer in self._kept:
            peer.close()
        self._thread.join(20)


@pytest.fixture
def impostor():
    made = []

    def start(*args, **words):
        made.append(Impostor(*args, **words))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.mark.parametrize("says, close, expected", [
    (b"\x15\x03\x01\x00\x02\x02\x46", True, "speaks TLS"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "speaks HTTP"),
    (b"220 gw.example.org ESMTP\r\n", False, "does not speak Redis's protocol"),
    (b"", True, "closed the connection without a word; is it a TLS port"),
    (b"-DENIED Redis is running in protected mode\r\n", True, "protected mode"),
    (b"*100000000\r\n", False, "a reply without end"),
    (b"*2\r\n*1000000\r\n*1000000\r\n", False, "a reply without end"),
    (b"$1000000000\r\n", False, "a reply without end"),
    (b"*1\r\n$1000000000\r\nabc", False, "a reply without end"),
    (b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n", False, "is a , expected a master|nobody asked"),
], ids=["tls", "http", "smtp", "closes", "protected", "array", "arrays", "bulk",
        "bulk-in-array", "chatty"])
def test_what_is_no_redis(link, impostor, says, close, expected):
    server = impostor(says, close)
    probe = link(servers=[server.address])
    probe.wait_log(expected)
    assert probe.call("PING")["result"] in ("configuration", "unavailable")
    with open(f"/proc/{probe.pid}/status") as status:
        used = int(status.read().split("VmHWM:")[1].split()[0])
    # AddressSanitizer's own memory is most of it.
    assert used < 200_000, f"{used} KiB"


def test_a_server_that_accepts_and_is_silent(link, impostor):
    """Half-open: as after a crash of its host behind a firewall."""
    server = impostor()
    probe = link(servers=[server.address])
    answer = probe.call("PING")
    assert answer["result"] == "unavailable" and answer["ms"] < IN_TIME_MS
    probe.wait_log("has not answered for 1000 ms")
    assert probe.quickest_ms("PING") < 90


def established():
    """The local ports of all connections that stand."""
    rows = [row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "01"}


def test_a_message_connection_that_goes_silent(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    probe.subscribe("news")
    ports = {int(port) for port in re.findall(
        r" addr=127\.0\.0\.1:(\d+) .* cmd=(?!client)", server.command("CLIENT", "LIST"))}
    assert len(ports) == 2 and ports <= established(), "for calls and for messages"
    server.pause()
    probe.wait_log("has not answered")
    wait_until(lambda: not ports & established(), "both are given up")
    server.resume()
    probe.wait_said("lost", 2)
    server.command("PUBLISH", "news", "again")
    assert "again" in probe.wait_said("message", 1)


def test_redis_is_taken_out_and_put_in(link, redis_server):
    first, second = redis_server(), redis_server()
    probe = link(servers=[first.address])
    probe.subscribe("news")
    probe.good("SET", "who", "first")
    probe.set(None)
    assert probe.call("GET", "who")["error"] == "no Redis is configured"
    wait_until(lambda: len(first.command("CLIENT", "LIST").splitlines()) == 1,
               "both connections are closed")
    probe.set({"servers": [second.address], "timeout": "1s"})
    assert probe.good("GET", "who") is None
    probe.wait_said("lost", 2)
    # The same section again keeps them.
    before = second.command("CLIENT", "LIST").count("\n")
    probe.set({"servers": [second.address], "timeout": "500ms"}, nodes=2)
    probe.good("PING")
    assert second.command("CLIENT", "LIST").count("\n") == before
    assert second.command("INFO", "stats").count("total_connections_received")


@pytest.mark.threads
def test_four_loops_at_once(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    storm = probe.storm(4, 5000)
    assert (storm["good"], storm["bad"]) == (20000, 0)
    assert server.command("GET", "storm") == "20000"


@pytest.mark.threads
def test_a_thousand_connections_leave_nothing(link, redis_server):
    server = redis_server()
    probe = link(servers=[server.address])
    assert probe.churn(1000) == {"churned": 1000, "good": 500}
    wait_until(lambda: len(server.command("CLIENT", "LIST").splitlines()) <= 2,
               "they are closed")


@pytest.mark.threads
def test_a_thousand_resolved_names_leave_nothing(link, redis_server):
    server = redis_server()
    probe = link(servers=[f"localhost:{server.port}"])
    assert probe.churn(200)["good"] == 100
