# SPDX-License-Identifier: BSD-2-Clause
"""Drives tests/tools/redis_probe: a redis_link alone, without the daemon."""

import json
import re
import subprocess
import threading
import time

# How long something may take that says nothing by being slow.
PATIENCE_S = 60


class LinkProbe:
    """One link; call() waits for the answer, ask() does not."""

    def __init__(self, program, folder):
        self._program, self._folder = program, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._said, self._answers, self._log = [], {}, []
        self._changed = threading.Condition()
        self._files = self._ids = 0
        self._child = None
        self._over = 0
        self._threads = []

    def write(self, redis, **more):
        """A configuration file with that "redis" section."""
        self._files += 1
        path = self._folder / f"c{self._files}.json"
        section = {} if redis is None else {"redis": redis}
        path.write_text(json.dumps({**section, **more}))
        return str(path)

    def start(self, **redis):
        self._child = subprocess.Popen(
            [str(self._program), self.write(redis)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for stream, take in ((self._child.stdout, self._take),
                             (self._child.stderr, self._take_log)):
            thread = threading.Thread(target=self._read, args=(stream, take), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    @property
    def pid(self):
        return self._child.pid

    def _read(self, stream, take):
        for line in stream:
            with self._changed:
                take(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._over += 1
            self._changed.notify_all()

    def _take(self, line):
        said = json.loads(line)
        if "id" in said:
            assert said["id"] not in self._answers, f"answered twice: {line}"
            self._answers[said["id"]] = said
        else:
            self._said.append(said)

    def _take_log(self, line):
        self._log.append(line)

    def _wait(self, found, what, timeout):
        result = None

        def look():
            nonlocal result
            result = found()
            return result is not None or self._over == 2
        with self._changed:
            self._changed.wait_for(look, timeout)
            assert result is not None, f"{what}; said: {self._said[-5:]}, log: {self._log}"
            return result

    def tell(self, *command):
        self._child.stdin.write(json.dumps(command) + "\n")
        self._child.stdin.flush()

    def _next(self, key, *command, timeout=PATIENCE_S):
        with self._changed:
            since = len(self._said)
        self.tell(*command)
        return self._wait(lambda: next((s for s in self._said[since:] if key in s), None),
                          f"no {key}", timeout)

    def ask(self, *arguments, node=None, **options):
        """Sends; returns an id for answer()."""
        self._ids += 1
        where = ("call",) if node is None else ("node", node)
        self.tell(*where, self._ids, options, *arguments)
        return self._ids

    def answer(self, number, timeout=PATIENCE_S):
        return self._wait(lambda: self._answers.get(number), f"no answer {number}", timeout)

    def call(self, *arguments, **options):
        return self.answer(self.ask(*arguments, **options))

    def patiently(self, *arguments, **options):
        """call(), however long the answer takes."""
        return self.call(*arguments, timeout=PATIENCE_S * 1000, **options)

    def good(self, *arguments, **options):
        """The reply of a call that must be answered."""
        answer = self.patiently(*arguments, **options)
        assert answer["result"] == "answered", (answer, self._log)
        return answer["reply"]

    def quickest_ms(self, *arguments, **options):
        """Of a few that all fail: a busy machine is slow now and then, who waits always."""
        answers = [self.call(*arguments, **options) for _ in range(5)]
        assert not [a for a in answers if a["result"] == "answered"], answers
        return min(answer["ms"] for answer in answers)

    def until_good(self, *arguments, timeout=PATIENCE_S, **options):
        """Calls until one is answered; returns how long that took, and its answer."""
        start = time.monotonic()
        while True:
            answer = self.call(*arguments, **options)
            took = time.monotonic() - start
            if answer["result"] == "answered":
                return took, answer
            assert took < timeout, (answer, self._log)
            time.sleep(0.005)  # between two questions

    def state(self):
        return self._next("connected", "state")

    def wait_state(self, fits, timeout=PATIENCE_S):
        deadline = time.monotonic() + timeout
        while True:
            state = self.state()
            if fits(state):
                return state
            assert time.monotonic() < deadline, (state, self._log)
            time.sleep(0.005)  # between two questions

    def until_well(self, *arguments, timeout=PATIENCE_S):
        """Calls what was refused until the trouble is over."""
        deadline = time.monotonic() + timeout
        while self.state()["trouble"]:
            assert time.monotonic() < deadline, (self.state(), self._log)
            self.good(*arguments)
            time.sleep(0.02)  # between two questions

    def set(self, redis, **more):
        self._next("set", "set", self.write(redis, **more))

    def slot(self, key):
        return self._next("slot", "slot", key)["slot"]

    def storm(self, loops, calls):
        return self._next("good", "storm", loops, calls, timeout=PATIENCE_S)

    def churn(self, rounds):
        return self._next("churned", "churn", rounds, timeout=PATIENCE_S)

    def subscribe(self, channel):
        """Returns when it holds for the first time."""
        self._next("lost", "subscribe", channel)

    def said(self, key):
        with self._changed:
            return [said[key] for said in self._said if key in said]

    def wait_said(self, key, count, timeout=PATIENCE_S):
        self._wait(lambda: self.said_count(key) >= count or None, f"no {count} {key}",
                   timeout)
        return self.said(key)

    def said_count(self, key):
        return sum(key in said for said in self._said)

    def log(self):
        with self._changed:
            return list(self._log)

    def wait_log(self, pattern, timeout=PATIENCE_S):
        expression = re.compile(pattern)
        return self._wait(
            lambda: next((line for line in self._log if expression.search(line)), None),
            f"no line like {pattern!r}", timeout)

    def stop(self):
        """Ends it; a report of a sanitizer, or another end than a good one, fails."""
        if not self._child:
            return
        if self._child.poll() is None:
            self._child.stdin.close()
        try:
            code = self._child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert code == 0, (code, self._log)
