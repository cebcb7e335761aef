# SPDX-License-Identifier: BSD-2-Clause
"""What dkimpy says of a message's signatures, with the record taken from the key."""

import base64
import subprocess

import dkim


def make_key(path, algorithm="RSA"):
    """A private key: RSA-2048 or Ed25519, by OpenSSL's names."""
    options = ["-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "RSA" else []
    subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, *options, "-out", path],
                   check=True, stderr=subprocess.DEVNULL)


def public_record(key_file):
    """The TXT record that belongs to a private key, RSA or Ed25519."""
    public = subprocess.run(["openssl", "pkey", "-in", key_file, "-pubout", "-outform", "DER"],
                            check=True, capture_output=True).stdout
    # Of an Ed25519 key 44 bytes, the last 32 of which are the key itself (RFC 8463).
    kind, value = ("ed25519", public[12:]) if len(public) == 44 else ("rsa", public)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(value).decode()}"


def verify(message, records, index=0):
    """True when signature @index verifies. @records: name without final dot to record."""
    def look_up(name, timeout=5):
        return records.get(name.decode().rstrip(".")).encode()

    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=look_up)
    except (dkim.DKIMException, AttributeError):
        return False
