#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Plays the scenes on a private mail system; contrib/quickstart calls it as root."""

import argparse
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from private_mail import certificate, postfix  # noqa: E402
from private_mail.postern import Postern  # noqa: E402
from private_mail.sink import Sink  # noqa: E402
from private_mail.system import MailSystem  # noqa: E402
from private_mail.workspace import Workspace  # noqa: E402

import scenes  # noqa: E402


class Stage:
    """Everything the scenes play with. close() ends and removes it all."""

    def __init__(self, build):
        self.workspace = Workspace()
        self._closers = [self.workspace.remove]
        try:
            self._set_up(build)
        except BaseException:
            self.close()
            raise

    def _set_up(self, build):
        pair = certificate.make(self.workspace.directory("tls"), "gw.example.org")
        self.sink = Sink()
        self._closers.append(self.sink.stop)
        self.mail = MailSystem(self.workspace, pair, self.sink)
        self._closers.append(self.mail.stop)
        self.mail.start()
        # The same Postfix without Postern, for the picture of what it would have sent.
        services = self.mail.postfix.ports
        bare = {service: ("smtpd_milters=", "smtpd_relay_restrictions="
                          "permit_sasl_authenticated,reject",
                          "smtpd_data_restrictions=", "smtpd_end_of_data_restrictions=")
                for service in services}
        self.bare_mail = MailSystem(self.workspace, pair, self.sink, name="bare",
                                    options=bare)
        self._closers.append(self.bare_mail.stop)
        self.bare_mail.start()
        self.postern = Postern(self.workspace, self.mail.postfix, build)
        self._closers.append(self.postern.stop)

    def close(self):
        while self._closers:
            self._closers.pop()()


def play(stage):
    """Plays all scenes; returns the names of those that failed."""
    failed = []
    try:
        scenes.prepare(stage)
    except Exception as error:
        print(f"   FAILED: {type(error).__name__}: {error}")
        return ["0 (prepare)"]
    for number, scene in enumerate(scenes.ALL, 1):
        print(f"\n{number}. {' '.join(scene.__doc__.split())}\n")
        try:
            scene(stage)
        except Exception as error:  # whatever it is, the other scenes are played too
            print(f"   FAILED: {type(error).__name__}: {error}")
            failed.append(f"{number} ({scene.__name__})")
    return failed


def explain_keeping(stage):
    ports = stage.mail.postfix.ports
    command, options = stage.postern.command_path, f"-c {stage.postern.configuration}"
    print(f"""
It goes on running, for you to talk to:

    port 25      127.0.0.1:{ports['smtp']}
    port 587     127.0.0.1:{ports['submission']}   users: ada@example.org, password lovelace
    port 465     127.0.0.1:{ports['submissions']}          bob@example.org, password cratchit
    configuration  {stage.postern.configuration}
    look           {command} status {options}
                   {command} usage {options}
    reload         kill -HUP {stage.postern.policyd.process.pid} {stage.postern.milter.process.pid}
    queue          postqueue -c {stage.mail.postfix.config} -p
    stop           kill {os.getpid()}""")


def run(build, keep):
    """The whole show; returns the exit code. With @keep it returns on SIGTERM only."""
    started = time.monotonic()
    stage = Stage(build)
    try:
        failed = play(stage)
        count, seconds = len(scenes.ALL), time.monotonic() - started
        if failed:
            print(f"\nquickstart: FAILED in scene {', '.join(failed)} ({seconds:.0f} s)")
            return 1
        print(f"\nquickstart: all {count} scenes went as they should ({seconds:.0f} s)")
        if keep:
            explain_keeping(stage)
            keep()
        return 0
    finally:
        stage.close()


def run_and_keep(build):
    """Plays in a child that stays; returns once the scenes are over."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(reader)

        def keep():
            sys.stdout.flush()
            os.write(writer, b"k")
            os.close(writer)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            signal.pause()

        return run(build, keep)
    os.close(writer)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGTERM))
    if os.read(reader, 1):
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def leave(*_):
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    hindrance = postfix.installed()
    if hindrance:
        sys.exit(f"quickstart: {hindrance}")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, leave)
    if arguments.keep:
        return run_and_keep(arguments.build)
    return run(arguments.build, None)


if __name__ == "__main__":
    sys.exit(main())
