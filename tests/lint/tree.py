# SPDX-License-Identifier: BSD-2-Clause
"""The project's own files, for the rules in rules.py: path (from the top) to text."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def paths(root=ROOT):
    """Relative paths of all files, without build folders, caches and version control."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not _foreign(name, folder, root))
        for name in sorted(files):
            if not name.endswith(".pyc") and name != ".git":
                found.append(str(pathlib.Path(folder, name).relative_to(root)))
    return found


def _foreign(name, folder, root):
    top = pathlib.Path(folder) == root
    return (name in ("__pycache__", ".git", ".pytest_cache", ".cache")
            or top and name.startswith("build"))


def texts(root=ROOT):
    """Path to text of every file that is text."""
    tree = {}
    for path in paths(root):
        try:
            tree[path] = (root / path).read_text("utf-8")
        except UnicodeDecodeError:
            pass
    return tree
