# SPDX-License-Identifier: BSD-2-Clause
"""The decision log: what stands in it, when, and what can go wrong with its file."""

import json
import os
import re
import stat
import time

import pytest

from letters import letter
from policyd_process import LEFT_TO_POSTFIX, UNDECIDED, Load, request
from private_mail.system import STRANGER, USER
from private_mail.workspace import SERVICE_USER

FIELDS = ["time", "node", "id", "event", "check", "action", "client", "client_name",
          "reverse_client_name", "helo", "country", "port", "user", "sasl_method", "tls",
          "sender", "recipients", "size", "queue_id", "instance", "state", "context",
          "reason", "recipient_count"]


class LogFile:
    """The records of a file, which may still grow."""

    def __init__(self, path):
        self.path = path

    def records(self):
        """All whole lines, each proven to be sound."""
        text = self.path.read_bytes() if self.path.exists() else b""
        lines = text.split(b"\n")
        assert lines.pop() == b"", f"half a line: {text[-200:]}"
        for line in lines:
            assert len(line) < 4096
            assert list(json.loads(line)) == FIELDS
        return [json.loads(line) for line in lines]

    def wait_for(self, count, timeout=20):
        """The records once there are @count; each look is cheap, so none is missed."""
        deadline = time.monotonic() + timeout
        while True:
            # A write of many lines may be half done when it is read.
            if self.path.exists() and self.path.read_bytes().count(b"\n") >= count:
                return self.records()
            assert time.monotonic() < deadline, f"not {count} lines: {self.records()}"
            os.sched_yield()


@pytest.fixture
def logged(policyd_at_rest):
    """logged(**settings): a running daemon and its decision log."""
    def start(**settings):
        daemon = policyd_at_rest()
        path = daemon.top / "decisions.jsonl"
        daemon.run(**{"log": {"decisions": str(path)}, **settings})
        return daemon, LogFile(path)
    return start


# ---- on a real Postfix ----

def log_for(workspace, name):
    return LogFile(workspace.directory(name, owner=SERVICE_USER) / "decisions.jsonl")


def test_a_message_and_a_refusal(mail, postern, sink, workspace):
    log = log_for(workspace, "decisions-message")
    postern(log={"decisions": str(log.path)},
            block={"recipients": ["blocked@outside.example"]})
    with mail.user("ada@example.org") as client:
        assert client.mail("ada@example.org").code == 250
        assert client.rcpt("joe@outside.example").code == 250
        refusal = client.rcpt("blocked@outside.example")
        assert refusal.code == 554
        assert client.rcpt("jim@outside.example").code == 250
        accepted = client.data(letter("ada@example.org"))
        assert accepted.code == 250
    refused, message = log.wait_for(2)

    assert refused["event"] == "refusal"
    assert refused["id"] in refusal.text
    assert refused["check"] == "recipient_block"
    assert refused["action"].startswith("554 5.7.1 ")
    assert refused["recipients"] == ["blocked@outside.example"]
    assert refused["state"] == "RCPT"

    assert message["event"] == "message"
    assert message["check"] == "none"
    assert message["action"] == "DUNNO"
    assert message["recipients"] == ["joe@outside.example", "jim@outside.example"]
    assert message["recipient_count"] == 2
    assert re.search(rf"\b{message['queue_id']}\b", accepted.text)
    assert message["client"] == USER
    assert message["user"] == message["sender"] == "ada@example.org"
    assert message["port"] == mail.postfix.ports["submission"]
    assert message["sasl_method"] == "PLAIN"
    assert message["tls"].startswith("TLSv1.")
    assert message["state"] == "END-OF-MESSAGE"
    assert message["instance"] == refused["instance"]
    assert message["node"] == "gw.example.org"
    assert message["size"] > 100
    assert message["id"] != refused["id"]
    assert message["reason"] == "granted: the SASL user may relay"
    assert refused["reason"] != ""
    assert sorted(sink.one().recipients) == ["jim@outside.example", "joe@outside.example"]


def test_a_stranger_before_mail(mail, postern, workspace):
    log = log_for(workspace, "decisions-stranger")
    postern(log={"decisions": str(log.path)}, block={"hosts": [STRANGER]})
    with mail.client("smtp", STRANGER) as client:
        client.mail("x@elsewhere.example")
        reply = client.rcpt("joe@inside.example")
    assert reply.code == 554
    record = log.wait_for(1)[0]
    assert record["check"] == "host_block"
    assert record["client"] == STRANGER
    assert record["user"] == ""
    assert record["id"] in reply.text


# ---- what is recorded ----

def test_the_file_and_the_time(logged):
    daemon, log = logged()
    with daemon.connect() as client:
        client.ask(request(protocol_state="RCPT", recipient="joe@outside.example"))
        client.ask(request(protocol_state="RCPT", recipient="jim@outside.example"))
        client.ask(request(protocol_state="RCPT", recipient="jim@outside.example"))
        before = time.monotonic()
        client.ask(request(protocol_state="END-OF-MESSAGE", recipient="",
                           recipient_count="2", queue_id="3F2A1C"))
        record = log.wait_for(1)[0]
    assert time.monotonic() - before < (2 if daemon.is_sanitized() else 0.2)
    assert record["recipients"] == ["joe@outside.example", "jim@outside.example"]
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o640
    daemon.stop()
    assert len(log.records()) == 1  # nothing for the three that were granted


def test_another_connection_ends_the_message(logged):
    daemon, log = logged()
    with daemon.connect() as first, daemon.connect() as second:
        first.ask(request(protocol_state="RCPT", recipient="joe@outside.example"))
        second.ask(request(protocol_state="END-OF-MESSAGE", recipient=""))
    assert log.wait_for(1)[0]["recipients"] == ["joe@outside.example"]


def test_where_only_data_is_wired(logged):
    daemon, log = logged(policyd={"charge_at": "data"})
    with daemon.connect() as client:
        client.ask(request(protocol_state="DATA", recipient="", recipient_count="3"))
    record = log.wait_for(1)[0]
    assert (record["event"], record["state"]) == ("message", "DATA")
    assert record["recipient_count"] == 3


@pytest.mark.parametrize("value", [
    '"', "\\", "a\tb", "\x1b[31m", "\u202e", "\udcff", "j\u00fcrgen", "{}", "\x7f" * 900,
    "\udcff" * 5000, '"' * 5000, "\U0001f4a3" * 1500])
def test_hostile_values(logged, value):
    daemon, log = logged()
    data = request(**dict.fromkeys((
        "helo_name", "client_name", "reverse_client_name", "sender", "recipient",
        "queue_id", "instance", "sasl_username", "sasl_method", "policy_context"), "@@"))
    data = data.replace(b"@@", value.encode("utf-8", "surrogateescape"))
    daemon.allow("policy_context .* is not known")
    with daemon.connect() as client:
        client.ask(data)
        client.ask(data.replace(b"=RCPT\n", b"=END-OF-MESSAGE\n"))
    record = log.wait_for(1)[-1]
    assert record["sender"].isprintable()
    if value == "j\u00fcrgen":
        assert record["sender"] == value


# ---- what can happen to the file ----

def end(client, count=1):
    for _ in range(count):
        assert client.ask(request(protocol_state="END-OF-MESSAGE")) == UNDECIDED


def test_rotation_with_and_without_a_signal(logged):
    daemon, log = logged()
    with daemon.connect() as client:
        end(client)
        log.wait_for(1)
        old = log.path.rename(log.path.with_suffix(".1"))
        end(client)
        log.wait_for(1)
        log.path.unlink()
        end(client)
        log.wait_for(1)
        daemon.configure(log={"decisions": str(log.path.with_suffix(".2"))})
        mark = daemon.mark()
        daemon.hang_up()
        daemon.wait_for_line("reloaded", mark)
        end(client)
        LogFile(log.path.with_suffix(".2")).wait_for(1)
    assert len(LogFile(old).records()) == 1
    assert len(log.records()) == 1


def test_a_full_disk_costs_lines_and_nothing_else(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.allow("decision log /dev/full: No space left on device; .* lines lost")
    daemon.run(log={"decisions": "/dev/full"})
    load = Load(daemon.path, clients=1)
    load.wait_for(100)
    with daemon.connect() as client:
        end(client, 500)
        daemon.wait_for_line("No space left on device")
        path = daemon.top / "there"
        daemon.configure(log={"decisions": str(path)})
        mark = daemon.mark()
        daemon.hang_up()
        daemon.wait_for_line("reloaded", mark)
        end(client)
        LogFile(path).wait_for(1)
    load.wait_for(100)
    load.finish()
    assert len(daemon.all_lines("No space left")) == 1


def test_a_missing_folder_is_said_and_mended(policyd_at_rest):
    daemon = policyd_at_rest()
    folder = daemon.top / "later"
    daemon.allow("decision log .*/later/log: No such file or directory")
    daemon.run(log={"decisions": str(folder / "log")})
    daemon.wait_for_line("No such file or directory")
    with daemon.connect() as client:
        end(client)
        folder.mkdir()
        end(client)
        LogFile(folder / "log").wait_for(1)
    daemon.wait_for_line("written again")


def test_a_reader_that_does_not_read(policyd_at_rest):
    daemon = policyd_at_rest()
    daemon.allow("decision log .*/pipe: .* lines lost")
    os.mkfifo(daemon.top / "pipe")
    daemon.run(log={"decisions": str(daemon.top / "pipe")})
    with daemon.connect() as client:
        end(client, 2000)
    daemon.wait_for_line("Resource temporarily unavailable")


def test_killed_under_load_leaves_whole_lines(logged):
    daemon, log = logged()
    refused = request(sender="eve@elsewhere.example", client_address="192.0.2.7")
    with daemon.connect() as client:
        for _ in range(300):
            assert client.ask(refused) == LEFT_TO_POSTFIX
        log.wait_for(1)
        daemon.kill()
    for record in log.records():
        assert record["check"] == "relay"
        assert record["action"] == "reject_unauth_destination"
