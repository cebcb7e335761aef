# SPDX-License-Identifier: BSD-2-Clause
"""The scenes: each shows one promise with the replies as they came, and checks it."""

from private_mail import dkim_check
from private_mail.system import RELAY_HOST, STRANGER
from private_mail.workspace import SERVICE_USER

import side_by_side

# Where the user sits. Postfix's XCLIENT plays it, since on loopback nobody sits there.
LAPTOP = {"ADDR": "203.0.113.77", "NAME": "cable-77.isp.example", "HELO": "adas-laptop"}
TRACES = ("203.0.113.77", "cable-77", "adas-laptop", "10.1.2.3", "kitchen")

# What her mail program sends: it passed a machine at home before, and says so.
MAIL = b"""\
Received: from kitchen.lan (kitchen.lan [10.1.2.3])\r
\tby router.home.example (Mailer 1.0) with SMTP id k17; Mon, 5 Jan 2026 08:00:00 +0000\r
X-Originating-IP: 203.0.113.77\r
From: Ada <ada@example.org>\r
To: Joe <joe@outside.example>\r
Subject: Minutes of the meeting\r
Date: Mon, 5 Jan 2026 08:00:01 +0000\r
Message-ID: <minutes@example.org>\r
\r
Dear Joe,\r
nothing was decided.\r
"""

LIMIT = 5
BLOCKED = "bob@example.org  password stolen\n"


def prepare(stage):
    """Writes the configuration and starts the daemons on it."""
    stage.blocked = stage.postern.etc / "blocked_senders"
    stage.blocked.write_text(BLOCKED)
    run = stage.workspace.directory("run", owner=SERVICE_USER)
    stage.postern.start({
        "policyd": {"control": f"unix:{run}/policyd"},
        "relay": {"hosts": [RELAY_HOST]},
        "block": {"senders": ["file:blocked_senders"]},
        "limits": [{"name": "user-hour", "per": "user", "count": "messages",
                    "max": LIMIT, "window": "1h", "over": "defer"}],
        "milter": {"control": f"unix:{run}/milter",
                   "mask": {"upstream": "mask", "remove": ["X-Originating-IP"]}},
    })
    print("\nA Postfix of its own, with the lines of contrib/postfix, Postern wired into "
          "it,\nDovecot for its users and a sink for what leaves. It serves example.org.")


def tell(client, since=0):
    for side, text in client.transcript[since:]:
        print(f"   {side}: {text}")


def operate(stage, *words):
    """The operator's command, as it is typed, and what it prints."""
    done = stage.postern.command(*words, "-c", stage.postern.configuration)
    print(f"   # postern {' '.join(words)}")
    for line in (done.stdout + done.stderr).splitlines():
        print(f"   {line}")
    return done


def expect(condition, what):
    if not condition:
        raise AssertionError(what)
    print(f"   -> {what}")


def small_mail(sender):
    return (f"From: {sender}\r\nTo: joe@outside.example\r\nSubject: hello\r\n"
            "\r\nhello\r\n").encode()


def stranger(stage):
    """A stranger tries to send mail through this host, on port 25."""
    with stage.mail.client("smtp", STRANGER) as client:
        since = len(client.transcript)
        reply = client.envelope("x@elsewhere.example", ["joe@outside.example"])
        tell(client, since)
    expect(reply.code == 554 and "Relay access denied" in reply.text,
           "refused: the stranger may not relay")


def relay_host(stage):
    """A host that relay.hosts lists does the same, as a sender of example.org."""
    mark = stage.sink.mark()
    with stage.mail.client("smtp", RELAY_HOST) as client:
        since = len(client.transcript)
        reply = client.message("app@example.org", ["joe@outside.example"],
                               small_mail("app@example.org"))
        tell(client, since)
    expect(reply.code == 250 and stage.sink.wait_for(1, mark), "accepted and delivered")


def auth_on_25(stage):
    """A user tries to log in on port 25."""
    with stage.mail.client("smtp") as client:
        client.starttls()
        since = len(client.transcript)
        reply = client.login("ada@example.org", "lovelace")
        tell(client, since)
    expect(reply.code == 503, "Postfix offers no AUTH there")

    print("\n   The same where Postfix does offer it, against the advice:\n")
    with stage.mail.user(service="smtp_auth") as client:
        since = len(client.transcript)
        reply = client.envelope("ada@example.org", ["joe@outside.example"])
        tell(client, since)
    expect(reply.code == 550 and "5.7.1" in reply.text, "Postern refuses the session")


def submission(stage):
    """A user sends mail on port 587: its headers without and with Postern."""
    letters = []
    for system in (stage.bare_mail, stage.mail):
        mark = stage.sink.mark()
        with system.client("submission", helo=LAPTOP["HELO"]) as client:
            client.xclient(**LAPTOP)
            client.starttls()
            client.login("ada@example.org", "lovelace")
            since = len(client.transcript)
            reply = client.message("ada@example.org", ["joe@outside.example"], MAIL)
        if reply.code != 250:
            tell(client, since)
        letters += stage.sink.wait_for(1, mark) if reply.code == 250 else []
    tell(client, since)
    expect(len(letters) == 2, "accepted and delivered\n")
    bare, letter = letters
    stage.letter = letter
    side_by_side.show("without Postern", bare.headers(), "with Postern", letter.headers())
    print()
    text = letter.data.decode("latin-1")
    found = [trace for trace in TRACES if trace in text]
    expect(not found, "nothing says where the user sits" if not found
           else f"the delivered mail still says {found}")
    expect(len(letter.header("Received")) == 2 and letter.body == bare.body,
           "two hops before, two after, and the same body")


def signature(stage):
    """The delivered mail's signature is checked by dkimpy, with the key's record."""
    name = "s2026._domainkey.example.org"
    record = dkim_check.public_record(stage.postern.make_key("default"))
    print(f'   {name}. TXT "{record[:40]}..."')
    expect(dkim_check.verify(stage.letter.data, {name: record}), "it verifies")
    changed = stage.letter.data.replace(b"nothing was decided", b"all was decided")
    expect(not dkim_check.verify(changed, {name: record}),
           "it does not, once a word is changed")


def limit(stage):
    """The limit is five messages an hour and user. Scene 4 sent the first; the sixth has
    to wait."""
    replies = []
    for number in range(2, LIMIT + 2):
        with stage.mail.user() as client:
            since = len(client.transcript)
            replies.append(client.message("ada@example.org", ["joe@outside.example"],
                                          small_mail("ada@example.org")))
        print(f"   message {number}: {str(replies[-1])}")
    expect([reply.code for reply in replies] == [250] * (LIMIT - 1) + [451],
           "five accepted, the sixth stays with the client, which tries again later")
    print("\n   The operator sees it, and sets it back:\n")
    usage = operate(stage, "usage", "ada@example.org")
    reset = operate(stage, "reset", "ada@example.org")
    expect("user-hour" in usage.stdout and reset.returncode == 0, "her window is empty again")
    with stage.mail.user() as client:
        reply = client.message("ada@example.org", ["joe@outside.example"],
                               small_mail("ada@example.org"))
    print(f"   message 6: {reply}")
    expect(reply.code == 250, "accepted")


def block_and_reload(stage):
    """A blocked sender, until the file is mended and the daemon reads it anew."""
    print(f"   blocked_senders: {BLOCKED}")

    def attempt():
        with stage.mail.user("bob@example.org") as client:
            since = len(client.transcript)
            reply = client.message("bob@example.org", ["joe@outside.example"],
                                   small_mail("bob@example.org"))
            tell(client, since)
        return reply

    expect(attempt().code == 554, "refused, with the reason that stands in the file\n")
    stage.blocked.write_text("")
    stage.postern.policyd.reload()
    print("   blocked_senders: (empty)        kill -HUP\n")
    expect(attempt().code == 250, "accepted")


ALL = [stranger, relay_host, auth_on_25, submission, signature, limit, block_and_reload]
