# SPDX-License-Identifier: BSD-2-Clause
"""postern-milter without descriptors, without threads, and with a hundred busy sessions."""

import contextlib
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from milter_client import Closed
from milter_daemon import milter, milter_at_rest  # noqa: F401
from private_mail.workspace import SERVICE_USER

HEADERS = [("From", " Ada <ada@example.org>"), ("Subject", " Minutes")]
TICKS = os.sysconf("SC_CLK_TCK")


def assert_serves(daemon):
    with daemon.session() as session:
        daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))


def processor_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def test_more_sessions_than_descriptors(milter_at_rest):  # noqa: F811
    """Turned away at once, with a line; those that are there are served; no spin."""
    daemon = milter_at_rest
    daemon.allow("sessions are open, as many as the limit of descriptors allows")
    daemon.configure()
    # Of 80 descriptors 60 are for sessions.
    daemon.daemon.launch(before=["prlimit", "--nofile=80:80"])
    daemon.daemon.wait_for_notice("READY=1")
    child, = daemon.children()
    with contextlib.ExitStack() as stack:
        kept, away = [], 0
        for _ in range(100):
            try:
                kept.append(stack.enter_context(daemon.session()))
            except Closed:
                away += 1
        assert (len(kept), away) == (60, 40)
        before = processor_s(child)
        for session in kept[::20]:
            daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))
        assert processor_s(child) - before < 5
    daemon.daemon.process.wait_for_line("descriptors allows")
    lines = [line for line in daemon.daemon.output() if "descriptors allows" in line]
    assert len(lines) == 1 and " 60 sessions are open" in lines[0], lines
    # Their places are free again.
    deadline = time.monotonic() + 20
    while True:
        try:
            assert_serves(daemon)
            break
        except Closed:
            assert time.monotonic() < deadline
    assert daemon.children() == [child]


def test_out_of_descriptors_is_said_and_cured(milter_at_rest):  # noqa: F811
    """Connections that say nothing: libmilter would spin in accept() for good, silently."""
    daemon = milter_at_rest
    daemon.allow("no descriptor is left|child 0 left with exit code 1")
    daemon.configure()
    daemon.daemon.launch(before=["prlimit", "--nofile=80:80"])
    daemon.daemon.wait_for_notice("READY=1")
    child, = daemon.children()
    silent = []
    for _ in range(100):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(daemon.address)
        silent.append(client)
    daemon.daemon.process.wait_for_line("no descriptor is left .LimitNOFILE., .* raise the limit")
    daemon.daemon.process.wait_for_line("child 0 serves again")
    assert daemon.children() != [child]
    assert_serves(daemon)
    for client in silent:
        client.close()
    assert_serves(daemon)


def allow_processes(pid, count=None):
    """The soft limit of @pid's user, for @pid alone; None: the hard one. By the user that
    it became: root may lack the right to do it to others."""
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    count = count or re.search(r"^Max processes +\S+ +(\S+)", limits, re.MULTILINE)[1]
    subprocess.run(["prlimit", "--pid", str(pid), f"--nproc={count}:"], check=True,
                   user=SERVICE_USER, group=pwd.getpwnam(SERVICE_USER).pw_gid,
                   extra_groups=[])


def test_no_more_threads_to_be_had(milter_at_rest):  # noqa: F811
    """libmilter's pool would stall for good, silently (TasksMax)."""
    daemon = milter_at_rest
    daemon.allow("no thread can be started|child 0 left with exit code 1")
    daemon.start()
    child, = daemon.children()
    with daemon.session() as session:
        session.mail()
        allow_processes(child, 1)
        daemon.daemon.process.wait_for_line("no thread can be started .TasksMax., .* raise")
        # What is under way may end; and LeakSanitizer needs a thread.
        allow_processes(child)
        for name, value in HEADERS:
            session.header(name, value)
        session.end_of_headers()
        session.body(b"hello\r\n")
        daemon.assert_signed(HEADERS, b"hello\r\n", session.end_of_message())
    daemon.daemon.process.wait_for_line("child 0 serves again")
    assert daemon.children() != [child]
    assert_serves(daemon)


def test_no_process_to_be_had(milter_at_rest):  # noqa: F811
    """A child that cannot be started is tried again; connections wait."""
    daemon = milter_at_rest
    daemon.allow("child 0 was killed by signal 9|cannot start child 0: ")
    daemon.start()
    child, = daemon.children()
    parent = daemon.daemon.process.pid
    allow_processes(parent, 1)
    os.kill(child, signal.SIGKILL)
    daemon.daemon.process.wait_for_line("cannot start child 0: .* connections wait")
    allow_processes(parent)
    assert_serves(daemon)


@pytest.mark.threads
def test_a_hundred_busy_sessions_are_all_served(milter):  # noqa: F811
    """As a hundred smtpd processes keep them open, each with its next message at once."""
    daemon = milter()
    slowest, failed = [], []
    together = threading.Barrier(100)

    def run():
        try:
            with daemon.session() as session:
                together.wait(60)
                for _ in range(5):
                    began = time.monotonic()
                    assert session.message(HEADERS).verdict == "continue"
                    slowest.append(time.monotonic() - began)
        except Exception as error:
            failed.append(repr(error))

    threads = [threading.Thread(target=run) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == [] and len(slowest) == 500
    # A client in one Python process, with sanitizers; docs/benchmarks.md has the figures.
    assert max(slowest) < 20, max(slowest)
