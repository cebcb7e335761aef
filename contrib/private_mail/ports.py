# SPDX-License-Identifier: BSD-2-Clause
"""Free TCP ports on loopback."""

import random
import socket

_given = set()


def free_port():
    """A port nobody listens on, never given before by this process.

    Below the kernel's range for outgoing connections (32768 on), so that no client's
    own port takes it before the server opens it.
    """
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port between 20000 and 32000")
