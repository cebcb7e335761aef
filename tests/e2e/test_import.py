# SPDX-License-Identifier: BSD-2-Clause
"""`postern import opendkim`: what becomes of each line, and the same mail signed by both
programs."""

import json
import os
import pathlib
import socket
import subprocess
import time

import pytest

from milter_client import SUBMISSION, Session
from milter_daemon import milter, milter_at_rest  # noqa: F401
from private_mail.process import Process


@pytest.fixture
def imported(build, tmp_path):
    """imported(conf, **files): the fragment, and (file, line, result) to why."""
    def run(conf, **files):
        for name, text in files.items():
            (tmp_path / name).write_text(text, errors="surrogateescape")
        (tmp_path / "opendkim.conf").write_text(conf.replace("HERE", str(tmp_path)),
                                                errors="surrogateescape")
        done = subprocess.run([build / "ctl/postern", "import", "opendkim", tmp_path,
                               "--json"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)
        lines = {(pathlib.Path(line["file"]).name if line["file"] else None,
                  line["line"], line["text"]): (line["result"], line["why"])
                 for line in told["lines"]}
        silent = {number for number, text in enumerate(conf.splitlines(), 1) if text.strip()}
        silent -= {number for file, number, _ in lines if file == "opendkim.conf"}
        assert not silent, f"nothing is said of lines {silent}"
        return told["fragment"], lines
    return run


def result_of(lines, text):
    found = [result for (_, _, said), (result, _) in lines.items() if said == text]
    assert len(found) == 1, (text, lines)
    return found[0]


TABLES = "KeyTable HERE/keys\nSigningTable {}HERE/table\nInternalHosts csl:192.0.2.9\n"


def test_plain_tables(imported):
    fragment, lines = imported(
        TABLES.format(""),
        keys="# a comment\n"
             "one example.org:s1:/etc/keys/one.pem\n"
             "any %:s2:/etc/keys/%.pem\n"
             "one example.net:s9:/etc/keys/again.pem\n"
             "short example.org:s1\n"
             "inline example.org:s1:MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"
             "odd/name example.edu:s3:/etc/keys/odd.pem\n",
        table="example.org one\n"
              ".example.org one\n"
              "EXAMPLE.com. any\n"
              "ada@example.org one\n"
              "example.org any\n"
              "example.info one   # signs as another domain\n"
              "example.edu odd/name\n"
              ".sub.example any\n"
              "* one\n"
              "example.dev nobody\n")
    keys = fragment["milter"]["dkim"]["keys"]
    assert keys["one"] == {"selector": "s1", "file": "/etc/keys/one.pem",
                           "domain": "example.org"}
    assert keys["example.com"] == {"selector": "s2", "file": "/etc/keys/example.com.pem"}
    assert keys["odd_name"]["file"] == "/etc/keys/odd.pem"
    domains = fragment["domains"]
    assert domains["example.org"] == {"dkim": ["one"], "subdomains": True}
    assert domains["example.com"] == {"dkim": ["example.com"]}
    assert domains["example.info"] == {"dkim": ["one"]}
    assert domains["sub.example"]["subdomains"] is True
    assert set(domains) == {"example.org", "example.com", "example.info", "example.edu",
                            "sub.example"}
    for text, result in {
            "one example.org:s1:/etc/keys/one.pem": "converted",
            "one example.net:s9:/etc/keys/again.pem": "refused",
            "short example.org:s1": "refused",
            "inline example.org:s1:MIIEvQIBADANBgkqhkiG9w0BAQEFAASC": "refused",
            "example.org one": "converted", ".example.org one": "converted",
            "EXAMPLE.com. any": "converted", "ada@example.org one": "refused",
            "example.org any": "refused", "example.info one": "converted",
            ".sub.example any": "changed", "* one": "refused",
            "example.dev nobody": "refused"}.items():
        assert result_of(lines, text) == result, text


def test_wildcards(imported):
    fragment, lines = imported(
        TABLES.format("refile:"),
        keys="k example.org:s1:/etc/keys/k.pem\n",
        table="*@example.org k\n*@*.example.org k\n*@mail*.example.com k\n"
              "ada@* k\n*example.net k\n*@example.net k\n* k\n")
    assert fragment["domains"] == {
        "example.org": {"dkim": ["k"], "subdomains": True}, "example.net": {"dkim": ["k"]}}
    assert [result for (file, _, _), (result, _) in lines.items() if file == "table"] == [
        "converted", "converted", "refused", "refused", "refused", "converted", "refused"]


def test_hosts(imported):
    fragment, lines = imported(
        "InternalHosts HERE/hosts\nExternalIgnoreList HERE/hosts\n",
        hosts="127.0.0.1\n::1\n10.0.0.0/8\n192.0.2.77/24\n!10.0.0.66\nmail.example.net\n"
              ".lan.example\n0.0.0.0/0\n300.1.2.3\n")
    assert fragment["relay"]["hosts"] == [
        "127.0.0.1", "::1", "10.0.0.0/8", "192.0.2.0/24", "!10.0.0.66",
        "host:mail.example.net", ".lan.example"]
    assert result_of(lines, "0.0.0.0/0") == "refused"
    assert result_of(lines, "300.1.2.3") == "refused"
    assert result_of(lines, "127.0.0.1") == "changed"
    fragment, _ = imported("Syslog yes\n")
    assert fragment["relay"]["hosts"] == ["127.0.0.1"]  # OpenDKIM's default


def test_bytes_that_are_no_text(imported):
    """Latin-1 in one line costs that line; the others are converted."""
    fragment, lines = imported(
        TABLES.format("refile:") + "OversignHeaders From,S\udcfcb\n",
        keys="b\udcfcro example.org:s1:/etc/keys/one.pem\n"
             "file example.org:s1:/etc/keys/\udcfc.pem\n"
             "good example.net:s1:/etc/keys/good.pem\n",
        table="*@example.net good\n*@example.org b\udcfcro\n*@m\udcfcll.example good\n"
              "*@example.com g\0od\n*@example.dev good\n")
    assert fragment["domains"] == {"example.net": {"dkim": ["good"]}}
    assert set(fragment["milter"]["dkim"]["keys"]) == {"good"}
    for text in ("OversignHeaders From,S\\xfcb", "*@example.org b\\xfcro",
                 "b\\xfcro example.org:s1:/etc/keys/one.pem",
                 "file example.org:s1:/etc/keys/\\xfc.pem", "*@m\\xfcll.example good"):
        assert result_of(lines, text) == "refused", text
    (why,) = [why for (_, _, said), (_, why) in lines.items()
              if said.startswith("SigningTable")]
    assert why.endswith(":4: a line with a NUL in it")
    fragment, lines = imported("Domain example.org\nSelector s\udcfc\nKeyFile /k\n")
    assert result_of(lines, "Selector s\\xfc") == "refused" and "domains" not in fragment


def test_every_parameter_is_told_of(imported):
    """No line goes without a word, also one that OpenDKIM itself would not know."""
    conf = ("Mode v\nCanonicalization relaxed\nNameservers 192.0.2.1,192.0.2.2\n"
            "OversignHeaders From,To\nOn-InternalError accept\nSignHeaders From\n"
            "BodyLengthDB file:/x\nSocket inet:8891\nNoSuchThing at all\n"
            "KeyTable ldap://x/y\nSigningTable /does/not/exist\nDomain a.example\n"
            "InternalHosts HERE/none\nSubDomains yes\nMultipleSignatures yes\n"
            "Selector a\nSelector b\n")
    fragment, lines = imported(conf)
    dkim = fragment["milter"]["dkim"]
    assert dkim["canonicalization"] == "relaxed/simple"  # RFC 6376, 3.5
    assert dkim["oversign"] == ["From", "To"] and dkim["on_error"] == "accept"
    assert fragment["dns"]["servers"] == ["192.0.2.1", "192.0.2.2"]
    assert result_of(lines, "KeyTable ldap://x/y") == "refused"
    assert result_of(lines, "SigningTable /does/not/exist") == "refused"
    assert result_of(lines, "NoSuchThing at all") == "refused"
    assert result_of(lines, "Domain a.example") == "refused"  # the SigningTable counts
    assert result_of(lines, "MultipleSignatures yes") == "converted"
    _, lines = imported("Domain a.example\nSelector s\nSubDomains no\n")
    assert {result for (file, _, _), (result, _) in lines.items() if file} == {"refused"}


def test_wrong_use(build, tmp_path):
    def run(*args):
        return subprocess.run([build / "ctl/postern", "import", *args],
                              capture_output=True, text=True, timeout=60).returncode
    assert run() == 64
    assert run("opendkim") == 64
    assert run("sendmail", tmp_path) == 64
    assert run("opendkim", tmp_path / "nothing") == 1
    (tmp_path / "fifo").parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / "fifo")
    assert run("opendkim", tmp_path / "fifo") == 1


def test_hostile_input(build, tmp_path):
    """Whatever stands in there, the command ends and its output is one JSON document."""
    (tmp_path / "opendkim.conf").write_bytes(
        b"KeyTable csl:" + b"a=b:c:/d," * 5000 + b"\n"
        b"SigningTable csl:" + b"%x\x1b]0;=a," * 100 + b"\n\xff\xfe\x00 Mode s\n")
    done = subprocess.run([build / "ctl/postern", "import", "opendkim", tmp_path, "--json"],
                          capture_output=True, timeout=60)
    assert done.returncode in (0, 1)
    assert b"\x1b" not in done.stdout + done.stderr
    if done.returncode == 0:
        json.loads(done.stdout)


AUTHORS = {"ada@example.org": True, "bob@host.example.org": True, "joe@example.com": True,
           "x@example.info": True, "eve@unlisted.example": False}

CONF = """\
Mode s
Canonicalization relaxed/simple
Syslog no
RequireSafeKeys no
InternalHosts 192.0.2.5
KeyTable {folder}/keys
SigningTable {kind}{folder}/table
"""


def tags_of(address, client, author):
    """d=, s=, a=, c= of the signature that the milter at @address makes; None: none."""
    macros = {name: value for name, value in SUBMISSION.items()
              if name not in ("{auth_authen}", "{auth_type}", "{daemon_port}")}
    macros.update({"{client_addr}": client, "{client_name}": "host.example.net",
                   "{daemon_port}": "25"})
    headers = [("From", f" Someone <{author}>"), ("To", " joe@outside.example"),
               ("Subject", " Minutes"), ("Date", " Mon, 5 Jan 2026 08:00:09 +0000"),
               ("Message-ID", " <minutes@example.org>")]
    with Session(address, macros) as session:
        session.connect_from("host.example.net", client)
        session.helo()
        reply = session.message(headers, b"Dear Joe,\r\n", sender=author)
    assert reply.verdict in ("continue", "accept"), reply
    signatures = [edit[3] for edit in reply.edits if edit[2] == "DKIM-Signature"]
    if not signatures:
        return None
    assert len(signatures) == 1
    tags = dict(part.strip().split("=", 1)
                for part in signatures[0].replace("\n", "").split(";") if part.strip())
    return {name: tags[name].strip() for name in "dsac"}


def listens(address):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address) == 0


@pytest.fixture
def opendkim():
    """opendkim(conf, address): starts it, and returns once it listens."""
    started = []

    def start(conf, address):
        started.append(Process("opendkim", ["opendkim", "-f", "-x", conf, "-p",
                                            f"local:{address}"]))
        deadline = time.monotonic() + 30
        while not listens(address):
            assert started[-1].returncode is None, started[-1].lines()
            assert time.monotonic() < deadline
            os.sched_yield()

    yield start
    for process in started:
        process.stop()


@pytest.mark.parametrize("wildcards", [False, True], ids=["plain", "refile"])
def test_both_sign_alike(milter_at_rest, build, workspace, opendkim,  # noqa: F811
                         wildcards):
    """The same mails through OpenDKIM and through Postern with what was imported."""
    folder = workspace.directory(f"opendkim-{wildcards}", mode=0o755)
    key = milter_at_rest.make_key("default")
    at = "*@" if wildcards else ""
    (folder / "keys").write_text(f"one example.org:s1:{key}\ntwo example.com:s2:{key}\n")
    (folder / "table").write_text(
        f"{at}example.org one\n{at}{'*' if wildcards else ''}.example.org one\n"
        f"{at}example.com two\n{at}example.info one\n")
    (folder / "opendkim.conf").write_text(
        CONF.format(folder=folder, kind="refile:" if wildcards else ""))
    done = subprocess.run([build / "ctl/postern", "import", "opendkim", folder],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "table:1: converted" in done.stderr, done.stderr

    settings = dict(json.loads(done.stdout), defaults={"dkim": []})
    keys = settings["milter"]["dkim"]["keys"]
    keys["default"] = {"selector": "unused", "file": str(key)}
    milter_at_rest.start(settings)
    opendkim(folder / "opendkim.conf", str(folder / "socket"))
    for author, signed in AUTHORS.items():
        ours = tags_of(milter_at_rest.address, "192.0.2.5", author)
        theirs = tags_of(str(folder / "socket"), "192.0.2.5", author)
        assert ours == theirs, author
        assert (ours is not None) == signed, author
    for address in (milter_at_rest.address, str(folder / "socket")):
        assert tags_of(address, "198.51.100.1", "ada@example.org") is None, "a stranger"
