# SPDX-License-Identifier: BSD-2-Clause
"""Signatures of postern-milter, asked for over the milter protocol: whatever shape a
message has, two verifiers agree with its signature, or it is refused."""

import pathlib
import random

import pytest

from milter_client import SUBMISSION
from milter_daemon import milter, milter_at_rest  # noqa: F401
from signatures import opendkim_says

HEADERS = [("From", " Ada <ada@example.org>"), ("To", " joe@outside.example"),
           ("Subject", " Minutes"), ("Date", " Mon, 5 Jan 2026 08:00:09 +0000"),
           ("Message-ID", " <minutes@example.org>")]

# Name to body, and whether OpenDKIM's test mode, which reads lines of text, can read it.
BODIES = {
    "empty": (b"", True),
    "one empty line": (b"\r\n", True),
    "only empty lines": (b"\r\n" * 7, True),
    "no final CRLF": (b"first\r\nlast", True),
    "one line without an end": (b"x", True),
    "trailing blank lines": (b"text\r\n\r\n \r\n\t\r\n", True),
    "blanks": (b"one  \t \r\n  two\t\ttabs \r\n \r\nx\r\n", True),
    "8-bit": (bytes(range(0x80, 0x100)) + b"\r\n", True),
    "controls": (bytes(set(range(1, 32)) - {10, 13}) + b"\r\n\x7f\r\n", True),
    "NULs": (b"a\0b\r\n\0\0\r\nc\r\n", False),
    "dots": (b".\r\n..\r\n...three\r\n.one\r\n", True),
    "998": (b"x" * 998 + b"\r\n", True),
    "blank on blank": (b" " * 5000 + b"\r\n" + b"\t" * 3000 + b"x\r\n", True),
    "64 KiB": (b"0123456789abcdef" * 4096 + b"\r\n", True),
}


@pytest.fixture(scope="module", params=["relaxed/relaxed", "simple/simple",
                                        "relaxed/simple", "simple/relaxed"])
def canonicalization(request):
    return request.param


def started(milter, canonicalization="relaxed/relaxed", **more):  # noqa: F811
    daemon = milter(milter={"dkim": {"canonicalization": canonicalization}}, **more)
    return daemon


def test_bodies(milter, canonicalization, tmp_path):  # noqa: F811
    daemon = started(milter, canonicalization)
    with daemon.session() as session:
        for name, (body, as_text) in BODIES.items():
            for chunk in (65535, 1 if len(body) < 10000 else 4097, 7 if len(body) < 10000 else 8191):
                reply = session.message(HEADERS, body, chunk=chunk)
                message = daemon.assert_signed(HEADERS, body, reply)
            if as_text:
                said = opendkim_says(message, daemon.records(), tmp_path)
                assert "succeeded" in said and "failed" not in said, (name, said)


def test_bodies_that_cannot_be_signed_are_refused(milter):  # noqa: F811
    daemon = started(milter)
    with daemon.session() as session:
        for body in (b"a\rb\r\n", b"a\r", b"\r\r\n", b"x" * (1024 * 1024 + 1)):
            for chunk in (65535, 1 if len(body) < 10 else 60000):
                reply = session.message(HEADERS, body, chunk=chunk)
                assert reply.verdict == "reject" and reply.text.startswith("554 5.6.0 "), reply
        assert session.message(HEADERS).verdict == "continue"


def resident_peak_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError(f"no VmHWM of {pid}")


def test_100_mb_in_chunks_of_64_kib_with_flat_memory(milter):  # noqa: F811
    daemon = started(milter)
    body = b"0123456789abcdef" * 4 + b"\r\n"
    body *= 100 * 1024 * 1024 // len(body)
    with daemon.session() as session:
        assert session.message(HEADERS, body[:1 << 20]).verdict == "continue"
        child, = daemon.children()
        before = resident_peak_kb(child)
        reply = session.message(HEADERS, body)
        grown = resident_peak_kb(child) - before
    daemon.assert_signed(HEADERS, body, reply)
    # AddressSanitizer keeps 4 MB of what was freed.
    assert grown < 8192, f"grew by {grown} kB"


HEADER_SHAPES = {
    "folded right after the colon": ("Subject", "\n Minutes"),
    "folded twice, tabs": ("To", " joe@outside.example,\n\t ann@far.example,\n  \tx@y.example"),
    "no space after the colon": ("Subject", "Minutes"),
    "many spaces": ("Subject", "    Minutes   of    it   "),
    "empty": ("Subject", ""),
    "blank": ("Subject", "   "),
    "a fold of blanks": ("Subject", " a\n \n b"),
    "8-bit": ("Subject", b" \xff\xfe gr\xc3\xb6\xc3\x9fe"),
    "UTF-8": ("Subject", " größe"),
    "capitals": ("SUBJECT", " Minutes"),
    "colons": ("Subject", ": a: b:"),
    "semicolons": ("Subject", " a; b=; c"),
    "60,000 bytes": ("Subject", " " + "x" * 59999),
    "60,000 bytes of folds": ("Subject", "\n " * 30000 + "x"),
}


def test_header_shapes(milter, canonicalization):  # noqa: F811
    daemon = started(milter, canonicalization)
    with daemon.session() as session:
        for name, header in HEADER_SHAPES.items():
            headers = [("From", " ada@example.org"), header, ("Date", " today")]
            reply = session.message(headers)
            try:
                daemon.assert_signed(headers, b"hello\r\n", reply)
            except AssertionError as error:
                raise AssertionError(f"{name}: {str(error)[:500]}") from None


def test_repeated_headers_and_other_signatures(milter, canonicalization):  # noqa: F811
    daemon = started(milter, canonicalization)
    headers = [
        ("Received", " from a by b; today"), ("DKIM-Signature", " broken; v=; ="),
        ("List-Id", " <one.example.org>"), ("Received", " from c by d; today"),
        ("Resent-From", " first@example.org"), ("From", " ada@example.org"),
        ("Resent-From", " second@example.org"), ("List-Unsubscribe", " <https://x.example>"),
        ("list-unsubscribe-post", " List-Unsubscribe=One-Click"), ("To", " x@y.example"),
        ("Resent-From", " third@example.org")]
    with daemon.session() as session:
        daemon.assert_signed(headers, b"x\r\n", session.message(headers, b"x\r\n"))


def test_headers_that_cannot_be_signed_are_refused(milter):  # noqa: F811
    daemon = started(milter)
    with daemon.session() as session:
        for value in (" a\fb", " a\vb", " a\rb", " a\x7fb", " a\x01b"):
            reply = session.message(HEADERS[:2] + [("Subject", value)])
            assert reply.verdict == "reject", (value, reply)
            assert "control character in header Subject" in reply.text
        reply = session.message(HEADERS + [("To", " x")] * 300)
        assert reply.verdict == "reject" and "too many headers" in reply.text
        reply = session.message(HEADERS + [("X-A", " b")] * 20001)
        assert reply.verdict == "reject" and "20000 headers" in reply.text
        reply = session.message(HEADERS + [("X-A", " " + "b" * 60000)] * 20)
        assert reply.verdict == "reject" and "1048576 bytes" in reply.text
        daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))


def test_what_is_signed(milter):  # noqa: F811
    daemon = started(milter)
    headers = [("Received", " from a by b; today"), ("Return-Path", " <a@b>"),
               ("X-Mailer", " x"), ("Bcc", " c@d.example"), ("Content-Type", " text/plain"),
               *HEADERS, ("Feedback-ID", " 1:2:3"), ("List-Help", " <mailto:h@example.org>")]
    with daemon.session() as session:
        reply = session.message(headers)
    daemon.assert_signed(headers, b"hello\r\n", reply)
    value = next(edit[3] for edit in reply.edits if edit[2] == "DKIM-Signature")
    assert value.startswith(" v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;"), value
    tags = dict(tag.strip().split("=", 1) for tag in value.split(";"))
    signed = "".join(tags["h"].split()).lower().split(":")
    oversigned = "from to cc subject date reply-to mime-version content-type".split()
    assert signed == ["content-type", "from", "to", "subject", "date", "message-id",
                      "feedback-id", "list-help"] + oversigned
    assert "l" not in tags and "\r" not in value
    assert all(len(line) < 80 for line in value.split("\n"))


def random_text(rng, alphabet, longest):
    return bytes(rng.choice(alphabet) for _ in range(rng.randrange(longest)))


PRINTABLE = bytes(range(33, 127))
ODD = PRINTABLE + bytes(range(128, 256)) + b"\t" * 20 + b" " * 60


def random_value(rng):
    words = [random_text(rng, ODD, 30) for _ in range(rng.randrange(8))]
    value = rng.choice([b" ", b"", b"\t", b"\n ", b"  "])
    for word in words:
        value += word + rng.choice([b" ", b"\n\t", b"\n  \t", b"  ", b"\t", b"\n "])
    return value


def random_message(rng):
    names = ["Subject", "To", "Cc", "Date", "Message-ID", "Reply-To", "MIME-Version",
             "Content-Type", "X-Odd", "Received", "List-Id", "Resent-To", "In-Reply-To"]
    headers = [("From", rng.choice([" ada@example.org", "\n\tAda <ada@example.org>",
                                    ' "Lovelace, Ada" \n <ada@example.org> (x)',
                                    "ada@example.org"]))]
    for _ in range(rng.randrange(12)):
        name = rng.choice(names)
        headers.insert(rng.randrange(len(headers) + 1),
                       (rng.choice([name, name.lower(), name.upper()]), random_value(rng)))
    lines = [random_text(rng, ODD + b"\0", 90) for _ in range(rng.randrange(25))]
    body = b"".join(line + b"\r\n" for line in lines)
    return headers, body + rng.choice([b"", b"", b"\r\n\r\n", b" \r\n", b"end"])


@pytest.mark.parametrize("form, count", [("relaxed/relaxed", 1000), ("simple/simple", 150)])
def test_random_messages(milter, form, count):  # noqa: F811
    """Odd folding, odd bytes, odd bodies, in pieces of any size: dkimpy verifies all."""
    daemon = started(milter, form)
    rng = random.Random(20260105)
    with daemon.session() as session:
        for _ in range(count):
            headers, body = random_message(rng)
            reply = session.message(headers, body, chunk=rng.choice([1 + len(body) // 7, 65535]))
            daemon.assert_signed(headers, body, reply)


def test_long_lines_are_counted(milter):  # noqa: F811
    daemon = started(milter)
    body = b"x" * 998 + b"\r\n" + b"y" * 999 + b"\r\n" + b"z" * 70000 + b"\r\n"
    with daemon.session() as session:
        daemon.assert_signed(HEADERS, body, session.message(HEADERS, body))
        daemon.daemon.process.wait_for_line("queue_id=4XyZ12 has 2 lines of more than 998 bytes")
        # Of headers those that are signed: folding another one harms nothing.
        headers = HEADERS + [("Cc", " " + "x" * 994), ("References", " " + "y" * 990 + "\n z"),
                             ("References", "\n\t" + "z" * 998 + "\n " + "z" * 997),
                             ("Sender", " " + "s" * 1000), ("X-Other", " " + "o" * 2000)]
        daemon.assert_signed(headers, b"x\r\n", session.message(headers, b"x\r\n"))
        daemon.daemon.process.wait_for_line("queue_id=4XyZ12 has 3 lines of more than 998 bytes")


def test_signed_headers_that_masking_removes_are_not_signed(milter):  # noqa: F811
    daemon = milter(milter={"mask": {"remove": ["Message-ID", "X-Mailer"]}})
    with daemon.session() as session:
        reply = session.message(HEADERS + [("X-Mailer", " x"), ("message-id", " <2>")])
        message = daemon.assert_signed(
            HEADERS + [("X-Mailer", " x"), ("message-id", " <2>")], b"hello\r\n", reply)
        assert b"message-id:" not in message.lower().replace(b"h=", b"")
    with daemon.session(dict(SUBMISSION, **{"{daemon_port}": "25"})) as session:
        message = daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))
        assert b"\r\nMessage-ID: " in message
