# SPDX-License-Identifier: BSD-2-Clause
"""`postern explain --live`: the running daemon's answer, by its counters, charged nothing."""

import pytest

import control_client
from control_client import Command, Control
from policyd_process import RELAY_HOST, UNDECIDED, request

LIMITS = [{"name": "host", "per": "client", "count": "messages", "max": 2,
           "window": "1h"}]


@pytest.fixture
def daemon(policyd_at_rest):
    return control_client.controlled(policyd_at_rest, limits=LIMITS)


@pytest.fixture
def postern(build, daemon):
    return Command(build, daemon)


def charge(daemon, instance):
    with daemon.connect() as client:
        return client.ask(request(protocol_state="END-OF-MESSAGE", recipient_count="1",
                                  instance=instance))


AT_THE_END = ("explain", "--client", RELAY_HOST, "--state", "END-OF-MESSAGE",
              "--sender", "ada@example.org", "--recipients", "1")


def test_counters_are_asked_and_not_charged(daemon, postern):
    for n in range(2):
        assert charge(daemon, f"1.{n}") == UNDECIDED
        for _ in range(3):
            answer = postern.json(*AT_THE_END, "--live")
            assert answer["live"] is True
            limit, = answer["limits"]
            assert (limit["limit"], limit["used"], limit["over"]) == ("host", n + 1, n == 1)
    assert answer["reply"].startswith("451 4.7.1 ")
    assert {check["check"]: check["result"] for check in answer["checks"]}["limits"] \
        == "objected"
    # What the daemon itself says is the same.
    assert charge(daemon, "1.9").decode().startswith(f"action={answer['reply']}")
    lines = postern(*AT_THE_END, "--live").stdout
    assert "2 used of max 2 in 3600s): over" in lines
    assert "nothing was charged" in lines


def test_without_live_no_counter_is_asked(daemon, postern):
    for n in range(3):
        charge(daemon, f"1.{n}")
    answer = postern.json(*AT_THE_END)
    assert (answer["live"], answer["reply"]) == (False, "DUNNO")
    assert "used" not in answer["limits"][0]


def test_a_captured_request(daemon, postern, tmp_path):
    captured = tmp_path / "captured"
    captured.write_bytes(request())
    assert postern.json("explain", "--attributes", captured, "--live")["reply"] == "OK"
    assert postern.json("explain", "--attributes", captured)["reply"] == "OK"


def test_blocks_are_the_daemons(daemon, postern):
    with Control(daemon.control) as control:
        assert control.ask("block", kind="client", value=RELAY_HOST, reason="too much")["ok"]
    ask = ("explain", "--client", RELAY_HOST, "--sender", "ada@example.org",
           "--recipient", "joe@outside.example")
    assert postern.json(*ask)["reply"] == "OK"
    assert "too much" in postern.json(*ask, "--live")["reply"]


def test_faults(daemon, postern):
    with Control(daemon.control) as control:
        for text, says in (("x=y\n\n", "no policy request"),
                           ("request=smtpd_access_policy\n", "no policy request"),
                           ("nonsense\n\n", "no policy request")):
            reply = control.ask("explain", request=text)
            assert (reply["ok"], reply["kind"]) == (False, "usage"), text
            assert says in reply["error"]
    daemon.stop()
    done = postern(*AT_THE_END, "--live")
    assert (done.returncode, done.stdout) == (69, "")
