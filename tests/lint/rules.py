# SPDX-License-Identifier: BSD-2-Clause
"""House rules that a machine can see.

Each takes a tree (path to text) and returns complaints, one line each; none is good.
test_lint.py applies each to the project and to a sample that breaks it.
"""

import posixpath
import re

# Includes point down only: a room to the rooms that it may include from.
ROOMS = {
    "common": {"common"},
    "policyd/core": {"policyd/core", "common"},
    "policyd": {"policyd", "policyd/core", "common"},
    "milter": {"milter", "common"},
    "ctl": {"ctl", "policyd/core", "common"},
}

# A foreign library has one door: its headers stand in one .c and in no header.
ONE_DOOR = {
    "c-ares": r"ares",
    "hiredis": r"hiredis/",
    "libmaxminddb": r"maxminddb",
    "libopendkim": r"(opendkim/)?dkim\.h",
    "libmilter": r"libmilter/",
}

# What decide() and settle() must not reach for: sockets, files, clocks, locks, threads.
IMPURE = re.compile(
    r"^(sys/socket|netinet/.*|sys/un|unistd|fcntl|time|sys/time|pthread|threads|stdatomic"
    r"|event2/.*|signal|syslog|common/log|common/sockets|common/service)\.h$|^event\.h$")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)


def room_of(path):
    """The room a source lies in, or None (tests may include anything)."""
    folder = posixpath.dirname(path)
    while folder:
        if folder in ROOMS:
            return folder
        folder = posixpath.dirname(folder)
    return None


def sources(tree, *endings):
    return {path: text for path, text in tree.items() if path.endswith(endings)}


def includes(text):
    """Pairs of (own, name)."""
    return [(mark == '"', name) for mark, name in INCLUDE.findall(text)]


def include_edges(tree):
    complaints = []
    for path, text in sources(tree, ".c", ".h").items():
        room = room_of(path)
        if room is None:
            continue
        for own, name in includes(text):
            target = room_of(name)
            if own and target is None:
                complaints.append(f'{path}: "{name}" is not written from the top')
            elif own and target not in ROOMS[room]:
                complaints.append(f"{path}: {room} may not include {name}")
    return complaints


def one_door(tree):
    complaints = []
    for library, pattern in ONE_DOOR.items():
        users = [path for path, text in sources(tree, ".c", ".h").items()
                 if room_of(path) and any(not own and re.match(pattern, name)
                                          for own, name in includes(text))]
        complaints += [f"{path}: a header of ours shows {library}"
                       for path in users if path.endswith(".h")]
        if len(users) > 1:
            complaints.append(f"{library} has more than one door: {', '.join(users)}")
    return complaints


def pure_core(tree):
    return [f"{path}: policyd/core is pure and may not include {name}"
            for path, text in sources(tree, ".c", ".h").items()
            if room_of(path) == "policyd/core"
            for _, name in includes(text) if IMPURE.match(name)]


def own_header_first(tree):
    """A source's first include is its own header: that proves the header complete."""
    complaints = []
    for path, text in sources(tree, ".c").items():
        header = path[:-1] + "h"
        found = includes(text)
        if room_of(path) and header in tree and found and found[0] != (True, header):
            complaints.append(f'{path}: the first include is not "{header}"')
    return complaints


def file_names(tree):
    return [f"{path}: no file is called util or helpers: name what it is about"
            for path in tree
            if re.search(r"(^|[_./-])(utils?|helpers?|misc)([_./-]|$)",
                         posixpath.basename(path))]


def spdx(tree):
    """A licence line among the first three of every source and script."""
    complaints = []
    for path, text in tree.items():
        script = text.startswith("#!")
        if script or path.endswith((".c", ".h", ".py")):
            head = "\n".join(text.split("\n")[:3])
            if "SPDX-License-Identifier: BSD-2-Clause" not in head:
                complaints.append(f"{path}: no SPDX line among the first three")
    return complaints


# Written so that this file does not find itself.
MACHINE_PATH = re.compile(
    r"(^|[^\w./$}-])(/h[o]me/\w|/r[o]ot/|/w[o]rk/|/U[s]ers/|/t[m]p/[\w-]+/)")


def machine_paths(tree):
    """Paths that exist on one machine alone."""
    return [f"{path}:{number}: a path of one machine: {line.strip()}"
            for path, text in tree.items()
            for number, line in enumerate(text.split("\n"), 1)
            if MACHINE_PATH.search(line)]


UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X)\b")


def unfinished(tree):
    return [f"{path}:{number}: {line.strip()}"
            for path, text in tree.items()
            for number, line in enumerate(text.split("\n"), 1)
            if UNFINISHED.search(line)]


def size(tree):
    """No file has become the program."""
    return [f"{path}: {len(text.splitlines())} lines; there is a second file inside"
            for path, text in sources(tree, ".c", ".h", ".py").items()
            if len(text.splitlines()) > 900]


QUOTED = re.compile(r"'([^'\n]+)'")


def meson_lists(tree):
    """Every source that meson.build names exists, and every .c is named by one.

    A unit test stands there under its name without test_ and .c.
    """
    complaints, named = [], set()
    for path, text in tree.items():
        if posixpath.basename(path) != "meson.build":
            continue
        folder = posixpath.dirname(path)
        for word in QUOTED.findall(re.sub(r"#.*", "", text)):
            if word.endswith(".c"):
                source = posixpath.normpath(posixpath.join(folder, word))
                named.add(source)
                # A bare '.c' is the end of a name put together.
                if source not in tree and not posixpath.basename(word) == ".c":
                    complaints.append(f"{path}: {word} does not exist")
            else:
                named.add(posixpath.join(folder, f"test_{word}.c"))
    complaints += [f"{path}: no meson.build builds it"
                   for path in sources(tree, ".c") if path not in named]
    return complaints


RULES = [include_edges, one_door, pure_core, own_header_first, file_names, spdx,
         machine_paths, unfinished, size, meson_lists]
