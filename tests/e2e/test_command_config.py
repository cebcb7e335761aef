# SPDX-License-Identifier: BSD-2-Clause
"""`postern config`: the values in force, where they come from, what differs."""

import json
import subprocess

import pytest


@pytest.fixture
def config(build, tmp_path):
    """config(ARG...): runs `postern config` in an empty folder of its own."""
    def run(*args):
        return subprocess.run([build / "ctl/postern", "config", *args], cwd=tmp_path,
                              text=True, capture_output=True, timeout=60)
    return run


@pytest.fixture
def files(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "c.json").write_text(
        '{ "include": ["d/*.json"],\n'
        '  // who is served\n'
        '  "domains": {"example.org": {"subdomains": true}, "example.com": {}},\n'
        '  "auth": {"require_tls": true, "sender": "user"},\n'
        '  "block": {"hosts": ["192.0.2.1"]}, "defaults": {"auth": false},\n'
        '  "limits": [{"name": "a", "per": "user", "count": "messages", "max": 5,\n'
        '    "window": "1h", "when": {"authenticated": true}}],\n'
        '  "log": {"decisions": "x.jsonl"}}\n')
    (tmp_path / "d" / "a.json").write_text('{"block": {"hosts": ["192.0.2.2"]}}')
    return tmp_path


def test_everything(config, files):
    done = config("-c", "c.json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for expected in [
            'auth.sender = "user"  # c.json:4',
            "auth.require_tls = true  # c.json:4",
            "auth.blocked_ports = [25]  # default",
            'block.hosts = ["192.0.2.1"]  # c.json:5',
            'block.hosts = ["192.0.2.2"]  # d/a.json:1',
            "domains.example.org.subdomains = true  # c.json:3",
            "domains.example.org.auth = false  # c.json:5",
            "domains.example.com.subdomains = false  # default",
            "limits[0].when.authenticated = true  # c.json:7",
            f'log.decisions = "{files}/x.jsonl"  # c.json:8',
            'milter.status = "127.0.0.1:8726"  # default']:
        assert expected in lines
    assert not [line for line in lines if line.startswith("redis")]
    assert len(lines) == len({line.split("  # ")[0] for line in lines})


def test_what_differs(config, files):
    lines = config("-n", "-c", "c.json").stdout.splitlines()
    assert [line.split(" = ")[0] for line in lines] == [
        "include", "defaults.auth", "domains.example.org.subdomains",
        "domains.example.com", "auth.sender", "block.hosts", "block.hosts",
        "limits[0].name", "limits[0].per", "limits[0].count", "limits[0].max",
        "limits[0].window", "limits[0].when.authenticated", "log.decisions"]


@pytest.mark.parametrize("key, expected", [
    ("auth.sender", ['auth.sender = "user"']),
    ("domains.example.org", ["domains.example.org.auth = false",
                             "domains.example.org.subdomains = true",
                             "domains.example.org.dkim = []"]),
    ("dns", ["dns.servers = []", 'dns.timeout = "2s"']),
    ("redis", []),
], ids=str)
def test_a_key_narrows(config, files, key, expected):
    done = config(key, "-c", "c.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("  # ")[0] for line in done.stdout.splitlines()] == expected


@pytest.mark.parametrize("key, near", [
    ("auht", 'did you mean "auth"?'), ("auth.sendr", 'did you mean "auth.sender"?'),
    ("domains.example.net", "there is no key"), ("auth.sen", "there is no key")])
def test_a_key_that_is_not_there(config, files, key, near):
    done = config(key, "-c", "c.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert near in done.stderr


def test_json(config, files):
    answer = json.loads(config("-n", "--json", "-cc.json", "auth").stdout)
    assert answer == [{"key": "auth.sender", "value": "user", "default": False,
                       "file": "c.json", "line": 4}]
    everything = json.loads(config("--json", "-c", "c.json").stdout)
    blocked = [item["value"] for item in everything if item["key"] == "block.hosts"]
    assert blocked == [["192.0.2.1"], ["192.0.2.2"]]


def test_a_broken_file_shows_nothing(config, tmp_path):
    (tmp_path / "c.json").write_text('{"nodes": 0, "nods": 1}')
    done = config("-c", "c.json")
    assert (done.returncode, done.stdout) == (78, "")
    assert len(done.stderr.splitlines()) == 2
    # Found only when the lists are sealed.
    (tmp_path / "c.json").write_text(
        '{"relay": {"hosts": ["192.0.2.1", {"host": "192.0.2.1", "senders": ["<>"]}]}}')
    done = config("-c", "c.json")
    assert (done.returncode, done.stdout) == (78, "")


@pytest.mark.parametrize("args", [("--nonsense",), ("a", "b"), ("-c",)])
def test_wrong_use(config, args):
    assert config(*args).returncode == 64


def test_hostile_text_cannot_leave_its_line(config, tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(
        {"block": {"hosts": ["file:l\u202e\u00fc"]}}, ensure_ascii=False))
    (tmp_path / "l\u202e\u00fc").write_text("192.0.2.1\n")
    line = config("-n", "-c", "c.json").stdout
    assert line == 'block.hosts = ["file:l\\u202E\\u00FC"]  # c.json:1\n'
