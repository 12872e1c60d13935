"""`holdfast ingest` against a real broker: a receipt means that the topic has the upload."""

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from bench.broker import Cluster
from bench.processes import launched
from holdfast.clock import now_ms
from holdfast.config import Settings, load
from holdfast.example_repo import make_repository
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from holdfast.manifests import Clocks, Model, policy_text, repository_files
from ingest.keys import KeyFile
from streams.kafka.topics import ensure_topics
from streams.log.kafka import KafkaLog
from tests.fakes.ingest_world import APP, kept_id, upload
from tests.fakes.node_world import until
from wire.pb import telemetry_pb2 as pb
from wire.segment import Kind, Segment, decode

MODEL = Model(APP, "next-word", "1.0", "2.0", 0.25)
PARTITIONS = 2


@dataclass
class Doors:
    """One running process."""

    popen: subprocess.Popen[bytes]
    settings: Settings
    key: str
    errors: Path

    def __post_init__(self) -> None:
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, self.errors.read_text()
        self.said = json.loads(line)
        self.http = f"http://127.0.0.1:{self.said['http_port']}"

    def post(self, sent: pb.UploadRequest) -> httpx.Response:
        return httpx.post(
            f"{self.http}/v1/telemetry",
            content=sent.SerializeToString(),
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/x-protobuf",
            },
            timeout=60,
        )

    def is_ready(self) -> bool:
        return httpx.get(f"{self.http}/readyz", timeout=60).status_code == 200

    def segments(self) -> list[Segment]:
        """Everything in the topic."""
        log = KafkaLog(kafka_settings(self.settings), client_id="test")
        try:
            return [
                decode(record.payload)
                for partition in range(PARTITIONS)
                for record in log.read(partition, 0, bytes_max=1 << 30)
            ]
        finally:
            log.close()

    def ids(self) -> list[bytes]:
        """The batch ids in the topic, as often as they are there."""
        found = (s.uploads["batch_id"] for s in self.segments() if s.kind is Kind.TELEMETRY)
        return [batch_id.tobytes() for column in found for batch_id in column]

    def stop(self) -> int:
        self.popen.terminate()
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        return self.popen.wait(60)


def settings_of(folder: Path, broker: Cluster, prefix: str) -> Settings:
    gitops = folder / "gitops.git"
    policy = policy_text(Clocks(window_ms=500), regions=("DE",), apps=(APP,))
    make_repository(gitops, repository_files((MODEL,), policy))
    return load(
        dir=folder / "ingest",
        gitops_url=str(gitops),
        http_port=0,
        grpc_port=0,
        gitops_poll_s=0.25,
        tick_s=0.25,
        partitions=PARTITIONS,
        kafka_bootstrap=broker.bootstrap,
        kafka_prefix=prefix,
    )


def launch(settings: Settings, errors: Path) -> subprocess.Popen[bytes]:
    with errors.open("ab") as output:
        return launched(["ingest"], settings, output=subprocess.PIPE, errors=output)


@pytest.fixture
def doors(tmp_path: Path, own_kafka: Cluster, kafka_prefix: str) -> Iterator[Doors]:
    settings = settings_of(tmp_path, own_kafka, kafka_prefix)
    Folder(settings.dir).create()
    key = KeyFile(Folder(settings.dir).keys, now_ms=now_ms).create(APP)
    popen = launch(settings, tmp_path / "errors.log")
    try:
        made = Doors(popen, settings, key, tmp_path / "errors.log")
        until(made.is_ready, "readiness")
        yield made
    finally:
        popen.kill()
        popen.wait()
        if popen.stdout:
            popen.stdout.close()


def test_what_has_a_receipt_is_in_the_topic(doors: Doors) -> None:
    sent = [upload(3, rollout=False) for _ in range(8)]

    answers = [doors.post(one) for one in sent[:-1]]
    with grpc.insecure_channel(f"127.0.0.1:{doors.said['grpc_port']}") as channel:
        channel.unary_unary("/holdfast.v1.Telemetry/Upload")(
            sent[-1].SerializeToString(),
            metadata=[("authorization", f"Bearer {doors.key}")],
            timeout=60,
        )

    assert [answer.status_code for answer in answers] == [200] * 7
    assert sorted(doors.ids()) == sorted(kept_id(one) for one in sent)


def test_time_goes_on_in_every_partition_and_control_records_are_left_to_act(doors: Doors) -> None:
    def ticks() -> int:
        return sum(s.kind is Kind.TICK for s in doors.segments())

    until(lambda: ticks() >= 2 * PARTITIONS, "ticks")

    assert {s.kind for s in doors.segments()} == {Kind.TICK}


def test_a_broker_away_means_come_back_and_nothing_with_a_receipt_is_lost(
    doors: Doors, own_kafka: Cluster
) -> None:
    before, during = upload(2, rollout=False), upload(2, rollout=False)
    assert doors.post(before).status_code == 200

    own_kafka.kill()
    began = time.monotonic()
    refused = doors.post(during)
    assert time.monotonic() - began < 18  # one group may be ahead of it, and each takes 8 s
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.json()["code"] == "kafka_away"
    assert not doors.is_ready()
    own_kafka.restart()
    until(lambda: doors.post(during).status_code == 200, "receipt")

    until(doors.is_ready, "readiness")
    assert doors.ids().count(kept_id(before)) == 1
    assert kept_id(during) in doors.ids()
    assert doors.popen.poll() is None


def test_an_outage_does_not_flood_the_log(doors: Doors, own_kafka: Cluster) -> None:
    own_kafka.kill()
    time.sleep(5)

    lines = [json.loads(line) for line in doors.errors.read_text().splitlines()]
    of_client = [line for line in lines if line["logger"].startswith("aiokafka")]
    assert 0 < len(of_client) <= 15


def test_the_doors_open_when_the_broker_comes(
    tmp_path: Path, own_kafka: Cluster, kafka_prefix: str
) -> None:
    own_kafka.kill()
    popen = launch(settings_of(tmp_path, own_kafka, kafka_prefix), tmp_path / "errors.log")
    try:
        until((tmp_path / "errors.log").exists, "log")
        until(lambda: "broker_away" in (tmp_path / "errors.log").read_text(), "word of the broker")
        own_kafka.restart()

        assert popen.stdout is not None
        assert json.loads(popen.stdout.readline())["ready"] is True
    finally:
        popen.kill()
        popen.wait()
        if popen.stdout:
            popen.stdout.close()


def test_told_to_stop_it_ends_within_ten_seconds_and_well(doors: Doors) -> None:
    doors.post(upload(1, rollout=False))

    began = time.monotonic()
    assert doors.stop() == 0
    assert time.monotonic() - began < 10


def test_told_to_stop_while_git_says_nothing_it_ends_within_ten_seconds_and_well(
    tmp_path: Path, own_kafka: Cluster, kafka_prefix: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(120)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/repository.git"
        settings = settings_of(tmp_path, own_kafka, kafka_prefix)
        errors = tmp_path / "errors.log"
        popen = launch(settings.model_copy(update={"gitops_url": url}), errors)
        try:
            assert popen.stdout is not None
            assert json.loads(popen.stdout.readline())["ready"] is True
            waiting, _ = silent.accept()

            popen.terminate()
            assert popen.wait(60) == 0
        finally:
            popen.kill()
            popen.wait()
            if popen.stdout:
                popen.stdout.close()
        waiting.close()  # git, which was left behind, ends
    assert "left_while_waiting" in errors.read_text()


def test_topics_of_another_shape_are_refused_at_the_start(
    tmp_path: Path, own_kafka: Cluster, kafka_prefix: str
) -> None:
    settings = settings_of(tmp_path, own_kafka, kafka_prefix)
    asyncio.run(ensure_topics(kafka_settings(settings)))
    other = settings.model_copy(update={"partitions": PARTITIONS + 1})

    popen = launch(other, tmp_path / "errors.log")

    assert popen.wait(120) == 2
    assert "topic_partitions_differ" in (tmp_path / "errors.log").read_text()
    assert popen.stdout is not None
    popen.stdout.close()
