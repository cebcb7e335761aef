# SPDX-License-Identifier: BSD-2-Clause
"""A trivial policy server: OK for RCPT of an authenticated user, DUNNO for all else."""

from unix_server import UnixServer


class PythonPolicy(UnixServer):
    """`asked` holds pairs of the connection's number and the request's attributes."""

    def __init__(self, path):
        self.asked = []
        super().__init__(path)

    def serve(self, connection, number):
        attributes = {}
        for line in connection.makefile("rb"):
            name, is_attribute, value = line.rstrip(b"\n").partition(b"=")
            if is_attribute:
                attributes[name.decode()] = value.decode()
                continue
            self.asked.append((number, attributes))
            granted = (attributes["protocol_state"] == "RCPT"
                       and attributes["sasl_username"])
            connection.sendall(b"action=OK\n\n" if granted else b"action=DUNNO\n\n")
            attributes = {}
