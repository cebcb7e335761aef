# SPDX-License-Identifier: BSD-2-Clause
"""What two independent verifiers, dkimpy and OpenDKIM, say of a delivered message."""

import subprocess

from private_mail import dkim_check

SELECTOR = "s2026"


def records_of(postern, key="default", selector=SELECTOR, domain="example.org"):
    """The DNS of a test: the name of a key's record, and the record."""
    return {f"{selector}._domainkey.{domain}":
            dkim_check.public_record(postern.make_key(key))}


def opendkim_says(message, records, folder):
    """OpenDKIM's own sentence on the message; it reads the records from a file."""
    keys, configuration, letter = (folder / name for name in ("keys", "conf", "letter"))
    keys.write_text("".join(f"{name} {record}\n" for name, record in records.items()))
    configuration.write_text(f"Mode v\nSyslog no\nTestPublicKeys {keys}\n")
    letter.write_bytes(message)
    done = subprocess.run(["opendkim", "-x", configuration, "-v", "-t", letter],
                          capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def assert_signed(delivery, postern, folder, domain="example.org", opendkim=True):
    """Exactly one signature, of @domain, and both verifiers agree with it.

    @opendkim False: OpenDKIM's test mode reads lines of text, so NULs and bare line ends
    are dkimpy's alone.
    """
    signatures = delivery.header("DKIM-Signature")
    assert len(signatures) == 1, f"{len(signatures)} signatures in:\n{delivery.head}"
    tags = dict(part.strip().split("=", 1) for part in
                signatures[0].replace("\r\n", "").split(";") if part.strip())
    assert tags["d"] == domain and tags["a"] == "rsa-sha256", tags
    assert tags["c"] == "relaxed/relaxed" and "l" not in tags, tags
    signed = [name.strip().lower() for name in tags["h"].split(":")]
    assert "received" not in signed
    assert signed.count("from") == 2, "From is not oversigned"
    records = records_of(postern, domain=domain)
    assert dkim_check.verify(delivery.data, records), "dkimpy does not verify it"
    if opendkim:
        said = opendkim_says(delivery.data, records, folder)
        assert "succeeded" in said and "failed" not in said, said


def assert_unsigned(delivery):
    assert delivery.header("DKIM-Signature") == []
