# SPDX-License-Identifier: BSD-2-Clause
"""Postern's milter beside another one. contrib/postfix says: Postern stands last."""

import pytest

import python_milter
from letters import LAPTOP, TRACES, UPSTREAM_TRACES, letter, traces_in
from signatures import assert_signed

OUTSIDE = "joe@outside.example"
SERVICES = ("smtp", "smtp_auth", "submission", "submissions")


@pytest.fixture
def chain(mail_with, postern_on, request):
    """chain(order, edits): mail, daemons and the other milter in that order."""
    milters = []

    def make(order, edits):
        words = {"before": "smtpd_milters=unix:postern/other,unix:postern/milter",
                 "after": "smtpd_milters=unix:postern/milter,unix:postern/other"}
        mail = mail_with(options={name: (words[order],) for name in SERVICES})
        milters.append(python_milter.PythonMilter(mail.postfix.sockets / "other", edits))
        return mail, postern_on(mail), milters[-1]

    yield make
    for milter in milters:
        milter.stop()


def from_laptop(mail, message):
    with mail.client("submission") as client:
        client.xclient(**LAPTOP)
        client.starttls()
        client.login("ada@example.org", "lovelace")
        reply = client.message("ada@example.org", [OUTSIDE], message)
    assert reply.code == 250, reply


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_a_milter_before_ours(chain, sink, tmp_path, upstream):
    """What it does to headers and body is masked and signed with the rest."""
    mail, daemons, other = chain("before", [
        python_milter.insert(0, "X-First", "at the top"),
        python_milter.insert(1, "X-Second", "beneath Postfix's own Received"),
        python_milter.add("X-Scanned", "yes"),
        python_milter.change(1, "Subject", "[list] Minutes"),
        python_milter.body(b"another body\r\n")])
    from_laptop(mail, letter(upstream=upstream))
    delivery = sink.one()
    assert len(delivery.header("Received")) == 1 + upstream
    assert traces_in(delivery, TRACES + UPSTREAM_TRACES) == []
    assert delivery.header("Subject") == [" [list] Minutes"]
    assert delivery.header("X-Scanned") and delivery.header("X-First")
    assert delivery.body == b"another body\r\n"
    assert_signed(delivery, daemons, tmp_path)
    del other


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_a_milter_that_adds_received_headers_before_ours(chain, sink, tmp_path, upstream):
    trace = "from kitchen9.lan ([10.1.2.9]) by scanner.example.org with SMTP id z9; today"
    mail, daemons, _ = chain("before", [python_milter.insert(1, "Received", trace)])
    from_laptop(mail, letter(upstream=upstream))
    delivery = sink.one()
    assert len(delivery.header("Received")) == 2 + upstream
    assert traces_in(delivery, TRACES + UPSTREAM_TRACES) == []
    assert_signed(delivery, daemons, tmp_path)


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_a_milter_after_ours(chain, sink, tmp_path, upstream):
    """It may add headers that are not signed; ours stay whole."""
    mail, daemons, other = chain("after", [
        python_milter.add("X-Scanned", "yes"),
        python_milter.insert(0, "X-First", "at the top")])
    from_laptop(mail, letter(upstream=upstream))
    delivery = sink.one()
    assert len(delivery.header("Received")) == 1 + upstream
    assert traces_in(delivery, TRACES + UPSTREAM_TRACES) == []
    assert delivery.header("X-Scanned") and delivery.header("X-First")
    assert_signed(delivery, daemons, tmp_path)
    assert len(other.seen) == 1


def test_what_the_milter_before_sees_is_not_changed_by_ours(chain, sink):
    mail, _, other = chain("before", [])
    from_laptop(mail, letter(upstream=2))
    sink.one()
    received = [value for name, value in other.seen[0] if name == "Received"]
    assert len(received) == 2 and "kitchen2.lan" in received[0]
