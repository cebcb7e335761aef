#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A small DNS server for tests: UDP and TCP on one loopback port, told what to answer.

    tests/dns_server.py [ADDRESS] [PORT]      (127.0.0.1, a free port)

Prints "port N" and then obeys lines on its standard input, each answered by one line:

    add NAME TYPE TTL DATA     one more record (A AAAA MX TXT CNAME); MX: "10 mx.example.org"
    del NAME                   the name is gone
    clear                      all records, modes and counts are
    mode NAME MODE             how to answer for NAME, "*" for every name without one:
        normal servfail refused nodata drop garbage
        delay:MS               the answer comes late
        truncate               over UDP only the word to use TCP
        oversize               over UDP whole, however long
        wrongid                over UDP first a forged answer with another id
        forged                 the same for another question, under the right id
    count NAME TYPE            how often it was asked

A name that has no record of any type does not exist (NXDOMAIN). CNAMEs are followed inside
the zone; a loop is sent as the records it consists of. It ends with its standard input.
"""

import collections
import ipaddress
import socket
import struct
import sys
import threading

TYPES = {"A": 1, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28}
FORGED = ipaddress.ip_address("203.0.113.66").packed


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode("latin-1")
    return out + b"\0"


def encode_data(kind, text):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(text).packed
    if kind == "MX":
        preference, exchange = text.split()
        return struct.pack("!H", int(preference)) + encode_name(exchange)
    if kind == "CNAME":
        return encode_name(text)
    data = text.encode("latin-1")
    pieces = [data[i:i + 255] for i in range(0, len(data), 255)] or [b""]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


def record(name, kind, ttl, data):
    return encode_name(name) + struct.pack("!HHIH", TYPES[kind], 1, ttl, len(data)) + data


class Question:
    def __init__(self, message):
        self.id = message[:2]
        at, labels = 12, []
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
            at += 1 + message[at]
        self.name = ".".join(labels).lower()
        self.type = struct.unpack("!H", message[at + 1:at + 3])[0]
        self.section = message[12:at + 5]
        self.room = 512
        if struct.unpack("!H", message[10:12])[0] and message[at + 5] == 0:
            self.room = max(512, struct.unpack("!H", message[at + 8:at + 10])[0])


class Zone:
    def __init__(self):
        self.lock = threading.Lock()
        self.clear()

    def clear(self):
        self.records = collections.defaultdict(list)
        self.modes = {}
        self.counts = collections.Counter()

    def mode(self, name):
        return self.modes.get(name, self.modes.get("*", "normal"))

    def answers(self, name, wanted):
        """(rcode, records as bytes)"""
        found, seen = [], set()
        while True:
            if name not in self.records:
                return (0 if found else 3), found
            here = [r for r in self.records[name] if TYPES[r[0]] == wanted]
            alias = [r for r in self.records[name] if r[0] == "CNAME"]
            if here or not alias or name in seen:
                return 0, found + [record(name, *r[:3]) for r in here]
            seen.add(name)
            found.append(record(name, *alias[0][:3]))
            name = alias[0][3]

    def answer(self, question, tcp):
        """The messages to send, in order."""
        mode = self.mode(question.name)
        rcode, records = self.answers(question.name, question.type)
        if mode == "servfail":
            rcode, records = 2, []
        elif mode == "refused":
            rcode, records = 5, []
        elif mode == "nodata":
            rcode, records = 0, []
        elif mode == "drop":
            return []
        elif mode == "garbage":
            return [question.id + b"\x81\x80\0\1\0\x09\0\0\0\0" + question.section + b"\xc0\xff"]

        def message(ident, section, rcode, records, flags=0x8180):
            return (ident + struct.pack("!HHHHH", flags | rcode, 1, len(records), 0, 0)
                    + section + b"".join(records))

        whole = message(question.id, question.section, rcode, records)
        if tcp:
            return [whole]
        if mode == "truncate" or (len(whole) > question.room and mode != "oversize"):
            return [message(question.id, question.section, rcode, [], 0x8380)]
        forged = record(question.name, "A", 600, FORGED)
        if mode == "wrongid":
            other = bytes(byte ^ 0x5a for byte in question.id)
            return [message(other, question.section, 0, [forged]), whole]
        if mode == "forged":
            section = encode_name("other.example") + struct.pack("!HH", question.type, 1)
            return [message(question.id, section, 0, [forged]), whole]
        return [whole]


class Server:
    def __init__(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.zone = Zone()
        while True:
            self.udp = socket.socket(family, socket.SOCK_DGRAM)
            self.udp.bind((address, port))
            self.port = self.udp.getsockname()[1]
            self.tcp = socket.socket(family, socket.SOCK_STREAM)
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.tcp.bind((address, self.port))
                break
            except OSError:
                if port:
                    raise
                self.udp.close()
        self.tcp.listen(50)
        for work in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def react(self, data, tcp, send):
        question = Question(data)
        with self.zone.lock:
            self.zone.counts[question.name, question.type] += 1
            mode = self.zone.mode(question.name)
            messages = self.zone.answer(question, tcp)

        def send_all():
            for message in messages:
                try:
                    send(message)
                except OSError:
                    pass  # the client is gone
        if mode.startswith("delay:"):
            timer = threading.Timer(int(mode[6:]) / 1000, send_all)
            timer.daemon = True
            timer.start()
        else:
            send_all()

    def serve_udp(self):
        while True:
            data, peer = self.udp.recvfrom(4096)
            self.react(data, False, lambda message, peer=peer: self.udp.sendto(message, peer))

    def serve_tcp(self):
        while True:
            client, _ = self.tcp.accept()
            threading.Thread(target=self.serve_client, args=(client,), daemon=True).start()

    def serve_client(self, client):
        stream = client.makefile("rb")
        while True:
            head = stream.read(2)
            if len(head) < 2:
                return
            self.react(stream.read(struct.unpack("!H", head)[0]), True,
                       lambda m: client.sendall(struct.pack("!H", len(m)) + m))

    def obey(self, line):
        words = line.rstrip("\n").split(" ", 4)
        zone = self.zone
        with zone.lock:
            if words[0] == "add":
                _, name, kind, ttl, text = words
                zone.records[name.lower()].append(
                    (kind, int(ttl), encode_data(kind, text), text.rstrip(".").lower()))
            elif words[0] == "del":
                zone.records.pop(words[1].lower(), None)
            elif words[0] == "clear":
                zone.clear()
            elif words[0] == "mode":
                zone.modes[words[1].lower()] = words[2]
            elif words[0] == "count":
                return str(zone.counts[words[1].lower(), TYPES[words[2]]])
            else:
                return "unknown command"
        return "ok"


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
    server = Server(address, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print("port", server.port, flush=True)
    for line in sys.stdin:
        print(server.obey(line), flush=True)


if __name__ == "__main__":
    main()
