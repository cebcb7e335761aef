# SPDX-License-Identifier: BSD-2-Clause
"""Bodies of every kind leave signed correctly, or are refused; never unsigned."""

import pathlib

import pytest

from letters import TRACES, letter, traces_in
from signatures import assert_signed

OUTSIDE = "joe@outside.example"

# Name to body, and whether OpenDKIM's test mode (lines of text) can read it too.
BODIES = {
    "empty": (b"", True),
    "one empty line": (b"\r\n", True),
    "only empty lines": (b"\r\n" * 7, True),
    "no final CRLF": (b"first\r\nlast line", True),
    "blank lines at the end": (b"text\r\n\r\n\r\n", True),
    "blanks at line ends": (b"one  \t \r\n  two\t\ttabs \r\n \r\n", True),
    "8-bit": (bytes(range(0x80, 0x100)) + b"\r\n", True),
    "NULs": (b"a\0b\r\n\0\0\r\nc\r\n", False),
    "dots": (b".\r\n..\r\n...three\r\n.one\r\n", True),
    "a line of 998": (b"x" * 998 + b"\r\n", True),
    "a bare CR": (b"one\rtwo\r\n", False),
    "1 MB": (b"0123456789abcdef" * 4 + b"\r\n", True),
}
BODIES["1 MB"] = (BODIES["1 MB"][0] * 16000, True)


def send(mail, body, options="BODY=8BITMIME"):
    with mail.user() as client:
        return client.message("ada@example.org", [OUTSIDE], letter(body=body), options)


@pytest.mark.parametrize("name", BODIES)
def test_body(mail, postern, sink, tmp_path, name):
    body, as_text = BODIES[name]
    daemons = postern()
    assert send(mail, body).code == 250
    delivery = sink.one()
    assert traces_in(delivery, TRACES) == []
    assert_signed(delivery, daemons, tmp_path, opendkim=as_text)
    if name != "a bare CR":  # Postfix may make a line end of it
        expected = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
        assert delivery.body == expected


NESTED = b"".join(b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (i, i + 1)
                  for i in range(10000))
MALFORMED = [(b"multipart/mixed; boundary=b0", NESTED), (b"multipart/mixed", b"--x\r\n\r\na\r\n"),
             (b'multipart/mixed; boundary="x', b"--x\r\nContent-Type\r\n\r\na\r\n--y--\r\n"),
             (b";;;=\r\nContent-Transfer-Encoding: base64", b"!!!\xff\r\n"),
             (b"message/rfc822", b"From: x@elsewhere.example\r\n\r\na\r\n")]


def test_malformed_mime_is_signed_like_any(mail, postern, sink, tmp_path):
    daemons = postern()
    for count, (kind, body) in enumerate(MALFORMED, 1):
        message = b"MIME-Version: 1.0\r\nContent-Type: " + kind + b"\r\n" + letter(body=body)
        with mail.user() as client:
            assert client.message("ada@example.org", [OUTSIDE], message,
                                  "BODY=8BITMIME").code == 250
        assert_signed(sink.wait_for(count)[-1], daemons, tmp_path)


def test_bare_line_feeds_become_line_ends_and_no_second_message(mail, postern, sink,
                                                                 tmp_path):
    """smtpd_forbid_bare_newline: <LF>.<LF> does not end the data, nor hide commands."""
    daemons = postern()
    smuggled = (b"text\n.\nMAIL FROM:<ada@example.org>\nRCPT TO:<ann@far.example>\n"
                b"DATA\nSubject: smuggled\n\nhello\n.\nend\r\n")
    with mail.user() as client:
        client.envelope("ada@example.org", [OUTSIDE])
        assert client.command("DATA").code == 354
        client.send(letter(body=smuggled) + b".\r\n")
        reply = client.reply()
        assert client.command("NOOP").code == 250, client.transcript
    if reply.code // 100 == 2:
        delivery = sink.one()
        assert delivery.recipients == [OUTSIDE]
        assert b"smuggled" in delivery.body
        assert_signed(delivery, daemons, tmp_path, opendkim=False)
    else:
        assert sink.deliveries() == []


def test_long_lines_do_not_leave_with_a_broken_signature_unseen(mail, postern, sink):
    """Postfix folds lines over 998 at delivery: Postern counts or says it, and goes on."""
    daemons = postern()
    daemons.allow("998|long line")
    assert send(mail, b"y" * 1500 + b"\r\n").code == 250
    assert len(sink.one().body.split(b"\r\n")) > 2


def resident_peak_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError(f"no VmHWM of {pid}")


def family(pid):
    """@pid and its descendants."""
    found = [pid]
    for one in found:
        for children in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def test_100_mb_with_flat_memory(mail, postern, sink, tmp_path):
    daemons = postern()
    assert send(mail, b"warm up\r\n" * 1000).code == 250
    pids = family(daemons.milter.process.pid)
    before = sum(resident_peak_kb(pid) for pid in pids)
    line = b"0123456789abcdef" * 4 + b"\r\n"
    assert send(mail, line * (100 * 1024 * 1024 // len(line))).code == 250
    grown = sum(resident_peak_kb(pid) for pid in pids) - before
    assert grown < 32 * 1024, f"the milter grew by {grown} kB"
    delivery = sink.wait_for(2, timeout=120)[1]
    assert len(delivery.data) > 100 * 1024 * 1024
    assert_signed(delivery, daemons, tmp_path, opendkim=False)
