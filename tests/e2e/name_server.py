# SPDX-License-Identifier: BSD-2-Clause
"""A DNS server of the test's own, which answers as the test says."""

import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


class NameServer:
    """tests/dns_server.py as a child."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-B", ROOT / "tests" / "dns_server.py"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.address = f"127.0.0.1:{self.process.stdout.readline().split()[1]}"

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer == "ok" or answer.isdigit(), answer
        return answer

    def count(self, name, kind):
        return int(self.say(f"count {name} {kind}"))

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()
