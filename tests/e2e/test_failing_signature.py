# SPDX-License-Identifier: BSD-2-Clause
"""Signing fails inside: the client keeps the mail, or it leaves unsigned where on_error
says accept; never anything between."""

import contextlib
import json
import shutil

import pytest

from letters import TRACES, letter, traces_in
from private_mail.postern import SANITIZER_ENVIRONMENT, merged
from private_mail.workspace import SERVICE_USER
from signatures import assert_unsigned

ADA, OUTSIDE = "ada@example.org", "joe@outside.example"


class Failing:
    """Daemons with two keys, and with tests/tools/failing_signature.c in the milter."""

    def __init__(self, daemons, library, folder):
        self.daemons, self._folder = daemons, folder
        self._library = shutil.copy(library, folder)
        self.fails = {kind: folder / f"fails.{kind}" for kind in ("rsa", "ed25519")}

    def configure(self, settings):
        key = self.daemons.make_key("ed25519", "ED25519")
        self.daemons.configure(merged({
            "defaults": {"dkim": ["default", "ed25519"]},
            "milter": {"control": f"unix:{self._folder}/control", "dkim": {"keys": {
                "ed25519": {"selector": "e1", "file": str(key)}}}}}, settings))

    def start(self):
        self.configure({})
        self.daemons.policyd.start()
        # AddressSanitizer wants to come first, and need not. libopendkim forgets a context
        # with each Ed25519 signature that it cannot make.
        asan = (SANITIZER_ENVIRONMENT["ASAN_OPTIONS"]
                + ":verify_asan_link_order=0:detect_leaks=0")
        self.daemons.milter.launch(before=[
            "env", f"LD_PRELOAD={self._library}", f"ASAN_OPTIONS={asan}",
            f"FAILING_SIGNATURE={self._folder}/fails"])
        self.daemons.milter.wait_for_notice("READY=1")

    @contextlib.contextmanager
    def kind(self, kind):
        """Meanwhile no signature of that kind can be made."""
        self.fails[kind].touch()
        try:
            yield
        finally:
            self.fails[kind].unlink()


@pytest.fixture
def failing(postern_at_rest, build, workspace):
    folder = workspace.directory("failing", owner=SERVICE_USER)
    failing = Failing(postern_at_rest, build / "tests" / "tools" / "failing_signature.so",
                      folder)
    failing.start()
    return failing


def test_signing_fails_inside(mail, failing, sink):
    daemons, milter = failing.daemons, failing.daemons.milter
    daemons.allow("libopendkim failed in dkim_eom")

    def send():
        with mail.user(ADA) as client:
            return client.message(ADA, [OUTSIDE], letter())

    assert send().code == 250
    assert len(sink.wait_for(1)[-1].header("DKIM-Signature")) == 2

    for kind in failing.fails:  # each alone: with the other one made, or not yet begun
        with failing.kind(kind):
            mark = milter.mark()
            reply = send()
        assert reply.code == 451 and "signing failed" in reply.text, reply
        milter.process.wait_for_line("error: queue_id=.* is refused with 451, the client "
                                     "keeps it: libopendkim failed", mark)

    failing.configure({"milter": {"dkim": {"on_error": "accept"}}})
    milter.reload()
    for count, kind in enumerate(failing.fails, 2):
        with failing.kind(kind):
            mark = milter.mark()
            assert send().code == 250
        milter.process.wait_for_line("error: queue_id=.* leaves unsigned, as "
                                     "milter.dkim.on_error says: libopendkim failed", mark)
        delivery = sink.wait_for(count)[-1]
        assert_unsigned(delivery)
        assert traces_in(delivery, TRACES) == []

    assert send().code == 250
    assert len(sink.wait_for(4)[-1].header("DKIM-Signature")) == 2
    assert len(sink.deliveries()) == 4
    done = daemons.command("status", "-c", daemons.configuration, "--json")
    messages = json.loads(done.stdout)["milter"]["messages"]
    assert messages == {"untouched": 0, "signed": 2, "unsigned": 2, "masked": 0,
                        "deferred": 2, "refused": 0}, messages
