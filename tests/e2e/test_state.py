# SPDX-License-Identifier: BSD-2-Clause
"""The state file with the real daemon: what outlives its end, and what becomes of mail when
the file cannot be written or read."""

import itertools
import json
import os
import re
import signal
import stat
import subprocess
import time

import pytest

from policyd_process import UNDECIDED, request

LIMIT = {"name": "client-hour", "per": "client", "count": "messages", "max": 3,
         "window": "1h", "over": "defer"}
# Clients of this network are blocked at their second message.
BAN = {"name": "ban", "per": "client", "count": "messages", "max": 1, "window": "1h",
       "over": "reject", "block": "1h", "when": {"hosts": ["198.18.0.0/15"]}}
STRANGER = "203.0.113.9"
instances = itertools.count(1)


def message(client=STRANGER, **changes):
    """The end of a message that no one has asked about yet."""
    return request(protocol_state="END-OF-MESSAGE", client_address=client, recipient="",
                   recipient_count="1", queue_id="4F3D12345",
                   instance=f"4f2.{next(instances)}.1c6a3.0", **changes)


class Kept:
    """Daemons one after the other on one state file."""

    def __init__(self, policyd_at_rest):
        self.daemon = policyd_at_rest()
        self.folder = self.daemon.top / "lib"
        self.folder.mkdir()
        self.file = self.folder / "state.json"
        self.control = self.daemon.top / "control"

    def configure(self, **settings):
        self.daemon.configure(
            limits=[LIMIT, BAN], log={"level": "debug", "decisions": ""},
            policyd={"state": str(self.file), "control": f"unix:{self.control}"}, **settings)

    def start(self, **settings):
        self.configure(**settings)
        self.daemon.start()

    def command(self, build, *words):
        subprocess.run([build / "ctl" / "postern", *words, "-c", self.daemon.configuration],
                       check=True, stdout=subprocess.DEVNULL)

    def answers(self, *requests):
        with self.daemon.connect() as client:
            return [client.ask(one) for one in requests]

    def use_up(self):
        assert self.answers(message(), message(), message()) == [UNDECIDED] * 3

    def is_used_up(self):
        (answer,) = self.answers(message())
        assert answer == UNDECIDED or answer.startswith(b"action=451 4.7.1"), answer
        return answer != UNDECIDED

    def block(self, client):
        self.daemon.allow(f"limit ban: client {client} is blocked until")
        first, second, third = self.answers(
            message(client=client), message(client=client), request(client_address=client))
        assert first == UNDECIDED and second.startswith(b"action=554")
        assert third.startswith(b"action=450 4.7.1"), third

    def is_blocked(self, client):
        (answer,) = self.answers(request(client_address=client))
        return answer.startswith(b"action=450 4.7.1")

    def records(self):
        """All but the charges that were answered."""
        return [record for record in json.loads(self.file.read_text())["records"]
                if not record.keys() & {"token", "tokens"}]

    def wait_for_records(self, enough, timeout=20):
        """Returns the seconds until the file was as wanted."""
        began = time.monotonic()
        while time.monotonic() < began + timeout:
            if self.file.exists() and enough(self.records()):
                return time.monotonic() - began
            time.sleep(0.02)
        raise AssertionError(self.file.read_text() if self.file.exists() else "no file")


@pytest.fixture
def kept(policyd_at_rest):
    return Kept(policyd_at_rest)


def test_a_used_limit_outlives_a_restart(kept):
    kept.start()
    kept.use_up()
    assert kept.is_used_up()
    kept.daemon.stop()
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    assert os.listdir(kept.folder) == ["state.json"]
    (record,) = kept.records()
    assert record["counter"] == f"client-hour:{STRANGER}" and record["current"] == 3

    kept.start()
    assert kept.daemon.wait_for_line("state file .*: 1 counters, 0 blocks, 0 logins")
    assert kept.is_used_up()


def test_a_charge_is_not_repeated_over_a_restart(kept):
    """Postfix asks again what it did not hear the answer of: counted once, and answered as it
    was, be it that it fitted or that it did not."""
    kept.start()
    fitted, over = message(), message()
    (said,) = kept.answers(fitted)
    assert said == UNDECIDED
    kept.answers(message(), message())
    (refused,) = kept.answers(over)
    assert refused.startswith(b"action=451 4.7.1") and b"3 of 3" in refused, refused
    kept.daemon.stop()

    kept.start()
    assert kept.daemon.wait_for_line("outcomes of 4 charges")
    assert kept.answers(fitted) == [UNDECIDED]  # else it would be one too many
    (again,) = kept.answers(over)
    assert again.startswith(b"action=451 4.7.1") and b"3 of 3" in again, again
    assert kept.is_used_up()
    kept.daemon.stop()
    (record,) = kept.records()
    assert record["current"] + record["previous"] == 3


def test_a_clock_that_was_set_frees_nobody(kept):
    """The file as if it had been written by a clock a day and some behind, or ahead."""
    kept.start()
    kept.use_up()
    for hours in (25, -25):
        kept.daemon.stop()
        whole = kept.file.read_text()
        assert '"boot": ' in whole.splitlines()[0]
        moved = re.sub(
            r'"(time|start|at)": (\d+)',
            lambda found: f'"{found[1]}": {int(found[2]) - hours * 3600000}', whole)
        kept.file.write_text(moved)
        kept.start()
        assert kept.is_used_up()


def test_what_was_counted_without_redis_outlives_a_restart(kept):
    """Redis is away all the time: the node counts alone, and goes on from there."""
    kept.daemon.allow("error: redis|warning: redis|error: Redis")
    away = {"redis": {"servers": [f"unix:{kept.daemon.top}/none"]}}
    kept.start(**away)
    kept.use_up()
    kept.daemon.stop()
    kept.start(**away)
    assert kept.is_used_up()


def test_counters_of_limits_that_are_no_more_go(kept):
    kept.start()
    kept.use_up()
    kept.daemon.stop()
    kept.daemon.run(limits=[{**LIMIT, "name": "other"}],
                    policyd={"state": str(kept.file)})
    assert kept.answers(message()) == [UNDECIDED]
    kept.daemon.stop()
    assert [record["counter"] for record in kept.records()] == [f"other:{STRANGER}"]


def test_a_block_is_on_the_disk_within_a_second(kept):
    """And with it the counters: kill -9 loses nothing then."""
    kept.start()
    kept.use_up()
    kept.block("198.18.0.1")
    seconds = kept.wait_for_records(
        lambda records: any("block" in record for record in records))
    assert seconds < 5  # a second, on a machine that has nothing else to do
    kept.daemon.kill()

    kept.start()
    assert kept.is_blocked("198.18.0.1") and not kept.is_blocked("198.18.0.2")
    assert kept.is_used_up()


def test_blocks_and_logins_by_command(kept, build):
    relay = {"relay": {"hosts": [], "login_grace": "1h"}}
    kept.start(**relay)
    kept.command(build, "block", "client", "198.51.100.7", "--reason", 'says "no"')
    kept.command(build, "login", STRANGER, "--user", "ada@example.org")
    kept.wait_for_records(lambda records: len(records) == 2)
    kept.daemon.kill()

    kept.start(**relay)
    blocked, granted = kept.answers(
        request(client_address="198.51.100.7"), request(client_address=STRANGER))
    assert blocked.startswith(b"action=554 5.7.1") and b"says" in blocked
    assert granted == b"action=OK\n\n"
    kept.command(build, "unblock", "client", "198.51.100.7")
    kept.wait_for_records(lambda records: [*records[0]][0] == "lifted")
    kept.daemon.kill()
    kept.start(**relay)
    assert not kept.answers(request(client_address="198.51.100.7"))[0].startswith(b"action=554")


def test_a_thousand_blocks(kept):
    head = ('{"postern": "state", "version": 1, "time": %d, "records": [\n'
            % (time.time() * 1000))
    blocks = [{"block": "client", "subject": f"198.18.{n // 250}.{n % 250 + 1}",
               "since": int(time.time()), "until": 0 if n % 2 else 4102444800,
               "automatic": False, "by": "root@gw1", "reason": f"number {n}"}
              for n in range(1000)]
    kept.file.write_text(
        head + ",\n".join(map(json.dumps, blocks)) + '\n], "count": 1000}\n')
    kept.start()
    kept.daemon.wait_for_line("0 counters, 1000 blocks, 0 logins")
    for block in (blocks[0], blocks[501], blocks[999]):
        (answer,) = kept.answers(request(client_address=block["subject"]))
        assert block["reason"].encode() in answer
    kept.use_up()  # something to save
    kept.daemon.stop()
    saved = [record for record in kept.records() if "block" in record]
    key = lambda block: block["subject"]  # noqa: E731
    assert sorted(saved, key=key) == sorted(blocks, key=key)


def test_a_broken_file(kept):
    kept.file.write_text("half of some")
    kept.daemon.allow("it is no state file of this version; kept as .*state.json.broken")
    kept.start()
    kept.use_up()
    kept.daemon.stop()
    assert (kept.folder / "state.json.broken").read_text() == "half of some"
    assert len(kept.records()) == 1
    kept.start()
    assert kept.is_used_up()


def test_a_damaged_line(kept):
    kept.start()
    kept.use_up()
    kept.answers(message(client="203.0.113.10"))
    kept.daemon.stop()
    lines = kept.file.read_text().split("\n")
    (other,) = [n for n, line in enumerate(lines) if "203.0.113.10" in line]
    lines[other] = lines[other].replace('"current": 1', '"current": ')
    kept.file.write_text("\n".join(lines))
    kept.daemon.allow(
        rf"state.json:{other + 1}: no record; 1 such lines skipped, .*counts no more")
    kept.start()
    kept.daemon.wait_for_line("1 such lines skipped")
    assert kept.is_used_up()


def test_a_missing_folder(kept):
    """Said once, with what to do; mail goes on, and it works as soon as it is there."""
    kept.folder.rmdir()
    kept.daemon.allow(r"state.json: cannot create it: No such file or directory; .*will not "
                      r"outlive this process; mail goes on; create its folder, writable for "
                      r"uid \d+; tried again each minute")
    kept.start()
    kept.use_up()
    assert kept.is_used_up()
    kept.folder.mkdir()
    kept.daemon.stop()
    output = "\n".join(kept.daemon.output())
    assert output.count("cannot create it") == 1 and "works again" in output
    kept.start()
    assert kept.is_used_up()


def test_no_regular_file(kept):
    """Nothing is written over that the daemon did not read."""
    kept.file = kept.daemon.top / "fifo"
    os.mkfifo(kept.file)
    kept.daemon.allow("fifo: cannot read it: Invalid argument; .*; name a regular file")
    kept.start()
    kept.use_up()
    kept.daemon.stop()
    assert stat.S_ISFIFO(kept.file.stat().st_mode)


@pytest.fixture
def small_disk(kept):
    """The state file's folder as a file system of 64 KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", kept.folder],
                   check=True)
    yield kept
    kept.daemon.stop()
    subprocess.run(["umount", "--lazy", kept.folder], check=True)


def blocks_in(records):
    return len([record for record in records if "block" in record])


def test_a_full_disk(small_disk):
    kept = small_disk
    kept.start()
    kept.use_up()
    kept.block("198.18.0.1")
    kept.wait_for_records(lambda records: blocks_in(records) == 1)

    ballast = kept.folder / "ballast"
    with open(ballast, "wb", buffering=0) as out, pytest.raises(OSError):
        while True:
            out.write(bytes(4096))
    kept.daemon.allow("state.json: cannot (write|create) it: No space left on device; .*mail "
                      "goes on; make room on its file system; tried again each minute")
    kept.block("198.18.0.2")
    kept.daemon.wait_for_line("No space left on device")
    assert kept.is_used_up()  # mail goes on
    assert kept.is_blocked("198.18.0.2")
    assert blocks_in(kept.records()) == 1  # the last whole file
    assert sorted(os.listdir(kept.folder)) == ["ballast", "state.json"]

    ballast.unlink()
    kept.daemon.stop()
    output = "\n".join(kept.daemon.output())
    assert output.count("No space left") == 1 and "works again" in output
    assert blocks_in(kept.records()) == 2


def test_a_limit_on_file_sizes(kept):
    """Another way for a disk to be full; it must not end the daemon."""
    kept.daemon.allow("state.json: cannot write it: File too large; .*mail goes on")
    kept.configure()
    kept.daemon.launch(before=["prlimit", "--fsize=64:64"])
    kept.daemon.wait_for_notice("READY=1")
    kept.block("198.18.0.1")
    kept.daemon.wait_for_line("File too large")
    assert kept.is_blocked("198.18.0.1")
    kept.use_up()
    kept.daemon.stop()
    assert os.listdir(kept.folder) == []


@pytest.mark.threads
def test_a_reload_while_it_saves(kept):
    """Saving asks for the configuration in force: a reload takes the old one away."""
    kept.start()
    kept.use_up()
    for n in range(5):
        kept.block(f"198.18.0.{n + 1}")
        mark = kept.daemon.mark()
        kept.daemon.process.signal(signal.SIGHUP)
        kept.daemon.wait_for_line("reload", mark)
    kept.wait_for_records(lambda records: blocks_in(records) == 5)
    assert kept.is_used_up()
