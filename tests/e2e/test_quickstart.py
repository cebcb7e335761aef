# SPDX-License-Identifier: BSD-2-Clause
"""contrib/quickstart's show: its exit codes, what it leaves behind, and --keep.

The shell around it (packages, build) is what a fresh machine tests.
"""

import os
import re
import select
import signal
import subprocess

import pytest

from private_mail.process import Process
from private_mail.smtp import SmtpClient

PLAY = ["/usr/bin/python3", "-B", "-u"]
SCENES = 7


@pytest.fixture(autouse=True)
def nothing_left(workspace, monkeypatch):
    """The show's folder lies in one of ours, which is empty again afterwards."""
    folder = workspace.directory("show")
    monkeypatch.setenv("POSTERN_TMP", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture
def folder(request):
    return request.config.rootpath / "contrib" / "quickstart.d"


def test_all_scenes(build, folder):
    done = subprocess.run([*PLAY, folder / "play.py", "--build", build], text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"all {SCENES} scenes went as they should" in done.stdout.splitlines()[-1]
    assert "554 5.7.1 <joe@outside.example>: Relay access denied" in done.stdout
    assert "550 5.7.1 " in done.stdout and "451 4.7.1 " in done.stdout


def test_a_scene_that_fails_is_named(build, folder):
    """The blocked sender is not blocked, so scene 7 does not show what it should."""
    program = ("import sys; sys.path.insert(0, sys.argv.pop(1)); import play, scenes; "
               "scenes.BLOCKED = ''; sys.exit(play.main())")
    done = subprocess.run([*PLAY, "-c", program, folder, "--build", build], text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED in scene 7 (block_and_reload)" in done.stdout.splitlines()[-1]


def test_daemons_that_do_not_start(build, folder, tmp_path):
    for program in ("policyd/postern-policyd", "milter/postern-milter", "ctl/postern"):
        path = tmp_path / program
        path.parent.mkdir()
        path.write_text("#!/bin/sh\necho out of order\nexit 1\n")
    done = subprocess.run([*PLAY, folder / "play.py", "--build", tmp_path], text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 1
    assert "out of order" in done.stdout
    assert "FAILED in scene 0" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_show_that_is_broken_off_cleans_up(build, folder, number):
    show = Process("quickstart", [*PLAY, folder / "play.py", "--build", build])
    show.wait_for_line(r"^2\. ")
    show.signal(number)
    assert show.wait() == 1


def test_keep(build, folder):
    done = subprocess.run([*PLAY, folder / "play.py", "--build", build, "--keep"],
                          text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    keeper = int(re.search(r"stop +kill (\d+)", done.stdout)[1])
    running = os.pidfd_open(keeper)
    try:
        port = int(re.search(r"port 25 +127\.0\.0\.1:(\d+)", done.stdout)[1])
        with SmtpClient(port) as client:
            client.ehlo()
            assert client.envelope("x@elsewhere.example",
                                   ["joe@outside.example"]).code == 554
    finally:
        os.kill(keeper, signal.SIGTERM)
        ended, _, _ = select.select([running], [], [], 30)
    assert ended
