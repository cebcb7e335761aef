# SPDX-License-Identifier: BSD-2-Clause
"""`postern block`, `unblock`, `blocks`, `login` and `status` against a running daemon: what
an operator types, reads and gets as exit code. What a block does to mail is test_blocks'."""

import json
import os
import pty
import shutil
import subprocess
import time

import pytest

import control_client
from control_client import Command
from policyd_process import GRANTED, RELAY_HOST, request

NOBODY = 65534


@pytest.fixture
def daemon(policyd_at_rest):
    return control_client.controlled(policyd_at_rest, relay={"login_grace": "10m"})


@pytest.fixture
def postern(build, daemon):
    return Command(build, daemon)


def test_block_list_and_unblock(daemon, postern):
    done = postern("block", "client", RELAY_HOST, "--for", "2h", "--reason", "a worm")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"client {RELAY_HOST} is blocked until ")
    assert done.stdout.endswith(", on this node\n")
    with daemon.connect() as client:
        assert client.ask() != GRANTED
    block, = postern.json("blocks")
    assert (block["kind"], block["subject"], block["reason"]) == (
        "client", RELAY_HOST, "a worm")
    assert abs(block["until"] - block["since"] - 7200) <= 1
    assert block["by"].endswith("@gw.example.org") and block["automatic"] is False
    lines = postern("blocks").stdout.splitlines()
    assert lines[0].split() == ["KIND", "SUBJECT", "UNTIL", "SINCE", "BY", "REASON"]
    assert lines[1].startswith(f"client  {RELAY_HOST}  20") and lines[1].endswith("a worm")

    done = postern("unblock", "client", RELAY_HOST)
    assert (done.returncode, done.stdout) == (
        0, f"client {RELAY_HOST} is blocked no more\n")
    with daemon.connect() as client:
        assert client.ask() == GRANTED
    assert postern("blocks").stdout == "no blocks\n"
    assert postern.json("blocks") == []


def test_until_it_is_lifted(postern):
    done = postern("block", "user", "ada@example.org")
    assert done.stdout == "user ada@example.org is blocked until it is lifted, on this node\n"
    block, = postern.json("blocks")
    assert block["until"] is None
    assert "until it is lifted" in postern("blocks").stdout


def test_the_daemon_says_what_it_understood(postern):
    done = postern("block", "sender", "Ada+x@EXAMPLE.org.", "--for", "10m")
    assert done.stdout.startswith("sender ada@example.org is blocked until ")
    reply = postern.json("block", "sender", "<>", "--for", "10m")
    assert reply["subject"] == "<>" and reply["until"] > time.time()


def test_missing_and_wrong(postern):
    done = postern("unblock", "client", "192.0.2.99")
    assert (done.returncode, done.stdout) == (1, "") and done.stderr
    for args in (("block", "client", "nonsense!"), ("block", "client", ""),
                 ("block", "host", "192.0.2.1"), ("block", "client"), ("unblock",),
                 ("block", "client", "192.0.2.1", "--for", "2"),
                 ("block", "client", "192.0.2.1", "--for", "0s"),
                 ("block", "client", "192.0.2.1", "--for", "-1h"),
                 ("block", "client", "192.0.2.1", "--for", "20000d"),
                 ("block", "client", "192.0.2.1", "--until", "2h"),
                 ("block", "client", "192.0.2.1", "extra"), ("blocks", "extra"),
                 ("block", "client", b"192.0.2.\xff"), ("login",), ("login", "nonsense"),
                 ("login", "192.0.2.1", b"--user=\xff")):
        done = postern(*args)
        assert (done.returncode, done.stdout) == (64, ""), args
        assert done.stderr, args
    assert postern.json("blocks") == []


def test_hostile_text_is_escaped(postern):
    hostile = "\x1b]0;x\x07\u202e\n<script>"
    assert postern("block", "client", "192.0.2.5", "--reason", hostile).returncode == 0
    done = postern("block", "client", hostile)
    assert done.returncode == 64
    shown = done.stderr + postern("blocks").stdout + postern("blocks", "--json").stdout
    for character in ("\x1b", "\x07", "\u202e"):
        assert character not in shown
    assert len(postern("blocks").stdout.splitlines()) == 2


def test_login(daemon, postern):
    stranger = "198.51.100.20"
    ask = request(client_address=stranger, sender="ada@example.org")
    with daemon.connect() as client:
        assert client.ask(ask) != GRANTED
        done = postern("login", stranger, "--user", "ada@example.org")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert client.ask(ask) == GRANTED
    assert postern.json("status")["policyd"]["logins"] == 1


def as_nobody(daemon, build, *args):
    program = daemon.top / "postern"
    if not program.exists():
        shutil.copy(build / "ctl" / "postern", program)
        program.chmod(0o755)
    return subprocess.run([program, *args], user=NOBODY, group=NOBODY, extra_groups=[],
                          capture_output=True, text=True, timeout=60)


def test_another_user_has_the_login_socket_alone(daemon, build, postern):
    """As Dovecot has it: through the configuration, or straight to the socket."""
    config = ("-c", daemon.configuration)
    for args in (("status", *config), ("blocks", *config), ("usage", *config),
                 ("block", "client", "192.0.2.1", *config)):
        done = as_nobody(daemon, build, *args)
        assert done.returncode == 69, args
        assert "no permission" in done.stdout + done.stderr
    for n, args in enumerate((config, ("--socket", f"unix:{daemon.login}"))):
        done = as_nobody(daemon, build, "login", f"192.0.2.{n + 60}", *args)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), args
    assert postern.json("status")["policyd"]["logins"] == 2
    done = as_nobody(daemon, build, "login", "192.0.2.1", "--socket",
                     f"unix:{daemon.control}")
    assert done.returncode == 69 and "no permission" in done.stderr


def test_no_control_socket(policyd_at_rest, build):
    daemon = control_client.controlled(policyd_at_rest, policyd={"control": ""})
    postern = Command(build, daemon)
    done = postern("blocks")
    assert done.returncode == 69 and 'policyd.control is ""' in done.stderr
    # Logins have a socket of their own.
    assert postern("login", "192.0.2.1").returncode == 0


def test_status_for_people(daemon, postern):
    postern("block", "client", "192.0.2.5")
    done = postern("status")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "postern-policyd: up"
    shown = dict(line.strip().split("  ", 1) for line in lines if line.startswith("  "))
    assert shown["blocks"].strip() == "1" and shown["store"].strip() == "memory, up"
    assert shown["last reload"].endswith(", good")
    assert 'postern-milter: no answer: milter.control is ""' in done.stdout

    daemon.allow("nodes|1 errors|reload of .* failed")
    mark = daemon.mark()
    broken = json.loads(daemon.configuration.read_text())
    broken["nodes"] = 0
    daemon.configuration.write_text(json.dumps(broken))
    daemon.hang_up()
    daemon.wait_for_line("reload of .* failed", mark)
    # The file says where the daemon is; what else is wrong in it is the daemon's to say.
    done = postern("status")
    assert done.returncode == 0
    failed, = [line for line in done.stdout.splitlines() if "last reload" in line]
    assert "nodes: the number 0" in failed and failed.endswith(", failed")
    assert postern("usage").returncode == 0
    daemon.configuration.write_text("{")
    done = postern("status")
    assert done.returncode == 78 and "postern.json:1:" in done.stderr


def test_colours_on_a_terminal_alone(daemon, build):
    command = [build / "ctl/postern", "status", "-c", daemon.configuration]

    def shown(**environment):
        ours, its = pty.openpty()
        subprocess.run(command, stdout=its, timeout=60, check=True,
                       env={**os.environ, "TERM": "xterm", **environment})
        os.close(its)
        with open(ours, "rb", buffering=0) as terminal:
            return terminal.read(65536)

    assert b"\x1b[32mup\x1b[0m" in shown()
    assert b"\x1b" not in shown(NO_COLOR="1") + shown(TERM="dumb")
    assert b"\x1b" not in subprocess.run(command, capture_output=True, timeout=60,
                                         check=True).stdout


def test_status_of_no_daemon(postern, daemon):
    daemon.stop()
    done = postern("status")
    assert done.returncode == 69 and "postern-policyd: no answer" in done.stdout
    done = postern("status", "--json")
    assert done.returncode == 69
    assert "nobody listens" in json.loads(done.stdout)["policyd"]["error"]


def test_the_file_and_json_go_anywhere(daemon, build):
    config = str(daemon.configuration)
    for args in (("blocks", "-c", config, "--json"), ("blocks", "--json", f"-c{config}"),
                 ("usage", "--json", "ada@example.org", "-c", config),
                 ("usage", "-c", config, "ada@example.org", "--json")):
        done = subprocess.run([build / "ctl/postern", *args], capture_output=True,
                              text=True, timeout=60)
        assert (done.returncode, json.loads(done.stdout)) == (0, []), args
