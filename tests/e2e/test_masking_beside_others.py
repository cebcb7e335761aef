# SPDX-License-Identifier: BSD-2-Clause
"""Masking where Postfix's own means for it got there first."""

import pytest

from letters import LAPTOP, TRACES, UPSTREAM_TRACES, letter, traces_in
from signatures import assert_signed

OUTSIDE = "joe@outside.example"

# Postfix's own header as header_checks(5) sees it, on the way into cleanup(8).
OWN = r"/^Received:.*by gw\.example\.org/"


def send(mail, upstream):
    with mail.client("submission") as client:
        client.xclient(**LAPTOP)
        client.starttls()
        assert client.login("ada@example.org", "lovelace").code == 235
        reply = client.message("ada@example.org", [OUTSIDE], letter(upstream=upstream))
    assert reply.code == 250, reply


def check_upstream(delivery, received, upstream):
    """The headers that came along are there, masked, in order."""
    assert traces_in(delivery, TRACES + UPSTREAM_TRACES) == []
    assert len(received) == upstream, received
    for number, value in enumerate(received):
        assert f"by hop{upstream - number}.example.net" in value, received


@pytest.fixture(scope="module")
def mail_checked(workspace, mail_with):
    """mail_checked(action): a Postfix whose header_checks do @action to its own header."""
    made = {}

    def make(action):
        if action not in made:
            word = action.split()[0]
            table = workspace.directory(f"header-checks-{word}") / "checks"
            table.write_text(f"{OWN} {action}\n")
            made[action] = mail_with(main=f"header_checks = regexp:{table}\n")
        return made[action]
    return make


REPLACE = "REPLACE Received: by gw.example.org (hidden) with ESMTPSA id x; " \
          "Mon, 5 Jan 2026 08:00:00 +0000"


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_own_header_replaced_by_header_checks(mail_checked, postern_on, sink, tmp_path,
                                              upstream):
    mail = mail_checked(REPLACE)
    daemons = postern_on(mail)
    send(mail, upstream)
    delivery = sink.one()
    received = delivery.header("Received")
    assert "by gw.example.org" in received[0], received
    check_upstream(delivery, received[1:], upstream)
    assert_signed(delivery, daemons, tmp_path)


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_own_header_dropped_by_header_checks(mail_checked, postern_on, sink, tmp_path,
                                             upstream):
    """There is none of this hop then; the others are as they would be."""
    mail = mail_checked("IGNORE")
    daemons = postern_on(mail)
    send(mail, upstream)
    delivery = sink.one()
    received = delivery.header("Received")
    if received and "by gw.example.org" in received[0]:
        received = received[1:]
    check_upstream(delivery, received, upstream)
    assert_signed(delivery, daemons, tmp_path)


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_client_hidden_by_postfix(mail_with, postern_on, sink, tmp_path, upstream):
    """smtpd_hide_client_session, of Postfix 3.10 and later."""
    mail = mail_with(options={"submission": ["smtpd_hide_client_session=yes"]})
    if not mail.postfix.knows("smtpd_hide_client_session"):
        pytest.skip("this Postfix has no smtpd_hide_client_session")
    daemons = postern_on(mail)
    send(mail, upstream)
    delivery = sink.one()
    received = delivery.header("Received")
    assert "by gw.example.org" in received[0] and "from" not in received[0], received
    check_upstream(delivery, received[1:], upstream)
    assert_signed(delivery, daemons, tmp_path)


@pytest.mark.parametrize("upstream", [0, 2])
def test_held_mail(mail, postern_on, sink, tmp_path, upstream):
    """What a limit holds is masked and signed when it is released."""
    daemons = postern_on(mail, limits=[{"name": "held", "per": "user", "max": 0,
                                        "count": "messages", "window": "1h",
                                        "over": "hold"}])
    send(mail, upstream)
    queued = mail.postfix.queued()
    assert len(queued) == 1 and '"queue_name": "hold"' in queued[0], queued
    assert mail.postfix.command("postsuper", "-H", "ALL").returncode == 0
    mail.postfix.command("postqueue", "-f")
    delivery = sink.one()
    received = delivery.header("Received")
    assert "by gw.example.org" in received[0], received
    check_upstream(delivery, received[1:], upstream)
    assert_signed(delivery, daemons, tmp_path)
