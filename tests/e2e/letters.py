# SPDX-License-Identifier: BSD-2-Clause
"""Messages and the traces that must not leave with them."""

# A user's whereabouts, played by XCLIENT.
LAPTOP = {"ADDR": "203.0.113.77", "NAME": "cable-77.isp.example",
          "REVERSE_NAME": "cable-77.isp.example", "HELO": "adas-laptop"}
TRACES = ("203.0.113.77", "cable-77", "isp.example", "adas-laptop", "127.0.0.")

UPSTREAM_TRACES = ("10.1.2.", "kitchen")


def upstream_received(count):
    """Received headers that came along, the latest first, each with its traces."""
    return "".join(
        f"Received: from kitchen{number}.lan (kitchen{number}.lan [10.1.2.{number}])\r\n"
        f"\tby hop{number}.example.net (Mailer 1.0) with SMTP id k{number}\r\n"
        f"\tfor <joe@outside.example>; Mon, 5 Jan 2026 08:00:0{number} +0000\r\n"
        for number in range(count, 0, -1))


def letter(sender="ada@example.org", body=b"Dear Joe,\r\nnothing was decided.\r\n",
           upstream=0, more=""):
    head = (upstream_received(upstream) + more
            + f"From: Someone <{sender}>\r\n"
            "To: Joe <joe@outside.example>\r\n"
            "Subject: Minutes of the meeting\r\n"
            "Date: Mon, 5 Jan 2026 08:00:09 +0000\r\n"
            "Message-ID: <minutes@example.org>\r\n\r\n")
    return head.encode() + body


def traces_in(delivery, traces):
    """Which of @traces the delivered message still has, anywhere in it."""
    text = delivery.data.decode("latin-1").lower()
    return [trace for trace in traces if trace.lower() in text]
