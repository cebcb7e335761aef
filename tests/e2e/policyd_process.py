# SPDX-License-Identifier: BSD-2-Clause
"""postern-policyd alone, without Postfix: a private configuration, a client, its memory."""

import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
import threading
import types

from private_mail.postern import SANITIZER_REPORT, Daemon, merged

RELAY_HOST = "192.0.2.7"

GRANTED = b"action=OK\n\n"
UNDECIDED = b"action=DUNNO\n\n"
LEFT_TO_POSTFIX = b"action=reject_unauth_destination\n\n"

# Postfix 3.7's attributes, in its order.
ATTRIBUTES = {
    "request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP",
    "client_address": RELAY_HOST, "client_name": "relay.example.net",
    "client_port": "40000", "reverse_client_name": "relay.example.net",
    "server_address": "192.0.2.25", "server_port": "25",
    "helo_name": "relay.example.net", "sender": "ada@example.org",
    "recipient": "joe@outside.example", "recipient_count": "0", "queue_id": "",
    "instance": "4f2.6ad5c1b2.1c6a3.0", "size": "1000", "etrn_domain": "", "stress": "",
    "sasl_method": "", "sasl_username": "", "sasl_sender": "", "ccert_subject": "",
    "ccert_issuer": "", "ccert_fingerprint": "", "ccert_pubkey_fingerprint": "",
    "encryption_protocol": "", "encryption_cipher": "", "encryption_keysize": "0",
    "policy_context": "",
}


def request(**changes):
    """A request as Postfix sends it; a value of None leaves the attribute out."""
    attributes = {**ATTRIBUTES, **changes}
    lines = [f"{name}={value}\n" for name, value in attributes.items()
             if value is not None]
    return "".join([*lines, "\n"]).encode()


class Client:
    """One connection to the daemon."""

    def __init__(self, address, timeout=20):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self._read = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def answer(self):
        """The next answer; b"" when the daemon has closed the connection."""
        while b"\n\n" not in self._read:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                assert not self._read, f"half an answer: {self._read}"
                return b""
            self._read += data
        end = self._read.index(b"\n\n") + 2
        answer, self._read = self._read[:end], self._read[end:]
        return answer

    def ask(self, data=None):
        self.send(request() if data is None else data)
        return self.answer()

    def is_closed(self):
        """Waits for the daemon to close; False when it answers instead."""
        return self.answer() == b""


# The daemon fills one event loop with so many connections before the next one gets any.
LOOP_FILL = 128


class Load:
    """Clients that ask without a pause until finish(), each over one connection.

    Idle connections before them see to it that the clients share two event loops.
    """

    def __init__(self, address, clients=4, expected=(GRANTED,), loops=2):
        self._address, self._expected = address, expected
        self._idle = [Client(address) for _ in range(LOOP_FILL * loops)]
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.answers, self.wrong = 0, []
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        try:
            with Client(self._address) as client:
                while not self._stop.is_set():
                    answer = client.ask()
                    with self._changed:
                        self.answers += 1
                        if answer not in self._expected:
                            self.wrong.append(answer)
                            self._stop.set()
                        self._changed.notify_all()
        except OSError as error:
            self.wrong.append(repr(error))

    def wait_for(self, more, timeout=30):
        """Waits for @more answers from now on."""
        with self._changed:
            goal = self.answers + more
            assert self._changed.wait_for(
                lambda: self.wrong or self.answers >= goal, timeout), self.answers

    def finish(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        for client in self._idle:
            client.socket.close()
        assert not self.wrong, self.wrong
        return self.answers


class PolicyDaemon(Daemon):
    """The daemon under a temporary folder; `settings` are laid over a small basis."""

    def __init__(self, build):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="postern-policyd-"))
        self.top.chmod(0o755)
        self.path = str(self.top / "policy")
        super().__init__(build / "policyd" / "postern-policyd",
                         self.top / "postern.json", types.SimpleNamespace(top=self.top))
        self._allowed = []
        self.exit_code = 0

    def basis(self):
        return {
            "hostname": "gw.example.org",
            "domains": {"example.org": {}},
            "relay": {"hosts": [RELAY_HOST]},
            "policyd": {"listen": [f"unix:{self.path}"], "socket_group": "",
                        "workers": 2, "control": "", "state": "", "status": ""},
            "milter": {"control": "", "status": "", "dkim": {"state": ""}},
            "defaults": {"dkim": []},
            "log": {"decisions": ""},
        }

    def configure(self, **settings):
        """Replaces the file in one step: a reload may read it at any time."""
        new = self.configuration.with_suffix(".new")
        new.write_text(json.dumps(merged(self.basis(), settings), indent=1) + "\n")
        os.replace(new, self.configuration)

    def run(self, **settings):
        self.configure(**settings)
        self.start()
        self._close_notify()  # nobody would read more of it
        return self

    def connect(self, **options):
        return Client(self.path, **options)

    def allow(self, pattern):
        """Lines in which @pattern is found are expected in this test."""
        self._allowed.append(re.compile(pattern))

    def wait_for_line(self, pattern, since=0, timeout=20):
        return self.process.wait_for_line(pattern, since, timeout)

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def is_sanitized(self):
        """Built with a sanitizer: its memory says nothing."""
        maps = pathlib.Path(f"/proc/{self.process.pid}/maps").read_text()
        return bool(re.search(r"lib(asan|tsan|ubsan)", maps))

    def inspect(self):
        """Ends it; fails on unexpected warnings and on sanitizers' reports."""
        code = self.stop()
        output = self.output()
        shutil.rmtree(self.top, ignore_errors=True)
        assert not [line for line in output if SANITIZER_REPORT.search(line)], \
            "\n".join(output)
        expected = re.compile(r"^postern-policyd: (?!warning: |error: )"
                              r"|running as root: name an account")
        complaints = [line for line in output if not expected.search(line)
                      and not any(allowed.search(line) for allowed in self._allowed)]
        assert not complaints, "unexpected:\n  " + "\n  ".join(complaints)
        assert code == self.exit_code, "\n".join(output)
