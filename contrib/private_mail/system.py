# SPDX-License-Identifier: BSD-2-Clause
"""Postfix, Dovecot and the sink as one thing that starts and stops."""

from .dovecot import Dovecot
from .postfix import Postfix
from .smtp import SmtpClient
from .workspace import SERVICE_USER

USERS = {"ada@example.org": "lovelace", "bob@example.org": "cratchit",
         "carol@elsewhere.example": "singer", "dora": "explorer"}

# Addresses on loopback with a part to play. None is trusted by Postfix or by Postern
# unless a configuration says so.
STRANGER = "127.0.0.9"
RELAY_HOST = "127.0.0.5"
USER = "127.0.0.7"


class Refused(Exception):
    """The server would not let a session begin; `reply` says how."""

    def __init__(self, reply):
        super().__init__(str(reply))
        self.reply = reply


class MailSystem:
    """Takes the words of Postfix's constructor (chroot, main, options)."""

    def __init__(self, workspace, certificate, sink, name="postfix", **postfix):
        self.sink = sink
        self.postfix = Postfix(workspace, sink.port, certificate, name=name,
                               service_user=SERVICE_USER, **postfix)
        self.dovecot = Dovecot(workspace, self.postfix.queue, USERS, name=f"{name}-sasl")

    def start(self):
        self.dovecot.start()
        self.postfix.start()

    def stop(self):
        self.postfix.stop()
        self.dovecot.stop()

    def client(self, service, source=STRANGER, **words):
        """A session with @service that has been greeted and has said EHLO."""
        client = SmtpClient(self.postfix.ports[service], source=source,
                            tls=service == "submissions", **words)
        client.ehlo()
        return client

    def user(self, name="ada@example.org", service="submission", source=USER, **words):
        """A session under TLS that is logged in as @name, or Refused."""
        client = self.client(service, source, **words)
        reply = None if service == "submissions" else client.starttls()
        if reply is None or reply.code == 250:
            reply = client.login(name, USERS[name])
        if reply.code // 100 != 2:
            client.close()
            raise Refused(reply)
        return client
