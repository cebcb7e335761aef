# SPDX-License-Identifier: BSD-2-Clause
"""What postern-milter does to headers, and for whom, over the milter protocol."""

import re

import pytest

from milter_client import STRANGER, SUBMISSION, edited
from milter_daemon import milter, milter_at_rest, unsigned  # noqa: F401

FROM = ("From", " Ada <ada@example.org>")
TRACES = ("203.0.113.77", "cable-77", "adas-laptop", "ada@example.org", "10.1.2.", "kitchen")
DATE = r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"


def upstream(number):
    return ("Received" if number % 2 else "received",
            f" from kitchen{number}.lan ([10.1.2.{number}])\n\tby hop{number}.example.net "
            f"(x [10.1.2.3]) with ESMTP id k{number}\n\tfor <joe@outside.example>; "
            f"Mon, 5 Jan 2026 08:00:{number:02} +0100 (CET)")


def received(headers):
    return [value for name, value in headers if name.lower() == "received"]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 50])
@pytest.mark.parametrize("what", ["keep", "mask", "remove"])
def test_received(milter, what, count):  # noqa: F811
    daemon = milter(milter={"mask": {"upstream": what}})
    headers = [FROM]
    for number in range(count, 0, -1):
        headers.insert((count - number) * 2, upstream(number))
        headers.insert((count - number) * 2 + 1, ("X-Between", f" {number}"))
    with daemon.session() as session:
        session.helo("adas-laptop")
        reply = session.message(headers)
    daemon.assert_signed(headers, b"hello\r\n", reply)
    after = edited(headers, reply.edits)
    own, *others = received(after)
    assert re.fullmatch(
        r" \n\tby gw\.example\.org \(Postfix\) with ESMTPSA id 4XyZ12;\n\t" + DATE, own), own
    assert after[1][0] == "DKIM-Signature"
    wanted = {"keep": [upstream(n)[1] for n in range(count, 0, -1)],
              "mask": [f" by hop{n}.example.net with ESMTP id k{n};\n\t"
                       f"Mon, 5 Jan 2026 08:00:{n:02} +0100" for n in range(count, 0, -1)],
              "remove": []}
    assert others == wanted[what]
    between = [value for name, value in after if name == "X-Between"]
    assert between == [f" {n}" for n in range(count, 0, -1)]
    if what != "keep":
        left = "".join(received(after))
        assert [trace for trace in TRACES if trace in left] == []


MALFORMED = [
    " ", "x", " (from a by b; c", " \\", ' "', " by", " by by by", " from 203.0.113.77",
    " from x by 203.0.113.77; 203.0.113.77", " by cable-77.isp.example with x id ada@example.org",
    " by adas-laptop.; adas-laptop", " ;;;", " by a\r.b\r; x", " by \x01;\x7f", "\n\tby x;\n y",
    " by " + "a" * 50000 + "; x", " " + "(" * 50000, " by x id 1" + " id 2" * 10000,
]


def test_malformed_received(milter):  # noqa: F811
    daemon = milter(milter={"dkim": {"keys": {}}}, defaults={"dkim": []})
    with daemon.session() as session:
        session.helo("adas-laptop")
        for malformed in MALFORMED:
            headers = [("RECEIVED", malformed), FROM]
            reply = session.message(headers)
            assert reply.verdict == "continue"
            value = received(edited(headers, reply.edits))[1]
            assert re.fullmatch(
                r" by [\w.-]+( with [\w-]+)?( id [\w.+=/-]+)?;\n\t" + DATE, value), value
            assert [trace for trace in TRACES if trace in value] == []


PROTOCOLS = [
    ({}, (), "ESMTPSA"), ({}, ("SIZE=10", "SMTPUTF8"), "UTF8SMTPSA"),
    ({"{tls_version}": None}, (), "ESMTPA"),
    ({"{auth_authen}": None}, (), "ESMTPS"),
    ({"{auth_authen}": None, "{tls_version}": None}, ("SIZE=10",), "ESMTP"),
    ({"{auth_authen}": None, "{tls_version}": None}, (), "SMTP"),
    ({"{tls_version}": None}, ("SMTPUTF8",), "UTF8SMTPA")]


def test_protocol_names(milter):  # noqa: F811
    daemon = milter()
    for macros, parameters, protocol in PROTOCOLS:
        known = {name: value for name, value in {**SUBMISSION, **macros}.items() if value}
        with daemon.session(known) as session:
            reply = session.message([FROM], parameters=parameters)
        assert f" with {protocol} id 4XyZ12;" in received(edited([FROM], reply.edits))[0]


def test_removed_headers(milter):  # noqa: F811
    daemon = milter(milter={"mask": {"remove": ["X-Originating-IP", "x-mailer"]}})
    headers = [("X-Mailer", " 1"), FROM, ("x-originating-ip", " 203.0.113.77"),
               ("X-MAILER", " 2"), ("X-Mailer-Kept", " 3"), ("X-Mailer", " 4")]
    with daemon.session() as session:
        reply = session.message(headers)
    after = edited(headers, reply.edits)
    assert [name for name, _ in after] == ["Received", "DKIM-Signature", "From", "X-Mailer-Kept"]


LOCAL = dict(STRANGER, **{"{daemon_port}": "0", "{client_addr}": "127.0.0.1",
                          "{client_name}": "localhost", "i": "4XyZ12"})
NO_ONE = dict(STRANGER, **{"{client_addr}": "198.51.100.9"})


def client(address, name="relay.example.net", port="25", **more):
    return dict(STRANGER, **{"{client_addr}": address, "{client_name}": name,
                             "{daemon_port}": port}, **more)


def user(name, port="25"):
    return dict(SUBMISSION, **{"{auth_authen}": name, "{daemon_port}": port})


A, B, SUB = "ada@example.org", "eve@b.example", "eve@host.b.example"
# why, macros, envelope sender, From, d= or None, other settings of milter.dkim
WHO = [
    ("a user's own domain", user(A), A, A, "example.org", {}),
    ("a user, null sender, his own domain", user(A), "", A, "example.org", {}),
    ("a user, null sender, another tenant's author", user(A), "", B, None, {}),
    ("a user, another tenant's author", user(A), A, B, None, {}),
    ("the same, match user, envelope forged too", user(A), B, B, None, {"match": "user"}),
    ("the same, match any", user(A), A, B, "b.example", {"match": "any"}),
    ("a user without a domain, null sender", user("ada"), "", A, None, {}),
    ("an outside author", user(A), A, "x@outside.example", None, {"match": "any"}),
    ("a stranger", NO_ONE, A, A, None, {"match": "any"}),
    ("a stranger, null sender", NO_ONE, "", A, None, {}),
    ("a relay host", client("192.0.2.7"), A, A, "example.org", {}),
    ("a relay host, null sender", client("192.0.2.7"), "", A, None, {}),
    ("a relay host brings outside mail in", client("192.0.2.7"), "x@outside.example", A, None,
     {}),
    ("a relay host with senders", client("192.0.2.8"), A, A, "example.org", {}),
    ("a relay host with senders, null sender", client("192.0.2.8"), "", A, "example.org", {}),
    ("a relay host with senders, another's author", client("192.0.2.8"), "", B, None, {}),
    ("the same, match any", client("192.0.2.8"), A, B, None, {"match": "any"}),
    ("a relay host with senders, another sender", client("192.0.2.8"), B, B, None, {}),
    ("local mail", LOCAL, A, A, "example.org", {}),
    ("local mail, null sender", LOCAL, "", A, "example.org", {}),
    ("local mail, another author", LOCAL, A, B, None, {}),
    ("a client from loopback is not local", client("127.0.0.1", "localhost"), A, A, None, {}),
    ("nor with a queue id", client("127.0.0.1", "localhost", i="4XyZ12"), A, A, None, {}),
    ("nor without a port, when no queue id", client("127.0.0.1", "localhost", "0"), A, A, None,
     {}),
    ("a subdomain, signed by its parent", user(SUB), SUB, SUB, "b.example", {}),
    ("author above the envelope", user(SUB), SUB, B, "b.example", {}),
    ("author beneath the envelope", user(B), B, SUB, "b.example", {}),
    ("beneath a top-level domain", user("eve@example"), "eve@example", B, None, {}),
    ("a bad envelope sender", user(A), "ada@@@", A, None, {}),
    ("IPv6-mapped relay host", client("IPv6:::ffff:192.0.2.7"), A, A, "example.org", {}),
]


@pytest.fixture(scope="module")
def who_milters(workspace, build):
    """One daemon for each way of `match`."""
    from milter_daemon import Milter
    made = {}
    for match in ("any", "envelope", "user"):
        made[match] = Milter(workspace, build, f"who-{match}")
        made[match].start({"milter": {"dkim": {"match": match}}})
    yield made
    for daemon in made.values():
        daemon.inspect()


@pytest.mark.parametrize("row", WHO, ids=[row[0] for row in WHO])
def test_who_is_signed_for(who_milters, row):
    _, macros, sender, author, domain, settings = row
    daemon = who_milters[settings.get("match", "envelope")]
    headers = [("From", f" <{author}>"), ("Subject", " x")]
    with daemon.session(macros) as session:
        reply = session.message(headers, sender=sender)
    if domain:
        daemon.assert_signed(headers, b"hello\r\n", reply, domain)
    else:
        assert unsigned(reply), reply


@pytest.mark.parametrize("froms, why", [
    ([], "no From header"), ([" a@example.org", " a@example.org"], "2 From headers"),
    ([" a@example.org, b@example.org"], "has more than one address"),
    ([" Group: a@example.org;"], "is written as a group"), ([" "], "is empty"),
    ([" Ada <ada@example.org"], "has no address that can be read")])
def test_unclear_authors_are_not_signed_and_it_is_said(milter, froms, why):  # noqa: F811
    daemon = milter()
    with daemon.session() as session:
        reply = session.message([("From", value) for value in froms] + [("To", " x")])
        assert unsigned(reply) and len(received(edited(
            [("From", value) for value in froms], reply.edits))) == 1
    daemon.daemon.process.wait_for_line(f"queue_id=4XyZ12 unsigned: .*{why}")


def test_nothing_to_do_is_accepted_at_mail(milter):  # noqa: F811
    daemon = milter()
    with daemon.session(NO_ONE) as session:
        for _ in range(3):
            assert session.mail().verdict == "accept"


def test_a_release_that_was_not_proven_is_warned_about_once(milter_at_rest):  # noqa: F811
    milter_at_rest.allow("masking was not proven")
    daemon = milter_at_rest.start()
    for version in ("Postfix 3.7.9", "Postfix 4.0.1", "Postfix 4.0.1", "Postfix 3.70.1"):
        with daemon.session(dict(SUBMISSION, v=version)) as session:
            assert session.message([FROM]).verdict == "continue"
    warnings = daemon.daemon.all_lines("not proven")
    assert len(warnings) == 2 and "4.0.1" in warnings[0] and "3.70.1" in warnings[1]


def test_without_the_port_nothing_passes_unmasked(milter_at_rest):  # noqa: F811
    milter_at_rest.allow("does not tell {daemon_port}")
    daemon = milter_at_rest.start()
    macros = {name: value for name, value in SUBMISSION.items() if name != "{daemon_port}"}
    with daemon.session(macros) as session:
        reply = session.mail()
    assert reply.verdict == "tempfail" and reply.text.startswith("451 4.7.1 "), reply


# {daemon_port}, {daemon_name}, whether mask.ports [587] applies.
LISTENERS = [("10587", "587", True), ("10587", "submission", True), ("10587", "Submission", True),
             ("10587", "smtps", False), ("10587", "ORIGINATING", False), ("10587", "", False),
             ("10587", "5870", False), ("587", "smtp", True), (None, "submission", True),
             (None, "smtp", False)]


def test_ports_by_the_name_of_the_listener(milter):  # noqa: F811
    """milter_macro_daemon_name, behind a balancer or a terminator of TLS."""
    daemon = milter()
    for port, name, masked in LISTENERS:
        macros = dict(SUBMISSION, **{"{daemon_port}": port, "{daemon_name}": name})
        if port is None:
            del macros["{daemon_port}"]
        with daemon.session(macros) as session:
            reply = session.message([FROM])
        assert reply.verdict == "continue", (port, name, reply)
        assert ("Received" in [edit[2] for edit in reply.edits]) == masked, (port, name, reply)
