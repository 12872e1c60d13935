"""What we run, build from and ship has a version, a limit and a paper that says what is in it."""

import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.house import ROOT, tracked

COMPOSE = (ROOT / "compose.yaml").read_text()
SERVICES = yaml.safe_load(COMPOSE)["services"]
EXACT = re.compile(
    r"[^:@]+:v?\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?|[^@]+@sha256:[0-9a-f]{64}"
)
LOCK = (ROOT / "uv.lock").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_an_exact_image_and_a_memory_limit(name: str) -> None:
    service = SERVICES[name]

    assert "build" in service or EXACT.fullmatch(service["image"])
    assert re.fullmatch(r"\d+[mg]", str(service.get("mem_limit", "")))


def test_the_base_images_are_exact() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)

    assert bases
    assert [base for base in bases if not EXACT.fullmatch(base)] == []


@pytest.mark.parametrize("image", ["python", "python:3.11-slim", "a/b:25.8", "c:latest", "c:1"])
def test_a_tag_that_moves_is_not_exact(image: str) -> None:
    assert not EXACT.fullmatch(image)


def test_no_secret_of_compose_has_a_default() -> None:
    secret = re.compile(r"\$\{\w*(?:PASSWORD|AUTHORIZATION|WEBHOOK|TOKEN|SECRET)\w*(?!\w)([^}]*)\}")
    found = secret.findall(COMPOSE)

    assert len(found) == 2
    assert [rest for rest in found if not re.match(r":\?.", rest)] == []


def test_every_port_of_compose_is_of_the_loopback_and_the_store_opens_on_request() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    asked = SERVICES["holdfast"]["environment"]["HOLDFAST_STORE_HOST"]
    assert asked == "${HOLDFAST_STORE_HOST:-127.0.0.1}"


def test_one_uv_is_locked_bootstrapped_and_in_the_image() -> None:
    locked = next(p["version"] for p in tomllib.loads(LOCK)["package"] if p["name"] == "uv")
    makefile = (ROOT / "Makefile").read_text()

    assert re.findall(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE) == [locked]
    assert re.findall(r"pip install\b.* uv(\S*)\)", makefile) == ["==$(UV_VERSION)"]
    image = (ROOT / "deploy/Dockerfile").read_text()
    assert re.findall(r"pip install\b.* uv(\S*)\n", image) == [f"=={locked}"]


def test_the_audit_lists_every_locked_version_and_says_what_it_did_not_check() -> None:
    audit = runpy.run_path(str(ROOT / "deploy/audit.py"))
    told = audit["listing"](LOCK, datetime(2040, 1, 1, tzinfo=UTC)).splitlines()
    packages = tomllib.loads(LOCK)["package"]

    assert len(told) == len(packages) - 1 + 2
    assert all(line.startswith("OLD") for line in told[:-2])
    assert told[-1].startswith("NOT checked against advisories")
    assert "OLD" not in audit["listing"](LOCK, datetime(2000, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(("status", "ends"), [(0, 0), (1, 1), (2, 0)])
def test_the_audit_fails_on_a_finding_only(tmp_path: Path, status: int, ends: int) -> None:
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\nexit {status}\n")
    uv.chmod(0o755)

    done = subprocess.run(
        [sys.executable, ROOT / "deploy/audit.py", uv], capture_output=True, text=True, check=False
    )

    assert done.returncode == ends
    assert ("NOT checked" in done.stdout) == (status == 2)


def released(out: Path, umask: int) -> dict[str, bytes]:
    uv = os.path.relpath(Path(sys.executable).with_name("uv"), ROOT)  # as the Makefile names it
    subprocess.run(
        [sys.executable, ROOT / "deploy/release.py", out, uv],
        env={**os.environ, "TZ": "Asia/Tokyo" if umask else "UTC"},
        cwd=ROOT,
        umask=umask,
        capture_output=True,
        check=True,
    )
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_commit_gives_the_same_release_twice_and_papers_that_fit(tmp_path: Path) -> None:
    first, second = released(tmp_path / "a", 0o022), released(tmp_path / "b", 0o077)

    assert first == second
    paper = json.loads(first.pop(next(n for n in first if n.endswith(".intoto.json"))))
    named = {subject["name"]: subject["digest"]["sha256"] for subject in paper["subject"]}
    assert named == {name: hashlib.sha256(content).hexdigest() for name, content in first.items()}
    assert {"".join(Path(n).suffixes[-2:]) for n in named} >= {".tar.gz", ".cdx.json"}
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    source = paper["predicate"]["buildDefinition"]["externalParameters"]["source"]
    assert source["digest"] == {"gitCommit": commit}
    bill = json.loads(first[next(n for n in first if n.endswith(".cdx.json"))])
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    listed = {part["name"] for part in bill["components"]}
    assert {re.split(r"[<>=; ]", line)[0] for line in direct} <= listed
    assert "pytest" not in listed


def test_dist_is_not_of_the_tree() -> None:
    assert not [path for path in tracked() if str(path).startswith("dist/")]
