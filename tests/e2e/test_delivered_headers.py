# SPDX-License-Identifier: BSD-2-Clause
"""What leaves: signatures and Received headers, through a real Postfix."""

import re

import pytest

from letters import LAPTOP, TRACES, UPSTREAM_TRACES, letter, traces_in
from private_mail.system import RELAY_HOST
from signatures import assert_signed, assert_unsigned

OUTSIDE = "joe@outside.example"


@pytest.fixture(params=[True, False], ids=["chrooted", "not chrooted"], scope="module")
def mail(request, mail_with):
    return mail_with(chroot=request.param)


def from_laptop(mail, message, service="submission", options="", sender="ada@example.org",
                recipients=(OUTSIDE,)):
    """Sent by a user whose client is the laptop of letters.LAPTOP."""
    with mail.client(service) as client:
        client.xclient(**LAPTOP)
        if service != "submissions":
            client.starttls()
        assert client.login("ada@example.org", "lovelace").code == 235
        reply = client.message(sender, recipients, message, options)
    assert reply.code == 250, reply
    return reply


@pytest.mark.parametrize("upstream", [0, 1, 5])
@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_user_mail_is_signed_and_masked(mail, postern_on, sink, tmp_path, service, upstream):
    daemons = postern_on(mail)
    from_laptop(mail, letter(upstream=upstream), service)
    delivery = sink.one()
    received = delivery.header("Received")
    assert len(received) == 1 + upstream, received
    assert traces_in(delivery, TRACES + UPSTREAM_TRACES) == []
    own = " ".join(received[0].split())
    assert re.match(r"by gw\.example\.org .*with ESMTPSA id \w+.*; .* \+0000", own), own
    for number, value in enumerate(received[1:]):
        hop = upstream - number
        assert f"by hop{hop}.example.net" in value, received
        assert f"id k{hop}" in value and f"08:00:0{hop} +0000" in value, received
        assert "from" not in value.split("by")[0]
    assert_signed(delivery, daemons, tmp_path)


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_upstream_kept(mail, postern_on, sink, tmp_path, upstream):
    """This hop is masked all the same."""
    daemons = postern_on(mail, milter={"mask": {"upstream": "keep"}})
    message = letter(upstream=upstream)
    from_laptop(mail, message)
    delivery = sink.one()
    received = delivery.header("Received")
    assert len(received) == 1 + upstream
    assert traces_in(delivery, TRACES) == []
    for number, value in enumerate(received[1:]):
        assert ("Received:" + value).encode() in message, "changed"
        assert f"kitchen{upstream - number}.lan" in value, "out of order"
    assert_signed(delivery, daemons, tmp_path)


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_upstream_removed(mail, postern_on, sink, tmp_path, upstream):
    daemons = postern_on(mail, milter={"mask": {"upstream": "remove"}})
    from_laptop(mail, letter(upstream=upstream))
    delivery = sink.one()
    assert len(delivery.header("Received")) == 1
    assert traces_in(delivery, TRACES + UPSTREAM_TRACES) == []
    assert_signed(delivery, daemons, tmp_path)


@pytest.mark.parametrize("upstream", [0, 1, 5])
def test_relay_host_keeps_its_received_headers(mail, postern_on, sink, tmp_path, upstream):
    """Signed, but nothing is masked on 25."""
    daemons = postern_on(mail, relay={"hosts": [RELAY_HOST]})
    message = letter(upstream=upstream)
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.message("ada@example.org", [OUTSIDE], message).code == 250
    delivery = sink.one()
    received = delivery.header("Received")
    assert len(received) == 1 + upstream
    assert f"[{RELAY_HOST}]" in received[0] and "client.example.net" in received[0]
    for value in received[1:]:
        assert ("Received:" + value).encode() in message, "changed"
    assert_signed(delivery, daemons, tmp_path)


def test_named_headers_are_removed(mail, postern_on, sink, tmp_path):
    daemons = postern_on(mail, milter={"mask": {"remove": ["X-Originating-IP", "X-Mailer"]}})
    from_laptop(mail, letter(more="X-Originating-IP: 203.0.113.77\r\n"
                             "x-mailer: one\r\nX-ORIGINATING-IP: 203.0.113.77\r\n"
                             "X-Kept: yes\r\nX-Mailer: two\r\n"))
    delivery = sink.one()
    names = [name.lower() for name, _ in delivery.headers()]
    assert "x-mailer" not in names and "x-originating-ip" not in names
    assert "x-kept" in names
    assert traces_in(delivery, TRACES) == []
    assert_signed(delivery, daemons, tmp_path)


def test_two_messages_of_one_session(mail, postern_on, sink, tmp_path):
    daemons = postern_on(mail)
    with mail.user() as client:
        for upstream in (3, 0):
            assert client.message("ada@example.org", [OUTSIDE],
                                  letter(upstream=upstream)).code == 250
    deliveries = sink.wait_for(2)
    assert sorted(len(one.header("Received")) for one in deliveries) == [1, 4]
    for delivery in deliveries:
        assert_signed(delivery, daemons, tmp_path)


def test_several_recipients(mail, postern_on, sink, tmp_path):
    daemons = postern_on(mail)
    from_laptop(mail, letter(), recipients=["joe@outside.example", "ann@far.example"])
    deliveries = sink.wait_until(
        lambda all: sum(len(one.recipients) for one in all) == 2)
    for delivery in deliveries:
        assert traces_in(delivery, TRACES) == []
        assert_signed(delivery, daemons, tmp_path)


def test_smtputf8(mail, postern_on, sink, tmp_path):
    daemons = postern_on(mail)
    message = letter(more="Comments: größe\r\n")
    from_laptop(mail, message, options="BODY=8BITMIME SMTPUTF8")
    delivery = sink.one()
    assert "with UTF8SMTPSA id" in " ".join(delivery.header("Received")[0].split())
    assert traces_in(delivery, TRACES) == []
    assert_signed(delivery, daemons, tmp_path)


def test_mail_over_bdat(mail, postern_on, sink, tmp_path):
    daemons = postern_on(mail)
    message = letter(upstream=1)
    with mail.user() as client:
        client.envelope("ada@example.org", [OUTSIDE])
        half = len(message) // 2
        client.send(f"BDAT {half}\r\n".encode() + message[:half])
        assert client.reply().code == 250
        client.send(f"BDAT {len(message) - half} LAST\r\n".encode() + message[half:])
        assert client.reply().code == 250
    delivery = sink.one()
    assert len(delivery.header("Received")) == 2
    assert traces_in(delivery, TRACES + UPSTREAM_TRACES) == []
    assert_signed(delivery, daemons, tmp_path)


def test_stranger_inbound_is_not_signed(mail, postern_on, sink):
    """Mail from outside that claims a domain served here."""
    postern_on(mail)
    with mail.client("smtp") as client:
        assert client.message("ada@example.org", ["joe@inside.example"],
                              letter(upstream=2)).code == 250
    delivery = sink.one()
    assert_unsigned(delivery)
    assert len(delivery.header("Received")) == 3
    assert "kitchen2.lan" in delivery.header("Received")[1]


def test_local_mail_is_signed(mail, postern_on, sink, tmp_path):
    """sendmail(1), over non_smtpd_milters."""
    daemons = postern_on(mail)
    message = letter(upstream=1).replace(b"\r\n", b"\n")
    result = mail.postfix.command("sendmail", "-f", "ada@example.org", OUTSIDE,
                                  input=message)
    assert result.returncode == 0, result.stderr
    assert_signed(sink.one(), daemons, tmp_path)


# From, envelope sender, login, and whether it is signed (match: envelope).
AUTHORS = [
    ("ada@example.org", "ada@example.org", True, "the same"),
    ("bob@example.org", "ada@example.org", True, "another author of the domain"),
    ("x@elsewhere.example", "ada@example.org", False, "an author of another domain"),
    ("ada@example.org", "", True, "the null sender of a user of the domain"),
]


@pytest.mark.parametrize("author, sender, signed, why", AUTHORS,
                         ids=[row[3] for row in AUTHORS])
def test_author_domain(mail, postern_on, sink, tmp_path, author, sender, signed, why):
    daemons = postern_on(mail)
    with mail.user() as client:
        assert client.message(sender, [OUTSIDE], letter(author)).code == 250
    if signed:
        assert_signed(sink.one(), daemons, tmp_path)
    else:
        assert_unsigned(sink.one())


def test_two_from_headers_are_not_signed(mail, postern_on, sink):
    daemons = postern_on(mail)
    daemons.allow("From")
    from_laptop(mail, letter(more="From: Other <x@elsewhere.example>\r\n"))
    delivery = sink.one()
    assert_unsigned(delivery)
    assert traces_in(delivery, TRACES) == []


def test_forged_signature_does_not_pass_for_ours(mail, postern_on, sink):
    """A signature that came along is left where it was, beneath ours."""
    postern_on(mail)
    forged = ("DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s2026;\r\n"
              "\th=from; bh=AAAA; b=AAAA\r\n")
    from_laptop(mail, letter(more=forged))
    signatures = sink.one().header("DKIM-Signature")
    assert len(signatures) == 2
    assert "bh=AAAA" in signatures[1] and "bh=AAAA" not in signatures[0]
