# SPDX-License-Identifier: BSD-2-Clause
"""postern-milter alone, with no Postfix: a test speaks the milter protocol to it."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from milter_client import Session, delivered
from private_mail import dkim_check
from private_mail.postern import SANITIZER_REPORT, Daemon, merged, write_whole
from private_mail.workspace import SERVICE_USER, own

ORDINARY = re.compile(r"^postern-milter: (?!warning: |error: )")

_pems = {}


class Milter:
    """The daemon, its configuration, and the DNS records of its key."""

    def __init__(self, workspace, build, name):
        self.top = workspace.directory(name)
        self.keys = workspace.directory(name, "keys", owner=SERVICE_USER, mode=0o700)
        self.run = workspace.directory(name, "run", owner=SERVICE_USER)
        self.configuration = self.top / "postern.json"
        self.program = self.top / "postern-milter"
        shutil.copy(build / "milter" / "postern-milter", self.program)
        self.program.chmod(0o755)
        self.address = str(self.run / "milter")
        self.daemon = Daemon(self.program, self.configuration, workspace)
        self._allowed = []
        self.exit_codes = (0,)
        self.key = self.make_key("default")

    def make_key(self, name, algorithm="RSA"):
        """A key that the service user owns; generated once for all tests."""
        path = self.keys / f"{name}.pem"
        if name not in _pems:
            dkim_check.make_key(path, algorithm)
            _pems[name] = path.read_bytes()
        path.write_bytes(_pems[name])
        path.chmod(0o600)
        own(path, SERVICE_USER)
        return path

    def configure(self, settings=None):
        basis = {
            "hostname": "gw.example.org",
            "domains": {"example.org": {}, "b.example": {"subdomains": True}},
            "defaults": {"dkim": ["default"]},
            "relay": {"hosts": ["192.0.2.7",
                                {"host": "192.0.2.8", "senders": ["@example.org", "<>"]}]},
            "policyd": {"control": "", "state": "", "status": ""},
            "milter": {
                "listen": [f"unix:{self.address}"], "user": SERVICE_USER,
                "socket_group": "", "control": "", "status": "",
                "dkim": {"keys": {"default": {"selector": "s1", "file": str(self.key)}},
                         "require_dns": False, "state": ""},
                "mask": {"ports": [587]}},
            "log": {"decisions": ""},
        }
        write_whole(self.configuration, json.dumps(merged(basis, settings or {}), indent=1))

    def start(self, settings=None):
        self.configure(settings)
        self.daemon.start()
        return self

    def session(self, macros=None):
        return Session(self.address, macros)

    def reload(self, pattern):
        """HUP; returns the line with @pattern that follows."""
        mark = self.daemon.mark()
        self.daemon.hang_up()
        return self.daemon.process.wait_for_line(pattern, mark)

    def children(self):
        pid = self.daemon.process.pid
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in text.split()]

    def allow(self, pattern):
        self._allowed.append(re.compile(pattern))

    def records(self, domain="example.org", selector="s1"):
        return {f"{selector}._domainkey.{domain}": dkim_check.public_record(self.key)}

    def assert_signed(self, headers, body, reply, domain="example.org"):
        """@reply accepted the message, with one signature that dkimpy verifies; returns
        the message."""
        assert reply.verdict == "continue", reply
        signatures = [edit for edit in reply.edits if edit[2] == "DKIM-Signature"]
        assert len(signatures) == 1 and signatures[0][:2] == ("insert", 1), reply
        message = delivered(headers, body, reply.edits)
        assert f"d={domain};" in signatures[0][3].replace("\n\t", " "), signatures
        assert dkim_check.verify(message, self.records(domain)), message[:2000]
        return message

    def inspect(self):
        code = self.daemon.stop()
        output = self.daemon.output()
        assert not any(SANITIZER_REPORT.search(line) for line in output), "\n".join(output)
        complaints = [line for line in output if not ORDINARY.search(line)
                      and not any(allowed.search(line) for allowed in self._allowed)]
        assert not complaints, "unexpected:\n  " + "\n  ".join(complaints)
        assert code in self.exit_codes, code


def unsigned(reply):
    return (reply.verdict in ("accept", "continue")
            and not any(edit[2] == "DKIM-Signature" for edit in reply.edits))


@pytest.fixture
def milter_at_rest(workspace, build, request):
    """A Milter that is neither configured nor started; inspected after the test."""
    name = "milter-" + re.sub(r"\W+", "-", request.node.name)[:24]
    milter = Milter(workspace, build, name)
    yield milter
    milter.inspect()


@pytest.fixture
def milter(milter_at_rest):
    """milter(**settings): starts it."""
    def start(**settings):
        return milter_at_rest.start(settings)
    return start


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"
