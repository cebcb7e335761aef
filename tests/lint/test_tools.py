# SPDX-License-Identifier: BSD-2-Clause
"""What other programs say of the project: clang-format, shellcheck, groff, systemd, Python.

Each is shown to fail on a bad sample first; a tool that is not installed fails too.
"""

import json
import subprocess

import pytest

import tree

PATHS = tree.paths()


def clang_format(path):
    return run("clang-format", "--dry-run", "-Werror", f"--style=file:{tree.ROOT}/"
               ".clang-format", path)


def bash_syntax(path):
    return run("bash", "-n", path)


def shellcheck(path):
    return run("shellcheck", "--shell=bash", path)


def man_page(path):
    """groff's warnings are its standard error; it always exits with 0."""
    return run("groff", "-mandoc", "-Tutf8", "-rLL=100n", "-ww", "-z", path)


def python_syntax(path):
    return run("/usr/bin/python3", "-B", "-c",
               "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')", path)


def sandbox(path):
    """systemd's own score of a unit's sandbox, 0.0 (closed) to 10.0; ours is at most 1.1."""
    return run("systemd-analyze", "security", "--offline=true", "--threshold=11", path)


def run(*argv):
    """What the tool complains about; empty is good."""
    done = subprocess.run([str(arg) for arg in argv], capture_output=True, text=True,
                          cwd=tree.ROOT, stdin=subprocess.DEVNULL)
    said = done.stdout + done.stderr
    return said or f"exit code {done.returncode}" if done.returncode else done.stderr


def first_line(path):
    with open(tree.ROOT / path, "rb") as file:
        return file.readline()


SOURCES = [path for path in PATHS if path.endswith((".c", ".h"))]
SCRIPTS = [path for path in PATHS if first_line(path).startswith(b"#!/bin/bash")]
PYTHON = [path for path in PATHS if path.endswith(".py")
          or first_line(path).startswith(b"#!/usr/bin/python3")]
UNITS = [path for path in PATHS if path.endswith(".service")]
MAN_PAGES = [path for path in PATHS if path.startswith("man/") and path[-1] in "158"]

SAMPLES = [
    (clang_format, "a.c", "int main(void) { return 0; }\n", "int a;\n"),
    (bash_syntax, "a", "if true; then\n", "true\n"),
    (shellcheck, "a", "rm $1/x\n", 'rm "$1/x"\n'),
    (man_page, "a.8", ".TH A 8\n.SH NAME\n.nosuchmacro\n", ".TH A 8\n.SH NAME\na \\- b\n"),
    (sandbox, "a.service", "[Service]\nExecStart=/bin/true\n",
     (tree.ROOT / "contrib/systemd/postern-milter.service").read_text()),
    (python_syntax, "a.py", "def\n", "x = 1\n"),
]


@pytest.mark.parametrize("tool, name, bad, good", SAMPLES)
def test_tool_can_fail(tool, name, bad, good, tmp_path):
    path = tmp_path / name
    path.write_text(bad)
    assert tool(path)
    path.write_text(good)
    assert not tool(path)


@pytest.mark.parametrize("path", SOURCES)
def test_clang_format(path):
    assert not clang_format(path)


@pytest.mark.parametrize("path", SCRIPTS)
def test_shell(path):
    assert not bash_syntax(path)
    assert not shellcheck(path)


@pytest.mark.parametrize("path", PYTHON)
def test_python(path):
    assert not python_syntax(path)


@pytest.mark.parametrize("path", MAN_PAGES)
def test_man_page(path):
    assert not man_page(path)


@pytest.mark.parametrize("path", UNITS)
def test_sandbox(path):
    assert not sandbox(path)


def test_json_files():
    """Files that others read as JSON, without comments."""
    for path in PATHS:
        if path.endswith(".json") and not path.startswith(("conf/", "tests/")):
            json.loads((tree.ROOT / path).read_text())


def test_something_was_looked_at():
    assert SOURCES and SCRIPTS and PYTHON and UNITS
