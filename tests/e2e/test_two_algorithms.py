# SPDX-License-Identifier: BSD-2-Clause
"""rsa-sha256 and ed25519-sha256 side by side: two verifiers agree with each signature."""

import re
import subprocess

import pytest

from milter_client import delivered
from milter_daemon import milter, milter_at_rest  # noqa: F401
from private_mail import dkim_check
from private_mail.workspace import SERVICE_USER, own
from test_milter_postfix import send_many

HEADERS = [("From", " Ada <ada@example.org>"), ("To", " joe@outside.example"),
           ("Subject", " Minutes")]


def split_signatures(message):
    """One message for each DKIM-Signature, with that one alone, by its a=."""
    pattern = re.compile(rb"^DKIM-Signature:.*\r\n(?:[ \t].*\r\n)*", re.MULTILINE)
    head, blank, body = message.partition(b"\r\n\r\n")
    head += b"\r\n"
    found = list(pattern.finditer(head))
    messages = {}
    for kept in found:
        rest = b"".join(
            head[before.end() if before else 0:after.start() if after else len(head)] +
            (after[0] if after is kept else b"")
            for before, after in zip([None, *found], [*found, None]))
        algorithm = re.search(rb"\ba=([\w-]+)", kept[0])[1].decode()
        messages[algorithm] = rest + blank[2:] + body
    assert len(messages) == len(found)
    return messages


def test_splitting():
    head = b"A: 1\r\nDKIM-Signature: a=x;\r\n\tb\r\nB: 2\r\nDKIM-Signature: a=y\r\nC: 3\r\n"
    assert split_signatures(head + b"\r\nbody\r\n") == {
        "x": b"A: 1\r\nDKIM-Signature: a=x;\r\n\tb\r\nB: 2\r\nC: 3\r\n\r\nbody\r\n",
        "y": b"A: 1\r\nB: 2\r\nDKIM-Signature: a=y\r\nC: 3\r\n\r\nbody\r\n"}


def opendkim_agrees(folder, records, messages):
    """OpenDKIM's verdict on each, in its test mode, which reads lines of text."""
    keys, configuration = folder / "keys", folder / "conf"
    keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
    configuration.write_text(f"Mode v\nSyslog no\nTestPublicKeys {keys}\n")
    good = 0
    for first in range(0, len(messages), 100):
        names = []
        for number, message in enumerate(messages[first:first + 100]):
            names.append(folder / f"letter{number}")
            names[-1].write_bytes(message)
        said = subprocess.run(
            ["opendkim", "-x", configuration, "-v", "-t", ",".join(map(str, names))],
            capture_output=True, text=True, timeout=120)
        lines = (said.stdout + said.stderr).splitlines()
        verdicts = [line for line in lines if "verification" in line]
        assert len(verdicts) == len(names), "\n".join(lines)[:4000]
        bad = [line for line in verdicts if not line.endswith("succeeded")]
        assert not bad, "\n".join(bad)
        good += len(verdicts)
    return good


def two_keys(daemons, domain="example.org"):
    rsa, ed25519 = daemons.make_key("default"), daemons.make_key("ed25519", "ED25519")
    keys = {"default": {"selector": "r1", "file": str(rsa)},
            "ed25519": {"selector": "e1", "file": str(ed25519)}}
    records = {f"r1._domainkey.{domain}": dkim_check.public_record(rsa),
               f"e1._domainkey.{domain}": dkim_check.public_record(ed25519)}
    return keys, records


@pytest.mark.parametrize("form, count", [("relaxed/relaxed", 1000)])
def test_odd_letters_by_both(mail, postern_at_rest, sink, tmp_path, form, count):
    """Folded every way, odd bytes, odd bodies, through Postfix: all of them verify."""
    daemons = postern_at_rest
    keys, records = two_keys(daemons)
    daemons.start({"milter": {"dkim": {"canonicalization": form, "keys": keys},
                              "mask": {"ports": []}},
                   "defaults": {"dkim": ["ed25519", "default"]}, "limits": []})
    daemons.allow("998")
    send_many(mail, count, seed=20260321)
    letters = {"rsa-sha256": [], "ed25519-sha256": []}
    for delivery in sink.wait_for(count, timeout=240):
        assert len(delivery.header("DKIM-Signature")) == 2
        assert " a=rsa-sha256;" in delivery.header("DKIM-Signature")[0]
        for algorithm, message in split_signatures(delivery.data).items():
            letters[algorithm].append(message)
            if not dkim_check.verify(message, records):
                raise AssertionError(f"{algorithm} does not verify:\n{message}")
    for algorithm, messages in letters.items():
        assert opendkim_agrees(tmp_path, records, messages) == count, algorithm


def test_keys_of_a_domain(milter):  # noqa: F811
    """Per algorithm the first of the list; a key's own domain; lists of the domain."""
    daemon = milter()
    keys, records = two_keys(daemon)
    more = daemon.make_key("more")
    keys["more"] = {"selector": "m1", "file": str(more)}
    keys["fixed"] = {"selector": "f1", "file": str(more), "domain": "signing.example"}
    daemon.configure({"milter": {"dkim": {"keys": keys}}, "domains": {
        "example.org": {"dkim": ["more", "default", "ed25519"]},
        "b.example": {"dkim": ["ed25519"], "subdomains": True},
        "c.example": {"dkim": ["fixed"]}, "d.example": {"dkim": []}}})
    daemon.reload("configuration .* reloaded")
    expected = {"ada@example.org": ["m1 example.org rsa-sha256", "e1 example.org ed25519-sha256"],
                "x@host.b.example": ["e1 b.example ed25519-sha256"],
                "x@c.example": ["f1 signing.example rsa-sha256"],
                "x@d.example": [], "x@elsewhere.example": []}
    for author, signatures in expected.items():
        with daemon.session() as session:
            reply = session.message([("From", f" <{author}>")], sender=author)
        assert reply.verdict == "continue"
        found = []
        for edit in reply.edits:
            if edit[2] == "DKIM-Signature":
                tags = dict(tag.strip().split("=", 1) for tag in edit[3].split(";"))
                found.insert(0, f"{tags['s']} {tags['d']} {tags['a']}")
        assert found == signatures, author


def test_each_canonicalization_by_both(milter_at_rest, tmp_path):  # noqa: F811
    """libopendkim hashes another fold of an Ed25519 signature's header than it returns,
    which "simple" minds: then the header stays in one line, or is signed as relaxed."""
    daemon = milter_at_rest
    keys, records = two_keys(daemon)
    for form in ("relaxed/relaxed", "simple/simple", "simple/relaxed", "relaxed/simple"):
        daemon.configure({"milter": {"dkim": {"keys": keys, "canonicalization": form}},
                          "defaults": {"dkim": ["default", "ed25519"]}})
        if daemon.daemon.process:
            daemon.daemon.reload()
        else:
            daemon.daemon.start()
        with daemon.session() as session:
            for count in (0, 1, 10, 45, 80, 150):
                headers = HEADERS + [("References", f" <{n}@example.org>") for n in range(count)]
                body = b"a  b \r\n\r\n"
                message = delivered(headers, body, session.message(headers, body).edits)
                split = split_signatures(message)
                assert sorted(split) == ["ed25519-sha256", "rsa-sha256"]
                for algorithm, one in split.items():
                    assert dkim_check.verify(one, records), (form, count, algorithm)
                    said = re.search(rb"\bc=([a-z]+/[a-z]+)", one)[1].decode()
                    wide = algorithm == "ed25519-sha256" and count >= 80
                    assert said == (form.replace("simple/", "relaxed/") if wide else form)
                    signature = one[one.index(b"DKIM-Signature"):one.index(b"From: Ada")]
                    assert max(map(len, signature.split(b"\r\n"))) <= 998
                if count in (0, 150):
                    assert opendkim_agrees(tmp_path, records, list(split.values())) == 2


BAD_KEYS = {
    "missing": (None, "No such file"),
    "empty": (["true"], "is empty"),
    "encrypted": (["openssl", "genrsa", "-aes128", "-passout", "pass:x", "2048"],
                  "is encrypted"),
    "DER": (["openssl", "genpkey", "-algorithm", "ED25519", "-outform", "DER"], "in DER form"),
    "EC": (["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
            "ec_paramgen_curve:P-256"], "is of type EC"),
    "512 bits": (["openssl", "genrsa", "512"], "has 512 bits"),
    "768 bits": (["openssl", "genrsa", "768"], "has 768 bits"),
    "text": (["echo", "v=DKIM1; p=x"], "holds no PEM private key"),
}


def spoil(path, name):
    """Makes the good key at @path bad in some other way; returns what is said of it."""
    if name == "truncated":
        path.write_bytes(path.read_bytes()[:900])
        return "damaged or cut short"
    if name == "world-readable":
        path.chmod(0o644)
        return "is open to everybody (mode 0644); run: chmod o="
    if name == "group-writable folder":
        path.parent.chmod(0o770)
        return "writable by its group (mode 0770); run: chmod go-w"
    if name == "unreadable":
        path.chmod(0)
        own(path, "root")
        return "not readable by user id"
    path.unlink()
    path.symlink_to("/nowhere/at/all")
    return "No such file"


SPOILED = ["truncated", "world-readable", "group-writable folder", "unreadable",
           "symlink to nothing"]


@pytest.mark.parametrize("name", [*BAD_KEYS, *SPOILED])
def test_a_bad_key_at_reload_leaves_the_old_ones(milter_at_rest, name):  # noqa: F811
    """One line for it; at a start, which knows no old ones, it is exit code 78."""
    milter_at_rest.allow("default.pem|postern.json")
    daemon = milter_at_rest.start()
    good = daemon.key.read_bytes()
    if name in SPOILED:
        said = spoil(daemon.key, name)
    else:
        command, said = BAD_KEYS[name]
        daemon.key.unlink()
        if command:
            daemon.key.write_bytes(subprocess.run(command, check=True,
                                                  capture_output=True).stdout)
            daemon.key.chmod(0o600)
            own(daemon.key, SERVICE_USER)
    mark = daemon.daemon.mark()
    daemon.reload("not reloaded: the old one goes on")
    # Parent and child write each for itself, in any order.
    daemon.daemon.process.wait_for_line("default.pem", mark)
    lines = [line for line in daemon.daemon.output()[mark:] if "default.pem" in line]
    assert len(lines) == 1 and said in lines[0], lines
    with daemon.session() as session:
        reply = session.message(HEADERS)
    daemon.key.parent.chmod(0o700)
    daemon.key.unlink(missing_ok=True)
    daemon.key.write_bytes(good)
    daemon.key.chmod(0o600)
    own(daemon.key, SERVICE_USER)
    daemon.assert_signed(HEADERS, b"hello\r\n", reply)
    daemon.reload("configuration .* reloaded")


def test_a_key_file_half_written_is_refused_and_taken_when_it_is_whole(
        milter_at_rest):  # noqa: F811
    """A file that changes at run time counts at the next reload, and only whole."""
    milter_at_rest.allow("default.pem|postern.json")
    daemon = milter_at_rest.start()
    other = daemon.make_key("other").read_bytes()
    daemon.key.write_bytes(other[:len(other) // 2])
    with daemon.session() as session:
        before = session.message(HEADERS)
        daemon.reload("not reloaded: the old one goes on")
        still = session.message(HEADERS)
        daemon.key.write_bytes(other)
        unread = session.message(HEADERS)
        daemon.reload("configuration .* reloaded")
        after = session.message(HEADERS)
    daemon.assert_signed(HEADERS, b"hello\r\n", after)
    daemon.key = daemon.make_key("default")
    for reply in (before, still, unread):
        daemon.assert_signed(HEADERS, b"hello\r\n", reply)
