"""Brokers run from the jars that were pinned, and from no others."""

import hashlib
from pathlib import Path

import pytest

import bench.broker
from bench.broker import BrokerUnavailableError, check_jars, free_ports


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, deploy = tmp_path / "jars", tmp_path / "deploy"
    folder.mkdir()
    deploy.mkdir()
    lines = []
    for name in ("a.jar", "b.jar"):
        (folder / name).write_text(name)
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}")
    (deploy / "jars.sha256").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(bench.broker, "_DEPLOY", deploy)
    return folder


def test_the_pinned_jars_are_taken(jars: Path) -> None:
    check_jars(jars)


def test_a_jar_that_differs_is_named(jars: Path) -> None:
    (jars / "b.jar").write_text("other")

    with pytest.raises(BrokerUnavailableError, match=r"b\.jar"):
        check_jars(jars)


def test_one_jar_more_or_less_is_named(jars: Path) -> None:
    (jars / "c.jar").write_text("c")
    with pytest.raises(BrokerUnavailableError, match=r"c\.jar"):
        check_jars(jars)

    (jars / "c.jar").unlink()
    (jars / "a.jar").unlink()
    with pytest.raises(BrokerUnavailableError, match=r"a\.jar"):
        check_jars(jars)


def test_ports_differ_and_lie_below_those_of_outgoing_connections() -> None:
    ports = free_ports(6)

    assert len(set(ports)) == 6
    assert max(ports) < 32_768
