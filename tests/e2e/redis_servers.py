# SPDX-License-Identifier: BSD-2-Clause
"""Real Redis servers on loopback: one, a pair with Sentinels, a Cluster.

Each lives in a folder of its own under the one that is given, on free ports, and is
ended by its pid. The client speaks RESP 2, so that no package is needed for it.

POSTERN_REDIS names a folder whose redis-server is used instead of the machine's.
"""

import os
import re
import signal
import socket
import subprocess
import threading
import time

from private_mail.ports import free_port
from private_mail.process import Process

SLOTS = 16384

SERVER = os.path.join(os.environ.get("POSTERN_REDIS", ""), "redis-server")


def is_before_7():
    """Redis 6: without some settings that tests use."""
    said = subprocess.run([SERVER, "--version"], capture_output=True, text=True, check=True)
    return int(re.search(r"v=(\d+)", said.stdout)[1]) < 7


class RedisError(Exception):
    """An error reply."""


class RedisClient:
    """One connection; command("GET", "a") returns str, int, None or a list."""

    def __init__(self, address, password=None, timeout=10):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.settimeout(timeout)
        self._socket.connect(address)
        self._stream = self._socket.makefile("rb")
        if password:
            self.command("AUTH", password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stream.close()
        self._socket.close()

    def send(self, *arguments):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(
            b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def reply(self):
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, text = line[:1], line[1:-2].decode("utf-8", "backslashreplace")
        if kind == b"-":
            raise RedisError(text)
        if kind == b"+":
            return text
        if kind == b":":
            return int(text)
        if int(text) < 0:
            return None
        if kind == b"$":
            return self._stream.read(int(text) + 2)[:-2].decode("utf-8", "backslashreplace")
        assert kind == b"*", line
        return [self.reply() for _ in range(int(text))]

    def command(self, *arguments):
        self.send(*arguments)
        return self.reply()


def wait_until(true, what, timeout=60):
    """Asks @true again and again until it is; OSError and error replies are a no."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if true():
                return
            why = "it is not"
        except (OSError, RedisError) as error:
            why = error
        assert time.monotonic() < deadline, f"{what}: {why} after {timeout} s"
        time.sleep(0.01)  # between two questions


def best_of(tries, within, attempt):
    """One of so many attempts takes less than @within seconds: a busy machine takes more
    now and then, a pause of the daemon's own each time."""
    took = []
    while not took or took[-1] >= within:
        assert len(took) < tries, f"none within {within} s: {took}"
        took.append(attempt())
    return took[-1]


def encoded(value):
    """A reply in RESP 2."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, str):
        return b"$%d\r\n%s\r\n" % (len(value.encode()), value.encode())
    return b"*%d\r\n" % len(value) + b"".join(encoded(item) for item in value)


class ScriptedServer:
    """Answers each command by @answers(command in upper case, arguments)."""

    def __init__(self, answers):
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._peers = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self._peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        with peer, peer.makefile("rb") as stream:
            try:
                while (head := stream.readline()):
                    words = []
                    for _ in range(int(head[1:])):
                        length = int(stream.readline()[1:])
                        words.append(stream.read(length + 2)[:-2].decode())
                    peer.sendall(encoded(self._answers(words[0].upper(), words[1:])))
            except (OSError, ValueError):
                pass

    def stop(self):
        for one in (self._socket, *self._peers):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._socket.close()


class RedisServer:
    """redis-server with @options on top of a small basis; nothing is kept on disk."""

    SENTINEL = False

    def __init__(self, folder, port=None, lines=(), **options):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.unix = str(folder / "s")
        self.options = {"bind": "127.0.0.1", "port": self.port, "save": '""',
                        "appendonly": "no", "dir": folder, "repl-diskless-sync-delay": 0,
                        "protected-mode": "no"}
        if not self.SENTINEL:
            self.options["unixsocket"] = self.unix
        self.options.update({name.replace("_", "-"): value
                             for name, value in options.items()})
        self.lines = list(lines)
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def _argv(self, file):
        return [SERVER, file]

    def start(self, wait=True):
        """Starts it; a file that Sentinel or CONFIG REWRITE changed is written anew."""
        file = self.folder / "redis.conf"
        if self.SENTINEL:
            for name in ("save", "appendonly", "repl-diskless-sync-delay"):
                self.options.pop(name, None)
        text = [f"{name} {value}" for name, value in self.options.items()] + self.lines
        file.write_text("\n".join(text) + "\n")
        self.process = Process(f"redis {self.port}", self._argv(file), cwd=self.folder)
        if wait:
            self.wait_ready()
        return self

    def is_up(self):
        """It answers, be it that it wants a password."""
        with self.client(login=False) as client:
            try:
                return client.command("PING") == "PONG"
            except RedisError as error:
                return str(error).startswith(("NOAUTH", "NOPERM"))

    def wait_ready(self):
        wait_until(self.is_up, f"redis {self.port} is up")

    def client(self, login=True):
        password = self.options.get("requirepass") if login else None
        return RedisClient(("127.0.0.1", self.port), password)

    def command(self, *arguments):
        with self.client() as client:
            return client.command(*arguments)

    def pause(self):
        """Hangs, its ports open."""
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def kill(self):
        if self.process:
            self.process.kill_group()

    def restart(self, **options):
        self.kill()
        self.options.update({name.replace("_", "-"): value
                             for name, value in options.items()})
        return self.start()

    stop = kill


class Sentinel(RedisServer):
    SENTINEL = True

    def _argv(self, file):
        return [SERVER, file, "--sentinel"]


class WatchedPair:
    """A master, a replica and three Sentinels that watch them under @name."""

    def __init__(self, folder, name="mymaster", down_after_ms=500, **options):
        self.name = name
        self.servers = [RedisServer(folder / f"server{i}", **options) for i in range(2)]
        self.servers[1].options["replicaof"] = f"127.0.0.1 {self.servers[0].port}"
        password = options.get("requirepass")
        if password:
            for server in self.servers:
                server.options["masterauth"] = password
        lines = [f"sentinel monitor {name} 127.0.0.1 {self.servers[0].port} 2",
                 f"sentinel down-after-milliseconds {name} {down_after_ms}",
                 f"sentinel failover-timeout {name} 1000",
                 f"sentinel parallel-syncs {name} 1"]
        if password:
            lines.append(f"sentinel auth-pass {name} {password}")
        self.sentinels = [Sentinel(folder / f"sentinel{i}", lines=lines)
                          for i in range(3)]

    @property
    def addresses(self):
        return [sentinel.address for sentinel in self.sentinels]

    def start(self, agree=True):
        """Ready to ask; with @agree, which takes seconds, to fail over too."""
        for server in self.servers:
            server.start()
        wait_until(lambda: "master_link_status:up" in
                   self.servers[1].command("INFO", "replication"), "the replica follows")
        for sentinel in self.sentinels:
            sentinel.start()
        if agree:
            wait_until(self._agreed, "the sentinels know each other and the replica")
        return self

    def _agreed(self):
        for sentinel in self.sentinels:
            facts = sentinel.command("SENTINEL", "MASTER", self.name)
            known = dict(zip(facts[::2], facts[1::2]))
            if known["num-other-sentinels"] != "2" or known["num-slaves"] != "1":
                return False
            replica = sentinel.command("SENTINEL", "REPLICAS", self.name)[0]
            state = dict(zip(replica[::2], replica[1::2]))
            if state["master-link-status"] != "ok":
                return False
        return True

    def master(self):
        """The server that the first sentinel that answers calls the master."""
        for sentinel in self.sentinels:
            try:
                address = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
            except OSError:
                continue
            return next(s for s in self.servers if str(s.port) == address[1])
        raise AssertionError("no sentinel answers")

    def other(self):
        return next(s for s in self.servers if s is not self.master())

    def stop(self):
        for server in self.sentinels + self.servers:
            server.kill()


class Cluster:
    """Masters that share the slots evenly, without replicas."""

    def __init__(self, folder, masters=3, **options):
        self.servers, self.buses = [], []
        old = is_before_7()
        for i in range(masters):
            bus = free_port()
            # Before 7 the port on which the nodes talk cannot be chosen.
            chosen = {"port": bus - 10000} if old else {"cluster_port": bus}
            self.buses.append(bus)
            self.servers.append(RedisServer(
                folder / f"node{i}", cluster_enabled="yes", cluster_node_timeout=1000,
                cluster_require_full_coverage="no", **chosen, **options))

    @property
    def addresses(self):
        return [server.address for server in self.servers]

    def start(self):
        for server in self.servers:
            server.start()
        share = -(-SLOTS // len(self.servers))
        for i, server in enumerate(self.servers):
            server.command("CLUSTER", "ADDSLOTS",
                           *range(i * share, min((i + 1) * share, SLOTS)))
            server.command("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for server, bus in zip(self.servers[1:], self.buses[1:]):
            self.servers[0].command("CLUSTER", "MEET", "127.0.0.1", server.port, bus)
        wait_until(self.is_ok, "the cluster is complete")
        return self

    def is_ok(self):
        for server in self.servers:
            info = server.command("CLUSTER", "INFO")
            if ("cluster_state:ok" not in info or
                    f"cluster_known_nodes:{len(self.servers)}" not in info or
                    f"cluster_slots_assigned:{SLOTS}" not in info or
                    len(server.command("CLUSTER", "SLOTS")) < len(self.servers)):
                return False
        return True

    def owner(self, slot, by=None):
        """Who has the slot, as @by sees it."""
        slots = (by or self.servers[0]).command("CLUSTER", "SLOTS")
        for first, last, (host, port, *_), *_ in slots:
            if first <= slot <= last:
                return next(s for s in self.servers if s.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def node_id(self, server):
        return server.command("CLUSTER", "MYID")

    def agrees(self):
        """All nodes know the same of each other, epochs included.

        Redis lets the greater epoch win. A node that has not heard of another's last one
        would take too small a one with its next slot, and the slot would be nobody's.
        """
        views = []
        for server in self.servers:
            lines = [line.split() for line in server.command("CLUSTER", "NODES").splitlines()]
            views.append(sorted((line[0], line[6], *line[8:]) for line in lines))
        return all(view == views[0] for view in views)

    def begin_move(self, slot, to):
        """From now on the slot is being moved: ASK for keys that are not there."""
        wait_until(self.agrees, "all nodes know the same")
        source = self.owner(slot)
        to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(to))
        return source

    def move_keys(self, slot, source, to):
        while True:
            keys = source.command("CLUSTER", "GETKEYSINSLOT", slot, 100)
            if not keys:
                return
            source.command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)

    def finish_move(self, slot, source, to):
        for server in [to, source, *(s for s in self.servers if s not in (to, source))]:
            server.command("CLUSTER", "SETSLOT", slot, "NODE", self.node_id(to))

    def move(self, slot, to):
        source = self.begin_move(slot, to)
        self.move_keys(slot, source, to)
        self.finish_move(slot, source, to)

    def stop(self):
        for server in self.servers:
            server.kill()
