# SPDX-License-Identifier: BSD-2-Clause
"""`postern check` and the dispatcher, as an operator meets them: lines and exit codes."""

import json
import subprocess

import pytest


@pytest.fixture
def postern_command(build, tmp_path):
    """postern_command(ARG...): runs `postern` in an empty folder of its own."""
    def run(*args):
        return subprocess.run([build / "ctl/postern", *args], cwd=tmp_path, text=True,
                              capture_output=True, timeout=60)
    return run


def test_good(postern_command, tmp_path):
    (tmp_path / "c.json").write_text('{"domains": {"example.org": {}}}')
    done = postern_command("check", "-c", "c.json")
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "c.json: ok, 1 domain, 0 DKIM keys, 0 limits\n", "")


def test_notes_never_change_the_exit_code(postern_command, tmp_path):
    (tmp_path / "c.json").write_text('{"relay": {"anyone_to": ["example.net"]}}')
    done = postern_command("check", "-c", "c.json")
    assert done.returncode == 0
    note, count = done.stdout.splitlines()
    assert note.startswith("note: c.json:1:25: relay.anyone_to: 1 entry")
    assert count == "c.json: ok, 0 domains, 0 DKIM keys, 0 limits"


def test_errors_one_line_each_then_a_count(postern_command, tmp_path):
    (tmp_path / "c.json").write_text('{"nodes": 0,\n "logs": {}}')
    done = postern_command("check", "-c", "c.json")
    assert (done.returncode, done.stderr) == (78, "")
    assert done.stdout.splitlines() == [
        "c.json:1:11: nodes: the number 0, expected a whole number from 1 to 1000",
        'c.json:2:2: logs: unknown key, did you mean "log"?',
        "c.json: 2 errors",
    ]


def test_a_hundred_errors(postern_command, tmp_path):
    (tmp_path / "bad").write_text("10.0.0.1/8\n" * 250)
    (tmp_path / "c.json").write_text('{"block": {"hosts": ["file:bad"]}}')
    lines = postern_command("check", "-c", "c.json").stdout.splitlines()
    assert len(lines) == 101
    assert lines[99].startswith("bad:100:1: block.hosts[0]: ")
    assert lines[100] == "c.json: 250 errors, the first 100 shown"


def test_keys_are_read(postern_command, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"milter": {"dkim": {
        "require_dns": False, "keys": {"k": {"selector": "s", "file": "k.pem"}}}}}))
    done = postern_command("check", "-c", "c.json")
    assert done.returncode == 78
    assert "milter.dkim.keys.k: " in done.stdout and "k.pem" in done.stdout

    # The folder must be safe too: pytest's is 0700.
    subprocess.run(["openssl", "genrsa", "-out", tmp_path / "k.pem", "1024"],
                   check=True, capture_output=True)
    (tmp_path / "k.pem").chmod(0o600)
    done = postern_command("check", "-c", "c.json")
    assert done.returncode == 0, done.stdout
    assert "RSA with 1024 bits is weak" in done.stdout
    assert "1 DKIM key," in done.stdout


@pytest.mark.parametrize("options", [("--json", "-c", "c.json"), ("-cc.json", "--json")])
def test_json(postern_command, tmp_path, options):
    (tmp_path / "c.json").write_text('{"nodes": 0}')
    done = postern_command("check", *options)
    assert done.returncode == 78
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert answer["errors"] == [
        "c.json:1:11: nodes: the number 0, expected a whole number from 1 to 1000"]
    assert (answer["more"], answer["notices"]) == (0, [])

    (tmp_path / "c.json").write_text('{"relay": {"anyone_to": ["x.org"]}}')
    answer = json.loads(postern_command("check", *options).stdout)
    assert answer["ok"] is True and answer["errors"] == []
    assert (answer["domains"], answer["keys"], answer["limits"]) == (0, 0, 0)
    assert len(answer["notices"]) == 1


def test_json_of_hostile_text(postern_command, tmp_path):
    (tmp_path / "c.json").write_text(r'{"a\u001b[31m\u202e\"": 1}')
    done = postern_command("check", "-c", "c.json")
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    json.loads(postern_command("check", "-c", "c.json", "--json").stdout)


@pytest.mark.parametrize("args", [
    (), ("chekc",), ("check", "-x"), ("check", "-c"), ("check", "--jsn=1"),
    ("check", "extra"),
])
def test_wrong_use(postern_command, args):
    done = postern_command(*args)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr


def test_a_mistyped_command_is_named(postern_command):
    assert 'did you mean "check"?' in postern_command("chekc").stderr


def test_help_and_version(postern_command):
    for option in ("-h", "--help"):
        done = postern_command(option)
        assert (done.returncode, done.stderr) == (0, "")
        assert "check" in done.stdout and "explain" in done.stdout
    done = postern_command("-V")
    assert done.returncode == 0 and done.stdout.startswith("postern ")


def test_other_commands_say_what_is_wrong_with_it(postern_command, tmp_path):
    (tmp_path / "c.json").write_text('{"nodes": 0}')
    done = postern_command("explain", "--client", "192.0.2.1", "-c", "c.json")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("c.json:1:11: nodes: ")


def test_no_file(postern_command):
    done = postern_command("check", "-c", "none.json")
    assert done.returncode == 78
    assert done.stdout.splitlines() == [
        "none.json: cannot be opened: No such file or directory", "none.json: 1 error"]
