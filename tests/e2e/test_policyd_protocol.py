# SPDX-License-Identifier: BSD-2-Clause
"""postern-policyd as a server, without Postfix: hostile clients, reloads, start and end."""

import contextlib
import os
import pathlib
import resource
import signal
import socket
import stat
import threading
import time

import pytest

from policyd_process import (ATTRIBUTES, GRANTED, LEFT_TO_POSTFIX, UNDECIDED, Client,
                             Load, request)
from private_mail.process import Process


CLOSED = r"warning: .*closed without a reply; Postfix will defer"


@pytest.fixture
def policyd(policyd_at_rest):
    """policyd(**settings): a running daemon."""
    def start(**settings):
        return policyd_at_rest().run(**settings)
    return start


# ---- requests ----

def test_answers(policyd):
    daemon = policyd()
    with daemon.connect() as client:
        assert client.ask() == GRANTED
        assert client.ask(request(protocol_state="DATA")) == UNDECIDED
        assert client.ask(request(sender="eve@elsewhere.example")) == LEFT_TO_POSTFIX
        assert client.ask() == GRANTED


def test_split_at_every_byte(policyd):
    daemon = policyd()
    data = request()
    with daemon.connect() as client:
        for at in range(1, len(data)):
            client.send(data[:at])
            client.send(data[at:])
            assert client.answer() == GRANTED, at
        for byte in data:
            client.send(bytes([byte]))
        assert client.answer() == GRANTED


@pytest.mark.threads
def test_many_in_one_write_are_answered_in_order(policyd):
    daemon = policyd()
    kinds = [(request(), GRANTED), (request(protocol_state="DATA"), UNDECIDED),
             (request(sender="eve@elsewhere.example"), LEFT_TO_POSTFIX)]
    with daemon.connect() as client:
        client.send(kinds[0][0] + kinds[1][0])
        assert [client.answer(), client.answer()] == [GRANTED, UNDECIDED]

        rounds = 2000
        sender = threading.Thread(
            target=client.send, args=(b"".join(data for data, _ in kinds) * rounds,))
        sender.start()
        for turn in range(rounds):
            for _, expected in kinds:
                assert client.answer() == expected, turn
        sender.join()


def test_a_request_at_the_bounds_is_answered(policyd):
    daemon = policyd()
    base = request(helo_name="")
    with daemon.connect() as client:
        full = request(helo_name="a" * (64 * 1024 - len(base)))
        assert len(full) == 64 * 1024
        assert client.ask(full) == GRANTED
        more = {f"x{number}": "y=z" for number in range(128 - len(ATTRIBUTES))}
        assert client.ask(request(**more)) == GRANTED


BAD = {
    "a megabyte in one value": request(helo_name="a" * 1024 * 1024),
    "a megabyte without a newline": b"a" * 1024 * 1024,
    "one byte over the bound": request(
        helo_name="a" * (64 * 1024 + 1 - len(request(helo_name="")))),
    "129 attributes": request(
        **{f"x{number}": "y" for number in range(129 - len(ATTRIBUTES))}),
    "garbage": bytes(range(1, 256)) * 8,
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000" + "1fc0303" + "00" * 40),
    "a NUL": request(helo_name="a\0b"),
    "an empty request": b"\n",
    "a line without =": request().replace(b"stress=\n", b"stress\n"),
    "another request": request(request="something_else"),
    "no request attribute": request(request=None),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_end_the_connection(policyd, name):
    daemon = policyd()
    daemon.allow(CLOSED)
    with daemon.connect() as other, daemon.connect() as client:
        assert other.ask() == GRANTED
        assert client.ask() == GRANTED
        with contextlib.suppress(ConnectionError):
            client.send(BAD[name])
        assert client.is_closed()
        assert other.ask() == GRANTED
    lines = daemon.all_lines("closed without a reply")
    assert len(lines) == 1
    assert f"unix:{daemon.path} (pid {os.getpid()}, uid {os.getuid()})" in lines[0]


def test_warnings_are_counted_after_the_first_ten(policyd):
    daemon = policyd()
    daemon.allow(CLOSED)
    for _ in range(200):
        with daemon.connect() as client:
            assert client.ask(b"GET / HTTP/1.0\r\n\r\n") == b""
    assert len(daemon.all_lines("closed without")) == 10


def test_bad_requests_leave_no_memory_behind(policyd):
    daemon = policyd()
    daemon.allow(CLOSED)

    def turn():
        for data in BAD.values():
            with daemon.connect() as client:
                with contextlib.suppress(ConnectionError):
                    client.send(data)
                assert client.is_closed()
        for _ in range(20):
            with daemon.connect() as client:
                client.send(request()[:-1])

    for _ in range(5):
        turn()
    before_kib = daemon.resident_kib()
    for _ in range(30):
        turn()
    if not daemon.is_sanitized():
        assert daemon.resident_kib() - before_kib < 512


# ---- clients ----

@pytest.mark.threads
def test_slow_and_deaf_clients_are_closed_and_hinder_nobody(policyd):
    """One that does not end its request, one that trickles, one that does not read."""
    daemon = policyd()
    daemon.allow(CLOSED)
    daemon.allow(r"warning: .* did not read its answers for 10000 ms; closed")
    began = time.monotonic()
    load = Load(daemon.path, clients=2)
    with daemon.connect() as silent, daemon.connect() as trickling, \
            daemon.connect() as deaf:
        silent.send(request()[:-1])
        trickling.send(request()[:100])
        deaf.socket.settimeout(0.5)
        with pytest.raises(socket.timeout):
            while True:  # until the kernel's and the daemon's buffers are full
                deaf.send(request() * 1000)

        def trickle():
            with contextlib.suppress(OSError):
                while not over.wait(0.05):
                    trickling.send(b"a")

        over = threading.Event()
        trickler = threading.Thread(target=trickle)
        trickler.start()
        assert silent.is_closed()
        assert trickling.is_closed()
        assert 9.5 < time.monotonic() - began < 30
        daemon.wait_for_line("did not read its answers")
        assert time.monotonic() - began < 30
        over.set()
        trickler.join()
    assert load.finish() > 1000
    assert len(daemon.all_lines("did not end it within")) == 2


def test_idle_connections_are_cheap_and_end(policyd):
    daemon = policyd(policyd={"idle_timeout": "2s"})
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            with daemon.connect() as client:
                assert client.ask() == GRANTED
        before_kib = daemon.resident_kib()
        clients = [stack.enter_context(daemon.connect()) for _ in range(500)]
        for client in clients:
            assert client.ask() == GRANTED
        if not daemon.is_sanitized():
            assert daemon.resident_kib() - before_kib <= 500 * 4
        for client in clients:
            assert client.is_closed()
    assert [line for line in daemon.all_lines("warning") if "root" not in line] == []


def test_5000_idle_connections_leave_the_others_alone(policyd):
    """Postfix keeps a connection for every smtpd process, nearly always idle."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(
        resource.RLIMIT_NOFILE)[1],) * 2)
    daemon = policyd()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            with daemon.connect() as client:
                assert client.ask() == GRANTED
        before_kib = daemon.resident_kib()
        idle = [stack.enter_context(daemon.connect()) for _ in range(5000)]
        for client in idle:
            assert client.ask() == GRANTED
        if not daemon.is_sanitized():
            assert daemon.resident_kib() - before_kib <= 5000 * 4
        load = Load(daemon.path)
        load.wait_for(5000)
        load.finish()
        # They were not given up for the busy ones.
        for client in idle[::500]:
            assert client.ask() == GRANTED


def test_a_client_that_leaves_before_its_answer(policyd):
    daemon = policyd()
    for _ in range(200):
        with daemon.connect() as client:
            client.send(request() * 20)
    with daemon.connect() as client:
        assert client.ask() == GRANTED


def test_too_many_connections(policyd):
    daemon = policyd(policyd={"max_connections": 10})
    daemon.allow("raise policyd.max_connections")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.connect()) for _ in range(10)]
        for client in clients:
            assert client.ask() == GRANTED
        for _ in range(5):
            with daemon.connect() as late:
                assert late.is_closed()
        assert clients[0].ask() == GRANTED
        clients[0].socket.close()
        # The place is free once the daemon has seen that.
        deadline = time.monotonic() + 10
        while True:
            with daemon.connect() as client, contextlib.suppress(ConnectionError):
                if client.ask() == GRANTED:
                    break
            assert time.monotonic() < deadline
    assert len(daemon.all_lines("max_connections")) == 1


def test_descriptors_run_out_and_come_back(policyd):
    daemon = policyd()
    daemon.allow("cannot accept a connection: Too many open files")
    pid = daemon.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with daemon.connect() as old:
        assert old.ask() == GRANTED
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (daemon.descriptors(), hard))
        with daemon.connect() as waiting:  # in the kernel's queue
            waiting.send(request())
            daemon.wait_for_line("cannot accept a connection")
            assert old.ask() == GRANTED
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            assert waiting.answer() == GRANTED
    assert len(daemon.all_lines("cannot accept")) == 1


def test_too_low_a_descriptor_limit_is_named(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.allow(r"the descriptor limit has room for \d+; raise it .* to 1144")
    daemon.allow("raise policyd.max_connections")
    daemon.configure(policyd={"max_connections": 1000})
    daemon.launch(before=["prlimit", "--nofile=172:172"])
    daemon.wait_for_notice("READY=1")
    daemon.wait_for_line("has room for 28")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(daemon.connect()) for _ in range(28)]
        for client in clients:
            assert client.ask() == GRANTED
        with daemon.connect() as late:
            assert late.is_closed()


@pytest.mark.threads
def test_inet_and_unix_listeners(policyd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    daemon = policyd()
    daemon.stop()
    second = str(daemon.top / "second")
    daemon.run(policyd={"listen": [
        f"unix:{daemon.path}", f"{address[0]}:{address[1]}", f"unix:{second}"]})
    for where in (daemon.path, address, second):
        with Client(where) as client:
            assert client.ask() == GRANTED
    daemon.allow(CLOSED)
    with Client(address) as client:
        assert client.ask(b"GET / HTTP/1.0\r\n\r\n") == b""
        peer = "%s:%d on %s:%d" % (*client.socket.getsockname(), *address)
    daemon.wait_for_line(peer)


# ---- reload ----

@pytest.mark.threads
def test_reload_under_load(policyd):
    daemon = policyd()
    load = Load(daemon.path, expected=(GRANTED, UNDECIDED))
    load.wait_for(100)
    with daemon.connect() as client:
        for hosts, answer in (([], UNDECIDED), (["192.0.2.0/24"], GRANTED)) * 5:
            mark = daemon.mark()
            daemon.configure(relay={"hosts": hosts})
            daemon.hang_up()
            daemon.wait_for_line("reloaded .*: 1 domains", mark)
            assert client.ask() == answer
            load.wait_for(20)
    load.finish()


@pytest.mark.threads
def test_a_broken_reload_changes_nothing(policyd):
    daemon = policyd()
    daemon.allow("error: ")
    load = Load(daemon.path)
    mark = daemon.mark()
    daemon.configure(relay={"hosts": ["192.0.2.1/24", "nonsense entry"]}, nodes="2")
    daemon.hang_up()
    daemon.wait_for_line("reload of .* failed, .*: 3 errors", mark)
    lines = "\n".join(daemon.process.lines(mark))
    for part in ("relay.hosts[0]", "relay.hosts[1]", "nodes",
                 f"{daemon.configuration}:", "the old configuration stays in force"):
        assert part in lines

    mark = daemon.mark()
    daemon.configure(relay={"hosts": []}, policyd={"workers": 1})
    daemon.hang_up()
    line = daemon.wait_for_line("reload.*failed", mark)
    assert "policyd.workers" in line and "restart" in line
    load.wait_for(100)
    load.finish()


@pytest.mark.threads
def test_a_thousand_hangups_under_load(policyd):
    daemon = policyd()
    daemon.allow("error: ")
    load = Load(daemon.path, expected=(GRANTED, UNDECIDED))
    load.wait_for(100)
    before_kib = daemon.resident_kib()
    began = time.monotonic()
    for number in range(1000):
        if number % 3 == 0:
            broken = {"nodes": 0} if number % 2 else {}
            daemon.configure(limits=[{"name": f"n{number}", "per": "client", "max": 10 ** 9,
                                      "count": "messages", "window": "1h", "over": "defer"}],
                             **broken)
        daemon.hang_up()
    # The last file wins, however the ones before it were coalesced.
    mark = daemon.mark()
    daemon.configure(relay={"hosts": []})
    daemon.hang_up()
    with daemon.connect() as client:
        deadline = time.monotonic() + 30
        while client.ask() != UNDECIDED:
            assert time.monotonic() < deadline
    daemon.wait_for_line("reloaded", mark)
    assert time.monotonic() - began < 60
    assert load.finish() > 1000
    if not daemon.is_sanitized():
        assert daemon.resident_kib() - before_kib < 8 * 1024


def test_the_service_manager_is_told(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.allow("error: ")
    daemon.configure()
    daemon.start()
    daemon.hang_up()
    daemon.wait_for_notice("RELOADING=1")
    daemon.wait_for_notice("READY=1")
    daemon.configure(nodes=0)
    daemon.hang_up()
    daemon.wait_for_notice("STATUS=reload failed, the old configuration is in force")
    daemon.process.signal(signal.SIGTERM)
    daemon.wait_for_notice("STOPPING=1")
    assert daemon.process.wait() == 0


def test_a_deaf_service_manager_hinders_nothing(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.configure()
    daemon.start()
    with daemon.connect() as client:
        for _ in range(7):  # two notices each, of which the kernel keeps about ten
            mark = daemon.mark()
            daemon.hang_up()
            daemon.wait_for_line("reloaded", mark)
            assert client.ask() == GRANTED
    assert daemon.stop() == 0


# ---- start and end ----

def test_a_broken_configuration_names_all_errors(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.allow(".")
    daemon.exit_code = 78
    daemon.configure(nodes="2", relay={"hosts": ["192.0.2.1/24"]}, colour="green")
    daemon.launch()
    assert daemon.process.wait() == 78
    said = "\n".join(daemon.output())
    for part in ("nodes", "relay.hosts[0]", "colour"):
        assert f": {part}: " in said, said
    assert not os.path.exists(daemon.path)


def test_check_option(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.configure()
    good = Process("check", [daemon.program, "-t", "-c", daemon.configuration])
    assert good.wait() == 0
    daemon.configure(nodes="2", colour="green")
    bad = Process("check", [daemon.program, "-c", daemon.configuration, "-t"])
    assert bad.wait() == 78
    lines = bad.lines()
    assert [line for line in lines if line.startswith(f"{daemon.configuration}:")
            and ": nodes: " in line]
    assert [line for line in lines if line.startswith(f"{daemon.configuration}:")
            and ": colour: " in line]
    assert lines[-1] == "2 errors"


@pytest.mark.parametrize("arguments, code, word", [
    (["-V"], 0, "postern-policyd "), (["-h"], 0, "usage:"), (["-x"], 64, "usage:"),
    (["-c"], 64, "usage:"), (["-t", "more"], 64, 'unexpected "more"')])
def test_usage(build, arguments, code, word):
    process = Process("usage", [build / "policyd" / "postern-policyd", *arguments])
    assert process.wait() == code
    assert word in "\n".join(process.lines())


@pytest.mark.threads
def test_sigterm_finishes_what_is_under_way(policyd):
    daemon = policyd()
    with daemon.connect() as idle, daemon.connect() as started:
        assert idle.ask() == GRANTED
        started.send(request()[:-1])
        with daemon.connect() as client:  # the daemon has seen what was sent before
            assert client.ask() == GRANTED
        daemon.process.signal(signal.SIGTERM)
        assert idle.is_closed()
        assert not os.path.exists(daemon.path)
        started.send(b"\n")
        assert started.answer() == GRANTED
        assert started.is_closed()
    assert daemon.process.wait() == 0
    assert daemon.output()[-1].endswith("stopped")


@pytest.mark.threads
def test_sigterm_under_load_gives_whole_answers_or_none(policyd):
    daemon = policyd()
    load = Load(daemon.path, clients=8, expected=(GRANTED, b""))
    load.wait_for(500)
    daemon.process.signal(signal.SIGTERM)
    assert daemon.process.wait() == 0
    load._stop.set()
    for thread in load._threads:
        thread.join(30)
    # Nobody got half an answer or a wrong one; some found the connection closed.
    assert all(wrong == b"" or "BrokenPipe" in wrong or "Reset" in wrong
               for wrong in load.wrong), load.wrong


def test_sigterm_waits_ten_seconds_at_most(policyd):
    daemon = policyd()
    daemon.allow(CLOSED)
    with daemon.connect() as started:
        started.send(request()[:-1])
        with daemon.connect() as client:
            assert client.ask() == GRANTED
        began = time.monotonic()
        daemon.process.signal(signal.SIGTERM)
        assert daemon.process.wait() == 0
        assert time.monotonic() - began < 30


def test_a_second_signal_leaves_at_once(policyd):
    daemon = policyd()
    daemon.allow("leaving at once")
    with daemon.connect() as started:
        started.send(request()[:-1])
        with daemon.connect() as client:
            assert client.ask() == GRANTED
        daemon.process.signal(signal.SIGTERM)
        daemon.wait_for_line("finishing what is under way")
        daemon.process.signal(signal.SIGINT)
        assert daemon.process.wait(5) == 0


def test_kill_leaves_a_socket_that_the_next_one_replaces(policyd):
    daemon = policyd()
    daemon.kill()
    assert stat.S_ISSOCK(os.lstat(daemon.path).st_mode)
    with pytest.raises(ConnectionRefusedError):
        daemon.connect()
    daemon.start()
    with daemon.connect() as client:
        assert client.ask() == GRANTED


def test_a_second_instance_is_refused(policyd):
    daemon = policyd()
    second = Process("second", [daemon.program, "-c", daemon.configuration])
    assert second.wait() == 1
    assert any(f"cannot listen on unix:{daemon.path}: another process" in line
               for line in second.lines())
    with daemon.connect() as client:
        assert client.ask() == GRANTED


def test_what_is_no_socket_is_left_alone(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.exit_code = 1
    daemon.allow("a regular file stands there, left alone")
    daemon.configure()
    pathlib.Path(daemon.path).write_text("precious")
    daemon.launch()
    assert daemon.process.wait() == 1
    assert pathlib.Path(daemon.path).read_text() == "precious"


def test_socket_activation(policyd_at_rest):
    """The passed socket is served, `listen` is not opened, and the path stays."""
    daemon = policyd_at_rest()
    daemon.configure()
    path = str(daemon.top / "activated")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(100)
        with Client(path) as early:  # waits in the queue
            early.send(request())
            daemon.launch(
                before=["bash", "-c", 'exec 3<&"$0" env LISTEN_FDS=1 LISTEN_PID=$$ "$@"',
                        str(listener.fileno())], pass_fds=[listener.fileno()])
            daemon.wait_for_notice("READY=1")
            assert early.answer() == GRANTED
        assert not os.path.exists(daemon.path)
        assert daemon.stop() == 0
        assert os.path.exists(path)
        with Client(path) as late:  # served by the next one
            late.send(request())
            daemon.launch(
                before=["bash", "-c", 'exec 3<&"$0" env LISTEN_FDS=1 LISTEN_PID=$$ "$@"',
                        str(listener.fileno())], pass_fds=[listener.fileno()])
            assert late.answer() == GRANTED


def test_a_blocked_log_blocks_nobody(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.configure()
    reading, writing = os.pipe()
    daemon.launch(before=["bash", "-c", 'exec 2>&"$0" "$@"', str(writing)],
                  pass_fds=[writing])
    daemon.wait_for_notice("READY=1")
    os.close(writing)
    refused = request(sender="eve@elsewhere.example")  # a log line each
    with daemon.connect() as client:
        # Few enough at once that their answers fit the socket: who reads none while it
        # sends is a deaf client, and closed as one.
        for _ in range(200):
            client.send(refused * 50)
            for _ in range(50):
                assert client.answer() == LEFT_TO_POSTFIX
        assert client.ask() == GRANTED
    # Whoever reads at last learns of the loss.
    said = b""
    with os.fdopen(reading, "rb") as stream:
        while b"log lines dropped" not in said:
            line = stream.readline()
            assert line
            said += line
        daemon.process.signal(signal.SIGTERM)
        stream.read()
    assert daemon.process.wait() == 0
