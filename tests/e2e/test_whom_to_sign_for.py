# SPDX-License-Identifier: BSD-2-Clause
"""Whom mail is signed for, on a real Postfix: a forged From never gets a signature.

The same rules as a table, with every kind of client: test_milter_masking.py.
"""

import subprocess

import dkim
import pytest

from letters import letter
from name_server import NameServer
from private_mail import dkim_check
from private_mail.system import RELAY_HOST, STRANGER
from signatures import assert_signed, assert_unsigned, records_of

OUTSIDE, INSIDE = "joe@outside.example", "joe@inside.example"
ADA, CAROL = "ada@example.org", "carol@elsewhere.example"
TENANTS = {"example.org": {}, "elsewhere.example": {}}


@pytest.fixture
def dns():
    server = NameServer()
    yield server
    server.stop()


def judge(delivery, daemons, tmp_path, domain):
    if domain:
        assert_signed(delivery, daemons, tmp_path, domain)
    else:
        assert_unsigned(delivery)


# Which way in, envelope sender, From, d= or None.
USERS = [
    ("envelope", ADA, ADA, "example.org"),
    ("envelope", "", ADA, "example.org"),
    ("envelope", "", CAROL, None),
    ("envelope", ADA, CAROL, None),
    ("user", ADA, ADA, "example.org"),
    ("user", "", CAROL, None),
    ("user", ADA, CAROL, None),
    ("any", ADA, CAROL, "elsewhere.example"),
    ("any", "", "x@not-ours.example", None),
]


@pytest.mark.parametrize("match", ["envelope", "user", "any"])
def test_users(mail, postern, sink, tmp_path, match):
    """Tenant A with any envelope sender that is his, and tenant B's From."""
    daemons = postern(domains=TENANTS, milter={"dkim": {"match": match}})
    rows = [row for row in USERS if row[0] == match]
    for count, (_, sender, author, domain) in enumerate(rows, 1):
        with mail.user(ADA) as client:
            assert client.message(sender, [OUTSIDE], letter(author)).code == 250
        judge(sink.wait_for(count)[-1], daemons, tmp_path, domain)


@pytest.mark.parametrize("sender, author, domain", [
    (ADA, ADA, "example.org"), ("", ADA, "example.org"), ("", CAROL, "elsewhere.example"),
    (ADA, CAROL, None), (ADA, "x@not-ours.example", None)])
def test_local_mail(mail, postern, sink, tmp_path, sender, author, domain):
    """sendmail(1), which comes over non_smtpd_milters."""
    daemons = postern(domains=TENANTS)
    done = mail.postfix.command("sendmail", "-f", sender or "<>", OUTSIDE,
                                input=letter(author).replace(b"\r\n", b"\n"))
    assert done.returncode == 0, done.stderr
    judge(sink.one(), daemons, tmp_path, domain)


def test_a_backup_mx_brings_mail_in_from_outside(mail, postern, sink, tmp_path):
    """It is in relay.hosts, for what it sends itself; what it passes on is not ours,
    whatever it says, and neither are bounces."""
    daemons = postern(domains=TENANTS, relay={"hosts": [RELAY_HOST]})
    for count, (sender, author, domain) in enumerate([
            ("spam@outside.example", ADA, None), ("", ADA, None), ("", CAROL, None),
            (ADA, CAROL, None), (ADA, ADA, "example.org")], 1):
        with mail.client("smtp", RELAY_HOST) as client:
            assert client.message(sender, [INSIDE], letter(author)).code == 250
        judge(sink.wait_for(count)[-1], daemons, tmp_path, domain)


@pytest.mark.parametrize("kind, records", [
    ("a", [f"add relay.example A 60 {RELAY_HOST}"]),
    ("mx", ["add relay.example MX 60 10 mx.relay.example", f"add mx.relay.example A 60 {RELAY_HOST}"]),
    ("spf", [f"add relay.example TXT 60 v=spf1 ip4:{RELAY_HOST} -all"])])
def test_relay_hosts_from_dns(mail, postern, sink, tmp_path, dns, kind, records):
    """Both daemons ask the same names, and agree."""
    for line in records:
        dns.say(line)
    daemons = postern(dns={"servers": [dns.address], "timeout": "500ms"},
                      relay={"hosts": [f"relay.example/{kind}"]})
    with mail.client("smtp", RELAY_HOST) as client:
        assert client.message(ADA, [OUTSIDE], letter(ADA)).code == 250
    assert_signed(sink.one(), daemons, tmp_path)
    with mail.client("smtp", STRANGER) as client:
        assert client.message(ADA, [OUTSIDE], letter(ADA)).code == 554
        assert client.message(ADA, [INSIDE], letter(ADA)).code == 250
    assert_unsigned(sink.wait_for(2)[-1])


def test_who_relays_without_being_known_gets_no_signature(mail, postern, sink):
    """relay.anyone_from and relay.anyone_to grant relay, and answer for nobody."""
    daemons = postern(relay={"anyone_from": [ADA], "anyone_to": ["outside.example"]})
    daemons.allow("anyone_")
    for sender in (ADA, "x@not-ours.example"):
        with mail.client("smtp", STRANGER) as client:
            assert client.message(sender, [OUTSIDE], letter(ADA)).code == 250
    for delivery in sink.wait_for(2):
        assert_unsigned(delivery)


@pytest.mark.parametrize("head", [
    "From: ada@example.org\r\nFrom: carol@elsewhere.example\r\n",
    "From: ada@example.org, carol@elsewhere.example\r\n",
    "From: Staff: ada@example.org;\r\n", "From: Ada <ada@example.org\r\n",
    "From: \"ada@example.org\" <x@not-ours.example>\r\n",
    "From: =?utf-8?q?ada=40example=2Eorg?= <x@not-ours.example>\r\n"])
def test_unclear_authors(mail, postern, sink, head):
    """Delivered, and unsigned."""
    daemons = postern(domains=TENANTS)
    daemons.allow("From")
    with mail.user(ADA) as client:
        assert client.message(ADA, [OUTSIDE],
                              head.encode() + b"Subject: x\r\n\r\nhello\r\n").code == 250
    assert_unsigned(sink.one())


def test_valid_signatures_stay(mail, postern, sink, tmp_path):
    """Those of others, that came along, verify as before beside ours; and where ours is not
    due they are all there is."""
    daemons = postern(domains=TENANTS, milter={"mask": {"upstream": "keep"}})
    key = tmp_path / "list.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    records = {"l1._domainkey.list.example": dkim_check.public_record(key),
               **records_of(daemons)}
    for count, (author, domains) in enumerate([
            (ADA, ["example.org", "list.example"]), (CAROL, ["list.example"])], 1):
        plain = letter(author)
        signed = dkim.sign(plain, b"l1", b"list.example", key.read_bytes(),
                           include_headers=[b"from", b"to", b"subject"]) + plain
        with mail.user(ADA) as client:
            assert client.message(ADA, [OUTSIDE], signed).code == 250
        delivery = sink.wait_for(count)[-1]
        found = delivery.header("DKIM-Signature")
        assert [f"d={domain};" in text for domain, text in zip(domains, found)] == [
            True] * len(domains) and len(found) == len(domains), found
        for index in range(len(found)):
            assert dkim_check.verify(delivery.data, records, index)
