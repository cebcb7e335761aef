# SPDX-License-Identifier: BSD-2-Clause
"""The fixtures themselves, without Postern: what a test sees of them must be true."""

import pytest

from private_mail.smtp import SmtpClient
from python_policy import PythonPolicy

MESSAGE = b"From: Ada <ada@example.org>\r\nSubject: test\r\n\r\n"


@pytest.fixture(scope="module", params=[True, False], ids=["chrooted", "not chrooted"])
def system(request, mail_with):
    """Postfix without milters, with a policy server that grants users alone."""
    services = ("smtp", "smtp_auth", "submission", "submissions")
    return mail_with(chroot=request.param,
                     options={name: ("smtpd_milters=",) for name in services})


@pytest.fixture(autouse=True)
def policy(system):
    server = PythonPolicy(system.postfix.sockets / "policy")
    yield server
    server.stop()


def test_stranger_is_refused_by_postfix_itself(system):
    with system.client("smtp") as client:
        reply = client.envelope("x@outside.example", ["someone@outside.example"])
    assert (reply.code, "Relay access denied" in reply.text) == (554, True)


@pytest.mark.parametrize("domain", ["inside.example", "mailbox.example", "gw.example.org"])
def test_postfix_knows_its_own_domains(system, sink, domain):
    with system.client("smtp") as client:
        reply = client.message("x@outside.example", [f"joe@{domain}"], MESSAGE)
    assert reply.code == 250, reply
    assert sink.one().recipients == [f"joe@{domain}"]


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_user_logs_in_over_tls(system, sink, service):
    with system.user(service=service) as client:
        reply = client.message("ada@example.org", ["joe@outside.example"], MESSAGE)
    assert reply.code == 250, reply
    assert sink.one().sender == "ada@example.org"


def test_wrong_password(system):
    with system.client("submission") as client:
        client.starttls()
        assert client.login("ada@example.org", "wrong").code == 535


def test_auth_is_offered_where_the_lines_say_so(system):
    """Off on 25, and on 587 only under TLS."""
    with system.client("smtp") as client:
        assert "AUTH" not in client.ehlo().text
        assert "AUTH" not in client.starttls().text
    with system.client("submission") as client:
        assert "AUTH" not in client.ehlo().text
        assert "AUTH PLAIN" in client.starttls().text
    with system.client("smtp_auth") as client:
        assert "AUTH PLAIN" in client.starttls().text


def test_587_asks_for_tls_before_mail(system):
    with system.client("submission") as client:
        assert client.mail("ada@example.org").code == 530


BODIES = {
    "empty": b"",
    "dots": b".\r\n..\r\n.end\r\n",
    "8-bit": bytes(range(0x80, 0x100)) + b"\r\n",
    "no final line end": b"last line",
    "blank lines at the end": b"text\r\n\r\n\r\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_body_arrives_as_sent(system, sink, body):
    with system.client("smtp") as client:
        assert client.message("x@outside.example", ["joe@inside.example"], MESSAGE + body,
                              "BODY=8BITMIME").code == 250
    expected = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    assert sink.one().body == expected


def test_sendmail_command(system, sink):
    """Local mail goes through the same instance (its milter is away: it has to wait)."""
    mark = system.postfix.process.mark()
    result = system.postfix.command("sendmail", "-f", "ada@example.org",
                                    "joe@outside.example", input=MESSAGE + b"hello\n")
    assert result.returncode == 0, result.stderr
    system.postfix.wait_for_log(r"pickup\[\d+\]: \w+: uid=0 from=<ada@example.org>", mark)


def test_every_client_address_is_seen(system):
    mark = system.postfix.process.mark()
    with SmtpClient(system.postfix.ports["smtp"], source="127.0.0.77"):
        system.postfix.wait_for_log(r"connect from unknown\[127\.0\.0\.77\]", mark)


def test_xclient_changes_the_client(system, sink):
    with system.client("smtp") as client:
        client.xclient(ADDR="192.0.2.7", NAME="laptop.customer.example", HELO="laptop")
        client.message("x@outside.example", ["joe@inside.example"], MESSAGE)
    assert "laptop.customer.example [192.0.2.7]" in sink.one().header("Received")[0]


def test_one_connection_for_the_three_hooks(system, policy, sink):
    """The same service text: Postfix asks all states of a session over one connection."""
    with system.user() as client:
        for _ in range(2):
            assert client.message("ada@example.org", ["joe@outside.example"],
                                  MESSAGE).code == 250
    sink.wait_for(2)
    assert [attributes["protocol_state"] for _, attributes in policy.asked] == [
        "RCPT", "DATA", "END-OF-MESSAGE"] * 2
    assert {number for number, _ in policy.asked} == {1}
    assert {attributes["server_port"] for _, attributes in policy.asked} == {
        str(system.postfix.ports["submission"])}
