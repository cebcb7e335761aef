# SPDX-License-Identifier: BSD-2-Clause
"""What Postfix asks that is not the plain case, from a real Postfix.

The same by story, state by state: tests/scenarios/oddities.scn.
"""

import pytest

from letters import letter
from private_mail.smtp import dotted
from private_mail.system import RELAY_HOST, STRANGER, USER

OUTSIDE = "joe@outside.example"

# The service in every list that there is, delayed and not: Postfix then asks it again and
# again, and with the words of another state.
EVERYWHERE = """
smtpd_client_restrictions = check_policy_service unix:postern/policy
smtpd_helo_restrictions = check_policy_service unix:postern/policy
smtpd_sender_restrictions = check_policy_service unix:postern/policy
smtpd_recipient_restrictions = check_policy_service unix:postern/policy
smtpd_etrn_restrictions = check_policy_service unix:postern/policy, reject
"""
ONE_AN_HOUR = [{"name": "once", "per": "client", "count": "messages", "max": 1,
                "window": "1h", "over": "defer"}]


@pytest.mark.parametrize("delay", ["yes", "no"])
def test_the_service_in_every_list_charges_once(mail_with, postern_on, sink, delay):
    mail = mail_with(main=f"{EVERYWHERE}smtpd_delay_reject = {delay}\n")
    postern_on(mail, relay={"hosts": [RELAY_HOST]}, limits=ONE_AN_HOUR)
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
        reply = client.message("ada@example.org", [OUTSIDE], letter())
    assert reply.code == 451 and "1 of 1 messages" in reply.text
    assert sink.one().recipients == [OUTSIDE]


@pytest.mark.parametrize("delay", ["yes", "no"])
def test_a_blocked_host_meets_the_check_at_every_state(mail_with, postern_on, delay):
    mail = mail_with(main=f"{EVERYWHERE}smtpd_delay_reject = {delay}\n")
    postern_on(mail, block={"hosts": [STRANGER]})
    with mail.client("smtp", STRANGER) as client:
        client.mail("x@elsewhere.example")
        client.rcpt("joe@inside.example")
        said = [text for who, text in client.transcript if who == "S"]
    at_connect = "Client host blocked" in said[0]
    assert at_connect == (delay == "no"), said
    assert any(text.startswith("554") and "Client host blocked" in text for text in said)
    assert not said[-1].startswith("2"), said


def test_null_sender_of_a_relay_host_and_of_a_user(mail, postern, sink):
    postern(relay={"hosts": [RELAY_HOST]})
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.message("", [OUTSIDE], letter()).code == 250
    with mail.user() as client:
        assert client.message("", [OUTSIDE], letter()).code == 250
    with mail.client("smtp", STRANGER) as client:
        assert client.message("", [OUTSIDE], letter()).code == 554
    assert {delivery.sender for delivery in sink.wait_for(2)} == {""}


def test_vrfy_and_etrn_are_judged_and_charged_nothing(mail_with, postern_on, sink):
    mail = mail_with(main=EVERYWHERE)
    postern_on(mail, relay={"hosts": [RELAY_HOST]}, limits=ONE_AN_HOUR,
               block={"recipients": ["trap@inside.example"]})
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.command("VRFY joe@inside.example").code == 252
        reply = client.command("VRFY trap@inside.example")
        assert reply.code == 554 and "Recipient address blocked" in reply.text
        client.command("ETRN inside.example")
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    assert sink.one().recipients == [OUTSIDE]


def test_bdat_is_charged_like_data(mail, postern, sink):
    postern(relay={"hosts": [RELAY_HOST]}, limits=ONE_AN_HOUR)
    message = letter()
    with mail.client("smtp", RELAY_HOST) as client:
        for expected in (250, 451):
            assert client.envelope("ada@example.org", [OUTSIDE]).code == 250
            client.send(f"BDAT {len(message)} LAST\r\n".encode() + message)
            assert client.reply().code == expected
            client.command("RSET")
    assert sink.one().recipients == [OUTSIDE]


def test_xclient_decides_who_the_client_is(mail, postern, sink):
    postern(relay={"hosts": ["192.0.2.7", RELAY_HOST]})
    with mail.client("smtp", STRANGER) as client:
        assert client.envelope("ada@example.org", [OUTSIDE]).code == 554
        client.command("RSET")
        client.xclient(ADDR="192.0.2.7", NAME="relay.example.net")
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    with mail.client("smtp", RELAY_HOST) as client:
        client.xclient(ADDR="192.0.2.8", NAME="relay.example.net")
        assert client.envelope("ada@example.org", [OUTSIDE]).code == 554
    assert sink.one().recipients == [OUTSIDE]


def test_smtputf8_domains_are_one_domain(mail_with, postern_on):
    mail = mail_with(main="smtputf8_enable = yes\n")
    postern_on(mail, relay={"hosts": [RELAY_HOST]}, domains={"bücher.example": {}},
               block={"senders": ["jürgen@xn--bcher-kva.example"]})
    with mail.client("smtp", RELAY_HOST) as client:
        for sender, expected in (("ada@bücher.example", 250),
                                 ("ada@xn--bcher-kva.example", 250),
                                 ("jürgen@BÜCHER.example", 554),
                                 ("ada@bucher.example", 554)):
            reply = client.envelope(sender, [OUTSIDE], "SMTPUTF8")
            assert reply.code == expected, (sender, str(reply))
            client.command("RSET")


def test_rset_and_a_new_message_on_the_same_connection(mail, postern, sink):
    """An aborted message leaves nothing behind, neither charge nor grant."""
    postern(limits=[{"name": "two", "per": "user", "count": "recipients", "max": 2,
                     "window": "1h", "over": "defer"}])
    with mail.user() as client:
        for _ in range(3):
            assert client.envelope("ada@example.org", [OUTSIDE, "b@outside.example"]
                                   ).code == 250
            client.command("RSET")
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 451
    sink.wait_for(2)


def test_a_connection_lost_before_the_end_of_the_message_charges_nothing(
        mail, postern, sink):
    postern(relay={"hosts": [RELAY_HOST]}, limits=ONE_AN_HOUR)
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.envelope("ada@example.org", [OUTSIDE]).code == 250
        assert client.command("DATA").code == 354
        client.send(dotted(letter())[:-3])
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    assert sink.one().recipients == [OUTSIDE]


def test_policy_context_limits_grants_nothing(mail_with, postern_on, sink):
    """A layout of other people's: their own permission, Postern's limits."""
    service = "check_policy_service { unix:postern/policy, policy_context=limits }"
    mail = mail_with(options={"smtp": (
        f"{{ mynetworks = {USER}/32 }}",
        "{ smtpd_relay_restrictions = permit_mynetworks reject_unauth_destination }",
        f"{{ smtpd_data_restrictions = {service} }}",
        f"{{ smtpd_end_of_data_restrictions = {service} }}")})
    postern_on(mail, limits=ONE_AN_HOUR)
    with mail.client("smtp", USER) as client:
        assert client.message("x@any.example", [OUTSIDE], letter()).code == 250
        assert client.message("x@any.example", [OUTSIDE], letter()).code == 451
    with mail.client("smtp", STRANGER) as client:
        assert client.message("x@any.example", [OUTSIDE], letter()).code == 554
    assert sink.one().recipients == [OUTSIDE]
