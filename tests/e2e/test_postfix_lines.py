# SPDX-License-Identifier: BSD-2-Clause
"""contrib/postfix as Postfix reads it, chrooted and not, with and without daemons."""

import pytest

from letters import letter
from private_mail.postfix import SHIPPED, logical_lines, shipped_services
from private_mail.system import RELAY_HOST

INSIDE, OUTSIDE = "joe@inside.example", "joe@outside.example"
SERVICE = "check_policy_service unix:postern/policy"


@pytest.fixture(params=[True, False], ids=["chrooted", "not chrooted"], scope="module")
def mail(request, mail_with):
    return mail_with(chroot=request.param)


@pytest.fixture(scope="module")
def shipped():
    """Name to value of contrib/postfix/main.cf; each stands there once."""
    lines = logical_lines((SHIPPED / "main.cf").read_text())
    names = [line.split("=", 1)[0].strip() for line in lines]
    assert len(names) == len(set(names))
    return {name: " ".join(line.split("=", 1)[1].split())
            for name, line in zip(names, lines)}


def effective(mail, name):
    value = mail.postfix.command("postconf", "-h", name, text=True).stdout
    return " ".join(value.split())


def test_postfix_takes_every_shipped_line(mail, shipped):
    for name, value in shipped.items():
        assert effective(mail, name) == value, name


def test_postconf_knows_every_parameter(mail):
    """No typing error: postconf complains about names that no program reads."""
    done = mail.postfix.command("postconf", "-n", text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    done = mail.postfix.command("postconf", "-M", text=True)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr


def test_the_same_service_text_stands_in_three_lists(shipped):
    assert shipped["smtpd_relay_restrictions"] == f"{SERVICE} reject_unauth_destination"
    assert shipped["smtpd_data_restrictions"] == SERVICE
    assert shipped["smtpd_end_of_data_restrictions"] == SERVICE


def test_no_service_changes_who_may_relay():
    for name, line in shipped_services().items():
        assert "restrictions" not in line and "milter" not in line, name


@pytest.mark.parametrize("name, sender", [
    ("stranger", "x@elsewhere.example"), ("relay host", "ada@example.org")])
def test_without_the_policy_daemon_nobody_is_let_in(mail, postern_on, sink, name, sender):
    daemons = postern_on(mail, relay={"hosts": [RELAY_HOST]})
    assert daemons.policyd.stop() == 0
    source = RELAY_HOST if name == "relay host" else None
    client = mail.client("smtp", source) if source else mail.client("smtp")
    with client:
        for recipient in (OUTSIDE, INSIDE):
            client.command("RSET")
            reply = client.envelope(sender, [recipient])
            assert (reply.code, "4.7.1" in reply.text) == (451, True), reply
            assert "Policy service unavailable" in reply.text
    assert sink.deliveries() == []


def test_without_the_milter_mail_stays_with_the_client(mail, postern_on, sink):
    daemons = postern_on(mail)
    assert daemons.milter.stop() == 0
    with mail.client("smtp") as client:
        reply = client.message("x@elsewhere.example", [INSIDE], letter())
    assert (reply.code, "4.7.1" in reply.text) == (451, True), reply
    assert sink.deliveries() == []


def test_mail_flows_again_once_the_daemons_are_back(mail, postern_on, sink):
    daemons = postern_on(mail)
    daemons.stop()
    with mail.client("smtp") as client:
        assert client.message("x@elsewhere.example", [INSIDE], letter()).code == 451
    daemons.policyd.start()
    daemons.milter.start()
    with mail.client("smtp") as client:
        assert client.message("x@elsewhere.example", [INSIDE], letter()).code == 250
    sink.wait_for(1)
