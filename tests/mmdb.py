#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes country databases in the MaxMind DB format, so that no test needs a real one.

    mmdb.py OUT [--record-size 24|28|32] [--ip-version 4|6] [--type NAME]
                [--built EPOCH] [--format N] [--loop PREFIX] PREFIX=COUNTRY...

A COUNTRY is a code ("DE"), "registered:DE" (where a network is registered when nobody
knows where it is used), or "asn:64500" (a record without a country). Follows
https://maxmind.github.io/MaxMind-DB/ as the real writers do: equal strings and maps
are stored once and pointed to; IPv4 lies below ::/96 in a tree of IPv6. Unlike real
databases the tree has no alias for ::ffff:0:0/96, so that who forgets to normalise
finds nothing.
"""

import argparse
import ipaddress
import time

MARKER = b"\xab\xcd\xefMaxMind.com"
POINTER, STRING, UINT16, UINT32, MAP, UINT64, ARRAY = 1, 2, 5, 6, 7, 9, 11


def _control(kind, size):
    """The control bytes of a field."""
    if size < 29:
        low, more = size, b""
    elif size < 285:
        low, more = 29, bytes([size - 29])
    else:
        low, more = 30, (size - 285).to_bytes(2, "big")
    if kind <= 7:
        return bytes([kind << 5 | low]) + more
    return bytes([low, kind - 7]) + more


def _pointer(offset):
    if offset < 1 << 11:
        return bytes([POINTER << 5 | offset >> 8, offset & 0xff])
    offset -= 1 << 11
    return bytes([POINTER << 5 | 1 << 3 | offset >> 16, offset >> 8 & 0xff, offset & 0xff])


def _number(kind, value):
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _control(kind, len(data)) + data


class _Data:
    """A data section; what stands there already is pointed to."""

    def __init__(self, shares=True):
        self.bytes = b""
        self._shares = shares
        self._offsets = {}

    def add(self, value):
        """Stores @value (once) and returns its offset."""
        key = repr(value)
        if key not in self._offsets:
            encoded = self.encode(value)
            self._offsets[key] = len(self.bytes)
            self.bytes += encoded
        return self._offsets[key]

    def _inner(self, value):
        if self._shares and isinstance(value, (str, dict)):
            return _pointer(self.add(value))
        return self.encode(value)

    def encode(self, value):
        if isinstance(value, str):
            data = value.encode()
            return _control(STRING, len(data)) + data
        if isinstance(value, dict):
            return _control(MAP, len(value)) + b"".join(
                self._inner(key) + self._inner(item) for key, item in value.items())
        if isinstance(value, list):
            return _control(ARRAY, len(value)) + b"".join(map(self._inner, value))
        kind, number = value
        return _number(kind, number)


def record(country):
    """The data of one network, as GeoLite2-Country and GeoLite2-ASN have them."""
    how, _, what = country.rpartition(":")
    if how == "asn":
        return {"autonomous_system_number": (UINT32, int(what)),
                "autonomous_system_organization": "Example"}
    key = "registered_country" if how == "registered" else "country"
    return {key: {"geoname_id": (UINT32, int.from_bytes(what.encode(), "big")),
                  "iso_code": what, "names": {"en": f"The country {what}"}}}


def _bits(prefix, ip_version):
    network = ipaddress.ip_network(prefix)
    value, length, width = int(network.network_address), network.prefixlen, 32
    if network.version == 6:
        assert ip_version == 6, f"{prefix} in a tree of IPv4"
        width = 128
    elif ip_version == 6:
        length, width = length + 96, 128
    return [value >> (width - 1 - i) & 1 for i in range(length)]


class _Tree:
    """Nodes are pairs of records: None, ("node", n) or ("data", offset)."""

    def __init__(self):
        self.nodes = [[None, None]]

    def put(self, bits, leaf):
        at = 0
        for bit in bits[:-1]:
            child = self.nodes[at][bit]
            if child is None or child[0] == "data":
                # Below a wider network its record holds for all that is not said anew.
                self.nodes.append([child, child])
                child = self.nodes[at][bit] = ("node", len(self.nodes) - 1)
            at = child[1]
        self.nodes[at][bits[-1]] = leaf

    def encode(self, record_size):
        count, out = len(self.nodes), bytearray()
        for node in self.nodes:
            left, right = (count if entry is None else
                           entry[1] if entry[0] == "node" else count + 16 + entry[1]
                           for entry in node)
            assert max(left, right) < 1 << record_size, "too large for this record size"
            if record_size == 28:
                out += (left & 0xffffff).to_bytes(3, "big")
                out.append(left >> 24 << 4 | right >> 24)
                out += (right & 0xffffff).to_bytes(3, "big")
            else:
                out += left.to_bytes(record_size // 8, "big")
                out += right.to_bytes(record_size // 8, "big")
        return bytes(out)


def database(networks, record_size=24, ip_version=6, kind="GeoLite2-Country", built=None,
             version=2, loops=()):
    """The bytes of a database with @networks, a dict of prefix to country.

    @built: seconds since 1970, now by default. @loops: prefixes that lead back up the
    tree, as in no sound database.
    """
    tree, data = _Tree(), _Data()
    # Wider networks first, so that narrower ones split them.
    for prefix in sorted(networks, key=lambda text: ipaddress.ip_network(text).prefixlen):
        tree.put(_bits(prefix, ip_version), ("data", data.add(record(networks[prefix]))))
    for prefix in loops:
        tree.put(_bits(prefix, ip_version), ("node", 1))
    metadata = {
        "binary_format_major_version": (UINT16, version),
        "binary_format_minor_version": (UINT16, 0),
        "build_epoch": (UINT64, int(time.time() if built is None else built)),
        "database_type": kind,
        "description": {"en": "A database of tests"},
        "ip_version": (UINT16, ip_version),
        "languages": ["en"],
        "node_count": (UINT32, len(tree.nodes)),
        "record_size": (UINT16, record_size),
    }
    return (tree.encode(record_size) + bytes(16) + data.bytes + MARKER
            + _Data(shares=False).encode(metadata))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--record-size", type=int, default=24)
    parser.add_argument("--ip-version", type=int, default=6)
    parser.add_argument("--type", default="GeoLite2-Country")
    parser.add_argument("--built", type=int)
    parser.add_argument("--format", type=int, default=2)
    parser.add_argument("--loop", action="append", default=[])
    parser.add_argument("networks", nargs="*", metavar="PREFIX=COUNTRY")
    args = parser.parse_intermixed_args()
    networks = dict(pair.split("=", 1) for pair in args.networks)
    with open(args.out, "wb") as file:
        file.write(database(networks, args.record_size, args.ip_version, args.type,
                            args.built, args.format, args.loop))


if __name__ == "__main__":
    main()
