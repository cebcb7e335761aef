# SPDX-License-Identifier: BSD-2-Clause
"""Two messages' headers next to each other."""

import itertools
import re
import textwrap

WIDTH = 46


def _cells(headers):
    lines = []
    for name, value in headers:
        text = _shortened(name, " ".join(value.split()))
        lines += textwrap.wrap(f"{name}: {text}", WIDTH, subsequent_indent="    ",
                               break_on_hyphens=False)
    return lines


def _shortened(name, value):
    """A signature's long words do not help anybody who looks."""
    if name != "DKIM-Signature":
        return value
    value = re.sub(r"\b(bh?)=([^;]{16})[^;]*", r"\1=\2...", value)
    return re.sub(r":(?=\S)", ": ", value)


def _aligned(left, right):
    """Pairs of headers, the same name on one line where both have it."""
    right = list(right)
    rows = []
    for name, value in left:
        same = next((i for i, (other, _) in enumerate(right) if other == name), None)
        if same is None:
            rows.append(([(name, value)], []))
            continue
        rows += [([], [header]) for header in right[:same]]
        rows.append(([(name, value)], [right[same]]))
        right = right[same + 1:]
    return rows + [([], [header]) for header in right]


def show(title_left, left, title_right, right, indent="   "):
    """Prints both lists of (name, value)."""
    print(f"{indent}{title_left:<{WIDTH}} | {title_right}")
    print(f"{indent}{'-' * WIDTH}-+-{'-' * WIDTH}")
    for one, other in _aligned(left, right):
        for a, b in itertools.zip_longest(_cells(one), _cells(other), fillvalue=""):
            print(f"{indent}{a:<{WIDTH}} | {b}".rstrip())
