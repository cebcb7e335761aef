# SPDX-License-Identifier: BSD-2-Clause
"""Who may send what where: the permissions, seen from an SMTP client.

Not here: what a delivered message looks like (test_delivered_headers.py).
"""

import re

import pytest

from letters import letter
from private_mail.system import RELAY_HOST, STRANGER

INSIDE, OUTSIDE = "joe@inside.example", "joe@outside.example"
ACCEPTED, POSTFIX_REFUSES = (250, ""), (554, "Relay access denied")


def stranger(mail, service):
    client = mail.client(service, STRANGER)
    if service == "submission":
        client.starttls()
    return client


def user(mail, service):
    return mail.user("ada@example.org", service)


def send(client, sender, recipient):
    with client:
        return client.message(sender, [recipient], letter(sender))


def check(reply, expected, sink, recipient):
    code, words = expected
    assert (reply.code, words in reply.text) == (code, True), f"{reply}, not {expected}"
    if code == 250:
        assert sink.one().recipients == [recipient]
    else:
        assert sink.deliveries() == []


# Who, to whom, on which service, and the answer when AUTH is allowed on 25 and nobody
# needs it on 587. `smtp_auth` is the port 25 that offers AUTH.
OPEN = [
    (stranger, INSIDE, "smtp_auth", ACCEPTED),
    (stranger, OUTSIDE, "smtp_auth", POSTFIX_REFUSES),
    (user, INSIDE, "smtp_auth", ACCEPTED),
    (user, OUTSIDE, "smtp_auth", ACCEPTED),
    (stranger, INSIDE, "submission", ACCEPTED),
    (stranger, OUTSIDE, "submission", POSTFIX_REFUSES),
    (user, INSIDE, "submission", ACCEPTED),
    (user, OUTSIDE, "submission", ACCEPTED),
]

# The same with the defaults.
DEFAULTS = [
    (stranger, INSIDE, "smtp", ACCEPTED),
    (stranger, OUTSIDE, "smtp", POSTFIX_REFUSES),
    (user, INSIDE, "smtp_auth", (550, "5.7.1")),
    (user, OUTSIDE, "smtp_auth", (550, "5.7.1")),
    (stranger, INSIDE, "submission", (530, "5.7.0")),
    (stranger, OUTSIDE, "submission", (530, "5.7.0")),
    (user, INSIDE, "submission", ACCEPTED),
    (user, OUTSIDE, "submission", ACCEPTED),
    (stranger, OUTSIDE, "submissions", (530, "5.7.0")),
    (user, OUTSIDE, "submissions", ACCEPTED),
]


def name_of(value):
    return getattr(value, "__name__", None) or str(value)


@pytest.mark.parametrize("who, recipient, service, expected", OPEN, ids=name_of)
def test_auth_allowed_everywhere(mail, postern, sink, who, recipient, service, expected):
    postern(auth={"blocked_ports": [], "required_on_submission": False})
    sender = "ada@example.org" if who is user else "x@elsewhere.example"
    check(send(who(mail, service), sender, recipient), expected, sink, recipient)


@pytest.mark.parametrize("who, recipient, service, expected", DEFAULTS, ids=name_of)
def test_defaults(mail, postern, sink, who, recipient, service, expected):
    postern()
    sender = "ada@example.org" if who is user else "x@elsewhere.example"
    check(send(who(mail, service), sender, recipient), expected, sink, recipient)


def test_refusal_on_25_names_a_port_to_use(mail, postern):
    daemons = postern()
    reply = send(user(mail, "smtp_auth"), "ada@example.org", OUTSIDE)
    ports = daemons.postfix.ports
    assert any(str(ports[name]) in reply.text for name in ("submission", "submissions"))


# Relay hosts: sender, recipient, and the answer.
FROM_RELAY_HOST = [
    ("app@example.org", OUTSIDE, ACCEPTED, "a sender domain served here"),
    ("", OUTSIDE, ACCEPTED, "the null sender"),
    ("x@elsewhere.example", OUTSIDE, POSTFIX_REFUSES, "another's sender domain"),
    ("x@elsewhere.example", INSIDE, ACCEPTED,
     "inbound, for a domain that Postfix knows and `domains` does not"),
    ("x@elsewhere.example", "joe@mailbox.example", ACCEPTED, "inbound, a mailbox domain"),
    ("", INSIDE, ACCEPTED, "an inbound bounce"),
]


@pytest.mark.parametrize("sender, recipient, expected, why", FROM_RELAY_HOST,
                         ids=[row[3] for row in FROM_RELAY_HOST])
def test_relay_host(mail, postern, sink, sender, recipient, expected, why):
    postern(relay={"hosts": [RELAY_HOST]})
    reply = send(mail.client("smtp", RELAY_HOST), sender, recipient)
    check(reply, expected, sink, recipient)


def test_relay_host_with_unknown_domains(mail, postern, sink):
    postern(relay={"hosts": [{"host": RELAY_HOST, "unknown_domains": True}]})
    reply = send(mail.client("smtp", RELAY_HOST), "x@elsewhere.example", OUTSIDE)
    check(reply, ACCEPTED, sink, OUTSIDE)


def test_relay_host_with_senders(mail, postern, sink):
    postern(relay={"hosts": [{"host": RELAY_HOST, "senders": ["shop@example.org"]}]})
    assert send(mail.client("smtp", RELAY_HOST), "ada@example.org", OUTSIDE).code == 554
    check(send(mail.client("smtp", RELAY_HOST), "shop@example.org", OUTSIDE), ACCEPTED,
          sink, OUTSIDE)


@pytest.mark.parametrize("host", [RELAY_HOST, "127.0.0.0/29", "file:hosts"])
def test_relay_host_forms(mail, postern_on, sink, host, workspace):
    workspace.directory(f"{mail.postfix.name}-postern", "etc").joinpath("hosts").write_text(
        f"# ours\n{RELAY_HOST}  the web shop\n")
    postern_on(mail, relay={"hosts": [host]})
    assert send(mail.client("smtp", STRANGER), "ada@example.org", OUTSIDE).code == 554
    check(send(mail.client("smtp", RELAY_HOST), "ada@example.org", OUTSIDE), ACCEPTED,
          sink, OUTSIDE)


# A client's name as Postfix found it (NAME is confirmed by its address, REVERSE_NAME is
# what its owner claims), and the answers to outside and inside.
NAMES = [
    ({"NAME": "mail.example.org"}, 250, 250, "confirmed"),
    ({"NAME": "mail.elsewhere.example"}, 554, 250, "another name"),
    ({"NAME": "[UNAVAILABLE]", "REVERSE_NAME": "mail.example.org"}, 450, 250,
     "only claimed: who can tell, so not now"),
    ({"NAME": "[TEMPUNAVAIL]"}, 450, 250, "DNS is away"),
]


@pytest.mark.parametrize("names, outside, inside, why", NAMES, ids=[row[3] for row in NAMES])
def test_relay_host_by_name(mail, postern, sink, names, outside, inside, why):
    postern(relay={"hosts": ["host:mail.example.org"]})
    for recipient, code in ((OUTSIDE, outside), (INSIDE, inside)):
        with mail.client("smtp") as client:
            client.xclient(ADDR="203.0.113.25", **names)
            reply = client.message("app@example.org", [recipient], letter("app@example.org"))
        assert reply.code == code, reply
    sink.wait_for((outside == 250) + (inside == 250))


def test_relay_host_needs_no_auth_on_submission(mail, postern, sink):
    postern(relay={"hosts": [RELAY_HOST]})
    client = mail.client("submission", RELAY_HOST)
    client.starttls()
    check(send(client, "app@example.org", OUTSIDE), ACCEPTED, sink, OUTSIDE)


def test_being_in_mynetworks_grants_nothing(mail, postern, sink):
    """Every client here is in Postfix's mynetworks."""
    postern()
    assert "127.0.0.0/8" in mail.postfix.command("postconf", "mynetworks", text=True).stdout
    assert send(mail.client("smtp", RELAY_HOST), "ada@example.org", OUTSIDE).code == 554


# Users: login, envelope sender, settings, and the answer.
FROM_USERS = [
    ("ada@example.org", "ada@example.org", {}, ACCEPTED, "his own address"),
    ("ada@example.org", "bob@example.org", {}, ACCEPTED, "another of his domain"),
    ("ada@example.org", "", {}, ACCEPTED, "the null sender"),
    ("ada@example.org", "ada@elsewhere.example", {}, (553, "5.7.1"), "another's domain"),
    ("ada@example.org", "bob@example.org", {"auth": {"sender": "user"}}, (553, "5.7.1"),
     "only his own address allowed"),
    ("ada@example.org", "x@elsewhere.example", {"auth": {"sender": "any"}}, ACCEPTED,
     "any sender allowed"),
    ("carol@elsewhere.example", "carol@elsewhere.example", {}, POSTFIX_REFUSES,
     "a user of a domain that is not served"),
    ("dora", "dora@example.org", {}, (553, "default_realm"),
     "a login without a domain"),
    ("dora", "dora@example.org", {"auth": {"default_realm": "example.org"}}, ACCEPTED,
     "a login that default_realm completes"),
    ("ada@example.org", "ada@example.org", {"relay": {"users": False}}, POSTFIX_REFUSES,
     "users may not relay"),
    ("ada@example.org", "ada@example.org", {"relay": {"users": ["bob@example.org"]}},
     POSTFIX_REFUSES, "not in the list of users"),
    ("ada@example.org", "ada@example.org",
     {"domains": {"example.org": {"auth": False}}}, POSTFIX_REFUSES,
     "a domain whose users may not relay"),
    ("ada@example.org", "ada@example.org", {"block": {"users": ["ADA@example.org."]}},
     (554, "5.7.1"), "a blocked user"),
    ("ada@example.org", "bob@example.org", {"block": {"senders": ["bob@example.org"]}},
     (554, "5.7.1"), "a blocked sender"),
]


@pytest.mark.parametrize("login, sender, settings, expected, why", FROM_USERS,
                         ids=[row[4] for row in FROM_USERS])
def test_user(mail, postern, sink, login, sender, settings, expected, why):
    postern(**settings)
    reply = send(mail.user(login), sender, OUTSIDE)
    check(reply, expected, sink, OUTSIDE)


def test_blocked_host_and_recipient(mail, postern, sink):
    postern(block={"hosts": [STRANGER], "recipients": ["joe@inside.example"]})
    reply = send(mail.client("smtp", STRANGER), "x@elsewhere.example", "z@inside.example")
    assert (reply.code, "5.7.1" in reply.text) == (554, True), reply
    reply = send(mail.client("smtp", "127.0.0.10"), "x@elsewhere.example", INSIDE)
    assert (reply.code, "5.7.1" in reply.text) == (554, True), reply
    assert sink.deliveries() == []


def test_one_refused_recipient_does_not_hurt_the_others(mail, postern, sink):
    postern()
    with mail.client("smtp", STRANGER) as client:
        client.mail("x@elsewhere.example")
        assert [client.rcpt(to).code for to in (INSIDE, OUTSIDE, "z@inside.example")] == [
            250, 554, 250]
        assert client.data(letter("x@elsewhere.example")).code == 250
    assert sink.one().recipients == [INSIDE, "z@inside.example"]


def test_without_tls_auth_is_refused(mail_with, postern_on, sink):
    """A Postfix that takes passwords in the clear, from a client that is not loopback."""
    mail = mail_with(options={"smtp_auth": ("smtpd_tls_auth_only=no",)})
    postern_on(mail, auth={"blocked_ports": []})
    with mail.client("smtp_auth") as client:
        client.xclient(ADDR="203.0.113.77")
        client.login("ada@example.org", "lovelace")
        reply = client.envelope("ada@example.org", [OUTSIDE])
    assert (reply.code, "5.7.0" in reply.text) == (530, True), reply
    check(send(mail.user(service="smtp_auth"), "ada@example.org", OUTSIDE), ACCEPTED, sink,
          OUTSIDE)


def test_limit_on_messages(mail, postern, sink):
    postern(limits=[{"name": "user-hour", "per": "user", "count": "messages", "max": 3,
                     "window": "1h", "over": "defer"}])
    replies = [send(mail.user(), "ada@example.org", OUTSIDE) for _ in range(5)]
    assert [reply.code for reply in replies] == [250, 250, 250, 451, 451]
    assert "user-hour" in replies[3].text
    # Another user's count is his own.
    assert send(mail.user("bob@example.org"), "bob@example.org", OUTSIDE).code == 250
    sink.wait_for(4)


def test_limit_that_holds(mail, postern, sink):
    """Over the limit, mail is taken and waits in Postfix's hold queue for a person."""
    postern(limits=[{"name": "user-hour", "per": "user", "count": "messages", "max": 1,
                     "window": "1h", "over": "hold"}])
    mark = mail.postfix.process.mark()
    replies = [send(mail.user(), "ada@example.org", OUTSIDE) for _ in range(2)]
    assert [reply.code for reply in replies] == [250, 250]
    sink.one()
    held = re.search(r"queued as (\w+)", replies[1].text)[1]
    mail.postfix.wait_for_log(rf"{held}: hold: ", mark)
    assert any(f'"{held}"' in line and '"hold"' in line for line in mail.postfix.queued())
    assert mail.postfix.command("postsuper", "-d", held).returncode == 0


def test_limit_on_recipients_counts_each(mail, postern, sink):
    postern(limits=[{"name": "recipients", "per": "user", "count": "recipients", "max": 5,
                     "window": "1h", "over": "reject"}])
    many = [f"r{number}@outside.example" for number in range(4)]
    with mail.user() as client:
        assert client.message("ada@example.org", many, letter()).code == 250
        assert client.message("ada@example.org", many, letter()).code == 554
        assert client.message("ada@example.org", many[:1], letter()).code == 250
    sink.wait_until(lambda all: sum(len(one.recipients) for one in all) == 5)


def test_limit_on_size_from_the_claim_on(mail, postern, sink):
    postern(limits=[{"name": "size", "per": "message", "count": "bytes", "max": "100K",
                     "over": "reject"}])
    with mail.user() as client:
        reply = client.envelope("ada@example.org", [OUTSIDE], "SIZE=200000")
        assert (reply.code, "5.3.4" in reply.text) == (552, True), reply
        client.command("RSET")
        reply = client.message("ada@example.org", [OUTSIDE], letter(body=b"x" * 70 + b"\r\n"
                                                                    + b"y\r\n" * 60000))
        assert (reply.code, "5.3.4" in reply.text) == (552, True), reply
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    assert len(sink.wait_for(1)) == 1


def test_aborted_messages_are_not_charged(mail, postern, sink):
    postern(limits=[{"name": "user-hour", "per": "user", "count": "messages", "max": 1,
                     "window": "1h", "over": "defer"}])
    with mail.user() as client:
        for _ in range(3):
            client.envelope("ada@example.org", [OUTSIDE])
            client.command("RSET")
        client.envelope("ada@example.org", [OUTSIDE])
        assert client.command("DATA").code == 354
    with mail.user() as client:
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 451
    sink.wait_for(1)
