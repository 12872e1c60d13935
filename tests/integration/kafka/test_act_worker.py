"""The act stage as a real process, over a real broker and a real Git remote."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.config import Settings, load
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from holdfast.worker_clocks import clocks_of
from streams.clocks import Clocks
from streams.kafka.appender import Appender, Outgoing
from streams.kafka.topics import VERDICTS
from streams.log.kafka import KafkaLog
from tests.fakes.gitops import Remote, make_remote, verdict
from tests.fakes.node_world import until
from tests.fakes.worker_process import Part
from wire.desired import from_json
from wire.segment import Kind, decode


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return make_remote(tmp_path / "git")


@pytest.fixture
def settings(tmp_path: Path, kafka: str, kafka_prefix: str, remote: Remote) -> Settings:
    folder = Folder(tmp_path / "act-0")
    folder.create()
    return load(
        dir=folder.root,
        worker_id="act-0",
        kafka_bootstrap=kafka,
        kafka_prefix=kafka_prefix,
        gitops_url=remote.url,
        gitops_poll_s=0.3,
        store_url="http://127.0.0.1:9",  # nobody listens: effects do not wait for the store
    )


@pytest.fixture
def act(tmp_path: Path, settings: Settings) -> Iterator[Part]:
    with (tmp_path / "act.log").open("ab") as errors:
        part = Part("act-0", ["worker", "--stage", "act"], settings, errors)
        part.launch()
        part.wait_ready()
        yield part
        part.stop()


def send(settings: Settings, incident_id: str) -> None:
    """What decide publishes; once more with every call."""
    kafka = kafka_settings(settings)
    body = msgspec.msgpack.encode(verdict(incident_id=incident_id))

    async def append() -> None:
        appender = Appender(kafka, "test")
        await appender.append(kafka.topic(VERDICTS), [Outgoing(0, body, b"v")])
        await appender.close()

    asyncio.run(append())


def commits(remote: Remote, incident_id: str) -> int:
    remote.git("fetch", "--quiet", "origin")
    log = remote.git("log", "origin/main", "--format=%B")
    return log.count(f"Holdfast-Incident: {incident_id}")


def controls(settings: Settings) -> list[str]:
    """Commits of the control records in partition 0."""
    log = KafkaLog(kafka_settings(settings), client_id="test")
    found = [decode(r.payload) for r in log.read(0, log.start(0), bytes_max=1 << 20)]
    log.close()
    return [from_json(s.control).commit for s in found if s.kind is Kind.CONTROL]


def clocks(settings: Settings) -> Clocks | None:
    """What the other workers would find."""
    return asyncio.run(clocks_of(kafka_settings(settings)))


def test_a_verdict_is_one_commit_whatever_dies_and_however_often_it_comes(
    act: Part, settings: Settings, remote: Remote
) -> None:
    until(lambda: len(controls(settings)) == 1, "the desired state is not in the log")
    # act saves its state after the append, so the clocks may come a moment later
    until(lambda: clocks(settings) is not None, "the clocks are not in act's state")
    assert clocks(settings) == Clocks(60_000, 604_800_000)

    send(settings, "incident-1")
    until(lambda: commits(remote, "incident-1") == 1, "nothing was rolled back")
    os.kill(act.running().pid, signal.SIGKILL)
    act.running().wait()
    send(settings, "incident-1")
    act.launch()
    act.wait_ready()
    # a second incident of the same model is held by the gate, which remembers the first
    send(settings, "incident-2")
    until(lambda: len(controls(settings)) == 2, "our own commit is not in the log")
    time.sleep(1.0)

    assert commits(remote, "incident-1") == 1
    assert commits(remote, "incident-2") == 0
    began = time.monotonic()
    popen = act.running()
    act.stop()
    assert popen.returncode == 0
    assert time.monotonic() - began < 10
