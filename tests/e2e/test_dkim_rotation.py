# SPDX-License-Identifier: BSD-2-Clause
"""Keys that follow DNS: a rotation on a real Postfix, and the milter alone where several
children, the control socket and the page matter."""

import collections
import json
import re
import socket
import stat
import subprocess
import threading
import urllib.request

import pytest

from letters import letter
from milter_client import delivered
from milter_daemon import milter, milter_at_rest, unsigned  # noqa: F401
from name_server import NameServer
from private_mail import dkim_check
from private_mail.ports import free_port
from private_mail.workspace import SERVICE_USER
from signatures import assert_unsigned, opendkim_says

OUTSIDE = "joe@outside.example"
HEADERS = [("From", " <ada@example.org>"), ("Subject", " x")]


@pytest.fixture
def dns():
    server = NameServer()
    yield server
    server.stop()


def publish(dns, selector, key_file, domain="example.org"):
    dns.say(f"add {selector}._domainkey.{domain} TXT 1 {dkim_check.public_record(key_file)}")


def withdraw(dns, selector, domain="example.org"):
    dns.say(f"del {selector}._domainkey.{domain}")


class Rotation:
    """A mail system whose domain has two keys, the new one first."""

    def __init__(self, daemons, mail, sink, dns, folder, tmp_path):
        self.daemons, self.mail, self.sink, self.dns = daemons, mail, sink, dns
        self.folder, self.tmp_path = folder, tmp_path
        self.keys = {name: daemons.make_key(name) for name in ("old", "new")}
        self.sent = 0

    def start(self):
        keys = {name: {"selector": name, "file": str(path)}
                for name, path in self.keys.items()}
        self.daemons.start({
            "dns": {"servers": [self.dns.address], "timeout": "300ms"},
            "domains": {"example.org": {"dkim": ["new", "old"]}}, "defaults": {"dkim": []},
            "milter": {"control": f"unix:{self.folder}/control",
                       "dkim": {"keys": keys,
                                "require_dns": True, "recheck": "1s", "settle": "3s",
                                "state": f"{self.folder}/dkim.json"}}})

    def mail_is_signed_by(self, selector):
        """Sends one, and has both verifiers check it with what the key's record is."""
        with self.mail.user() as client:
            assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
        self.sent += 1
        delivery = self.sink.wait_for(self.sent)[-1]
        if selector is None:
            assert_unsigned(delivery)
            return
        signatures = delivery.header("DKIM-Signature")
        assert len(signatures) == 1, delivery.head
        assert re.search(rf"\bs={selector};", signatures[0]), signatures
        records = {f"{selector}._domainkey.example.org":
                   dkim_check.public_record(self.keys[selector])}
        assert dkim_check.verify(delivery.data, records)
        said = opendkim_says(delivery.data, records, self.tmp_path)
        assert "succeeded" in said and "failed" not in said, said

    def wait_for(self, pattern, mark=0):
        self.daemons.milter.process.wait_for_line(pattern, mark)

    def keys_shown(self):
        done = self.daemons.command("status", "-c", self.daemons.configuration, "--json")
        return {key["key"]: key for key in json.loads(done.stdout)["milter"]["keys"]}


@pytest.fixture
def rotation(postern_at_rest, mail, sink, dns, workspace, tmp_path):
    folder = workspace.directory("rotation", owner=SERVICE_USER)
    for file in folder.iterdir():
        file.unlink()
    return Rotation(postern_at_rest, mail, sink, dns, folder, tmp_path)


def test_a_rotation(rotation, dns):
    daemons = rotation.daemons
    for line in ("is not published", "no longer published", "was published, and now",
                 "DNS does not answer"):
        daemons.allow(line)
    publish(dns, "old", rotation.keys["old"])
    rotation.start()
    milter = daemons.milter  # noqa: F811
    rotation.wait_for("new._domainkey.example.org of key new is not published: DNS has no "
                      "such name; key old signs for example.org; publish")
    rotation.mail_is_signed_by("old")

    # The new one's record appears, settles, takes over; nobody touches the milter.
    publish(dns, "new", rotation.keys["new"])
    rotation.wait_for("key new is published: DNS has the key; key old goes on signing")
    rotation.mail_is_signed_by("old")
    shown = rotation.keys_shown()
    assert (shown["new"]["state"], shown["new"]["signing"]) == ("published", False)
    rotation.wait_for(r"key new \(s=new, a=rsa-sha256\) signs for example.org from now on")
    rotation.mail_is_signed_by("new")

    # DNS goes away: what was known holds, and over a restart too.
    mark = milter.mark()
    dns.say("mode * servfail")
    rotation.wait_for("DNS does not answer for 2 of 2 DKIM records", mark)
    rotation.mail_is_signed_by("new")
    milter.stop()
    milter.start()
    rotation.wait_for("DNS does not answer for 2 of 2 DKIM records")
    rotation.mail_is_signed_by("new")
    shown = rotation.keys_shown()
    assert {key["state"] for key in shown.values()} == {"published"}
    assert shown["new"]["signing"] and "DNS does not answer" in shown["new"]["detail"]
    mode = (rotation.folder / "dkim.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600

    # The record vanishes: back to the old key, after three answers.
    mark = milter.mark()
    dns.say("mode * normal")
    rotation.wait_for("DNS answers for all DKIM records again", mark)
    withdraw(dns, "new")
    rotation.wait_for("key new is no longer published: .*; key old signs for example.org", mark)
    rotation.mail_is_signed_by("old")

    # And a third party puts his key there, and the old one's is withdrawn: no signature.
    mark = milter.mark()
    publish(dns, "new", rotation.daemons.make_key("default"))
    withdraw(dns, "old")
    rotation.wait_for("key new is not published: DNS has another key", mark)
    rotation.wait_for("key old is no longer published: DNS has no such name; mail of "
                      "example.org leaves without an rsa-sha256 signature", mark)
    rotation.mail_is_signed_by(None)

    # Back: at once, because nobody else signs.
    mark = milter.mark()
    publish(dns, "old", rotation.keys["old"])
    rotation.wait_for("key old is published: DNS has the key; it signs for example.org", mark)
    rotation.mail_is_signed_by("old")
    # Nothing was told for each message.
    assert not [line for line in daemons.milter.output() if "no key of domain" in line]


def test_a_restart_remembers_who_signed(rotation, dns):
    """The first key of the list is not the one that signs when nothing is known of it and
    DNS is away, because the file knows the other one."""
    daemons = rotation.daemons
    daemons.allow("is not published|DNS does not answer")
    publish(dns, "old", rotation.keys["old"])
    rotation.start()
    rotation.mail_is_signed_by("old")
    daemons.milter.stop()
    dns.say("mode * drop")
    daemons.milter.start()
    rotation.mail_is_signed_by("old")


def test_a_broken_state_file_is_said_and_survived(rotation, dns):
    daemons = rotation.daemons
    daemons.allow("is not published|milter.dkim.state: .* is broken: ")
    publish(dns, "old", rotation.keys["old"])
    (rotation.folder / "dkim.json").write_text("{")
    rotation.start()
    rotation.wait_for("error: milter.dkim.state: .*dkim.json is broken: .* learnt from DNS anew")
    rotation.mail_is_signed_by("old")


# ---- the milter alone ----

def settings_of(daemon, dns, **dkim):
    return {"dns": {"servers": [dns.address], "timeout": "300ms"},
            "milter": {"control": f"unix:{daemon.run}/control",
                       "dkim": {"require_dns": True, "recheck": "1s", "settle": "0s", **dkim}}}


def status(daemon, build):
    done = subprocess.run([build / "ctl" / "postern", "status", "-c", daemon.configuration,
                           "--json"], capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)["milter"]


@pytest.mark.threads
def test_children_see_the_same_and_one_tells(milter_at_rest, dns, build):  # noqa: F811
    daemon = milter_at_rest
    daemon.allow("is not published")
    port = free_port()
    publish(dns, "s1", daemon.key)
    settings = settings_of(daemon, dns)
    settings["milter"].update(children=4, status=f"127.0.0.1:{port}")
    daemon.start(settings)
    for _ in range(12):
        with daemon.session() as session:
            daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))
    reply = status(daemon, build)
    assert reply["program"] == "postern-milter" and reply["children"] == 4
    assert reply["messages"]["signed"] == 12, reply
    assert [(key["domain"], key["state"], key["signing"]) for key in reply["keys"]] == [
        ("example.org", "published", True), ("b.example", "unpublished", False)]
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20).read().decode()
    assert 'postern_dkim_key_published{key="default",domain="example.org"} 1' in page
    assert 'postern_dkim_key_published{key="default",domain="b.example"} 0' in page
    told = daemon.daemon.all_lines("b.example")
    assert len(told) == 1 and "mail of b.example leaves without" in told[0], told


@pytest.mark.threads
def test_changes_under_load(milter_at_rest, dns, build):  # noqa: F811
    """Messages, reloads, questions over the control socket and a record that comes and
    goes: every message is signed by one of the two keys, whole."""
    daemon = milter_at_rest
    daemon.allow("is not published|no longer published|was published, and now|lines dropped")
    keys = {name: daemon.make_key(name) for name in ("one", "two")}
    records = {f"{name}._domainkey.example.org": dkim_check.public_record(path)
               for name, path in keys.items()}
    publish(dns, "two", keys["two"])
    settings = settings_of(daemon, dns)
    settings["domains"] = {"example.org": {"dkim": ["one", "two"]}}
    settings["milter"]["dkim"]["keys"] = {
        name: {"selector": name, "file": str(path)} for name, path in keys.items()}
    daemon.start(settings)
    signed, errors, stop = collections.Counter(), [], threading.Event()

    def send():
        with daemon.session() as session:
            while not stop.is_set():
                reply = session.message(HEADERS)
                text = [edit[3] for edit in reply.edits if edit[2] == "DKIM-Signature"]
                found = re.search(r"\bs=(one|two);", text[0]) if len(text) == 1 else None
                if not found or not dkim_check.verify(
                        delivered(HEADERS, b"hello\r\n", reply.edits), records):
                    errors.append(reply)
                    return
                signed[found.group(1)] += 1
    senders = [threading.Thread(target=send) for _ in range(3)]
    for sender in senders:
        sender.start()
    for _ in range(2):
        for change, said in ((publish, "key one .*is published"),
                             (withdraw, "key one is no longer published")):
            mark = daemon.daemon.mark()
            change(dns, "one", *([keys["one"]] if change is publish else []))
            daemon.reload(" reloaded")
            assert status(daemon, build)["keys"][1]["state"] == "published"
            daemon.daemon.process.wait_for_line(said, mark)
    stop.set()
    for sender in senders:
        sender.join()
    assert not errors, errors[0]
    assert signed["one"] and signed["two"], signed


def test_a_killed_child_answers_again(milter_at_rest, dns, build):  # noqa: F811
    daemon = milter_at_rest
    daemon.allow("was killed by signal 9|is not published")
    publish(dns, "s1", daemon.key)
    daemon.start(settings_of(daemon, dns))
    since = status(daemon, build)["pid"]
    subprocess.run(["kill", "-9", str(since)], check=True)
    # Asked while nobody is there, answered by the next one.
    reply = status(daemon, build)
    assert reply["pid"] != since and reply["keys"][0]["state"] == "published"
    mode = (daemon.run / "control").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_status_shows_a_reload_that_failed(milter_at_rest, dns, build):  # noqa: F811
    daemon = milter_at_rest
    daemon.allow("is not published|wibble|is broken|not reloaded")
    daemon.start(settings_of(daemon, dns))
    assert status(daemon, build)["last_reload"]["ok"]
    daemon.configure({**settings_of(daemon, dns), "wibble": 1})
    daemon.reload("not reloaded")
    # The command reads the same broken file, so this asks without it.
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(daemon.run / "control"))
        control.sendall(b'{"command": "status"}\n{"command": "wibble"}\n{"command": 1}\n')
        with control.makefile() as lines:
            last = json.loads(lines.readline())["last_reload"]
            refused = json.loads(lines.readline())
    assert refused["ok"] is False and refused["kind"] == "usage", refused
    assert not last["ok"] and "wibble: unknown key" in last["error"]
    daemon.configure(settings_of(daemon, dns))
    daemon.reload(" reloaded")
    assert status(daemon, build)["last_reload"]["ok"]


def test_a_replaced_key_file_is_another_key(milter_at_rest, dns):  # noqa: F811
    daemon = milter_at_rest
    daemon.allow("is not published")
    publish(dns, "s1", daemon.key)
    daemon.start(settings_of(daemon, dns))
    with daemon.session() as session:
        daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))
    daemon.key.write_bytes(daemon.make_key("another").read_bytes())
    daemon.reload(" reloaded")
    with daemon.session() as session:
        assert unsigned(session.message(HEADERS))
    mark = daemon.daemon.mark()
    withdraw(dns, "s1")
    publish(dns, "s1", daemon.key)
    daemon.daemon.process.wait_for_line(
        "s1._domainkey.example.org of key default is published", mark)
    with daemon.session() as session:
        daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))


def test_no_key_signs_under_another_domain(milter_at_rest, dns):  # noqa: F811
    """b.example's key is not published; example.org's is, and is not lent."""
    daemon = milter_at_rest
    daemon.allow("is not published")
    publish(dns, "s1", daemon.key)
    daemon.start({**settings_of(daemon, dns)})
    from milter_client import SUBMISSION
    author = [("From", " <eve@b.example>")]
    with daemon.session(dict(SUBMISSION, **{"{auth_authen}": "eve@b.example"})) as session:
        assert unsigned(session.message(author, sender="eve@b.example"))
    publish(dns, "s1", daemon.key, "b.example")
    daemon.daemon.process.wait_for_line(
        "s1._domainkey.b.example of key default is published")
    with daemon.session(dict(SUBMISSION, **{"{auth_authen}": "eve@b.example"})) as session:
        reply = session.message([("From", " <eve@host.b.example>")], sender="eve@b.example")
    daemon.assert_signed([("From", " <eve@host.b.example>")], b"hello\r\n", reply, "b.example")


def test_a_key_that_needs_no_dns(milter_at_rest, dns):  # noqa: F811
    daemon = milter_at_rest
    settings = settings_of(daemon, dns)
    settings["milter"]["dkim"]["keys"] = {"default": {"require_dns": False}}
    daemon.start(settings)
    with daemon.session() as session:
        daemon.assert_signed(HEADERS, b"hello\r\n", session.message(HEADERS))
    assert dns.count("s1._domainkey.example.org", "TXT") == 0
