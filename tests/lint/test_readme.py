# SPDX-License-Identifier: BSD-2-Clause
"""README.md is true: the lines it shows are the shipped ones, the paths it names exist."""

import re

import pytest

import tree

README = (tree.ROOT / "README.md").read_text()


def without_comments(text):
    return "\n".join(line.rstrip() for line in text.splitlines()
                     if line.strip() and not line.lstrip().startswith("#"))


@pytest.mark.parametrize("name", ["main.cf", "master.cf"])
def test_postfix_lines(name):
    shipped = without_comments((tree.ROOT / "contrib/postfix" / name).read_text())
    assert f"```\n{shipped}\n```" in README


def named_paths(text):
    """Paths in back quotes, links and indented commands that look like the project's."""
    words = re.findall(r"`([\w./-]+)`|\]\(([\w./-]+)\)|^    ([\w./-]+)", text, re.MULTILINE)
    found = {word for group in words for word in group if "/" in word}
    return {word for word in found if not word.startswith(("/", "http"))}


def test_paths_exist():
    # Folders within tests/ are named without it in the table.
    missing = [path for path in named_paths(README)
               if not (tree.ROOT / path).exists() and not (tree.ROOT / "tests" / path).exists()]
    assert missing == []


def test_paths_are_found():
    assert named_paths("see `common/`, [x](conf/a.json)\n    tests/run e2e\n`/etc/x`") == {
        "common/", "conf/a.json", "tests/run"}


def test_every_folder_has_a_line():
    folders = {path.split("/")[0] for path in tree.paths() if "/" in path}
    for folder in folders - {".ci"}:
        assert f"`{folder}/`" in README, folder
