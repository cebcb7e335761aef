# SPDX-License-Identifier: BSD-2-Clause
"""A small milter of the tests' own, to stand before or behind Postern's.

It notes the headers that it sees and makes the edits that it is told at the end of each
message. The milter protocol, version 6, as Postfix and libmilter speak it.
"""

import struct

from unix_server import UnixServer

ADD_HEADERS, CHANGE_BODY, CHANGE_HEADERS = 0x01, 0x02, 0x10


class PythonMilter(UnixServer):
    """@edits: a list of add(), insert(), change() or body(), applied in order.

    `seen` holds one list of (name, value) a message.
    """

    def __init__(self, path, edits=()):
        self.edits = list(edits)
        self.seen = []
        super().__init__(path)

    def serve(self, connection, number):
        headers = []
        stream = connection.makefile("rb")
        while size := stream.read(4):
            packet = stream.read(struct.unpack(">I", size)[0])
            verb, data = packet[:1], packet[1:]
            if verb == b"O":
                wanted = ADD_HEADERS | CHANGE_BODY | CHANGE_HEADERS
                send(connection, b"O", struct.pack(">III", 6, wanted, 0))
            elif verb == b"L":
                name, value = data.split(b"\0")[:2]
                headers.append((name.decode("latin-1"), value.decode("latin-1")))
                send(connection, b"c")
            elif verb == b"E":
                self.seen.append(headers)
                headers = []
                for edit in self.edits:
                    send(connection, *edit)
                send(connection, b"c")
            elif verb == b"A":
                headers = []
            elif verb == b"Q":
                return
            elif verb not in (b"D", b"K"):
                send(connection, b"c")


def send(connection, verb, data=b""):
    connection.sendall(struct.pack(">I", 1 + len(data)) + verb + data)


def add(name, value):
    return b"h", f"{name}\0{value}\0".encode()


def insert(index, name, value):
    return b"i", struct.pack(">I", index) + f"{name}\0{value}\0".encode()


def change(index, name, value):
    """Changes that instance (from 1); an empty @value deletes it."""
    return b"m", struct.pack(">I", index) + f"{name}\0{value}\0".encode()


def body(data):
    return b"b", data
