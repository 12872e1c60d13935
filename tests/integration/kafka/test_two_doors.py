"""Two `holdfast ingest` processes on one folder: keys and signing key are one, clones are not."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bench.processes import launched
from holdfast.clock import now_ms
from holdfast.config import Settings, load
from holdfast.folder import Folder
from ingest.keys import KeyFile
from tests.fakes.gitops import PATH, RELEASE, Remote, make_remote
from tests.fakes.node_world import until

APP = "keyboard"
STEPS = 8


@dataclass
class Door:
    popen: subprocess.Popen[bytes]
    errors: Path

    def __post_init__(self) -> None:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, self.errors.read_text()
        self.said = json.loads(line)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.said['http_port']}{path}", timeout=60)

    def step(self) -> int:
        """The rollout's step that phones are told; 0 before the first good state."""
        answer = self.get(f"/v1/releases/{APP}")
        return answer.json()["models"][0]["rollout"]["step"] if answer.is_success else 0

    def lets_in(self, key: str) -> bool:
        """Whether this key gets as far as the body of an upload."""
        answer = httpx.post(
            f"http://127.0.0.1:{self.said['http_port']}/v1/telemetry",
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/x-protobuf"},
            timeout=60,
        )
        return answer.status_code != 401

    def warnings(self) -> list[str]:
        """What it logged above information, of its own."""
        lines = [json.loads(line) for line in self.errors.read_text().splitlines()]
        return [
            line["event"]
            for line in lines
            if line["logger"].startswith("holdfast") and line["level"] != "info"
        ]


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return make_remote(tmp_path / "git")


@pytest.fixture
def settings(tmp_path: Path, kafka: str, kafka_prefix: str, remote: Remote) -> Settings:
    return load(
        dir=tmp_path / "doors",
        gitops_url=remote.url,
        gitops_poll_s=0.05,  # so that both ask git at once, again and again
        http_port=0,
        grpc_port=0,
        kafka_bootstrap=kafka,
        kafka_prefix=kafka_prefix,
    )


def started(settings: Settings, writer: str, errors: Path) -> subprocess.Popen[bytes]:
    with errors.open("wb") as output:
        own = settings.model_copy(update={"writer": writer})
        return launched(["ingest"], own, output=subprocess.PIPE, errors=output)


@contextmanager
def doors(settings: Settings, folder: Path, *writers: str) -> Iterator[list[Door]]:
    """Started at the same moment on an empty folder."""
    with ExitStack() as stack:
        popens = []
        for writer in writers:
            popen = started(settings, writer, folder / f"{writer}.log")
            stack.callback(popen.communicate)
            stack.callback(popen.kill)
            popens.append((popen, folder / f"{writer}.log"))
        yield [Door(popen, errors) for popen, errors in popens]


def test_both_follow_git_sign_with_one_key_and_know_the_same_apps(
    tmp_path: Path, settings: Settings, remote: Remote
) -> None:
    with doors(settings, tmp_path, "ingest-0", "ingest-1") as both:
        for step in range(2, 2 + STEPS):
            remote.commit({PATH: RELEASE.replace("step: 1", f"step: {step}").encode()})
        until(lambda: [door.step() for door in both] == [1 + STEPS] * 2, "the last step")
        keys = KeyFile(Folder(settings.dir).keys, now_ms=now_ms)
        key = keys.create(APP)
        until(lambda: all(door.lets_in(key) for door in both), "the new key")
        keys.revoke(key[4:12])
        until(lambda: not any(door.lets_in(key) for door in both), "the end of the key")
        signers = {door.get("/v1/releases/keys").text for door in both}
        for door in both:
            door.popen.terminate()
        codes = [door.popen.wait(60) for door in both]

    clones = sorted(p.parent.name for p in Folder(settings.dir).gitops.glob("*/repository.git"))
    assert clones == ["watch-ingest-0", "watch-ingest-1"]
    assert len(signers) == 1
    assert codes == [0, 0]
    # a try-out's doors: the root lies beside them, and nobody gave them a secret for ids to share
    told = [sorted(door.warnings()) for door in both]
    assert told == [["batch_ids_unkeyed", "root_key_on_node"]] * 2


def test_two_of_one_name_on_one_folder_are_refused_and_a_dead_one_holds_nothing(
    tmp_path: Path, settings: Settings
) -> None:
    with doors(settings, tmp_path, "ingest-0") as (first,):
        second = started(settings, "ingest-0", tmp_path / "second.log")
        with second:
            assert second.wait(120) == 2
        assert "writer_in_use" in (tmp_path / "second.log").read_text()
        first.popen.kill()
        first.popen.wait()

        with doors(settings, tmp_path, "ingest-0") as (again,):
            until(lambda: again.step() == 1, "the desired state")
