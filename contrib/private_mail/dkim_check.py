# SPDX-License-Identifier: BSD-2-Clause
"""What dkimpy says of a message's signatures, with the record taken from the key."""

import subprocess

import dkim


def public_record(key_file):
    """The TXT record that belongs to a private RSA key."""
    public = subprocess.run(["openssl", "pkey", "-in", key_file, "-pubout"], check=True,
                            capture_output=True, text=True).stdout
    base64 = "".join(line for line in public.splitlines() if not line.startswith("-"))
    return f"v=DKIM1; k=rsa; p={base64}"


def verify(message, records, index=0):
    """True when signature @index verifies. @records: name without final dot to record."""
    def look_up(name, timeout=5):
        return records.get(name.decode().rstrip(".")).encode()

    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=look_up)
    except (dkim.DKIMException, AttributeError):
        return False
