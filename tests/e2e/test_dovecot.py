# SPDX-License-Identifier: BSD-2-Clause
"""POP-before-SMTP with a real Dovecot, by the shipped lines and the shipped script."""

import pathlib
import imaplib
import poplib
import re
import socket
import time

import pytest

from letters import letter
from private_mail.ports import free_port
from private_mail.process import Process

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "contrib" / "dovecot"
AT_HOME, ELSEWHERE = "203.0.113.9", "203.0.113.10"
OUTSIDE = "joe@outside.example"
GRACE = {"relay": {"login_grace": "1h"}}

CONFIGURATION = """\
base_dir = {base}
state_dir = {base}
log_path = /dev/stderr
protocols = pop3 imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
default_internal_user = dovecot
default_vsz_limit = {memory}
default_login_user = dovenull
# Tests say by POP3's XCLIENT and IMAP's ID whose address they have.
login_trusted_networks = 127.0.0.0/8
mail_location = maildir:{mail}/%u
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={mail}/%u
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
!include {more}
"""


class MailboxServer:
    """Dovecot with POP3 and IMAP, and contrib/dovecot with its paths made private."""

    def __init__(self, workspace, postern, login_socket):
        top = workspace.directory("mailboxes")
        self.pop3, self.imap = free_port(), free_port()
        mail = workspace.directory("mailboxes", "mail", owner="nobody", mode=0o700)
        self.script = top / "postern-login"
        text = (SHIPPED / "postern-login").read_text()
        for line, new in (("socket=unix:/run/postern/login", f"socket=unix:{login_socket}"),
                          ("postern=postern", f"postern={postern}")):
            assert f"\n{line}\n" in text
            text = text.replace(f"\n{line}\n", f"\n{new}\n")
        self.script.write_text(text)
        self.script.chmod(0o755)
        lines = (SHIPPED / "90-postern.conf").read_text()
        assert lines.count("/usr/local/libexec/postern-login") == 3
        more = top / "90-postern.conf"
        more.write_text(lines.replace("/usr/local/libexec/postern-login", str(self.script)))
        configuration = top / "dovecot.conf"
        configuration.write_text(CONFIGURATION.format(
            base=workspace.directory("mailboxes", "run"), mail=mail, pop3=self.pop3,
            imap=self.imap, more=more, memory=self._memory(postern)))
        self.process = Process("dovecot", ["dovecot", "-F", "-c", configuration])
        self.process.wait_for_line("starting up")

    @staticmethod
    def _memory(postern):
        """Dovecot's default; without a limit where sanitizers reserve terabytes."""
        program = postern.read_bytes()
        sanitized = b"__asan_init" in program or b"__tsan_init" in program
        return "0" if sanitized else "256 M"

    def pop3_login(self, address, user="ada@example.org"):
        """Logs in, looks into the mailbox, leaves; returns the seconds it took."""
        began = time.monotonic()
        session = poplib.POP3("127.0.0.1", self.pop3, timeout=20)
        session._shortcmd(f"XCLIENT ADDR={address} PORT=4000")
        session.user(user)
        session.pass_("secret")
        assert session.stat() == (0, 0)
        session.quit()
        return time.monotonic() - began

    def imap_login(self, address, user="ada@example.org"):
        session = imaplib.IMAP4("127.0.0.1", self.imap, timeout=20)
        session.xatom("ID", f'("x-originating-ip" "{address}" "x-originating-port" "4000")')
        session.login(user, "secret")
        assert session.select()[0] == "OK"
        session.logout()

    def stop(self):
        self.process.kill_group()


@pytest.fixture
def mailboxes(workspace, postern_at_rest):
    """mailboxes(**settings): the daemons, and a Dovecot that tells them of logins."""
    made = []

    def start(**settings):
        run = workspace.directory("mailboxes", "postern", owner="nobody")
        path = run / "login"
        policyd = {"login_socket": f"unix:{path}", "login_group": "dovecot",
                   "control": f"unix:{run}/control"}
        postern_at_rest.start({**settings, "policyd": {**policyd,
                                                       **settings.get("policyd", {})}})
        made.append(MailboxServer(workspace, postern_at_rest.command_path, path))
        return made[-1]

    yield start
    for server in made:
        server.stop()


def send(mail, address):
    """The reply to RCPT and what follows, for a client at @address without AUTH."""
    with mail.client("smtp") as client:
        client.xclient(addr=address, name="[UNAVAILABLE]")
        return client.message("somebody@example.org", [OUTSIDE], letter("a@example.org"))


def is_denied(reply):
    return reply.code == 554 and "Relay access denied" in reply.text


@pytest.mark.parametrize("protocol", ["pop3_login", "imap_login"])
def test_login_then_relay(mail, mailboxes, sink, protocol):
    server = mailboxes(**GRACE)
    assert is_denied(send(mail, AT_HOME))
    getattr(server, protocol)(AT_HOME)
    reply = send(mail, AT_HOME)
    assert reply.code == 250, reply
    assert sink.one().recipients == [OUTSIDE]
    assert is_denied(send(mail, ELSEWHERE))


def test_only_for_the_grace(mail, mailboxes, postern_at_rest, sink):
    server = mailboxes(relay={"login_grace": "2s"})
    began = time.monotonic()
    server.pop3_login(AT_HOME)
    reply = send(mail, AT_HOME)
    assert reply.code == 250 or time.monotonic() - began > 1.5
    deadline = time.monotonic() + 20
    while not is_denied(send(mail, AT_HOME)):
        assert time.monotonic() < deadline
    assert time.monotonic() - began > 1
    # Off: logins are taken and grant nothing.
    postern_at_rest.configure({"policyd": {
        "login_socket": f"unix:{server.script.parent}/postern/login",
        "login_group": "dovecot", "control": f"unix:{server.script.parent}/postern/control"}})
    postern_at_rest.policyd.reload()
    server.pop3_login(AT_HOME)
    assert is_denied(send(mail, AT_HOME))


def test_nobody_is_refused_for_good_while_redis_is_away(mail, mailboxes, postern_at_rest,
                                                        redis_server):
    """Another node might know of a login: Postfix's 554 becomes 450, its OK stays away."""
    redis = redis_server()
    postern_at_rest.allow("warning: redis |limit state lost")
    server = mailboxes(redis={"servers": [redis.address]}, **GRACE)
    deadline = time.monotonic() + 20
    while not is_denied(send(mail, ELSEWHERE)):
        assert time.monotonic() < deadline
    redis.kill()
    while is_denied(send(mail, ELSEWHERE)):
        assert time.monotonic() < deadline
    reply = send(mail, ELSEWHERE)
    assert reply.code == 450 and "login cannot be looked up now" in reply.text, reply
    server.pop3_login(AT_HOME)
    assert send(mail, AT_HOME).code == 250
    redis.start()
    while not is_denied(send(mail, ELSEWHERE)):
        assert time.monotonic() < deadline


def test_this_host_becomes_no_relay(mail, mailboxes):
    """Webmail logs in from loopback."""
    server = mailboxes(**GRACE)
    server.pop3_login("127.0.0.1")
    assert is_denied(send(mail, "127.0.0.1"))


def test_no_signature_for_a_login(mail, mailboxes, sink):
    server = mailboxes(**GRACE)
    server.pop3_login(AT_HOME)
    assert send(mail, AT_HOME).code == 250
    assert b"DKIM-Signature" not in sink.one().data


class Silent:
    """A login socket that takes connections and never answers."""

    def __init__(self, path):
        path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.socket.listen(10)


@pytest.mark.parametrize("trouble", ["away", "silent", "no command"])
def test_logins_go_on_whatever_happens(mailboxes, postern_at_rest, trouble):
    server = mailboxes(**GRACE)
    path = server.script.parent / "postern" / "login"
    postern_at_rest.policyd.stop()
    silent = Silent(path) if trouble == "silent" else None
    if trouble == "no command":
        text = server.script.read_text()
        server.script.write_text(re.sub(r"\npostern=.*\n", "\npostern=/nonexistent\n", text))
    assert server.pop3_login(AT_HOME) < 5  # of them one is the script's
    if silent:
        silent.socket.close()
    path.unlink(missing_ok=True)
