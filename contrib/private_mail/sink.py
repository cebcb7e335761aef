# SPDX-License-Identifier: BSD-2-Clause
"""An SMTP server that keeps what it is given, byte by byte."""

import dataclasses
import socket
import threading
import time


@dataclasses.dataclass
class Delivery:
    sender: str
    recipients: list
    data: bytes        # without the dots that SMTP adds and without its end mark
    options: str = ""  # what followed the address in MAIL, upper case

    @property
    def head(self):
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self):
        return self.data.partition(b"\r\n\r\n")[2]

    def headers(self):
        """Pairs of name and raw value, folds included, in the order of the message."""
        found = []
        for line in self.head.split(b"\r\n"):
            if line[:1] in (b" ", b"\t") and found:
                found[-1] = (found[-1][0], found[-1][1] + b"\r\n" + line)
            else:
                name, _, value = line.partition(b":")
                found.append((name.decode("latin-1"), value))
        return [(name, value.decode("latin-1")) for name, value in found]

    def header(self, name):
        """All values of that header."""
        return [value for found, value in self.headers() if found.lower() == name.lower()]


class Sink:
    """Listens on loopback until stop(); deliveries come in the order of their ends."""

    def __init__(self, port=0, name="sink.example.net"):
        self.name = name
        self._deliveries = []
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=200)
        self.port = self._listener.getsockname()[1]
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._closing = True
        # shutdown() wakes the accept(); close() alone would leave it waiting.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def mark(self):
        with self._changed:
            return len(self._deliveries)

    def deliveries(self, since=0):
        with self._changed:
            return self._deliveries[since:]

    def wait_for(self, count, since=0, timeout=30):
        """The first @count deliveries after @since, once they are there."""
        return self.wait_until(lambda new: len(new) >= count, since, timeout,
                               f"{count} deliveries")[:count]

    def wait_until(self, enough, since=0, timeout=30, what="enough"):
        """The deliveries after @since, once enough(them) is true."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not enough(self._deliveries[since:]):
                left = deadline - time.monotonic()
                if left <= 0:
                    there = len(self._deliveries) - since
                    raise AssertionError(f"sink: {what} expected, {there} in {timeout} s")
                self._changed.wait(left)
            return self._deliveries[since:]

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb", 1 << 20) as stream:
            try:
                self._talk(connection, stream)
            except OSError:
                if not self._closing:
                    return

    def _talk(self, connection, stream):
        def say(text):
            connection.sendall(text.encode() + b"\r\n")

        say(f"220 {self.name} ESMTP")
        sender, options, recipients = None, "", []
        while line := stream.readline():
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            verb = text[:4].upper()
            if verb == "EHLO":
                say(f"250-{self.name}\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                    "250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "MAIL":
                address, _, options = text[len("MAIL FROM:"):].partition(">")
                sender, options, recipients = address.strip("<"), options.upper(), []
                say("250 2.1.0 ok")
            elif verb == "RCPT":
                recipients.append(text[len("RCPT TO:"):].partition(">")[0].strip("<"))
                say("250 2.1.5 ok")
            elif verb == "DATA":
                say("354 go on")
                data = _read_data(stream)
                if data is None:
                    return
                self._keep(Delivery(sender, recipients, data, options.strip()))
                say("250 2.0.0 kept")
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")

    def _keep(self, delivery):
        with self._changed:
            self._deliveries.append(delivery)
            self._changed.notify_all()


def _read_data(stream):
    """The bytes up to the end mark, dots taken off; None when the client went away."""
    lines = []
    while line := stream.readline():
        if line == b".\r\n":
            return b"".join(lines)
        lines.append(line[1:] if line.startswith(b".") else line)
    return None
