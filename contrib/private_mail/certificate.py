# SPDX-License-Identifier: BSD-2-Clause
"""A self-signed certificate for a private Postfix."""

import subprocess


def make(directory, name):
    """Writes cert.pem and key.pem below @directory; returns their paths."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "3", "-subj", f"/CN={name}", "-keyout", key, "-out", cert],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    key.chmod(0o600)
    return cert, key
