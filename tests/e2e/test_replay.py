# SPDX-License-Identifier: BSD-2-Clause
"""`postern replay`: a recorded log, or captured requests, under another configuration."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from policyd_process import PolicyDaemon, request

BUILD = pathlib.Path(os.environ.get(
    "POSTERN_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build")).resolve()

HOST, STRANGER = "192.0.2.7", "198.51.100.9"
LIMIT = {"name": "three", "per": "client", "count": "messages", "max": 3, "window": "1h",
         "over": "defer"}


@pytest.fixture
def replay(tmp_path):
    """replay(log, settings, ...): the answer of `postern replay --json`, or with
    text=True the finished process."""
    def run(log, against, current=None, text=False, args=()):
        (tmp_path / "against.json").write_text(json.dumps(against))
        (tmp_path / "current.json").write_text(json.dumps(current or {}))
        done = subprocess.run(
            [BUILD / "ctl/postern", "replay", log, "--against", "against.json", "-c",
             "current.json", *(() if text else ("--json",)), *args],
            cwd=tmp_path, text=True, capture_output=True, timeout=120)
        if text:
            return done
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)
    return run


BASIS = {"hostname": "gw.example.org", "domains": {"example.org": {}},
         "relay": {"hosts": [HOST], "anyone_to": ["open.example"]},
         "block": {"senders": ["bad@example.org"]}}


def message(client, number, recipients=("joe@outside.example",), **changes):
    instance = f"1.{number}.0"
    for recipient in recipients:
        client.ask(request(instance=instance, recipient=recipient, **changes))
    client.ask(request(protocol_state="END-OF-MESSAGE", instance=instance, recipient="",
                       recipient_count=str(len(recipients)), queue_id=f"Q{number}",
                       **changes))


@pytest.fixture(scope="module")
def log():
    """A log of everything that there is, written by the daemon with BASIS."""
    daemon = PolicyDaemon(BUILD)
    path = daemon.top / "decisions.jsonl"
    daemon.run(log={"decisions": str(path)}, **BASIS)
    with daemon.connect() as client:
        for number in range(4):
            message(client, number)
        message(client, 10, ("joe@outside.example", "jim@outside.example"))
        message(client, 11, client_address=STRANGER)
        message(client, 12, ("x@open.example",), client_address=STRANGER)
        message(client, 13, client_address=STRANGER, server_port="587",
                sasl_username="ada@example.org", sasl_method="PLAIN",
                encryption_protocol="TLSv1.3")
        client.ask(request(sender="bad@example.org"))
        client.ask(request(sender="eve@elsewhere.example"))
        client.ask(request(helo_name='a\\x41"\u202e\u00fc', sender='"q\\"x"@example.org',
                           protocol_state="END-OF-MESSAGE", instance="1.20"))
    daemon.stop()
    text = path.read_text()
    daemon.inspect()
    assert len(text.splitlines()) == 11
    return text


@pytest.fixture
def log_file(log, tmp_path):
    (tmp_path / "log").write_text(log)
    return "log"


def test_under_its_own_configuration_nothing_differs(replay, log_file):
    assert replay(log_file, BASIS) == {
        "differences": [], "cases": 11, "differing": 0, "unreadable": 0}


def changed(base, section, **values):
    return {**base, section: {**base.get(section, {}), **values}}


@pytest.mark.parametrize("why, against, expected", [
    ("a relay host that is none any more: its messages, and its refusal",
     changed(BASIS, "relay", hosts=[]),
     {"message": ["DUNNO none"] * 6, "RCPT": ["DUNNO none"]}),
    ("a sender block lifted", changed(BASIS, "block", senders=[]),
     {"RCPT": ["OK none"]}),
    ("a recipient blocked", changed(BASIS, "block", senders=["bad@example.org"],
                                    recipients=["jim@outside.example"]),
     {"message": ["554 recipient_block"]}),
    ("unknown sender domains granted", changed(BASIS, "relay", unknown_domains=True),
     {"RCPT": ["OK none"]}),
    ("users may not relay", changed(BASIS, "relay", users=False),
     {"message": ["reject_unauth_destination relay"]}),
    ("nothing for anyone", changed(BASIS, "relay", anyone_to=[]),
     {"message": ["DUNNO none"]}),
    ("a limit, from zero, with the messages' own time: the fourth and on",
     {**BASIS, "limits": [LIMIT]}, {"message": ["451 limits"] * 3}),
    ("a limit with room",
     {**BASIS, "limits": [{**LIMIT, "max": 100}]}, {}),
    ("in shadow", {**BASIS, "limits": [LIMIT], "shadow": ["limits/three"]}, {}),
    ("recipients, counted at RCPT: the fourth mail to joe and on, by whomever, granted or "
     "not",
     {**BASIS, "limits": [{**LIMIT, "per": "recipient"}]},
     {"message": ["451 limits"] * 5, "RCPT": ["451 limits"]}),
    ("refusals: that of relay counts, that of a block does not",
     {**BASIS, "limits": [{**LIMIT, "count": "refusals", "max": 0}]},
     {"message": ["451 limits"]}),
    ("refusals: one may happen",
     {**BASIS, "limits": [{**LIMIT, "count": "refusals", "max": 1}]}, {}),
    ("a second sender from one client",
     {**BASIS, "limits": [{**LIMIT, "count": "senders", "max": 1}]},
     {"message": ["451 limits"], "RCPT": ["451 limits"]}),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_would_differ(replay, log_file, why, against, expected):
    answer = replay(log_file, against)
    found = {}
    for difference in answer["differences"]:
        kind = "message" if difference["message"] else difference["state"]
        now = difference["now"]
        found.setdefault(kind, []).append(
            f"{now['action'].split()[0]} {now['check']}")
    assert found == expected
    assert answer["differing"] == len(answer["differences"])
    assert answer["cases"] == 11


def test_the_text_for_people(replay, log_file):
    done = replay(log_file, changed(BASIS, "block", senders=[
        "bad@example.org"], recipients=["jim@outside.example"]), text=True)
    assert done.returncode == 0
    head, then, now, count = done.stdout.splitlines()
    assert re.fullmatch(rf"[0-9A-Z]{{13}} \(line 5\) message client={HOST} "
                        r"from=<ada@example.org> sasl_username=", head)
    assert then == "  then: DUNNO, granted"
    assert now.startswith("  now:  554 5.7.1 ")
    assert "(recipient_block) for jim@outside.example" in now
    assert count == "1 of 11 would differ"


def test_hostile_values_come_back(replay, log, tmp_path):
    (tmp_path / "one").write_text(log.splitlines()[-1] + "\n")
    quoted = changed(BASIS, "block", senders=['"q\\"x"@example.org'])
    answer = replay("one", quoted)
    assert [d["now"]["check"] for d in answer["differences"]] == ["sender_block"]


def test_a_message_is_charged_once(replay, tmp_path):
    captured = b"".join(request(protocol_state="END-OF-MESSAGE", instance=instance)
                        for instance in ("1.1", "1.1", "1.1", "1.2", "1.3"))
    (tmp_path / "captured").write_bytes(captured)
    one = {**BASIS, "limits": [{**LIMIT, "max": 2}]}
    answer = replay("captured", one, BASIS)
    assert [d["id"] for d in answer["differences"]] == ["request 5"]


def test_captured_requests_are_compared_to_the_configuration_in_force(replay, tmp_path):
    captured = request() + request(client_address=STRANGER) + request(sender="")
    # The end of a capture may lack its empty line.
    (tmp_path / "captured").write_bytes(b"\n\n" + captured.rstrip(b"\n"))
    assert replay("captured", BASIS, BASIS)["differing"] == 0
    answer = replay("captured", changed(BASIS, "relay", hosts=[]), BASIS)
    assert [(d["id"], d["then"]["action"], d["now"]["action"])
            for d in answer["differences"]] == [
        ("request 1", "OK", "DUNNO"), ("request 3", "OK", "DUNNO")]
    assert answer["cases"] == 3


def test_what_cannot_be_read_is_named_and_skipped(replay, log, tmp_path):
    first, second = log.splitlines()[:2]
    (tmp_path / "mixed").write_text("\n".join([
        first, first[:100], "{}", '{"event": "message"}', "no = request", "", second]))
    done = replay("mixed", BASIS, text=True)
    assert done.returncode == 0
    assert done.stdout == "0 of 2 would differ; 4 could not be read\n"
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [
        "mixed:2", "mixed:3", "mixed:4", "mixed:5"]


def test_a_request_without_an_end_is_bounded(replay, tmp_path):
    (tmp_path / "huge").write_bytes(b"request=smtpd_access_policy\n" +
                                    b"a=b\n" * 2_000_000)
    done = replay("huge", BASIS, text=True)
    assert done.returncode == 0
    assert done.stdout == "0 of 0 would differ; 1 could not be read\n"


@pytest.mark.parametrize("args, code", [
    (("log",), 64), (("--against", "against.json"), 64), (("a", "b"), 64),
    (("gone", "--against", "against.json"), 1), (("log", "--against", "gone.json"), 78),
    (("log", "--against", "broken.json"), 78), (("--nonsense",), 64)])
def test_exit_codes(log_file, tmp_path, args, code):
    (tmp_path / "against.json").write_text("{}")
    (tmp_path / "broken.json").write_text('{"nods": 1}')
    done = subprocess.run([BUILD / "ctl/postern", "replay", *args], cwd=tmp_path,
                          text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr


def test_an_empty_log(replay, tmp_path):
    (tmp_path / "empty").write_text("")
    assert replay("empty", BASIS)["cases"] == 0
