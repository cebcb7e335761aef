# SPDX-License-Identifier: BSD-2-Clause
"""Free TCP ports on loopback."""

import random
import socket

_given = set()
# Below the kernel's range for outgoing connections (32768 on), so that no client's own
# port takes one before the server opens it.
_range = range(20000, 32000)


def share_ports(number, of):
    """From now on free_port() gives those of part @number (0 on) of @of equal parts only.

    For processes that work beside each other: a port is free until its server opens it.
    """
    global _range
    _range = _range[number::of]


def free_port():
    """A port nobody listens on, never given before by this process."""
    for _ in range(1000):
        port = random.choice(_range)
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
    raise RuntimeError(f"no free port in {_range}")
