"""Remotes behind proxies and own authorities, slow, large and misbehaving ones; nothing leaks."""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions.git_command import GitSettings, folder_bytes
from actions.git_words import shown_address, shown_words
from actions.repository import Repository
from holdfast.config import git_environment
from tests.fakes.git_http import Server, answering, files, proxy
from tests.fakes.gitops import FILES, Remote, make_remote
from tests.fakes.secure_kafka import Authority
from wire.errors import PermanentError, TransientError

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
OTHERS = ("no_proxy", "NO_PROXY", "SSL_CERT_FILE", "GIT_SSL_CAINFO", "SSL_CERT_DIR")
ELSEWHERE = "http://gitops.invalid/x.git"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *OTHERS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return make_remote(tmp_path)


def repository(url: str, tmp_path: Path, **changes: object) -> Repository:
    settings = GitSettings(url, "main", tmp_path / "clone", environment=git_environment())
    return Repository(replace(settings, **changes))  # type: ignore[arg-type]  # any field


def is_read(found: Repository) -> bool:
    return found.manifests(found.fetch()) == FILES


@pytest.fixture
def proxied(remote: Remote) -> Iterator[Server]:
    with files(Path(remote.url)) as server, proxy(server.port) as between:
        yield between


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    proxied: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{proxied.port}")

    assert is_read(repository(ELSEWHERE, tmp_path))
    assert proxied.seen[0].startswith("http://gitops.invalid/x.git/info/refs")


def test_a_proxy_of_the_settings_is_used_and_its_password_is_not_said(
    proxied: Server, tmp_path: Path
) -> None:
    address = f"http://me:canary-pass@127.0.0.1:{proxied.port}"

    assert is_read(repository(ELSEWHERE, tmp_path, proxy=address))
    settings = repository(ELSEWHERE, tmp_path / "b", proxy="http://me:canary@127.0.0.1:9")
    with pytest.raises(TransientError) as away:
        settings.fetch()
    assert "canary" not in str(away.value) + repr(settings.settings)


def test_a_host_of_no_proxy_is_reached_directly(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with files(Path(remote.url)) as server:
        assert is_read(repository(f"http://127.0.0.1:{server.port}/x.git", tmp_path))


@pytest.mark.parametrize("how", ["SSL_CERT_FILE", "GIT_SSL_CAINFO", "setting"])
def test_an_authority_of_one_s_own_is_believed(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    authority = Authority("ours")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "server.pem").write_bytes(b"".join(authority.issue("127.0.0.1")))
    changes = {"ca_file": str(tmp_path / "ca.pem")} if how == "setting" else {}
    if not changes:
        monkeypatch.setenv(how, str(tmp_path / "ca.pem"))

    with files(Path(remote.url), tls=tmp_path / "server.pem") as server:
        url = f"https://127.0.0.1:{server.port}/x.git"
        assert is_read(repository(url, tmp_path, **changes))
        monkeypatch.delenv(how, raising=False)
        with pytest.raises(TransientError):
            repository(url, tmp_path / "stranger").fetch()


@pytest.mark.parametrize("shallow", [True, False])
def test_a_server_without_shallow_clones_is_read_as_a_whole(
    remote: Remote, tmp_path: Path, shallow: bool
) -> None:
    with files(Path(remote.url)) as server:
        url = f"http://127.0.0.1:{server.port}/x.git"
        assert is_read(repository(url, tmp_path, is_shallow=shallow))


SMART = "application/x-git-upload-pack-advertisement"


@pytest.mark.parametrize(
    ("status", "body", "kind", "location"),
    [
        (200, b"", "text/plain", ""),
        (200, b"<html>log in</html>", "text/html", ""),
        (200, b"\0\xff" * 5000, "application/octet-stream", ""),
        (200, b"001e# service=git-upload-pack\n0000", SMART, ""),
        (200, b"001e# service=git-upload-pack\n0000ffffx", SMART, ""),
        (200, b"zzzz", SMART, ""),
        (301, b"", "text/plain", "/elsewhere/info/refs?service=git-upload-pack"),
        (302, b"", "text/plain", "/x.git/info/refs?service=git-upload-pack"),
        (401, b"", "text/plain", ""),
        (403, b"", "text/plain", ""),
        (404, b"", "text/plain", ""),
        (407, b"", "text/plain", ""),
        (429, b"", "text/plain", ""),
        (500, b"x", "text/plain", ""),
        (503, b"\x1b[31mred\r\n", "text/plain", ""),
    ],
)
def test_a_server_that_misbehaves_is_away(
    tmp_path: Path, status: int, body: bytes, kind: str, location: str
) -> None:
    with answering(status, body, kind=kind, location=location) as server:
        url = f"http://127.0.0.1:{server.port}/canary-token/x.git"
        with pytest.raises((TransientError, PermanentError)) as away:
            repository(url, tmp_path, timeout_s=20.0).fetch()

    assert str(away.value).isprintable()
    assert "canary" not in str(away.value)


SLOW_SSH = """\
#!/bin/sh
# what ssh would run on the other side, through a pipe that stands still until the gate is open
for asked; do :; done
eval "$asked" | {python} {pipe} {gate}
"""
PIPE = """\
import os, sys, time
let_through = 200_000
while piece := os.read(0, 65536):
    while let_through < len(piece) and not os.path.exists(sys.argv[1]):
        time.sleep(0.05)
    let_through -= len(piece)
    while piece:
        piece = piece[os.write(1, piece):]
"""


@pytest.fixture
def large(tmp_path: Path) -> Remote:
    noise = {f"noise{i}.bin": os.urandom(1 << 20) for i in range(3)}
    return make_remote(tmp_path, {**FILES, **noise})


def test_a_clone_that_is_cut_short_leaves_nothing_and_is_whole_with_more_time(
    large: Remote, tmp_path: Path
) -> None:
    gate, script = tmp_path / "gate", tmp_path / "ssh"
    pipe = tmp_path / "pipe.py"
    pipe.write_text(PIPE)
    script.write_text(SLOW_SSH.format(gate=gate, pipe=pipe, python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    slow = {"ssh_command": str(script), "timeout_s": 3.0}
    cut = repository(f"ssh://host{large.url}", tmp_path, **slow)

    for _ in range(2):
        with pytest.raises(TransientError) as late:
            cut.fetch()
        assert late.value.code == "git_timeout"
        assert folder_bytes(tmp_path / "clone") < 100_000

    gate.touch()
    assert is_read(repository(f"ssh://host{large.url}", tmp_path, **{**slow, "timeout_s": 60.0}))


def test_a_repository_that_is_too_large_is_refused_and_its_rest_is_bounded(
    large: Remote, tmp_path: Path
) -> None:
    small = repository(large.url, tmp_path, bytes_max=1 << 20)

    for _ in range(2):
        with pytest.raises(PermanentError) as refused:
            small.fetch()
        assert refused.value.code == "git_repository_too_large"
    assert folder_bytes(tmp_path / "clone") < 8 << 20
    assert is_read(repository(large.url, tmp_path / "b", bytes_max=64 << 20))


def test_git_that_is_not_there_is_said(tmp_path: Path, remote: Remote) -> None:
    with pytest.raises(TransientError) as missing:
        repository(remote.url, tmp_path, environment={"PATH": str(tmp_path)}).fetch()

    assert missing.value.code == "git_not_started"


@pytest.mark.parametrize(
    ("remote_address", "shown"),
    [
        ("https://git.example.org/tok3n-abc/repo.git", "https://git.example.org/***"),
        (
            "https://bot:p4ss@git.example.org:8443/r.git?t=s3cret",
            "https://git.example.org:8443/***",
        ),
        ("https://tok3n@git.example.org/r", "https://git.example.org/***"),
        ("ssh://git@[::1]:22/tok3n/r.git", "ssh://[::1]:22/***"),
        ("git@git.example.org:tok3n/r.git", "git.example.org:***"),
        ("/srv/git/repo.git", "/srv/git/repo.git"),
        ("file:///srv/git/repo.git", "file:///srv/git/repo.git"),
        ("../repo.git", "../repo.git"),
    ],
)
def test_of_an_address_only_the_host_is_shown(remote_address: str, shown: str) -> None:
    assert shown_address(remote_address) == shown


@pytest.mark.parametrize(
    "remote_address",
    [
        "https://bot:canary1@h.example/canary2/x.git?token=canary3",
        "https://canary1@h.example/a/canary2%2Fcanary3.git",
        "git@h.example:canary1/canary2.git",
        "ssh://canary1:canary2@h.example/~canary3/x.git",
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        "fatal: unable to access '{url}/': Failed to connect",
        "fatal: repository '{url}' not found",
        "remote: canary1 canary2/canary3\nfatal: '/canary2/x.git' does not appear",
        "fatal: Authentication failed for 'https://h.example/canary2/canary3.git/'",
        "redirected to http://other.example/canary2?x=canary3",
        "canary4",
    ],
)
def test_nothing_of_an_address_or_a_credential_is_in_git_s_words(
    remote_address: str, words: str
) -> None:
    shown = shown_words(
        words.format(url=remote_address),
        remote=remote_address,
        secrets=["Basic canary4", "canary4"],
    )

    present = [
        c for c in ("canary1", "canary2", "canary3", "canary4") if c in remote_address + "canary4"
    ]
    assert not [c for c in present if c in shown]
