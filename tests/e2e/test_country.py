# SPDX-License-Identifier: BSD-2-Clause
"""Countries on a real Postfix. Clients from abroad are played by XCLIENT, and the
database is made by tests/mmdb.py."""

import os
import pathlib
import sys

import pytest

from letters import letter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import mmdb  # noqa: E402

INSIDE, OUTSIDE = "ada@inside.example", "joe@outside.example"
NETWORKS = {"91.0.0.0/10": "DE", "8.8.8.0/24": "US", "77.88.0.0/18": "RU",
            "2003::/19": "DE", "2a02:6b8::/32": "RU"}
DE, US, RU, ZZ = "91.1.1.1", "8.8.8.8", "77.88.1.1", "203.0.113.77"
DE6, RU6 = "IPV6:2003::1", "IPV6:2a02:6b8::1"
PRIVATE = "192.168.1.1"


@pytest.fixture(scope="module")
def mail(mail_with):
    """A Postfix that lets XCLIENT play clients of IPv6 too."""
    return mail_with(main="inet_protocols = all\n")


@pytest.fixture
def guard(postern_on, mail, database):
    """guard(**settings): the daemons, no Russians, and logins from Germany alone."""
    def start(**settings):
        return postern_on(mail, **{"geoip": {"country": str(database)},
                                   "block": {"countries": ["RU"]},
                                   "auth": {"countries": ["DE"]}, **settings})
    return start


@pytest.fixture
def folder(workspace):
    return workspace.directory("geoip")


def put(path, networks, **words):
    """A database under @path, by rename as geoipupdate does it."""
    new = path.with_suffix(".new")
    new.write_bytes(mmdb.database(networks, **words))
    new.chmod(0o644)
    new.rename(path)


@pytest.fixture
def database(folder):
    path = folder / "country.mmdb"
    put(path, NETWORKS)
    return path


def come_from(client, address):
    reply = client.xclient(ADDR=address, NAME="host.abroad.example")
    assert reply.code == 250, reply


def stranger_from(mail, address):
    """The reply to a message for a domain that Postfix knows."""
    with mail.client("smtp") as client:
        come_from(client, address)
        return client.envelope("x@abroad.example", [INSIDE])


def user_from(mail, address):
    with mail.client("submission") as client:
        come_from(client, address)
        client.starttls()
        assert client.login("ada@example.org", "lovelace").code == 235
        return client.envelope("ada@example.org", [OUTSIDE])


def check(reply, where, country):
    """@country: the one that the refusal names, or None."""
    assert reply.code == (554 if country else 250), f"{where}: {reply}"
    if country:
        assert "5.7.1" in reply.text and f"country {country}" in reply.text, reply


def test_who_is_let_in(mail, guard, sink):
    guard()
    for address in (DE, DE6, US, ZZ, PRIVATE):
        check(stranger_from(mail, address), address, None)
    for address in (RU, RU6):
        check(stranger_from(mail, address), address, "RU")
    for address, country in ((DE, None), (DE6, None), (PRIVATE, None), (US, "US"), (ZZ, "ZZ"),
                             (RU, "RU"), (RU6, "RU")):
        check(user_from(mail, address), address, country)
    # Loopback lies in no country either.
    with mail.user() as client:
        assert client.message("ada@example.org", [OUTSIDE], letter()).code == 250
    assert sink.one().recipients == [OUTSIDE]


def test_the_file_is_not_needed_after_its_load(mail, guard, database):
    """Cut short, written over, removed: nothing changes, and nobody dies."""
    daemons = guard()
    size = database.stat().st_size
    done = daemons.command("explain", "-c", daemons.configuration, "--client", RU)
    assert "Clients from country RU are not accepted here" in done.stdout
    for damage in (lambda: database.write_bytes(b"\xff" * size),
                   lambda: os.truncate(database, 100), lambda: os.truncate(database, 0),
                   database.unlink):
        damage()
        check(stranger_from(mail, RU), "RU", "RU")
        check(stranger_from(mail, DE), "DE", None)
        check(user_from(mail, US), "US", "US")
    # Whoever reads it now sees what it is.
    done = daemons.command("check", "-c", daemons.configuration)
    assert done.returncode == 78
    assert f"geoip.country: country database {database} cannot be opened" in done.stdout


def hang_up(daemon, pattern):
    """SIGHUP; what it says until a line like @pattern tells the end of it."""
    mark = daemon.mark()
    daemon.hang_up()
    daemon.process.wait_for_line(pattern, mark)
    return daemon.process.lines(mark)


def test_reload_takes_up_a_replaced_file_or_nothing(mail, guard, database):
    daemons = guard()
    daemons.allow(r"geoip\.country: country database|reload of|errors? in")
    check(stranger_from(mail, US), "US", None)

    put(database, {**NETWORKS, "8.8.8.0/24": "RU"})
    check(stranger_from(mail, US), "US", None)
    hang_up(daemons.policyd, "reloaded ")
    check(stranger_from(mail, US), "US", "RU")

    # Another kind, a login page, nothing: the old one stays, and so do the old lists.
    for what, broken in (
            ("holds no countries, its type is GeoLite2-ASN",
             mmdb.database({"8.8.8.0/24": "asn:15169"}, kind="GeoLite2-ASN")),
            ("is no MaxMind DB", b"<html>Please sign in</html>\n"),
            ("is empty", b""),
            ("No such file", None)):
        database.unlink()
        if broken is not None:
            database.write_bytes(broken)
        daemons.configure({"geoip": {"country": str(database)}, "auth": {"countries": ["US"]}})
        lines = hang_up(daemons.policyd, "the old configuration stays in force")
        told = [line for line in lines if str(database) in line and what in line]
        assert len(told) == 1 and "geoip.country: " in told[0], lines
        check(stranger_from(mail, US), "US", "RU")
        check(user_from(mail, DE), "DE", None)

    put(database, NETWORKS)
    hang_up(daemons.policyd, "reloaded ")
    check(stranger_from(mail, RU), "RU", None)
    check(user_from(mail, US), "US", None)
    check(user_from(mail, DE), "DE", "DE")


def test_lists_without_a_database(mail, guard):
    """Said at load; nobody logs in from abroad; mail that comes in is not held up."""
    daemons = guard(geoip={"country": ""})
    daemons.allow("geoip.country names no database")
    reply = user_from(mail, DE)
    assert (reply.code, "4.7.1" in reply.text) == (451, True), reply
    check(stranger_from(mail, RU), "RU", None)
    check(user_from(mail, PRIVATE), PRIVATE, None)
    said = "\n".join(daemons.policyd.all_lines("names no database"))
    for path in ("auth.countries", "block.countries"):
        assert f"{path}: geoip.country names no database" in said


def test_an_old_database_is_said(guard, folder):
    old = folder / "old.mmdb"
    put(old, NETWORKS, built=1700000000)
    daemons = guard(geoip={"country": str(old)})
    daemons.allow("days old")
    said = daemons.policyd.all_lines(str(old))
    assert len(said) == 1 and "days old" in said[0] and "update it" in said[0]
