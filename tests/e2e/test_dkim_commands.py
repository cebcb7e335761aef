# SPDX-License-Identifier: BSD-2-Clause
"""`postern dkim genkey`, `record` and `test`, against dkimpy and opendkim-testkey."""

import json
import os
import pwd
import re
import stat
import subprocess

import dkim
import pytest

from name_server import NameServer
from private_mail import dkim_check
from private_mail.workspace import SERVICE_USER

LETTER = (b"From: ada@example.org\r\nTo: joe@outside.example\r\nSubject: x\r\n\r\nhello\r\n")


@pytest.fixture
def dns():
    server = NameServer()
    yield server
    server.stop()


class Command:
    """`postern` in a folder of its own, with a configuration beside it."""

    def __init__(self, build, folder):
        self.program = build / "ctl" / "postern"
        self.folder = folder
        self.configuration = folder / "postern.json"
        self.configure()

    def configure(self, **more):
        self.configuration.write_text(json.dumps({
            "domains": {"example.org": {}, "b.example": {"dkim": ["ed"]}, "c.example": {}},
            "defaults": {"dkim": ["rsa"]},
            "milter": {"user": SERVICE_USER, "dkim": {"keys": {
                "rsa": {"selector": "s1", "file": "keys/s1.pem"},
                "ed": {"selector": "e1", "file": "keys/e1.pem"},
                "alone": {"selector": "a1", "file": "keys/s1.pem"},
                "fixed": {"selector": "f1", "file": "keys/s1.pem", "domain": "f.example"}}}},
            **more}))

    def __call__(self, *args, code=0):
        done = subprocess.run([self.program, "dkim", *args, "-c", self.configuration],
                              capture_output=True, text=True, timeout=120, cwd=self.folder)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *args, code=0):
        return json.loads(self(*args, "--json", code=code).stdout)

    def make_keys(self):
        self("genkey", "--selector", "s1")
        self("genkey", "--selector", "e1", "--algorithm", "ed25519")


@pytest.fixture
def command(build, tmp_path):
    return Command(build, tmp_path)


@pytest.mark.parametrize("algorithm, bits", [("rsa", 2048), ("rsa", 1024), ("ed25519", 256)])
def test_genkey(command, algorithm, bits):
    size = ["--bits", str(bits)] if algorithm == "rsa" else []
    old = os.umask(0)
    try:
        made = command.json("genkey", "--algorithm", algorithm, "--selector", "s9", "--domain",
                            "B\u00fccher.example", *size)
    finally:
        os.umask(old)
    file = command.folder / "keys" / "xn--bcher-kva.example-s9.pem"
    owner = pwd.getpwnam(SERVICE_USER).pw_uid
    for path, mode in ((file, 0o600), (file.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode and path.stat().st_uid == owner
    assert made["bits"] == bits and made["algorithm"] == f"{algorithm}-sha256"
    assert made["keys"] == {"s9": {"selector": "s9", "file": "keys/" + file.name}}
    assert made["name"] == "s9._domainkey.xn--bcher-kva.example"
    text = subprocess.run(["openssl", "pkey", "-in", file, "-noout", "-text"], check=True,
                          capture_output=True, text=True).stdout
    assert (f"{bits} bit" in text) if algorithm == "rsa" else "ED25519" in text

    # The record is what dkimpy verifies signatures of the key by.
    signature = dkim.sign(LETTER, b"s9", b"xn--bcher-kva.example", file.read_bytes(),
                          signature_algorithm=f"{algorithm}-sha256".encode()) \
        if algorithm == "rsa" else None
    if signature:
        assert dkim_check.verify(signature + LETTER, {made["name"]: made["value"]})
        other = command.json("genkey", "--selector", "s10")
        assert not dkim_check.verify(signature + LETTER, {made["name"]: other["value"]})


def test_genkey_never_overwrites(command):
    command("genkey", "--selector", "s1")
    file = command.folder / "keys" / "s1.pem"
    before = file.read_bytes()
    said = command("genkey", "--selector", "s1", code=1).stderr
    assert "keys/s1.pem exists and is left as it is" in said
    command("genkey", str(file), code=1)
    # Nor through a link that points nowhere.
    link = command.folder / "link.pem"
    link.symlink_to(command.folder / "target.pem")
    command("genkey", "link.pem", code=1)
    assert file.read_bytes() == before and not (command.folder / "target.pem").exists()
    command("genkey", "no/such/folder.pem", code=1)


@pytest.mark.parametrize("args, said", [
    (["--bits", "512"], "from 1024 to 8192"), (["--bits", "2048x"], "from 1024 to 8192"),
    (["--algorithm", "dsa"], "rsa or ed25519"), (["--selector", "a b"], "a selector"),
    (["--selector", ""], "a selector"), (["--domain", "a b"], "a name such as"),
    (["--algorithm", "ed25519", "--bits", "2048"], "no choice of size"),
    (["one", "two"], "too many")])
def test_genkey_wrong_use(command, args, said):
    assert said in command("genkey", *args, code=64).stderr
    assert not (command.folder / "keys").exists()


def test_genkey_without_a_configuration(command):
    command.configuration.write_text("{")
    done = command("genkey", "--selector", "s1")
    assert "cannot be read" in done.stderr and "p=" in done.stdout
    assert (command.folder / "keys" / "s1.pem").stat().st_uid == os.geteuid()


def test_what_genkey_prints_is_taken(command):
    """Its lines put into a configuration, and the record into DNS: it matches."""
    made = command.json("genkey", "--domain", "example.org")
    command.configuration.write_text(json.dumps({
        "domains": {"example.org": {"dkim": list(made["keys"])}},
        "milter": {"user": SERVICE_USER, "dkim": {"keys": made["keys"]}}}))
    done = subprocess.run([command.program, "check", "-c", command.configuration],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert [(r["name"], r["value"]) for r in command.json("record")] == [
        (made["name"], made["value"])]


def test_record(command):
    command.make_keys()
    shown = command.json("record")
    assert [(r["key"], r["name"]) for r in shown] == [
        ("rsa", "s1._domainkey.example.org"), ("rsa", "s1._domainkey.c.example"),
        ("ed", "e1._domainkey.b.example"), ("fixed", "f1._domainkey.f.example")]
    for record in shown:
        strings = re.findall(r'"([^"]*)"', record["zone"])
        assert "".join(strings) == record["value"]
        assert all(len(text) <= 255 for text in strings)
        assert record["zone"].startswith(record["name"] + ". IN TXT ( \"")
    assert len(re.findall(r'"[^"]*"', shown[0]["zone"])) == 2
    text = command("record", "rsa").stdout
    assert shown[0]["zone"] in text.splitlines()
    assert any(line.endswith("value  " + shown[0]["value"]) for line in text.splitlines())
    # Of a file that the configuration has, by its name or through a link; and of others.
    assert [r["key"] for r in command.json("record", "keys/e1.pem")] == ["ed"]
    (command.folder / "copy.pem").write_bytes((command.folder / "keys/e1.pem").read_bytes())
    (command.folder / "copy.pem").chmod(0o600)
    assert "--selector and --domain" in command("record", "copy.pem", code=64).stderr
    (one,) = command.json("record", "copy.pem", "--selector", "x", "--domain", "y.example")
    assert one["name"] == "x._domainkey.y.example" and one["value"] == shown[2]["value"]
    assert 'did you mean "rsa"' in command("record", "rsaa", code=1).stderr
    assert "no domain has key alone" in command("record", "alone").stderr


def test_against_dns(command, dns, tmp_path):
    """What `record` prints, published: `test` and opendkim-testkey agree that it is good."""
    command.make_keys()
    other = NameServer()
    command.configure(dns={"servers": [dns.address, other.address], "timeout": "300ms"})
    rsa, _, ed, _ = command.json("record")

    def results(*args):
        return {(r["name"], r["server"]): (r["result"], r["detail"], r["remedy"])
                for r in command.json("test", *args)}
    name = rsa["name"]
    assert results("rsa")[name, dns.address] == (
        "missing", "no such name", 'publish what "postern dkim record rsa" prints')
    dns.say(f"add {name} TXT 60 {rsa['value']}")
    other.say(f"add {name} TXT 60 {ed['value'].replace('ed25519', 'rsa')}")
    dns.say(f"add {ed['name']} TXT 60 {ed['value']}")
    other.say(f"mode {ed['name']} servfail")
    found = results()
    assert found[name, dns.address][:2] == ("match", "")
    assert found[name, other.address][0] == "different"
    assert "another key" in found[name, other.address][1]
    assert found[ed["name"], dns.address][0] == "match"
    assert found[ed["name"], other.address][0] == "no answer"
    text = command("test", "rsa").stdout
    assert re.search(rf"{name} +rsa +{dns.address} +match", text), text
    assert re.search(rf"{name} +rsa +{other.address} +different +another key", text), text
    assert text.count("postern dkim record rsa") == 2  # the other domain's is missing
    assert 'no key "nobody"' in command("test", "nobody", code=1).stderr
    other.say(f"add {ed['name']} A 60 192.0.2.1")
    other.say(f"mode {ed['name']} normal")
    assert results("ed")[ed["name"], other.address][:2] == ("missing", "no TXT record there")
    other.stop()

    address, port = dns.address.split(":")
    unbound, configuration = tmp_path / "unbound.conf", tmp_path / "opendkim.conf"
    unbound.write_text("server:\n do-not-query-localhost: no\n module-config: \"iterator\"\n"
                       f"forward-zone:\n name: \".\"\n forward-addr: {address}@{port}\n")
    configuration.write_text(f"ResolverConfiguration {unbound}\n")
    for selector, code in (("s1", 0), ("nope", 69)):
        done = subprocess.run(
            ["opendkim-testkey", "-x", configuration, "-d", "example.org", "-s", selector, "-k",
             command.folder / "keys" / "s1.pem"], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
