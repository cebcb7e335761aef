# SPDX-License-Identifier: BSD-2-Clause
"""The milter protocol, version 6, from the side of the MTA, as Postfix speaks it.

A Session is one milter connection. It sends what the milter asked for and nothing else,
gives it the macros it asked for, waits for the replies it owes, and collects the edits;
delivered() makes the message that Postfix would queue of them, its way of hiding its own
Received header included.
"""

import contextlib
import socket
import struct

VERSION = 6
ACTIONS = 0x1FF
STEPS = 0x1FFFFF
CHUNK = 65535

NO_CONNECT, NO_HELO, NO_MAIL, NO_RCPT, NO_BODY, NO_HEADERS, NO_EOH = (1 << i for i in range(7))
NR_HEADER, NO_UNKNOWN, NO_DATA = 1 << 7, 1 << 8, 1 << 9
NR_CONNECT, NR_HELO, NR_MAIL, NR_RCPT, NR_DATA = (1 << i for i in range(12, 17))
NR_EOH, NR_BODY, LEADING_SPACE = 1 << 18, 1 << 19, 1 << 20

# Stages in the milter's list of macros, and the command that they go with.
STAGES = {"C": 0, "H": 1, "M": 2, "R": 3, "T": 4, "E": 5, "N": 6}

VERDICTS = {b"c": "continue", b"a": "accept", b"r": "reject", b"t": "tempfail",
            b"d": "discard", b"s": "skip"}

# A user on port 587 of Postfix 3.7, over TLS.
SUBMISSION = {
    "{daemon_port}": "587", "{daemon_name}": "gw", "{client_addr}": "203.0.113.77",
    "{client_name}": "cable-77.isp.example", "{auth_authen}": "ada@example.org",
    "{auth_type}": "PLAIN", "{tls_version}": "TLSv1.3", "j": "gw.example.org",
    "v": "Postfix 3.7.11",
}
# A stranger on port 25.
STRANGER = {name: value for name, value in SUBMISSION.items()
            if name not in ("{auth_authen}", "{auth_type}", "{tls_version}")}
STRANGER["{daemon_port}"] = "25"

OWN = ("Received", " from adas-laptop (cable-77.isp.example [203.0.113.77])\n"
       "\tby gw.example.org (Postfix) with ESMTPSA id 4XyZ12\n"
       "\tfor <joe@outside.example>; Mon,  5 Jan 2026 08:00:00 +0000 (UTC)")


class Closed(Exception):
    """The milter closed the connection."""


class Reply:
    def __init__(self, verdict, text="", edits=()):
        self.verdict, self.text, self.edits = verdict, text, list(edits)

    def __repr__(self):
        return f"<{self.verdict} {self.text} {self.edits}>"


class Session:
    def __init__(self, address, macros=None, timeout=60, steps=STEPS):
        self.macros = dict(SUBMISSION if macros is None else macros)
        self.queue_id = "4XyZ12"
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if family == socket.AF_INET:  # as Postfix, our side holds nothing back
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._lists = {}
        self._negotiate(steps)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.send(b"Q")
        self.socket.close()

    # Packets.

    def send(self, command, data=b""):
        self.socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def _read(self, count):
        while len(self._buffer) < count:
            try:
                more = self.socket.recv(CHUNK)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed()
            self._buffer += more
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def receive(self):
        length = struct.unpack("!I", self._read(4))[0]
        packet = self._read(length)
        return packet[:1], packet[1:]

    def _negotiate(self, steps):
        self.send(b"O", struct.pack("!III", VERSION, ACTIONS, steps))
        command, data = self.receive()
        assert command == b"O", command
        self.version, self.actions, self.steps = struct.unpack("!III", data[:12])
        assert self.actions & ~ACTIONS == 0 and self.steps & ~steps == 0
        rest = data[12:]
        while rest:
            stage = struct.unpack("!I", rest[:4])[0]
            names, _, rest = rest[4:].partition(b"\0")
            self._lists[stage] = names.decode().split()

    def _send_macros(self, command, known):
        wanted = self._lists.get(STAGES[command])
        names = known if wanted is None else [name for name in wanted if name in known]
        pairs = b"".join(name.encode() + b"\0" + known[name].encode() + b"\0"
                         for name in names)
        if pairs:
            self.send(b"D", command.encode() + pairs)

    def _event(self, command, data, skipped, no_reply, macros=None):
        if self.steps & skipped:
            return Reply("continue")
        if macros is not None:
            self._send_macros(command, macros)
        self.send(command.encode(), data)
        return Reply("continue") if self.steps & no_reply else self._verdict()

    def _verdict(self):
        """Everything up to the answer that ends an event."""
        edits = []
        while True:
            command, data = self.receive()
            if command in VERDICTS:
                return Reply(VERDICTS[command], edits=edits)
            if command == b"y":
                text = data.rstrip(b"\0").decode()
                return Reply("tempfail" if text[0] == "4" else "reject", text, edits)
            if command == b"i":
                index = struct.unpack("!I", data[:4])[0]
                name, value = data[4:].rstrip(b"\0").split(b"\0", 1)
                edits.append(("insert", index, name.decode(), value.decode()))
            elif command == b"m":
                index = struct.unpack("!I", data[:4])[0]
                name, value = data[4:].split(b"\0")[:2]
                edits.append(("change", index, name.decode(), value.decode()))
            else:
                raise AssertionError(f"unexpected {command} {data[:80]}")

    # Events.

    def connect_from(self, name, address, port=25000):
        """An IPv4 client, for milters that ask no macro for it."""
        data = (name.encode() + b"\0" + b"4" + struct.pack("!H", port)
                + address.encode() + b"\0")
        return self._event("C", data, NO_CONNECT, NR_CONNECT, self.macros)

    def helo(self, name="adas-laptop"):
        return self._event("H", name.encode() + b"\0", NO_HELO, NR_HELO, self.macros)

    def mail(self, sender="ada@example.org", *parameters):
        data = b"".join(word.encode() + b"\0" for word in (f"<{sender}>", *parameters))
        return self._event("M", data, NO_MAIL, NR_MAIL, self.macros)

    def recipient(self, address="joe@outside.example"):
        return self._event("R", f"<{address}>".encode() + b"\0", NO_RCPT, NR_RCPT,
                           self.macros)

    def header(self, name, value):
        """@value: with its leading space, folds as LF, text or bytes."""
        if isinstance(value, str):
            value = value.encode()
        if not self.steps & LEADING_SPACE and value.startswith(b" "):
            value = value[1:]
        return self._event("L", name.encode() + b"\0" + value + b"\0", NO_HEADERS,
                           NR_HEADER)

    def end_of_headers(self):
        return self._event("N", b"", NO_EOH, NR_EOH)

    def body(self, data, chunk=CHUNK):
        for start in range(0, len(data), chunk):
            reply = self._event("B", data[start:start + chunk], NO_BODY, NR_BODY)
            if reply.verdict != "continue":
                return reply
        return Reply("continue")

    def end_of_message(self):
        self._send_macros("E", dict(self.macros, i=self.queue_id))
        self.send(b"E")
        return self._verdict()

    def abort(self):
        self.send(b"A")

    def message(self, headers, body=b"hello\r\n", sender="ada@example.org", chunk=CHUNK,
                parameters=()):
        """A whole message; the reply to the first event that ended it."""
        reply = self.mail(sender, *parameters)
        if reply.verdict != "continue":
            return reply
        self.recipient()
        for name, value in headers:
            self.header(name, value)
        reply = self.end_of_headers()
        if reply.verdict != "continue":
            return reply
        self.body(body, chunk)
        return self.end_of_message()


def _as_bytes(text):
    return text.encode() if isinstance(text, str) else text


def _find(headers, name, index):
    """Where number @index of @name is; Postfix skips its own header, by its first line."""
    own = b"Received:" + _as_bytes(OWN[1])
    hidden = False
    for position, (there, value) in enumerate(headers):
        if there.lower() != name.lower():
            continue
        first_line = (there.encode() + b":" + _as_bytes(value)).split(b"\n")[0]
        if not hidden and own.startswith(first_line):
            hidden = True
            continue
        index -= 1
        if index == 0:
            return position
    return None


def edited(headers, edits):
    """@headers under Postfix's own, after @edits."""
    headers = [OWN, *headers]
    for kind, index, name, value in edits:
        if kind == "insert":
            headers.insert(index, (name, value))
            continue
        position = _find(headers, name, index)
        assert position is not None, f"there is no {name} number {index}"
        if value == "":
            del headers[position]
        else:
            headers[position] = (name, value)
    return headers


def delivered(headers, body, edits):
    """The message as Postfix sends it on."""
    lines = [name.encode() + b":" + _as_bytes(value).replace(b"\r\n", b"\n")
             .replace(b"\n", b"\r\n") for name, value in edited(headers, edits)]
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
