# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the end-to-end tests: a private mail system and Postern's daemons on it.

    mail      Postfix with chrooted smtpd, Dovecot, the sink; one for the whole session
    mail_with a factory of others, by options of Postfix's; each kind is made once
    postern   the daemons on `mail`, new for every test, ended and inspected after it
    postern_on, daemons_on, postern_at_rest   the same elsewhere, or not started
    sink      what left Postfix since the test began

POSTERN_BUILD names the build folder (default: build in the checkout).
"""

import os
import pathlib
import re
import signal
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "contrib"))

from policyd_process import PolicyDaemon  # noqa: E402
from private_mail import certificate as certificates  # noqa: E402
from private_mail import postfix as private_postfix  # noqa: E402
from private_mail.ports import share_ports  # noqa: E402
from private_mail.postern import SANITIZER_REPORT, Postern  # noqa: E402
from private_mail.sink import Sink  # noqa: E402
from private_mail.system import MailSystem  # noqa: E402
from private_mail.workspace import Workspace  # noqa: E402
from redis_link_probe import LinkProbe  # noqa: E402
from redis_servers import Cluster, RedisServer, WatchedPair  # noqa: E402

BUILD = pathlib.Path(os.environ.get("POSTERN_BUILD", ROOT / "build")).resolve()


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: worth running under ThreadSanitizer")
    # A run that is ended from outside takes its Postfixes and daemons with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        share_ports(int(worker.removeprefix("gw")),
                    int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


@pytest.fixture(scope="session")
def build():
    """The build folder; missing programs fail the tests, they are never skipped."""
    for program in ("policyd/postern-policyd", "milter/postern-milter", "ctl/postern"):
        assert (BUILD / program).is_file(), f"{BUILD / program} is not built"
    return BUILD


@pytest.fixture(scope="session")
def workspace():
    hindrance = private_postfix.installed()
    assert hindrance is None, hindrance
    workspace = Workspace()
    yield workspace
    workspace.remove()


@pytest.fixture(scope="session")
def session_sink():
    sink = Sink()
    yield sink
    sink.stop()


@pytest.fixture(scope="session")
def mail_with(workspace, session_sink):
    """mail_with(chroot=..., main=..., options=...): a running MailSystem of that kind."""
    certificate = certificates.make(workspace.directory("tls"), "gw.example.org")
    made = {}

    def make(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = MailSystem(workspace, certificate, session_sink,
                                   name=f"postfix{len(made)}", **options)
            made[key].start()
        return made[key]

    yield make
    for system in made.values():
        system.stop()


@pytest.fixture(scope="session")
def mail(mail_with):
    return mail_with()


class SinkView:
    """The sink as one test sees it: what came before the test is not there."""

    def __init__(self, sink):
        self._sink, self._since = sink, sink.mark()

    def deliveries(self):
        return self._sink.deliveries(self._since)

    def wait_for(self, count, timeout=30):
        return self._sink.wait_for(count, self._since, timeout)

    def wait_until(self, enough, timeout=30):
        return self._sink.wait_until(enough, self._since, timeout)

    def one(self, timeout=30):
        """The test's only delivery."""
        self.wait_for(1, timeout)
        found = self.deliveries()
        assert len(found) == 1, [(d.sender, d.recipients) for d in found]
        return found[0]


@pytest.fixture
def sink(session_sink):
    return SinkView(session_sink)


class TestedPostern(Postern):
    """Daemons whose every complaint fails the test, unless it allowed that line."""

    __test__ = False
    # All that is not an ordinary line of the daemon's own log.
    ORDINARY = re.compile(r"^postern-(policyd|milter): (?!warning: |error: )")

    def __init__(self, *args, **words):
        super().__init__(*args, **words)
        self._allowed = []
        self.exit_codes = {self.policyd.name: (0,), self.milter.name: (0,)}

    def allow(self, pattern):
        """Lines in which @pattern is found are expected in this test."""
        self._allowed.append(re.compile(pattern))

    def inspect(self):
        """Ends the daemons and fails on complaints and on reports of sanitizers."""
        codes = self.stop()
        output = self.policyd.output() + self.milter.output()
        reports = [line for line in output if SANITIZER_REPORT.search(line)]
        assert not reports, "\n".join(output)
        complaints = [line for line in output if not self.ORDINARY.search(line)
                      and not any(allowed.search(line) for allowed in self._allowed)]
        assert not complaints, "unexpected:\n  " + "\n  ".join(complaints)
        for name, code in codes.items():
            assert code in self.exit_codes[name], f"{name} ended with {code}"


@pytest.fixture
def daemons_on(workspace, build):
    """daemons_on(mail_system): daemons that are not started yet."""
    made = []

    def make(system):
        made.append(TestedPostern(workspace, system.postfix, build,
                                  name=f"{system.postfix.name}-postern"))
        return made[-1]

    yield make
    for daemons in made:
        daemons.inspect()


@pytest.fixture
def postern_on(daemons_on):
    """postern_on(mail_system, **settings): starts the daemons there."""
    def start(system, **settings):
        daemons = daemons_on(system)
        daemons.start(settings)
        return daemons
    return start


@pytest.fixture
def postern(postern_on, mail):
    """postern(**settings): starts the daemons on `mail`."""
    def start(**settings):
        return postern_on(mail, **settings)
    return start


@pytest.fixture
def postern_at_rest(daemons_on, mail):
    """The daemons of `mail`, neither configured nor started."""
    return daemons_on(mail)


@pytest.fixture
def policyd_at_rest(build):
    """policyd_at_rest(): a policy daemon without Postfix, not started yet."""
    made = []

    def make():
        made.append(PolicyDaemon(build))
        return made[-1]

    yield make
    for daemon in made:
        daemon.inspect()


@pytest.fixture
def redis_at_rest(tmp_path):
    """redis_at_rest(**options): a Redis server of its own folder, not started yet."""
    made = []

    def make(**options):
        made.append(RedisServer(tmp_path / f"redis{len(made)}", **options))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def redis_server(redis_at_rest):
    """redis_server(**options): a running one; tests/e2e/redis_servers.py."""
    def start(**options):
        return redis_at_rest(**options).start()
    return start


@pytest.fixture
def redis_sentinels(tmp_path):
    """redis_sentinels(**options): master, replica and three Sentinels, running.

    With agree=False they are asked, but no failover is wanted of them.
    """
    made = []

    def start(agree=True, **options):
        made.append(WatchedPair(tmp_path / f"pair{len(made)}", **options))
        return made[-1].start(agree)

    yield start
    for pair in made:
        pair.stop()


@pytest.fixture
def redis_cluster(tmp_path):
    """redis_cluster(**options): a running Cluster of three masters."""
    made = []

    def start(**options):
        made.append(Cluster(tmp_path / f"cluster{len(made)}", **options))
        return made[-1].start()

    yield start
    for cluster in made:
        cluster.stop()


@pytest.fixture
def link(build, tmp_path):
    """link(**redis): a redis_link with that "redis" section, without the daemon."""
    made = []

    def start(**redis):
        made.append(LinkProbe(build / "tests" / "tools" / "redis_probe",
                              tmp_path / f"link{len(made)}"))
        return made[-1].start(**redis)

    yield start
    for probe in made:
        probe.stop()
