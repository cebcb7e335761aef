# SPDX-License-Identifier: BSD-2-Clause
"""A child process whose output lines can be waited for."""

import os
import re
import signal
import subprocess
import threading
import time


class ProcessError(Exception):
    pass


class Process:
    """Runs @argv in a session of its own; standard output and error are collected.

    The child is ended by its pid, or by the process group that it leads, never by name.
    """

    def __init__(self, name, argv, **popen):
        self.name = name
        self.argv = [str(arg) for arg in argv]
        self._lines = []
        self._ended = False
        self._changed = threading.Condition()
        self._child = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, **popen)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self):
        return self._child.pid

    @property
    def returncode(self):
        return self._child.poll()

    def _read(self):
        with self._child.stdout as stream:
            for raw in stream:
                line = raw.decode("utf-8", "backslashreplace").rstrip("\n")
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def mark(self):
        """Where the output stands now, for lines() and wait_for_line()."""
        with self._changed:
            return len(self._lines)

    def lines(self, since=0):
        with self._changed:
            return self._lines[since:]

    def wait_for_line(self, pattern, since=0, timeout=20):
        """The first line from @since on that @pattern is found in."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout
        looked = since
        with self._changed:
            while True:
                while looked < len(self._lines):
                    if expression.search(self._lines[looked]):
                        return self._lines[looked]
                    looked += 1
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "ended" if self._ended else f"said nothing in {timeout} s"
                    said = "\n  ".join(self._lines[-30:])
                    raise ProcessError(
                        f"{self.name}: no line like {pattern!r}; it {why}:\n  {said}")
                self._changed.wait(left)

    def wait(self, timeout=20):
        """Waits for its end and its last line; returns the exit code (-N: signal N)."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} (pid {self.pid}) still runs after {timeout} s")
        self._reader.join(timeout)
        return code

    def signal(self, number):
        self._child.send_signal(number)

    def stop(self, timeout=20):
        """Ends it gently, or by force when that takes too long. Returns the exit code."""
        if self._child.poll() is None:
            self._child.terminate()
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill_group()
        return self.wait()

    def kill_group(self):
        """kill -9 to it and to the children in its session's first process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._child.wait()
