# SPDX-License-Identifier: BSD-2-Clause
"""The control sockets of the policy daemon, by their own protocol: who may ask, what the
daemon takes, and that nothing that arrives there costs a decision."""

import functools
import os
import random
import stat
import subprocess
import threading

import pytest

import control_client
from control_client import Control
from policyd_process import GRANTED

NOBODY = 65534


@pytest.fixture
def controlled(policyd_at_rest):
    """controlled(**settings): a running daemon with both control sockets."""
    return functools.partial(control_client.controlled, policyd_at_rest)


def test_status(controlled):
    daemon = controlled()
    with daemon.connect() as client:
        assert client.ask() == GRANTED
        with Control(daemon.control) as control:
            reply = control.ask("status")
    assert reply["ok"] is True
    assert reply["program"] == "postern-policyd" and reply["version"]
    assert reply["pid"] == daemon.process.pid
    assert reply["configuration"] == str(daemon.configuration)
    assert reply["last_reload"]["ok"] is True
    assert reply["store"] == {"kind": "memory", "up": True}
    assert (reply["connections"], reply["requests"]) == (1, 1)
    assert reply["requests_per_second"] > 0


def test_a_failed_reload_is_told(controlled):
    daemon = controlled()
    daemon.allow("nodes|1 errors|reload of .* failed")
    daemon.configure(nodes=0)
    mark = daemon.mark()
    daemon.hang_up()
    daemon.wait_for_line("reload of .* failed", mark)
    with Control(daemon.control) as control:
        told = control.ask("status")["last_reload"]
    assert told["ok"] is False and "nodes: the number 0" in told["error"]


def test_the_login_socket_takes_logins_alone(controlled):
    daemon = controlled()
    with Control(daemon.login) as login:
        for command in ("status", "block", "usage", "reset", "nonsense"):
            reply = login.ask(command)
            assert (reply["ok"], reply["kind"]) == (False, "usage"), command
            assert 'only "login"' in reply["error"]


def test_modes_and_ends(controlled):
    daemon = controlled()
    for path, mode in ((daemon.control, 0o600), (daemon.login, 0o666)):
        status = path.lstat()
        assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == mode
    daemon.stop()
    assert os.listdir(daemon.control.parent) == []


def test_another_user_is_not_let_in(controlled):
    """By the socket's mode alone."""
    daemon = controlled()
    code = ("import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])")
    def connect(path):
        return subprocess.run(["/usr/bin/python3", "-c", code, path], user=NOBODY,
                              group=NOBODY, extra_groups=[], capture_output=True,
                              text=True, timeout=60)
    refused = connect(daemon.control)
    assert refused.returncode == 1 and "PermissionError" in refused.stderr
    assert connect(daemon.login).returncode == 0


def test_a_socket_that_cannot_be_opened_costs_no_mail(controlled):
    running = controlled()
    second = controlled(policyd={"control": f"unix:{running.control}"})
    second.allow("policyd.control: cannot listen on .* another process listens there; "
                 ".*policy requests are served all the same")
    with second.connect() as client:
        assert client.ask() == GRANTED
    with Control(running.control) as control:
        assert control.ask("status")["pid"] == running.process.pid


@pytest.mark.threads
def test_random_bytes(controlled):
    """Garbage on both sockets while decisions go on; then they still answer."""
    daemon = controlled()
    seed = random.randrange(1 << 32)
    noise = random.Random(seed)
    pieces = [b"{", b"}", b"[", b'"', b"\\", b":", b",", b"\n", b"\0", b"\xff", b"1e9",
              b'{"command":"status"}\n', b'{"command":"login","ip":"192.0.2.1"}\n',
              b'"command":', b'"status"', b"\\u0000", b"[" * 3000, b"x" * 70000]
    wrong = []

    def ask():
        with daemon.connect() as client:
            wrong.extend(answer for answer in (client.ask() for _ in range(500))
                         if answer != GRANTED)

    asking = threading.Thread(target=ask)
    asking.start()
    for n in range(400):
        path = daemon.login if n % 4 == 0 else daemon.control
        data = b"".join(noise.choice(pieces) for _ in range(noise.randrange(40)))
        with Control(path) as control:
            try:
                control.send(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
    asking.join(60)
    assert not asking.is_alive() and not wrong, (seed, wrong)
    with Control(daemon.control) as control:
        assert control.ask("status")["ok"], seed
