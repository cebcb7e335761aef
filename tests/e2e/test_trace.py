# SPDX-License-Identifier: BSD-2-Clause
"""The token in a masked header, and `postern trace`, which opens it."""

import json
import re
import secrets

from letters import LAPTOP, TRACES, letter, traces_in
from private_mail.postern import SERVICE_USER
from private_mail.workspace import own
from signatures import assert_signed

OUTSIDE = "joe@outside.example"


def token_key(daemons, name):
    """A key beside those of DKIM, which the service user owns."""
    path = daemons.keys / f"{name}.key"
    path.write_text(secrets.token_hex(32) + "\n")
    path.chmod(0o600)
    own(path, SERVICE_USER)
    return str(path)


def token_of(delivery):
    found = re.search(r"\(Postern t=([A-Za-z0-9_-]+)\)", delivery.header("Received")[0])
    assert found, delivery.header("Received")
    return found.group(1)


def send(mail):
    with mail.client("submission") as client:
        client.xclient(**LAPTOP)
        client.starttls()
        assert client.login("ada@example.org", "lovelace").code == 235
        assert client.message("ada@example.org", [OUTSIDE], letter(upstream=1)).code == 250


def with_keys(*names):
    return {"milter": {"mask": {"token_keys": list(names)}}}


def trace(daemons, *args):
    return daemons.command("trace", "-c", daemons.configuration, *args)


def test_token_names_the_sender(mail, daemons_on, sink, tmp_path):
    daemons = daemons_on(mail)
    old, new = token_key(daemons, "old"), token_key(daemons, "new")
    daemons.start(with_keys(old))
    send(mail)
    delivery = sink.one()
    token = token_of(delivery)
    assert traces_in(delivery, TRACES + ("ada-", "lovelace")) == []
    assert_signed(delivery, daemons, tmp_path)

    done = trace(daemons, token)
    assert done.returncode == 0, done
    assert LAPTOP["ADDR"] in done.stdout and "ada@example.org" in done.stdout
    assert old in done.stdout
    assert trace(daemons, f" {token}\n").stdout == done.stdout
    # The whole header will do, as somebody pastes it.
    header = "Received:" + delivery.header("Received")[0]
    done = daemons.command("trace", header, "--json", "-c", daemons.configuration)
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert (told["client"], told["user"]) == (LAPTOP["ADDR"], "ada@example.org")

    # Rotation: the new key seals from the reload on, the old one still opens.
    daemons.configure(with_keys(new, old))
    daemons.milter.reload()
    send(mail)
    second = sink.wait_for(2)[1]
    for one, key in ((token, old), (token_of(second), new)):
        done = trace(daemons, one)
        assert done.returncode == 0 and key in done.stdout, done
    daemons.configure(with_keys(new))
    done = trace(daemons, token)
    assert done.returncode == 1 and "none of milter.mask.token_keys" in done.stderr
    flipped = token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:]
    daemons.configure(with_keys(old))
    done = trace(daemons, flipped)
    assert done.returncode == 1 and "was changed" in done.stderr
    assert trace(daemons, "x!").returncode == 64
    assert trace(daemons).returncode == 64


def test_no_token_without_keys(mail, postern_on, sink):
    daemons = postern_on(mail)
    send(mail)
    assert "Postern" not in sink.one().header("Received")[0]
    done = trace(daemons, "AAAA")
    assert done.returncode == 1 and "no milter.mask.token_keys" in done.stderr
