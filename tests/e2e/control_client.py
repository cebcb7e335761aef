# SPDX-License-Identifier: BSD-2-Clause
"""A client of the control sockets that speaks their protocol by hand, and the daemon with
both of them open."""

import json
import os
import socket
import subprocess

from private_mail.postern import SANITIZER_ENVIRONMENT


class Control:
    """One connection to a control socket."""

    def __init__(self, path, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self._file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next reply; None when the daemon has closed the connection."""
        try:
            line = self._file.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def ask(self, command, **members):
        self.send(json.dumps({"command": command, **members}).encode() + b"\n")
        return self.line()


def controlled(policyd_at_rest, **settings):
    """A running daemon with both control sockets."""
    daemon = policyd_at_rest()
    daemon.control = daemon.top / "run" / "control"
    daemon.login = daemon.top / "run" / "login"
    policyd = {"control": f"unix:{daemon.control}",
               "login_socket": f"unix:{daemon.login}", "login_mode": "0666"}
    daemon.run(**{**settings, "policyd": {**policyd, **settings.get("policyd", {})}})
    return daemon


class Command:
    """The `postern` command against a daemon's configuration."""

    def __init__(self, build, daemon):
        self._program, self._daemon = build / "ctl" / "postern", daemon

    def __call__(self, *args, **options):
        return subprocess.run(
            [self._program, *args, "-c", self._daemon.configuration], text=True,
            capture_output=True, timeout=60, env={**os.environ, **SANITIZER_ENVIRONMENT},
            **options)

    def json(self, *args):
        """What it answers with --json; it must answer."""
        done = self(*args, "--json")
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout)
