# SPDX-License-Identifier: BSD-2-Clause
"""kill -9 under load: 4xx and nothing else, nobody let in, nothing lost or unsigned."""

import os
import pathlib
import re
import signal
import threading

import pytest

from letters import TRACES, letter, traces_in
from private_mail.smtp import Disconnected
from private_mail.system import STRANGER, Refused
from signatures import assert_signed

INSIDE, OUTSIDE = "joe@inside.example", "joe@outside.example"
USERS = ("ada@example.org", "bob@example.org")


class Load:
    """Users and strangers that send until finish(), each over ever new sessions."""

    def __init__(self, mail, users=4, strangers=2):
        self._mail = mail
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self.answers = []       # (mark of the message, code) of users' messages
        self.let_in = []        # replies to strangers that were not a refusal
        self.broken = []        # what should not happen to a client at all
        self._threads = [
            *(threading.Thread(target=self._loop, args=(self._user, number))
              for number in range(users)),
            *(threading.Thread(target=self._loop, args=(self._stranger, number))
              for number in range(strangers))]
        for thread in self._threads:
            thread.start()

    def _loop(self, turn, number):
        count = 0
        while not self._stop.is_set():
            count += 1
            try:
                turn(f"m{number}-{count}-", number)
            except (Disconnected, ConnectionError):
                pass  # the message has no answer, so the client still has it
            except Exception as error:
                self.broken.append(repr(error))
                return

    def _user(self, mark, number):
        name = USERS[number % len(USERS)]
        try:
            client = self._mail.user(name)
        except Refused as refusal:
            self._note(mark, refusal.reply)
            return
        with client:
            for turn in range(3):
                text = f"{mark}{turn}."
                self._note(text, client.message(name, [OUTSIDE], letter(
                    name, body=f"{text}\r\n".encode(), upstream=turn)))

    def _note(self, mark, reply):
        with self._changed:
            self.answers.append((mark, reply.code))
            self._changed.notify_all()

    def _stranger(self, mark, number):
        with self._mail.client("smtp", STRANGER) as client:
            reply = client.envelope("ada@example.org", [OUTSIDE])
            if reply.code // 100 not in (4, 5):
                self.let_in.append(str(reply))

    def wait_for(self, is_met, timeout=60):
        """Waits until is_met(codes of all answers so far)."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.broken or is_met([code for _, code in self.answers]),
                timeout), f"{self.answers[-20:]}"

    def finish(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()

    def accepted(self):
        return {mark for mark, code in self.answers if code == 250}


def more_of(codes, kind, count):
    return sum(code // 100 == kind for code in codes) >= count


def count_of(load, kind):
    return sum(code // 100 == kind for _, code in load.answers)


def check(load, sink, daemons, folder):
    assert load.broken == []
    assert load.let_in == []
    wrong = [answer for answer in load.answers if answer[1] // 100 not in (2, 4)]
    assert wrong == [], wrong

    def marks(deliveries):
        return {delivery.body.decode().strip() for delivery in deliveries}

    accepted = load.accepted()
    deliveries = sink.wait_until(lambda all: accepted <= marks(all), timeout=60)
    for delivery in deliveries:
        assert traces_in(delivery, TRACES) == []
        assert_signed(delivery, daemons, folder, opendkim=False)


def milter_child(parent):
    text = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text()
    children = [int(child) for child in text.split()]
    assert len(children) == 1, children
    return children[0]


def test_policy_daemon_killed_under_load(mail, postern, sink, tmp_path):
    daemons = postern()
    load = Load(mail)
    try:
        load.wait_for(lambda codes: more_of(codes, 2, 20))
        daemons.policyd.kill()
        load.wait_for(lambda codes: more_of(codes, 4, 10))
        accepted = count_of(load, 2)
        daemons.policyd.start()
        load.wait_for(lambda codes: more_of(codes, 2, accepted + 20))
    finally:
        load.finish()
    check(load, sink, daemons, tmp_path)


def test_milter_killed_under_load(mail, postern, sink, tmp_path):
    daemons = postern()
    load = Load(mail)
    try:
        load.wait_for(lambda codes: more_of(codes, 2, 20))
        daemons.milter.kill()
        load.wait_for(lambda codes: more_of(codes, 4, 10))
        accepted = count_of(load, 2)
        daemons.milter.start()
        load.wait_for(lambda codes: more_of(codes, 2, accepted + 20))
    finally:
        load.finish()
    check(load, sink, daemons, tmp_path)


def test_milter_child_killed_under_load(mail, postern, sink, tmp_path):
    """The parent starts another one by itself."""
    daemons = postern()
    daemons.allow(r"child|signal 9|killed")
    load = Load(mail)
    try:
        load.wait_for(lambda codes: more_of(codes, 2, 20))
        parent = daemons.milter.process.pid
        os.kill(milter_child(parent), signal.SIGKILL)
        accepted = count_of(load, 2)
        load.wait_for(lambda codes: more_of(codes, 2, accepted + 30))
    finally:
        load.finish()
    check(load, sink, daemons, tmp_path)
    assert daemons.milter.process.pid == parent


@pytest.mark.parametrize("child_alone", [False, True])
def test_milter_killed_in_mid_message(mail, postern, sink, tmp_path, child_alone):
    """The client keeps it, over that connection all others too; a new one is served."""
    daemons = postern()
    daemons.allow("killed by signal 9")
    with mail.user() as client:
        assert client.envelope(USERS[0], [OUTSIDE]).code == 250
        assert client.command("DATA").code == 354
        client.send(letter()[:-20])
        if child_alone:
            os.kill(milter_child(daemons.milter.process.pid), signal.SIGKILL)
            daemons.milter.process.wait_for_line("child 0 serves again")
        else:
            daemons.milter.kill()
        client.send(letter()[-20:] + b".\r\n")
        assert client.reply().code == 451
        if not child_alone:
            daemons.milter.start()
        # Postfix gives up a milter that failed for the rest of the session.
        assert client.message(USERS[0], [OUTSIDE], letter()).code == 451
        with mail.user() as other:
            assert other.message(USERS[0], [OUTSIDE], letter()).code == 250
    assert_signed(sink.one(), daemons, tmp_path)


@pytest.mark.threads
def test_reloads_under_load(mail, postern, sink, tmp_path):
    """SIGHUP to both, again and again: no message is refused or unsigned."""
    daemons = postern()
    load = Load(mail, strangers=1)
    try:
        for number in range(10):
            load.wait_for(lambda codes: more_of(codes, 2, 5 * (number + 1)))
            daemons.policyd.hang_up()
            daemons.milter.hang_up()
    finally:
        load.finish()
    assert [answer for answer in load.answers if answer[1] != 250] == []
    check(load, sink, daemons, tmp_path)


def test_clients_that_leave_in_mid_message(mail, postern, sink, tmp_path):
    """An abort leaves nothing behind for the next message, on neither daemon."""
    daemons = postern()
    for _ in range(5):
        with mail.user() as client:
            client.envelope("ada@example.org", [OUTSIDE])
            assert client.command("DATA").code == 354
            client.send(b"From: Someone Else <x@elsewhere.example>\r\nReceived: from a\r\n")
    with mail.user() as client:
        client.envelope("ada@example.org", [OUTSIDE])
        client.command("RSET")
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    assert_signed(sink.one(), daemons, tmp_path)


def test_nothing_about_secrets_in_the_log(mail, postern, sink):
    daemons = postern()
    with mail.user() as client:
        client.message("ada@example.org", [OUTSIDE], letter())
    sink.wait_for(1)
    said = "\n".join(daemons.policyd.all_lines("") + daemons.milter.all_lines(""))
    assert not re.search(r"lovelace|PRIVATE KEY", said)
