# SPDX-License-Identifier: BSD-2-Clause
"""A private Postfix, made of contrib/postfix/main.cf and master.cf as they are.

What is private stands before the shipped lines in main.cf (own directories, ports, the
domains it knows, the sink as the way out), and behind the shipped services in master.cf
(the programs that every Postfix has). Of the shipped services the name becomes a port on
loopback, and the chroot column is chosen; nothing else is replaced.
"""

import grp
import os
import pathlib
import pwd
import re
import socket
import subprocess
import time

from .ports import free_port
from .process import Process, ProcessError

# Another Postfix than the machine's: a folder with bin/ and libexec/, as its build leaves.
ELSEWHERE = os.environ.get("POSTERN_POSTFIX")
ELSEWHERE_MAIN = """\
command_directory = {0}/bin
daemon_directory = {0}/libexec
meta_directory = {0}/conf
shlib_directory = no
""".format(ELSEWHERE) if ELSEWHERE else ""

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "postfix"

MAIN = """\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
maillog_file = /dev/stdout
maillog_file_prefixes = /dev/stdout
mail_owner = postfix
setgid_group = postdrop
myhostname = gw.example.org
mydomain = example.org
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
# Every client here is on loopback, and so in the networks that Postfix would trust:
# whoever is refused is refused by the shipped lines.
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
# What Postfix knows: a domain that it relays to, one of mailboxes, its own name.
relay_domains = inside.example
virtual_mailbox_domains = mailbox.example
virtual_mailbox_maps =
mydestination = $myhostname
local_recipient_maps =
alias_maps =
alias_database =
default_transport = smtp:[127.0.0.1]:{sink}
relay_transport = $default_transport
local_transport = $default_transport
virtual_transport = $default_transport
smtp_dns_support_level = disabled
smtp_tls_security_level = none
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
message_size_limit = 204800000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
{more}
# ---- contrib/postfix/main.cf ----
"""

# The services every Postfix has, without those that take mail.
PROGRAMS = """\

# ---- private ----
pickup    unix  n       -       n       1       1       pickup
cleanup   unix  n       -       n       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
bounce    unix  -       -       n       -       0       bounce
defer     unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
verify    unix  -       -       n       -       1       verify
flush     unix  n       -       n       1000?   0       flush
proxymap  unix  -       -       n       -       -       proxymap
proxywrite unix -       -       n       -       1       proxymap
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
showq     unix  n       -       n       -       -       showq
error     unix  -       -       n       -       -       error
retry     unix  -       -       n       -       -       error
discard   unix  -       -       n       -       -       discard
anvil     unix  -       -       n       -       1       anvil
scache    unix  -       -       n       -       1       scache
postlog   unix-dgram n  -       n       -       1       postlogd
"""

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
          "private", "saved", "trace")


def program(name):
    """A Postfix command: the machine's, or of $POSTERN_POSTFIX."""
    return f"{ELSEWHERE}/bin/{name}" if ELSEWHERE else name


def logical_lines(text):
    """Postfix's logical lines: a line that begins with white space continues the last."""
    lines = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and lines:
            lines[-1] += "\n" + line
        else:
            lines.append(line)
    return lines


def shipped_services():
    """Name to logical line of contrib/postfix/master.cf."""
    return {line.split()[0]: line
            for line in logical_lines((SHIPPED / "master.cf").read_text())}


def service_on_port(line, port, chroot, options=()):
    """The service of @line on 127.0.0.1:@port; @options are added as -o words."""
    head, *rest = line.split("\n")
    fields = head.split()
    fields[0] = f"127.0.0.1:{port}"
    fields[4] = "y" if chroot else "n"
    return "\n".join(["  ".join(fields), *rest, *(f"    -o {word}" for word in options)])


class Postfix:
    """Ports: `smtp`, `submission`, `submissions` as shipped, and `smtp_auth`, a port 25
    on which AUTH is offered against the advice.

    @main: further parameters (text, before the shipped lines). @options: service name to
    -o words. Postern's sockets belong into `sockets`; a user that is not root makes them.
    """

    def __init__(self, workspace, sink_port, certificate, chroot=True, main="",
                 options=None, name="postfix", service_user="nobody"):
        self.name = name
        self.config = workspace.directory(name, "etc")
        self.queue = workspace.directory(name, "queue")
        data = workspace.directory(name, "data", owner="postfix")
        self._make_queues(workspace, name)
        self.sockets = workspace.directory(
            name, "queue", "postern", owner=service_user, group="postfix", mode=0o750)
        self.process = None

        shipped = shipped_services()
        self.ports = {service: free_port() for service in (*shipped, "smtp_auth")}
        lines = dict(shipped, smtp_auth=shipped["smtp"])
        options = dict(options or {})
        options["smtp_auth"] = ("smtpd_sasl_auth_enable=yes", *options.get("smtp_auth", ()))

        cert, key = certificate
        (self.config / "main.cf").write_text(
            ELSEWHERE_MAIN
            + MAIN.format(queue=self.queue, data=data, sink=sink_port, cert=cert, key=key,
                          more=main)
            + (SHIPPED / "main.cf").read_text())
        (self.config / "master.cf").write_text(
            "\n".join(service_on_port(line, self.ports[service], chroot,
                                      options.get(service, ()))
                      for service, line in lines.items())
            + PROGRAMS)
        # Every Postfix program waits up to 1.5 s until a file that it reads is old enough
        # to be whole.
        for file in self.config.iterdir():
            os.utime(file, (0, time.time() - 60))

    def _make_queues(self, workspace, name):
        """The directories of the queue, as `postfix check` would make them.

        The mark that `postfix quick-stop` leaves then spares the start that check, which
        is most of its two seconds and looks at the machine's shared files as well.
        """
        workspace.directory(name, "queue", "pid")
        for part in QUEUES:
            workspace.directory(name, "queue", part, owner="postfix", mode=0o700)
        for part, mode in (("maildrop", 0o730), ("public", 0o710)):
            workspace.directory(name, "queue", part, owner="postfix", group="postdrop",
                                mode=mode)

    def start(self):
        (self.queue / "quick-start").touch()
        self.process = Process("postfix", [program("postfix"), "-c", self.config, "start-fg"])
        self.process.wait_for_line(r"daemon started")
        for port in self.ports.values():
            socket.create_connection(("127.0.0.1", port), 10).close()

    def stop(self):
        """Ends the master by the pid it wrote; its children follow it."""
        if self.process is None or self.process.returncode is not None:
            return
        try:
            master = int((self.queue / "pid" / "master.pid").read_text().split()[0])
            os.kill(master, 15)
            self.process.wait()
        except (OSError, ValueError, ProcessError):
            self.process.kill_group()

    def command(self, name, *args, **run):
        """Runs a Postfix command (postqueue, sendmail, ...) on this instance."""
        flag = "-C" if name in ("sendmail", "mailq") else "-c"
        return subprocess.run([program(name), flag, self.config, *map(str, args)],
                              capture_output=True, timeout=60, **run)

    def knows(self, parameter):
        """Whether this release has @parameter."""
        return not self.command("postconf", "-H", parameter, text=True).stderr

    def queued(self):
        """One line of JSON for each message in the queue."""
        return self.command("postqueue", "-j", text=True).stdout.splitlines()

    def log(self, since=0):
        return self.process.lines(since)

    def wait_for_log(self, pattern, since=0, timeout=20):
        return self.process.wait_for_line(pattern, since, timeout)

    def troubles(self, since=0):
        """Lines in which a Postfix program complains."""
        return [line for line in self.log(since)
                if re.search(r": (warning|error|fatal|panic): ", line)]


def installed():
    """None, or what keeps a private Postfix from running here."""
    if os.geteuid() != 0:
        return "Postfix can be started by root alone"
    for user in ("postfix", "dovecot"):
        try:
            pwd.getpwnam(user)
        except KeyError:
            return f"there is no user {user}: run contrib/install-packages run"
    try:
        grp.getgrnam("postdrop")
    except KeyError:
        return "there is no group postdrop: run contrib/install-packages run"
    return None
