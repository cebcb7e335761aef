# SPDX-License-Identifier: BSD-2-Clause
"""Limits through a real Postfix: what the stories cannot show is what it asks, and when.

Not here: the arithmetic (tests/limit_cases.json) and who may relay (test_main_job.py).
"""

from letters import letter
from private_mail.system import RELAY_HOST, STRANGER

SENDER = "ada@example.org"
LIMIT = {"count": "messages", "window": "1h", "over": "defer"}


def test_each_recipient_counts_at_rcpt(mail, postern, sink):
    """A message of six recipients with room for four of one domain: the fifth waits, the
    other domain goes on, and a repeated RCPT costs nothing."""
    postern(relay={"hosts": [RELAY_HOST]},
            limits=[{**LIMIT, "name": "to", "per": "recipient_domain", "max": 4}])
    with mail.client("smtp", RELAY_HOST) as client:
        client.ehlo()
        assert client.mail(SENDER).code == 250
        for name in ("a", "b", "b", "b", "c", "d"):
            assert client.rcpt(f"{name}@outside.example").code == 250
        reply = client.rcpt("e@outside.example")
        assert (reply.code, "Limit to: 4 of 4 messages in 1h used, try again in" in reply.text) \
            == (451, True), reply
        assert client.rcpt("e@second.example").code == 250
        assert client.data(letter(SENDER)).code == 250
        # Another message is another: the domain is full for it.
        assert client.mail(SENDER).code == 250
        assert client.rcpt("a@outside.example").code == 451
    delivered = sink.wait_until(lambda ds: sum(len(d.recipients) for d in ds) >= 5)
    assert {r for d in sink.deliveries() for r in d.recipients} == {
        *(f"{name}@outside.example" for name in "abcd"), "e@second.example"}, delivered


def test_refusals_ban_the_client(mail, postern):
    """Three refusals are too many where two may happen: the client is blocked, whoever it
    says it is; a trusted one is not."""
    daemons = postern(
        block={"forged_senders": True}, trusted={"hosts": ["127.0.0.8"]},
        limits=[{**LIMIT, "name": "ban", "per": "client", "count": "refusals", "max": 2,
                 "over": "reject", "block": "1h"}])
    daemons.allow("is blocked until")
    for source in (STRANGER, "127.0.0.8"):
        with mail.client("smtp", source) as client:
            client.ehlo()
            assert client.mail(SENDER).code == 250
            # The same recipient again is the same refusal.
            for name in ("a", "a", "a", "b"):
                assert client.rcpt(f"{name}@inside.example").code == 553
            assert client.command("RSET").code == 250
            assert client.mail("x@elsewhere.example").code == 250
            assert client.rcpt("joe@inside.example").code == 250
            assert client.command("RSET").code == 250
            assert client.mail(SENDER).code == 250
            assert client.rcpt("c@inside.example").code == 553
    with mail.client("smtp", STRANGER) as client:
        client.ehlo()
        client.mail("x@elsewhere.example")
        reply = client.rcpt("joe@inside.example")
        assert (reply.code, "blocked" in reply.text) == (450, True), reply
    with mail.client("smtp", "127.0.0.8") as client:
        client.ehlo()
        client.mail("x@elsewhere.example")
        reply = client.rcpt("joe@inside.example")
        assert (reply.code, "Limit ban: 3 of 2 refusals" in reply.text) == (554, True), reply
    said = daemons.policyd.all_lines("is blocked until")
    assert len(said) == 1 and f"limit ban: client {STRANGER} is blocked" in said[0]


def test_a_login_from_too_many_clients(mail, postern, sink):
    """Two networks may use a login; from the third its mail is refused at RCPT, and the
    other two go on."""
    postern(limits=[{**LIMIT, "name": "where", "per": "user", "count": "clients", "max": 2}])
    for source, code in (("127.0.0.11", 250), ("127.0.0.12", 250), ("127.0.0.13", 451),
                         ("127.0.0.11", 250), ("127.0.0.13", 451), ("127.0.0.12", 250)):
        with mail.user(SENDER, "submission", source=source) as client:
            reply = client.message(SENDER, ["joe@outside.example"], letter(SENDER))
            assert reply.code == code, f"{source}: {reply}"
            assert code == 250 or "Limit where: 2 of 2 clients in 1h used" in reply.text
    sink.wait_for(4)
