# SPDX-License-Identifier: BSD-2-Clause
"""postern-milter when things go wrong: hostile clients, killed processes, bad files."""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from milter_client import ACTIONS, STEPS, Closed, Session, delivered
from milter_daemon import is_running, milter, milter_at_rest, unsigned  # noqa: F401
from private_mail import dkim_check

HEADERS = [("From", " Ada <ada@example.org>"), ("Subject", " Minutes")]


def assert_serves(daemon):
    with daemon.session() as session:
        daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))


def until(is_met, timeout=20):
    """Looks again and again; for what nobody announces."""
    deadline = time.monotonic() + timeout
    while not is_met():
        assert time.monotonic() < deadline, "not within the time"
        os.sched_yield()


# Connections.

def test_messages_follow_each_other_and_aborts(milter):  # noqa: F811
    daemon = milter()
    with daemon.session() as session:
        for _ in range(2):
            daemon.assert_signed(HEADERS, b"one\r\n", session.message(HEADERS, b"one\r\n"))
        # Left in each state, then the next message.
        for events in range(5):
            session.mail("x@b.example")
            steps = [lambda: session.header("From", " <x@b.example>"),
                     lambda: session.header("Received", " from a"),
                     session.end_of_headers, lambda: session.body(b"lost\r\n" * 1000)]
            for step in steps[:events]:
                step()
            session.abort()
            daemon.assert_signed(HEADERS, b"two\r\n", session.message(HEADERS, b"two\r\n"))
        # MAIL in mid-message, as after a client that began anew.
        session.mail("x@b.example")
        session.abort()
        session.helo("again")
        daemon.assert_signed(HEADERS, b"three\r\n", session.message(HEADERS, b"three\r\n"))


def raw(daemon):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(20)
    client.connect(daemon.address)
    return client


def packet(command, data=b"", length=None):
    return struct.pack("!I", len(data) + 1 if length is None else length) + command + data


OPEN = packet(b"O", struct.pack("!III", 6, ACTIONS, STEPS))
GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 64, b"\xff" * 64, packet(b"O", b"", 0),
    packet(b"O", b"x"), packet(b"O", b"", 0xffffffff), OPEN[:7],
    OPEN + packet(b"E"), OPEN + packet(b"B", b"x" * 100), OPEN + packet(b"N"),
    OPEN + packet(b"L", b"From\0x\0"), OPEN + packet(b"L", b"no end"),
    OPEN + packet(b"M", b"no end"), OPEN + packet(b"M"), OPEN + packet(b"D", b"Mx"),
    OPEN + packet(b"H"), OPEN + packet(b"Z", b"?"), OPEN + OPEN,
    OPEN + packet(b"M", b"<a@b>\0") + packet(b"E"),
    OPEN + packet(b"M", b"<a@b>\0") + packet(b"L", b"\0\0") + packet(b"N") + packet(b"E"),
    OPEN + packet(b"L", b"x" * 65536),
    # Macros without a value, where libmilter reads past the end.
    OPEN + packet(b"D", b"M{none}\0") + packet(b"M", b"<a@b>\0"),
    OPEN + packet(b"D", b"Mi\x00x\0{none}\0rest") + packet(b"M", b"<a@b>\0"),
]


def test_connect_and_leave_and_garbage(milter_at_rest):  # noqa: F811
    milter_at_rest.allow("does not tell {daemon_port}")
    daemon = milter_at_rest.start()
    child, = daemon.children()
    with raw(daemon), raw(daemon):
        pass
    for garbage in GARBAGE:
        with raw(daemon) as client:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(garbage)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
    assert_serves(daemon)
    assert daemon.children() == [child]


@pytest.mark.parametrize("actions, steps", [
    (0x1FF & ~0x1, STEPS), (0x1FF & ~0x10, STEPS), (0x1FF & ~0x100, STEPS),
    (ACTIONS, STEPS & ~(1 << 20)), (ACTIONS, 0x7f)])
def test_an_mta_that_cannot_is_refused(milter_at_rest, actions, steps):  # noqa: F811
    """Not served by guesswork: the MTA falls back on milter_default_action."""
    milter_at_rest.allow("the MTA does not offer")
    daemon = milter_at_rest.start()
    with raw(daemon) as client:
        client.sendall(packet(b"O", struct.pack("!III", 6, actions, steps)))
        assert client.recv(65536) == b""
    assert_serves(daemon)


def test_an_mta_that_waits_for_every_reply(milter):  # noqa: F811
    """libmilter itself answers an MTA that does not know events without a reply."""
    daemon = milter()
    with Session(daemon.address, steps=0x100000 | 0xfff) as session:
        daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))


def test_a_hundred_sessions(milter):  # noqa: F811
    daemon = milter()
    failed = []

    def run(number):
        try:
            body = f"{number}\r\n".encode() * 500
            with daemon.session() as session:
                for _ in range(3):
                    daemon.assert_signed(HEADERS, body, session.message(HEADERS, body))
        except Exception as error:
            failed.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


@pytest.mark.parametrize("steps", [STEPS, 0x100000 | 0xfff])
def test_no_delay_over_tcp(milter, steps):  # noqa: F811
    """Nagle's algorithm would hold every edit for 40 ms; also to a client that waits for
    an answer to each event."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    milter(milter={"listen": [f"127.0.0.1:{port}"]})
    times = []
    with Session(("127.0.0.1", port), steps=steps) as session:
        for _ in range(21):
            began = time.monotonic()
            reply = session.message(HEADERS)
            times.append(time.monotonic() - began)
            # Several packets, one after the other: the edits, then the answer.
            assert reply.verdict == "continue" and len(reply.edits) == 3
    assert sorted(times)[10] < 0.03, times


# Processes.

@pytest.mark.threads
def test_reload_takes_what_changed(milter_at_rest):  # noqa: F811
    daemon = milter_at_rest.start()
    with daemon.session() as old:
        old.mail()
        daemon.configure({"milter": {"mask": {"ports": []}, "dkim": {"oversign": []}}})
        daemon.reload("configuration .* reloaded")
        # The message under way keeps what it began with.
        for header in HEADERS:
            old.header(*header)
        old.end_of_headers()
        reply = old.end_of_message()
        assert [edit[2] for edit in reply.edits] == ["Received", "Received", "DKIM-Signature"]
        reply = old.message(HEADERS)
        assert [edit[2] for edit in reply.edits] == ["DKIM-Signature"]
        assert "h=From:Subject;" in reply.edits[0][3].replace("\n\t", "")


def test_reload_takes_a_new_key_file(milter_at_rest):  # noqa: F811
    daemon = milter_at_rest.start()
    other = daemon.make_key("other")
    other.rename(daemon.key)
    with daemon.session() as session:
        before = session.message(HEADERS)
        daemon.reload("configuration .* reloaded")
        after = session.message(HEADERS)
    records = daemon.records()
    assert dkim_check.verify(delivered(HEADERS, b"hello\r\n", after.edits), records)
    assert not dkim_check.verify(delivered(HEADERS, b"hello\r\n", before.edits), records)


BROKEN = [
    ('{"milter": {"mask": {"upstraem": "keep"}}', "postern.json:1:"),
    ("{", "postern.json"),
    ({"milter": {"dkim": {"keys": {"default": {"file": "missing.pem"}}}}}, "missing.pem"),
    ({"milter": {"children": 2}}, "milter.children changed, which needs a restart"),
    ({"milter": {"listen": ["unix:/run/elsewhere"]}}, "milter.listen changed"),
]


@pytest.mark.parametrize("number", range(len(BROKEN)))
def test_a_broken_reload_changes_nothing(milter_at_rest, number):  # noqa: F811
    content, said = BROKEN[number]
    milter_at_rest.allow("postern.json|missing.pem")
    daemon = milter_at_rest.start()
    pids = daemon.children()
    if isinstance(content, str):
        daemon.configuration.write_text(content)
    else:
        daemon.configure(content)
    mark = daemon.daemon.mark()
    daemon.reload("not reloaded: the old one goes on")
    # Parent and child write each for itself, in any order.
    daemon.daemon.process.wait_for_line(re.escape(said), mark)
    assert_serves(daemon)
    assert daemon.children() == pids
    daemon.configure()
    daemon.reload("configuration .* reloaded")
    assert_serves(daemon)


@pytest.mark.threads
def test_a_storm_of_reloads(milter_at_rest):  # noqa: F811
    """Many HUPs under traffic: all messages signed, the last configuration wins."""
    daemon = milter_at_rest.start({"milter": {"children": 2}})
    stop = threading.Event()
    failed = []

    def run():
        try:
            while not stop.is_set():
                with daemon.session() as session:
                    for _ in range(5):
                        daemon.assert_signed(HEADERS, b"x\r\n",
                                             session.message(HEADERS, b"x\r\n"))
        except Exception as error:
            failed.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        daemon.daemon.hang_up()
    daemon.configure({"milter": {"children": 2, "dkim": {"oversign": ["x-last"]}}})
    daemon.daemon.hang_up()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert failed == []
    # One more, so that one begun before the file changed is not the last.
    daemon.reload("configuration .* reloaded")
    daemon.reload("configuration .* reloaded")
    with daemon.session() as session:
        assert "x-last" in session.message(HEADERS).edits[-1][3]


def test_signals_to_the_child_stop_nothing(milter):  # noqa: F811
    """libmilter would take HUP, INT and TERM for a stop."""
    daemon = milter()
    child, = daemon.children()
    with daemon.session() as session:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            os.kill(child, number)
            daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))
    assert daemon.children() == [child]


@pytest.mark.threads
def test_a_killed_child_is_started_again_and_nobody_is_turned_away(milter_at_rest):  # noqa: F811
    milter_at_rest.allow("child 0 was killed by signal 9")
    daemon = milter_at_rest.start()
    child, = daemon.children()
    session = daemon.session()
    session.mail()
    os.kill(child, signal.SIGKILL)
    with pytest.raises((Closed, BrokenPipeError)):
        for header in HEADERS:
            session.header(*header)
        session.end_of_message()
    # The socket stayed open: whoever comes now waits for the next child.
    assert_serves(daemon)
    daemon.daemon.process.wait_for_line("child 0 serves again")
    assert daemon.children() != [child]
    daemon.reload("configuration .* reloaded")


def test_a_child_that_dies_again_and_again_is_started_more_slowly(milter_at_rest):  # noqa: F811
    milter_at_rest.allow("child 0 was killed by signal 9")
    daemon = milter_at_rest.start()
    mark = 0
    for wait in (100, 200, 400, 800):
        child, = daemon.children()
        os.kill(child, signal.SIGKILL)
        line = daemon.daemon.process.wait_for_line("started again in", mark)
        assert f"in {wait} ms" in line
        daemon.daemon.process.wait_for_line("child 0 serves again", mark)
        mark = daemon.daemon.mark()
    assert_serves(daemon)


def test_a_child_that_finds_a_broken_file_is_tried_again(milter_at_rest):  # noqa: F811
    milter_at_rest.allow("child 0|postern.json")
    daemon = milter_at_rest.start()
    daemon.configuration.write_text("{")
    child, = daemon.children()
    os.kill(child, signal.SIGKILL)
    daemon.daemon.process.wait_for_line("child 0 left with exit code 78; connections wait")
    daemon.configure()
    assert_serves(daemon)


@pytest.mark.parametrize("count", [1, 3])
def test_children_leave_with_a_killed_parent(milter_at_rest, count):  # noqa: F811
    daemon = milter_at_rest.start({"milter": {"children": count}})
    children = daemon.children()
    assert len(children) == count
    with daemon.session() as session:
        session.helo()
        os.kill(daemon.daemon.process.pid, signal.SIGKILL)
        until(lambda: not any(is_running(child) for child in children))
    # Nothing of theirs is in the way.
    daemon.daemon.process.wait()
    daemon.daemon.start()
    assert_serves(daemon)


@pytest.mark.threads
def test_term_ends_what_is_under_way(milter):  # noqa: F811
    daemon = milter()
    session = daemon.session()
    session.mail()
    for header in HEADERS:
        session.header(*header)
    idle = daemon.session()
    idle.helo()
    daemon.daemon.process.signal(signal.SIGTERM)
    # Refused from now on; that it is tells that the signal has arrived.
    until(lambda: idle.mail().verdict == "tempfail" or idle.abort())
    session.end_of_headers()
    session.body(b"hello\r\n")
    daemon.assert_signed(HEADERS, b"hello\r\n", session.end_of_message())
    assert daemon.daemon.stop(timeout=5) == 0
    assert not os.path.exists(daemon.address)


# Start.

@pytest.mark.parametrize("content, said", [
    ('{"milter": {"mask": {"prots": [587]}, "childern": 1}}', ("prots", "childern")),
    ("", ("postern.json",)),
    ('{"domains": {"example.org": {}}, "milter": {"dkim": {"require_dns": false, "keys": '
     '{"a": {"selector": "s", "file": "no.pem"}, "b": {"selector": "s", "file": "none.pem"}}}}}',
     ("no.pem", "none.pem")),
])
def test_a_broken_configuration_at_start(milter_at_rest, content, said):  # noqa: F811
    milter_at_rest.allow("postern.json|pem")
    milter_at_rest.exit_codes = (0, 78)
    # The keys are the child's to find fault with; the rest is the parent's.
    if content.startswith('{"domains"'):
        content = content.replace('"dkim":', f'"listen": ["unix:{milter_at_rest.address}"], '
                                  '"socket_group": "", "user": "nobody", "dkim":')
    milter_at_rest.configuration.write_text(content)
    milter_at_rest.daemon.launch()
    assert milter_at_rest.daemon.process.wait() == 78
    for word in said:
        assert any(word in line for line in milter_at_rest.daemon.output()), word
    done = subprocess.run([milter_at_rest.program, "-t", "-c", milter_at_rest.configuration],
                          capture_output=True, text=True)
    assert done.returncode == 78
    for word in said:
        assert word in done.stderr, done.stderr


def test_the_socket_of_another_is_left_alone(milter_at_rest):  # noqa: F811
    daemon = milter_at_rest.start()
    second = subprocess.run([daemon.program, "-c", daemon.configuration],
                            capture_output=True, text=True, timeout=20)
    assert second.returncode == 1
    assert "not started: " in second.stderr and daemon.address in second.stderr
    assert_serves(daemon)


def test_activated_sockets(milter_at_rest, tmp_path):  # noqa: F811
    """As systemd passes them: listen is not opened."""
    daemon = milter_at_rest
    daemon.configure({"milter": {"listen": ["unix:/nowhere/at/all"]}})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(daemon.address)
        listener.listen(10)
        held = os.dup(listener.fileno())
        shell = (f"exec env LISTEN_FDS=1 LISTEN_PID=$$ {daemon.program} "
                 f"-c {daemon.configuration} 3<&{held}")
        process = subprocess.Popen(["bash", "-c", shell], pass_fds=[held],
                                   stderr=subprocess.PIPE, text=True)
        os.close(held)
        try:
            assert_serves(daemon)
        finally:
            process.terminate()
            _, said = process.communicate(timeout=20)
        assert process.returncode == 0, said
    assert "error" not in said


LEFT_OPEN = """
import os, socket, sys
listener = socket.socket()
listener.listen()
for number, left in (6, os.open(sys.argv[1], os.O_RDWR)), (7, listener), (8, listener):
    os.dup2(left if number == 6 else left.fileno(), number)
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_child_gets_nothing_that_was_left_open(milter_at_rest):  # noqa: F811
    """Where the child expects its metrics, status page and control socket, and there are
    none, it does not take what the starter forgot to close for them."""
    milter_at_rest.configure()
    milter_at_rest.daemon.launch(before=["/usr/bin/python3", "-c", LEFT_OPEN,
                                         str(milter_at_rest.configuration)])
    milter_at_rest.daemon.wait_for_notice("READY=1")

    def opened(pid):
        links = {}
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                links[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
        return links

    parents = opened(milter_at_rest.daemon.process.pid)
    left = {parents[6], parents[7]}
    assert str(milter_at_rest.configuration) in left
    assert any(link.startswith("socket:") for link in left)
    (child,) = milter_at_rest.children()
    assert not left & set(opened(child).values())


def test_options(milter_at_rest):  # noqa: F811
    def run(*options):
        return subprocess.run([milter_at_rest.program, *options], capture_output=True,
                              text=True, timeout=20)
    milter_at_rest.configure()
    good = run("-t", "-c", milter_at_rest.configuration)
    assert good.returncode == 0 and "no errors" in good.stdout, good.stderr
    assert run("-V").stdout.startswith("postern-milter 0.")
    assert run("-h").returncode == 0 and "usage:" in run("-h").stdout
    assert run("-x").returncode == 64 and run("more").returncode == 64


def test_nobody_else_may_read_keys_in_the_parent(milter):  # noqa: F811
    """The parent has no key; the child runs as the service user."""
    daemon = milter()
    child, = daemon.children()
    for pid in (daemon.daemon.process.pid, child):
        status = open(f"/proc/{pid}/status").read()
        uids = next(line for line in status.split("\n") if line.startswith("Uid:"))
        assert "0" not in uids.split()[1:], uids
    files = [os.readlink(f"/proc/{daemon.daemon.process.pid}/fd/{fd}")
             for fd in os.listdir(f"/proc/{daemon.daemon.process.pid}/fd")]
    assert not [file for file in files if file.endswith(".pem")]
    assert unsigned  # imported for the fixtures' sake
