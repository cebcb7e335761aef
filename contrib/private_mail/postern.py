# SPDX-License-Identifier: BSD-2-Clause
"""Postern's daemons on a private mail system: configuration, start, reload, end."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

from . import dkim_check
from .process import Process, ProcessError
from .workspace import SERVICE_USER, own

SANITIZER_REPORT = re.compile(
    r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:")
# Any report ends the program at once, with a code of its own. Freed memory is kept aside
# in small measure only, so that tests may look at a daemon's size.
SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "exitcode=99:halt_on_error=1:detect_stack_use_after_return=1:"
                    "quarantine_size_mb=2",
    "UBSAN_OPTIONS": "exitcode=99:halt_on_error=1:print_stacktrace=1",
}


def merged(base, more):
    """@base with @more laid over it: objects are merged, all else is replaced."""
    result = dict(base)
    for key, value in more.items():
        old = result.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        result[key] = merged(old, value) if both else value
    return result


def write_whole(path, text):
    """Replaces @path in one step: a reload that is under way reads the old or the new."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    os.replace(draft, path)


class Daemon:
    """One of Postern's daemons, told to say when it is ready on a socket of ours."""

    def __init__(self, program, configuration, workspace):
        self.program = pathlib.Path(program)
        self.name = self.program.name
        self.configuration = configuration
        self._notify_path = workspace.top / f"{self.name}.notify"
        self._notify = None
        self.process = None
        self._before = []  # lines of earlier processes
        self._ended_with = 0

    def start(self, timeout=30):
        self.launch()
        self.wait_for_notice("READY=1", timeout)

    def launch(self, before=(), **popen):
        """Starts it without waiting: it may be about to fail. @before: a command that
        prepares something and becomes the daemon."""
        self._close_notify()
        self._notify_path.unlink(missing_ok=True)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self._notify_path))
        self._notify_path.chmod(0o777)
        self.process = Process(
            self.name, [*before, self.program, "-c", self.configuration], **popen,
            env=dict(os.environ, **SANITIZER_ENVIRONMENT,
                     NOTIFY_SOCKET=str(self._notify_path)))

    def wait_for_notice(self, word, timeout=30):
        """Waits until the daemon has told systemd, that is us, @word.

        Returns the lines that came until then.
        """
        deadline = time.monotonic() + timeout
        told = []
        while time.monotonic() < deadline:
            self._notify.settimeout(0.2)
            try:
                lines = self._notify.recv(4096).decode().split("\n")
            except socket.timeout:
                if self.process.returncode is not None:
                    break
                continue
            told += lines
            if word in lines:
                return told
        said = "\n  ".join(self.output())
        raise ProcessError(f"{self.name} did not say {word}:\n  {said}")

    def reload(self, fails=False):
        """SIGHUP, and waits until it is done; @fails: the old configuration goes on."""
        self._forget_notices()
        self.hang_up()
        self.wait_for_notice("RELOADING=1")
        told = self.wait_for_notice("READY=1")
        status = " ".join(line for line in told if line.startswith("STATUS="))
        if ("old configuration" in status) != fails:
            said = "\n  ".join(self.output())
            raise ProcessError(f"{self.name}: reload ended with {status!r}:\n  {said}")

    def _forget_notices(self):
        self._notify.setblocking(False)
        try:
            while True:
                self._notify.recv(4096)
        except BlockingIOError:
            pass

    def output(self):
        return self._before + (self.process.lines() if self.process else [])

    def all_lines(self, word):
        """Ends it; all its lines with @word. What it logs may come after what it answers."""
        self.stop()
        return [line for line in self.output() if word in line]

    def mark(self):
        return self.process.mark()

    def hang_up(self):
        self.process.signal(signal.SIGHUP)

    def kill(self):
        """kill -9, its children included."""
        self.process.kill_group()
        self._forget()

    def stop(self, timeout=30):
        """SIGTERM; returns the exit code, also of one that was stopped before."""
        if self.process:
            self._ended_with = self.process.stop(timeout)
            self._forget()
        return self._ended_with

    def _forget(self):
        self.process.wait()
        self._before += self.process.lines()
        self.process = None
        self._close_notify()

    def _close_notify(self):
        if self._notify:
            self._notify.close()
            self._notify = None


class Postern:
    """Both daemons and the one configuration they read, for one private Postfix.

    The programs are copied from @build into the workspace, because the user that they
    become may not be able to walk to a checkout.
    """

    def __init__(self, workspace, postfix, build, name="postern"):
        self._workspace = workspace
        self.postfix = postfix
        self.etc = workspace.directory(name, "etc")
        self.keys = workspace.directory(name, "keys", owner=SERVICE_USER, mode=0o700)
        programs = workspace.directory(name, "bin")
        self.configuration = self.etc / "postern.json"
        self.command_path = _copy(build / "ctl" / "postern", programs)
        self.policyd = Daemon(_copy(build / "policyd" / "postern-policyd", programs),
                              self.configuration, workspace)
        self.milter = Daemon(_copy(build / "milter" / "postern-milter", programs),
                             self.configuration, workspace)

    def make_key(self, name, algorithm="RSA"):
        """A key in keys/NAME.pem that the service user owns; returns its path."""
        path = self.keys / f"{name}.pem"
        if not path.exists():
            dkim_check.make_key(path, algorithm)
            path.chmod(0o600)
            own(path, SERVICE_USER)
        return path

    def basis(self):
        """What every configuration here begins with; the rest is the defaults'."""
        ports = self.postfix.ports
        submission = [ports["submission"], ports["submissions"]]
        sockets = self.postfix.sockets
        return {
            "hostname": "gw.example.org",
            "domains": {"example.org": {}},
            "auth": {"blocked_ports": [ports["smtp"], ports["smtp_auth"]],
                     "submission_ports": submission},
            "policyd": {"listen": [f"unix:{sockets}/policy"], "user": SERVICE_USER,
                        "control": "", "state": "", "status": ""},
            "milter": {
                "listen": [f"unix:{sockets}/milter"], "user": SERVICE_USER,
                "control": "", "status": "",
                "dkim": {"keys": {"default": {"selector": "s2026",
                                              "file": str(self.make_key("default"))}},
                         "require_dns": False, "state": ""},
                "mask": {"ports": submission}},
            "defaults": {"dkim": ["default"]},
            "log": {"decisions": ""},
        }

    def configure(self, settings=None):
        """Writes the basis with @settings laid over it."""
        text = json.dumps(merged(self.basis(), settings or {}), indent=1)
        write_whole(self.configuration, text + "\n")

    def start(self, settings=None):
        self.configure(settings)
        self.policyd.start()
        self.milter.start()

    def stop(self):
        """Ends both; returns their exit codes by name."""
        return {daemon.name: daemon.stop() for daemon in self.both()}

    def both(self):
        return (self.policyd, self.milter)

    def command(self, *args):
        """Runs the `postern` command."""
        return self.run(self.command_path, *args)

    def run(self, *argv):
        """Runs a program that ends by itself; exit code and output are in the result."""
        return subprocess.run([str(arg) for arg in argv], capture_output=True, text=True,
                              timeout=60, env=dict(os.environ, **SANITIZER_ENVIRONMENT))


def _copy(program, directory):
    target = directory / program.name
    shutil.copy(program, target)
    target.chmod(0o755)
    return target
