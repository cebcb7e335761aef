# SPDX-License-Identifier: BSD-2-Clause
"""Dovecot as a private SASL server: users with a password, and nothing else."""

import socket

from .process import Process

CONFIGURATION = """\
base_dir = {base}
state_dir = {base}
log_path = /dev/stderr
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_verbose = yes
default_internal_user = dovecot
default_login_user = dovenull
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {users}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {socket} {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
"""


class Dovecot:
    def __init__(self, workspace, queue, users, name="dovecot"):
        """@users: name to password. The socket is @queue/private/auth."""
        self._name = name
        self._workspace = workspace
        self._users = users
        self._socket = queue / "private" / "auth"
        self.process = None

    def start(self):
        directory = self._workspace.directory(self._name)
        users = directory / "users"
        users.write_text("".join(f"{name}:{word}\n" for name, word in self._users.items()))
        users.chmod(0o644)
        base = self._workspace.directory(self._name, "run")
        configuration = directory / "dovecot.conf"
        configuration.write_text(CONFIGURATION.format(
            base=base, users=users, socket=self._socket))
        self.process = Process("dovecot", ["dovecot", "-F", "-c", configuration])
        self.process.wait_for_line(r"starting up")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self._socket))

    def stop(self):
        if self.process:
            self.process.kill_group()  # a gentle end takes it a second
