# SPDX-License-Identifier: BSD-2-Clause
"""postern-milter behind a real Postfix, where what Postfix does to a message matters."""

import random
import threading
import time

import pytest

from letters import TRACES, letter, traces_in
from private_mail import dkim_check
from private_mail.system import RELAY_HOST
from signatures import assert_signed, assert_unsigned, records_of

OUTSIDE = "joe@outside.example"
ODD = bytes(range(33, 127)) + bytes(range(128, 256)) + b"\t" * 20 + b" " * 60
NAMES = [b"Subject", b"To", b"Cc", b"Reply-To", b"MIME-Version", b"X-Odd", b"List-Id",
         b"Resent-To", b"In-Reply-To", b"Received", b"Comments"]


def odd_words(rng, longest):
    return bytes(rng.choice(ODD) for _ in range(rng.randrange(longest)))


def odd_letter(rng, number):
    """Headers folded every way, odd bytes, odd bodies."""
    head = [b"From: Ada\r\n <ada@example.org>", b"Date: Mon, 5 Jan 2026 08:00:09 +0000",
            b"Message-ID: <%d@example.org>" % number]
    for _ in range(rng.randrange(10)):
        value = b""
        for _ in range(rng.randrange(6)):
            value += odd_words(rng, 40) + rng.choice([b" ", b"\r\n ", b"\r\n\t\t", b"  "])
        name = rng.choice(NAMES)
        name = rng.choice([name, name.lower(), name.upper()])
        head.insert(rng.randrange(len(head) + 1),
                    name + rng.choice([b":", b": ", b":\t", b" :", b":\r\n "]) + value + b"x")
    body = b"".join(odd_words(rng, 200) + b"\r\n" for _ in range(rng.randrange(20)))
    return b"\r\n".join(head) + b"\r\n\r\n" + body + rng.choice([b"", b"\r\n\r\n", b" \r\n"])


def send_many(mail, count, seed=20260105):
    rng = random.Random(seed)
    with mail.user() as client:
        for number in range(count):
            reply = client.message("ada@example.org", [OUTSIDE], odd_letter(rng, number),
                                   "BODY=8BITMIME")
            assert reply.code == 250, (number, reply)


@pytest.mark.parametrize("form, count", [("relaxed/relaxed", 300), ("simple/relaxed", 40)])
def test_odd_letters(mail, postern, sink, form, count):
    daemons = postern(milter={"dkim": {"canonicalization": form}, "mask": {"ports": []}},
                      limits=[])
    daemons.allow("998")
    if form == "relaxed/relaxed":
        send_many(mail, count)
    else:  # Postfix shows no milter the blank before a colon, which simple minds
        rng = random.Random(1)
        with mail.user() as client:
            for number in range(count):
                message = odd_letter(rng, number).replace(b" :", b":")
                assert client.message("ada@example.org", [OUTSIDE], message,
                                      "BODY=8BITMIME").code == 250
    records = records_of(daemons)
    for delivery in sink.wait_for(count, timeout=120):
        assert len(delivery.header("DKIM-Signature")) == 1
        if not dkim_check.verify(delivery.data, records):
            raise AssertionError(f"does not verify:\n{delivery.data}")


@pytest.mark.parametrize("upstream", ["mask", "remove", "keep"])
def test_many_hops(mail, postern, sink, tmp_path, upstream):
    """Up to Postfix's own hopcount_limit."""
    daemons = postern(milter={"mask": {"upstream": upstream}})
    with mail.user() as client:
        assert client.message("ada@example.org", [OUTSIDE], letter(upstream=48)).code == 250
    delivery = sink.one()
    assert len(delivery.header("Received")) == (1 if upstream == "remove" else 49)
    if upstream != "keep":
        assert traces_in(delivery, ("10.1.2.", "kitchen")) == []
    assert_signed(delivery, daemons, tmp_path)


def test_refusals_reach_the_client(mail, postern, sink):
    daemons = postern()
    del daemons
    with mail.user() as client:
        reply = client.message("ada@example.org", [OUTSIDE],
                               letter(more="Comments: fine\r\nCc: a\fb\r\n"))
        assert (reply.code, reply.text[:5]) == (554, "5.6.0"), reply
        assert "control character in header Cc" in reply.text
        reply = client.message("ada@example.org", [OUTSIDE],
                               letter(body=b"x" * (1024 * 1024 + 1) + b"\r\n"))
        assert reply.code == 554 and "line of more than 1 MiB" in reply.text, reply
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    sink.one()


def test_a_stranger_on_a_masked_port_is_masked_and_not_signed(mail, postern, sink):
    postern(auth={"required_on_submission": False})
    with mail.client("submission") as client:
        client.starttls()
        assert client.message("ada@example.org", ["joe@inside.example"],
                              letter(upstream=1)).code == 250
    delivery = sink.one()
    assert_unsigned(delivery)
    assert len(delivery.header("Received")) == 2
    assert traces_in(delivery, TRACES + ("kitchen", "client.example.net")) == []
    assert "with ESMTPS id" in " ".join(delivery.header("Received")[0].split())


def test_a_client_from_loopback_is_no_local_mail(mail, postern, sink):
    postern()
    with mail.client("smtp", "127.0.0.1", helo="localhost") as client:
        assert client.message("ada@example.org", ["joe@inside.example"], letter()).code == 250
    assert_unsigned(sink.one())


def test_a_relay_host_with_senders(mail, postern, sink, tmp_path):
    daemons = postern(
        domains={"example.org": {}, "elsewhere.example": {}},
        relay={"hosts": [{"host": RELAY_HOST, "senders": ["@example.org", "<>"]}]})
    with mail.client("smtp", RELAY_HOST) as client:
        for sender, author in (("ada@example.org", "ada@example.org"), ("", "ada@example.org"),
                               ("ada@example.org", "x@elsewhere.example"),
                               ("", "x@elsewhere.example")):
            assert client.message(sender, [OUTSIDE], letter(author)).code == 250
    deliveries = sink.wait_for(4)
    for delivery in deliveries:
        if b"<ada@example.org>" in delivery.data:
            assert_signed(delivery, daemons, tmp_path)
        else:
            assert_unsigned(delivery)


def test_one_tenant_gets_no_signature_of_another(mail, postern, sink):
    daemons = postern(domains={"example.org": {}, "elsewhere.example": {}})
    for match in ("envelope", "user"):
        daemons.configure({"domains": {"example.org": {}, "elsewhere.example": {}},
                           "milter": {"dkim": {"match": match}}})
        mark = daemons.milter.mark()
        daemons.milter.hang_up()
        daemons.milter.process.wait_for_line("configuration .* reloaded", mark)
        with mail.user("ada@example.org") as client:
            for sender in ("", "ada@example.org"):
                assert client.message(sender, [OUTSIDE],
                                      letter("carol@elsewhere.example")).code == 250
    for delivery in sink.wait_for(4):
        assert_unsigned(delivery)


def test_a_hundred_smtpd_sessions(mail, postern, sink):
    """All open at once, all sending: nobody starves behind the others."""
    postern(limits=[])
    slowest, failed = [], []
    together = threading.Barrier(100)

    def run(number):
        try:
            with mail.user() as client:
                together.wait(120)
                for _ in range(3):
                    began = time.monotonic()
                    reply = client.message("ada@example.org", [OUTSIDE], letter())
                    slowest.append(time.monotonic() - began)
                    assert reply.code == 250, reply
        except Exception as error:
            failed.append(f"{number}: {error!r}")
            together.abort()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert failed == [] and len(slowest) == 300
    for delivery in sink.wait_for(300, timeout=120):
        assert len(delivery.header("DKIM-Signature")) == 1
    print(f"slowest of 300 messages: {max(slowest):.3f} s")
    # With sanitizers, all clients in one process; docs/benchmarks.md has the figures.
    assert max(slowest) < 15, max(slowest)
