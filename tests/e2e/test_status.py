# SPDX-License-Identifier: BSD-2-Clause
"""The status pages: what they show, and that nobody who asks for them costs a decision."""

import ctypes
import http.client
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest

from letters import letter
from policyd_process import UNDECIDED, Load, request
from private_mail.ports import free_port


SAMPLE = re.compile(r'^(\w+)(\{[^}]*\})? (-?[0-9.]+)$')


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        # Without a timeout a connect waits for room in the queue.
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)
        self.sock.settimeout(20)


class Page:
    """A status address: unix:PATH or HOST:PORT."""

    def __init__(self, address):
        self.address = address

    def _connection(self):
        if self.address.startswith("unix:"):
            connection = UnixConnection("localhost")
            connection.host = self.address[5:]
            return connection
        return http.client.HTTPConnection(*self.address.split(":"), timeout=20)

    def get(self, path="/", method="GET", **options):
        connection = self._connection()
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", "status")
        connection.endheaders(**options)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    def socket(self):
        connection = self._connection()
        connection.connect()
        return connection.sock

    def metrics(self):
        """Every sample, by name with labels; the format is checked on the way."""
        status, body = self.get("/metrics")
        assert status == 200
        samples, typed = {}, set()
        for line in body.splitlines():
            if line.startswith("# TYPE "):
                typed.add(line.split()[2])
            elif not line.startswith("# HELP "):
                match = SAMPLE.match(line)
                assert match, line
                base = re.sub(r"_(bucket|sum|count)$", "", match[1])
                assert match[1] in typed or base in typed, line
                assert match[1] + (match[2] or "") not in samples, line
                samples[match[1] + (match[2] or "")] = float(match[3])
        return samples


@pytest.fixture
def shown(policyd_at_rest):
    """shown(**settings): a running daemon and its page."""
    def start(**settings):
        daemon = policyd_at_rest()
        page = Page(f"unix:{daemon.top}/status")
        daemon.run(**{"policyd": {"status": page.address}, **settings})
        return daemon, page
    return start


def test_what_is_counted(shown):
    daemon, page = shown(
        block={"hosts": ["192.0.2.66"], "senders": ["x@example.org"]},
        shadow=["sender_block"],
        limits=[{"name": "two", "per": "client", "count": "messages", "max": 2,
                 "window": "1h", "over": "defer"}])
    with daemon.connect() as client:
        for _ in range(3):
            client.ask()
        client.ask(request(sender="x@example.org"))
        client.ask(request(client_address="192.0.2.66"))
        for n in range(4):
            client.ask(request(protocol_state="END-OF-MESSAGE", instance=f"1.{n}"))
        samples = page.metrics()
        assert samples["postern_policy_connections"] == 1
    expected = {
        'postern_policy_requests_total{state="RCPT"}': 5,
        'postern_policy_requests_total{state="END-OF-MESSAGE"}': 4,
        'postern_policy_decisions_total{check="none",action="ok"}': 4,
        'postern_policy_decisions_total{check="none",action="dunno"}': 2,
        'postern_policy_decisions_total{check="host_block",action="reject"}': 1,
        'postern_policy_decisions_total{check="sender_block",action="shadow"}': 1,
        'postern_policy_decisions_total{check="limits",action="defer"}': 2,
        'postern_limit_exceeded_total{limit="two"}': 2,
        'postern_policy_request_seconds_count': 9,
        'postern_policy_request_seconds_bucket{le="+Inf"}': 9,
        'postern_store_up{store="memory"}': 1,
        'postern_policy_protocol_errors_total': 0,
        'postern_config_last_reload_successful': 1,
        'postern_log_dropped_total': 0,
    }
    assert {name: samples.get(name) for name in expected} == expected
    assert samples["postern_store_request_seconds_count"] >= 4
    assert 0 < samples["postern_policy_request_seconds_sum"] < 9
    loaded = samples["postern_config_last_reload_success_timestamp_seconds"]
    assert abs(loaded - time.time()) < 600
    assert any(name.startswith("postern_build_info{") for name in samples)


def test_lost_lines_and_protocol_errors_are_counted(shown):
    daemon, page = shown(log={"decisions": "/dev/full"})
    daemon.allow("decision log /dev/full")
    daemon.allow("closed without a reply")
    with daemon.connect() as client:
        client.ask(request(protocol_state="END-OF-MESSAGE"))
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.is_closed()
    daemon.wait_for_line("1 lines lost")
    samples = page.metrics()
    assert samples["postern_log_dropped_total"] == 1
    assert samples["postern_policy_protocol_errors_total"] == 1


def test_no_client_gets_into_a_label(shown):
    daemon, page = shown(block={"senders": ["mallory@example.org"]})
    hostile = 'mallory"} 1\\n<script>'
    with daemon.connect() as client:
        for sender in ("mallory@example.org", hostile):
            client.ask(request(sender=sender, sasl_username=hostile, helo_name=hostile,
                               client_name=hostile, recipient=hostile,
                               policy_context="limits", protocol_state=hostile))
            client.ask(request(sender=sender))
    for path in ("/", "/metrics"):
        status, body = page.get(path)
        assert status == 200
        for foreign in ("mallory", "script", "192.0.2.7", "example.org"):
            assert foreign not in body
    page.metrics()


def test_the_last_reload_is_shown(shown):
    daemon, page = shown()
    daemon.allow("error: .*postern.json")
    assert page.get("/healthz") == (200, "ok\n")
    assert "<strong>ok</strong>" in page.get("/")[1]
    daemon.configure(policyd={"no_such_key": 1})
    daemon.hang_up()
    daemon.wait_for_line("reload of .* failed")
    status, body = page.get("/healthz")
    assert status == 200
    assert "last reload failed" in body
    assert "<strong>degraded</strong>" in page.get("/")[1]
    assert page.metrics()["postern_config_last_reload_successful"] == 0
    # A new address needs a restart; the page goes on where it is.
    daemon.configure(policyd={"status": f"127.0.0.1:{free_port()}"})
    mark = daemon.mark()
    daemon.hang_up()
    daemon.wait_for_line("policyd.status changed", mark)
    assert page.metrics()["postern_config_last_reload_successful"] == 0
    daemon.configure(policyd={"status": page.address})
    mark = daemon.mark()
    daemon.hang_up()
    daemon.wait_for_line("reloaded", mark)
    assert page.get("/healthz") == (200, "ok\n")


def test_counts_survive_a_reload(shown):
    daemon, page = shown()
    with daemon.connect() as client:
        client.ask()
        mark = daemon.mark()
        daemon.configure(policyd={"status": page.address}, relay={"hosts": []})
        daemon.hang_up()
        daemon.wait_for_line("reloaded", mark)
        client.ask()
    assert page.metrics()['postern_policy_requests_total{state="RCPT"}'] == 2


def test_leaving_is_not_healthy(shown):
    daemon, page = shown()
    with daemon.connect() as client:
        assert client.ask()
        whole = request()
        client.send(whole[:100])
        # Answered on another connection: the half request has been read before.
        with daemon.connect() as other:
            other.ask()
        mark = daemon.mark()
        daemon.process.signal(signal.SIGTERM)
        daemon.wait_for_line("SIGTERM: finishing", mark)
        status, body = page.get("/healthz")
        client.send(whole[100:])
        assert client.answer() == b"action=OK\n\n"
    daemon.wait_for_line("stopped", mark)
    assert (status, body) == (503, "leaving\n")


def test_tcp_and_off(policyd_at_rest):
    daemon = policyd_at_rest()
    page = Page(f"127.0.0.1:{free_port()}")
    daemon.run(policyd={"status": page.address})
    assert page.get("/healthz") == (200, "ok\n")
    off = policyd_at_rest()
    off.run(policyd={"status": ""})
    assert not [line for line in off.output() if "status" in line]


def test_an_address_in_use_costs_no_decision(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.allow("policyd.status: .*there is no status page")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon.run(policyd={"status": f"127.0.0.1:{taken.getsockname()[1]}"})
    with daemon.connect() as client:
        assert client.ask() == b"action=OK\n\n"


def test_the_socket_goes_with_the_daemon(shown):
    daemon, page = shown()
    path = pathlib.Path(page.address[5:])
    assert path.is_socket()
    daemon.stop()
    assert not path.exists()


# ---- mad clients ----

def half_requests(page, stop):
    held = []
    while not stop.is_set():
        held.append(page.socket())
        held[-1].send(b"GET /metrics HTTP")
        if len(held) > 100:
            held.pop(0).close()


def scrapes(page, stop):
    while not stop.is_set():
        assert page.get("/metrics")[0] == 200


def huge_urls(page, stop):
    data = b"GET /" + b"x" * (1 << 20)
    while not stop.is_set():
        with page.socket() as client:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                assert b" 431 " in client.recv(100)
            except (BrokenPipeError, ConnectionResetError):
                pass


def posts(page, stop):
    while not stop.is_set():
        assert page.get("/healthz", method="POST")[0] == 405


def non_readers(page, stop):
    held = []
    while not stop.is_set():
        held.append(page.socket())
        held[-1].send(b"GET /metrics HTTP/1.1\r\n\r\n")
        if len(held) > 100:
            held.pop(0).close()


def insist(page, path):
    """The page is still there for who asks as one should: when the mad ones open more
    connections than it serves, the oldest has to go, which may be ours."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return page.get(path)
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline


@pytest.mark.threads
@pytest.mark.parametrize("mad", [half_requests, scrapes, huge_urls, posts, non_readers],
                         ids=lambda function: function.__name__)
def test_mad_clients_cost_no_decision(shown, mad):
    daemon, page = shown()
    stop, failures = threading.Event(), []

    def run():
        try:
            mad(page, stop)
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(repr(error))

    # One connection of the mad ones' own is not counted in the daemon's memory.
    load = Load(daemon.path, clients=2)
    load.wait_for(200)
    before, descriptors = daemon.resident_kib(), daemon.descriptors()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        load.wait_for(2000)
        assert insist(page, "/healthz") == (200, "ok\n")
        more = daemon.descriptors() - descriptors
        grown = daemon.resident_kib() - before
    finally:
        stop.set()
        thread.join(30)
    load.finish()
    assert not failures
    assert more <= 33  # STATUS_HTTP_CONNECTIONS and one being accepted
    if not daemon.is_sanitized():
        assert grown < 4096, f"{grown} KiB"


# ---- the milter ----

def test_milter_counts_on_one_page(mail, postern_at_rest, sink):
    port = free_port()
    daemons = postern_at_rest
    daemons.start({"milter": {"status": f"127.0.0.1:{port}", "children": 3,
                              "control": f"unix:{daemons.keys}/control"}})
    page = Page(f"127.0.0.1:{port}")
    for n in range(6):
        with mail.user("ada@example.org") as client:
            reply = client.message("ada@example.org", ["joe@outside.example"],
                                   letter("ada@example.org"))
            assert reply.code == 250
        assert page.get("/healthz") == (200, "ok\n")
        samples = page.metrics()
        assert samples['postern_milter_messages_total{result="signed"}'] == n + 1
    assert samples['postern_dkim_signatures_total{algorithm="rsa-sha256"}'] == 6
    assert samples["postern_received_masked_total"] == 6
    told = daemons.command("status", "-c", daemons.configuration).stdout
    assert "signed 6, unsigned 0, masked 0" in told and "received masked       6\n" in told
    assert samples['postern_milter_messages_total{result="refused"}'] == 0
    assert samples["postern_config_last_reload_successful"] == 1
    assert "postern_policy_requests_total" not in page.get("/metrics")[1]
    assert "ada" not in page.get("/")[1] + page.get("/metrics")[1]
    sink.wait_for(6)

    with mail.client("smtp") as client:
        client.message("x@elsewhere.example", ["joe@inside.example"],
                       letter("x@elsewhere.example"))
    samples = page.metrics()
    assert samples['postern_milter_messages_total{result="untouched"}'] == 1

    daemons.allow("postern.json|configuration .* not reloaded")
    daemons.configure({"milter": {"no_such_key": 1}})
    mark = daemons.milter.mark()
    daemons.milter.hang_up()
    daemons.milter.process.wait_for_line("not reloaded", mark)
    assert page.metrics()["postern_config_last_reload_successful"] == 0
    assert "last reload failed" in page.get("/healthz")[1]


def test_milter_counts_outlive_a_child(mail, postern, sink):
    port = free_port()
    daemons = postern(milter={"status": f"127.0.0.1:{port}"})
    page = Page(f"127.0.0.1:{port}")

    def send():
        with mail.user("ada@example.org") as client:
            return client.message("ada@example.org", ["joe@outside.example"],
                                  letter("ada@example.org")).code

    assert send() == 250
    daemons.allow("child 0 was killed")
    parent = daemons.milter.process.pid
    children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    mark = daemons.milter.mark()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    daemons.milter.process.wait_for_line("serves again", mark)
    assert send() == 250
    assert page.metrics()['postern_milter_messages_total{result="signed"}'] == 2


def test_milter_without_a_page_serves(mail, postern, sink):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemons = postern(milter={"status": f"127.0.0.1:{taken.getsockname()[1]}"})
    daemons.allow("milter.status: .*there is no status page")
    with mail.user("ada@example.org") as client:
        assert client.message("ada@example.org", ["joe@outside.example"],
                              letter("ada@example.org")).code == 250


PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000


class HeldThread:
    """One thread of a process, stopped like a loop that hangs; the others go on."""

    def __init__(self, pid, name):
        tasks = pathlib.Path(f"/proc/{pid}/task")
        self._tid, = [int(task.name) for task in tasks.iterdir()
                      if (task / "comm").read_text().strip() == name]
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p,
                                      ctypes.c_void_p]

    def __enter__(self):
        assert self._libc.ptrace(PTRACE_ATTACH, self._tid, None, None) == 0, \
            os.strerror(ctypes.get_errno())
        os.waitpid(self._tid, WALL)

    def __exit__(self, *_):
        assert self._libc.ptrace(PTRACE_DETACH, self._tid, None, None) == 0


def test_a_stuck_loop_is_seen(shown):
    daemon, page = shown()

    def wait_for(status):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            told, text = page.get("/healthz")
            if told == status:
                return text
        raise AssertionError(f"/healthz did not become {status}")

    assert page.get("/healthz")[0] == 200
    with HeldThread(daemon.process.pid, "worker 1"):
        assert "event loop does not turn" in wait_for(503)
    wait_for(200)
