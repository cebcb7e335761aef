# SPDX-License-Identifier: BSD-2-Clause
"""An SMTP client that sends exactly the bytes it is told, and gives back every reply."""

import base64
import dataclasses
import socket
import ssl


@dataclasses.dataclass
class Reply:
    code: int
    lines: list  # texts without code and separator

    @property
    def text(self):
        return " ".join(self.lines)

    def __str__(self):
        last = len(self.lines) - 1
        return "\n".join(f"{self.code}{' ' if i == last else '-'}{text}"
                         for i, text in enumerate(self.lines))


class Disconnected(Exception):
    """The server closed the connection where a reply was due."""


class SmtpClient:
    """One session. Nothing is sent that is not asked for, not even a QUIT at the end."""

    def __init__(self, port, host="127.0.0.1", source="127.0.0.1", tls=False, timeout=60,
                 helo="client.example.net"):
        self.helo = helo
        self.transcript = []  # pairs of direction and text, without the message
        self._socket = socket.create_connection(
            (host, port), timeout, source_address=(source, 0) if source else None)
        if tls:
            self._wrap()
        self._stream = self._socket.makefile("rb", 1 << 16)
        self.greeting = self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stream.close()
        self._socket.close()

    def _wrap(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)

    def send(self, data):
        self._socket.sendall(data)

    def reply(self):
        lines = []
        while True:
            raw = self._stream.readline()
            if not raw:
                raise Disconnected(f"after {self.transcript[-3:]}")
            text = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
            self.transcript.append(("S", text))
            lines.append(text[4:])
            if text[3:4] != "-":
                return Reply(int(text[:3]), lines)

    def command(self, text):
        """Sends one line (str or bytes) and returns its reply."""
        data = text.encode() if isinstance(text, str) else text
        self.transcript.append(("C", data.decode("utf-8", "backslashreplace")))
        self.send(data + b"\r\n")
        return self.reply()

    def ehlo(self):
        return self.command(f"EHLO {self.helo}")

    def starttls(self):
        """STARTTLS and a new EHLO, whose reply is returned."""
        reply = self.command("STARTTLS")
        if reply.code != 220:
            return reply
        self._stream.close()
        self._wrap()
        self._stream = self._socket.makefile("rb", 1 << 16)
        return self.ehlo()

    def login(self, user, password):
        word = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        self.transcript.append(("C", "AUTH PLAIN ..."))
        self.send(f"AUTH PLAIN {word}\r\n".encode())
        return self.reply()

    def xclient(self, **attributes):
        """Postfix's XCLIENT: pretends to be another client; greets anew."""
        words = " ".join(f"{name}={value}" for name, value in attributes.items())
        reply = self.command(f"XCLIENT {words}")
        return self.ehlo() if reply.code == 220 else reply

    def mail(self, sender, options=""):
        return self.command(f"MAIL FROM:<{sender}>{' ' + options if options else ''}")

    def rcpt(self, recipient):
        return self.command(f"RCPT TO:<{recipient}>")

    def data(self, message):
        """DATA and the whole message (bytes with CRLF); its last reply, or the refusal."""
        reply = self.command("DATA")
        if reply.code != 354:
            return reply
        self.send(dotted(message))
        return self.reply()

    def envelope(self, sender, recipients, options=""):
        """MAIL and RCPTs; the first reply that is no 2xx, or the last one."""
        reply = self.mail(sender, options)
        for recipient in recipients:
            if reply.code // 100 != 2:
                return reply
            reply = self.rcpt(recipient)
        return reply

    def message(self, sender, recipients, message, options=""):
        """A whole transaction; the first refusal, or the reply to the end of the data.

        What a refusal leaves open is closed with RSET, as a mail program would.
        """
        reply = self.envelope(sender, recipients, options)
        if reply.code // 100 == 2:
            reply = self.data(message)
        if reply.code // 100 != 2:
            self.command("RSET")
        return reply

    def quit(self):
        reply = self.command("QUIT")
        self.close()
        return reply


def dotted(message):
    """@message as DATA carries it: dots doubled, end mark added."""
    out = message.replace(b"\r\n.", b"\r\n..")
    if out.startswith(b"."):
        out = b"." + out
    if out and not out.endswith(b"\r\n"):
        out += b"\r\n"
    return out + b".\r\n"
