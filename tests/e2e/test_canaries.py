"""No identifier reaches anything that is kept, wherever a client puts it (promise 2)."""

import gzip
import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
import pytest

from holdfast.clock import now_ms
from holdfast.example_repo import rollback_commits
from holdfast.manifests import Model
from store import queries
from streams.log.sqlite import SqliteLog
from tests.fakes.canaries import (
    CANARIES,
    SIXTEEN_BYTES,
    databases,
    engine_logs,
    files,
    git_objects,
    needles,
    search,
    strings,
    tables,
)
from tests.fakes.ingest_world import upload
from tests.fakes.node_world import CLOCKS, RunningNode, running_node, until
from wire.pb import telemetry_pb2 as pb
from wire.segment import decode

REGISTERED = "ZZCANARY"
"""The positive control: a region that the policy registers, searched in the same way."""
APP, MODEL = "keyboard", "next-word"
TEXT_FIELDS = ("app_id", "app_version", "region", "model_id", "model_version", "sdk_version")
UPLOAD = "/holdfast.v1.Telemetry/Upload"
STREAM = "/holdfast.v1.Telemetry/UploadStream"
ASCII = [s for s in strings() if "\x00" not in s]


def good(**changes: str) -> pb.UploadRequest:
    made = upload(2)
    made.context.region, made.context.rollout_id, made.context.step = REGISTERED, "", 0
    made.context.arm = pb.ARM_UNSPECIFIED
    made.enrolled_ms = 0
    for name, value in changes.items():
        setattr(made.context, name, value)
    return made


def judged(arm: pb.Arm) -> bytes:
    """One phone that enrols, and its label: the candidate is always wrong and is rolled back."""
    made = upload(1)
    made.enrolled, made.enrolled_ms = True, now_ms() // CLOCKS.cohort_ms * CLOCKS.cohort_ms
    made.context.region, made.context.rollout_id, made.context.step = REGISTERED, f"{MODEL}-2.0", 1
    made.context.arm = arm
    is_candidate = arm == pb.CANDIDATE
    made.context.model_version = "2.0" if is_candidate else "1.0"
    made.outcomes.add(
        correct=int(not is_candidate),
        incorrect=int(is_candidate),
        unit_correct=int(not is_candidate),
        unit_incorrect=int(is_candidate),
    )
    return made.SerializeToString()


def unknown(texts: Iterable[str], number: int = 1000) -> bytes:
    """Fields that the schema does not have, one for each text."""
    return b"".join(
        _varint(number << 3 | 2) + _varint(len(text.encode())) + text.encode() for text in texts
    )


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def protobufs() -> Iterator[bytes]:
    """Uploads with a canary in every place that a message has; some are otherwise valid."""
    yield good().SerializeToString() + unknown(strings())
    for text in strings():
        yield good(region=text).SerializeToString()
    for text in CANARIES.values():
        for name in (*TEXT_FIELDS, "rollout_id"):
            yield good(**{name: text}).SerializeToString()
        for number in (4, 7, 8):  # in the context, a unit day, an outcome report
            inner = (good().context.SerializeToString() if number == 4 else b"") + unknown([text])
            nested = _varint(number << 3 | 2) + _varint(len(inner)) + inner
            yield good().SerializeToString() + nested
        yield text.encode()
        yield good().SerializeToString() + text.encode()
        yield gzip.compress(text.encode())[:-6]
    for batch_id in SIXTEEN_BYTES:
        made = good()
        made.batch_id = batch_id
        yield made.SerializeToString()
        yield made.SerializeToString()
        made.batch_id = batch_id[:9]
        yield made.SerializeToString()


def jsons() -> Iterator[bytes]:
    """The same as JSON: keys, values of other types, enumerations."""
    c = good().context
    context = {name: getattr(c, name) for name in TEXT_FIELDS} | {
        "platform": "android",
        "os_major": 14,
        "device_tier": "mid",
        "network": "wifi",
        "runtime": "tflite",
        "placement": "device",
    }
    rows: list[object] = [{"latency_ms": 1.5}]
    for text in strings():
        batch_id = np.random.default_rng().bytes(16).hex()
        plain = {"batch_id": batch_id, "created_ms": now_ms(), "context": context, "rows": rows}
        yield json.dumps(plain | {text: text}).encode()
        if text not in CANARIES.values():
            continue
        yield json.dumps(plain | {"context": context | {text: text}}).encode()
        yield json.dumps(plain | {"rows": [{"latency_ms": 1.5, text: [text]}]}).encode()
        for name in ("batch_id", "created_ms", "context", "rows", "n", "enrolled_ms", "columns"):
            yield json.dumps(plain | {name: text}).encode()
        for name in context:
            yield json.dumps(plain | {"context": context | {name: text}}).encode()
        yield json.dumps(plain).encode()[:-3] + text.encode()


@dataclass
class Traffic:
    """Sends over both transports and counts what was answered."""

    node: RunningNode
    statuses: dict[int, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def send(self) -> None:
        with httpx.Client(base_url=self.node.http) as http:
            for body in protobufs():
                self._post(http, body, "application/x-protobuf")
            for body in jsons():
                self._post(http, body, "application/json")
            self._odd_requests(http)
        self._broken_http()
        with grpc.insecure_channel(self.node.grpc) as channel:
            self._by_grpc(channel)

    def _post(self, http: httpx.Client, body: bytes, content_type: str, **more: str) -> None:
        for path in ("/v1/telemetry", "/v1/telemetry:validate"):
            bearer = f"Bearer {self.node.keys[APP]}"
            headers = {"authorization": bearer, "content-type": content_type} | more
            self._count(http.post(path, content=body, headers=headers, params={"q": ASCII[0]}))

    def _odd_requests(self, http: httpx.Client) -> None:
        body = good().SerializeToString()
        names = ("user-agent", "x-forwarded-for", "cookie", "referer", "x-device-id", "forwarded")
        for text in ASCII:
            self._post(http, body, "application/x-protobuf", **dict.fromkeys(names, text))
        for text in CANARIES.values():
            for name in ("authorization", "content-encoding"):
                self._post(http, body, "application/x-protobuf", **{name: f"Bearer {text}"})
            self._post(http, body, text)
            self._post(http, body, "application/x-protobuf", **{f"x-{text.encode().hex()}": "1"})
            for path in ("/", "/v1/telemetry/", "/v1/releases/", "/metrics/"):
                bearer = {"authorization": f"Bearer {self.node.keys[APP]}", "if-none-match": text}
                self._count(http.get(path + text, params={text: text}, headers=bearer))

    def _broken_http(self) -> None:
        url = urlsplit(self.node.http)
        for text in CANARIES.values():
            address = (url.hostname, url.port)
            with socket.create_connection(address) as raw, suppress(OSError):
                raw.sendall(f"{text} {text}\r\n{text}\r\n\r\n".encode())
                raw.recv(1000)

    def _by_grpc(self, channel: grpc.Channel) -> None:
        call, stream = channel.unary_unary(UPLOAD), channel.stream_stream(STREAM)
        key = ("authorization", f"Bearer {self.node.keys[APP]}")
        for body in protobufs():
            self._call(call, body, (key,))
        for text in ASCII:
            metadata = (key, ("x-canary", text), ("x-canary-bin", text.encode()))
            self._call(call, good().SerializeToString(), metadata)
        for text in CANARIES.values():
            self._call(call, good().SerializeToString(), (("authorization", f"Bearer {text}"),))
            with suppress(grpc.RpcError):
                channel.unary_unary(f"/{text.encode().hex()}/Upload")(b"", metadata=(key,))
        list(stream(protobufs(), metadata=(key,)))

    def _call(
        self,
        call: grpc.UnaryUnaryMultiCallable,
        body: bytes,
        metadata: tuple[tuple[str, object], ...],
    ) -> None:
        try:
            call(body, metadata=metadata)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
        self.codes[code] = self.codes.get(code, 0) + 1

    def _count(self, answer: httpx.Response) -> None:
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1


def roll_back(node: RunningNode) -> None:
    """Label after label, until the breach is a commit and Slack knows."""

    def is_done() -> bool:
        with grpc.insecure_channel(node.grpc) as channel:
            labels = [judged(arm) for arm in (pb.CANDIDATE, pb.CONTROL) for _ in range(20)]
            metadata = (("authorization", f"Bearer {node.keys[APP]}"),)
            list(channel.stream_stream(STREAM)(iter(labels), metadata=metadata))
        return bool(rollback_commits(node.gitops)) and bool(node.slack.messages)

    until(is_done, "rollback and message")


def segments(log_file: Path) -> Iterator[tuple[str, bytes]]:
    """Every record of the log, decoded, its columns and names as bytes."""
    log = SqliteLog(log_file, partitions=1, now_ms=now_ms, reserve_bytes=0)
    for record in log.read(0, log.start(0), bytes_max=1 << 40):
        s = decode(record.payload)
        columns = [
            column.tobytes()
            for table in (s.uploads, s.rows, s.unit_days, s.feedback)
            for column in table.values()
        ]
        names = repr((s.kind, s.writer, s.contexts, s.tallies)).encode()
        yield f"segment {s.kind}", b"\n".join([names, s.control, *columns])
    log.close()


@dataclass
class Kept:
    """Everything that was kept anywhere: name of the place and its bytes."""

    traffic: Traffic
    places: list[tuple[str, bytes]]
    commit: str


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    root = tmp_path_factory.mktemp("canaries")
    models = (Model(APP, MODEL, "1.0", "2.0", 0.25, class_groups=20),)
    with running_node(root, models, regions=(REGISTERED, "DE")) as node:
        until(lambda: queries.mass_balance(node.store())["difference"] == 0, "store")
        traffic = Traffic(node)
        traffic.send()
        roll_back(node)
        until(lambda: queries.mass_balance(node.store())["difference"] == 0, "rest")
        store = node.store()
        places = [*tables(store), *engine_logs(store)]
        places += [("slack", json.dumps(m).encode()) for m in node.slack.messages]
        (commit,) = rollback_commits(node.gitops)
    places += [*files(root), *git_objects(root), *databases(root)]
    places += segments(node.folder.log)
    return Kept(traffic, places, commit.commit)


def test_the_traffic_was_taken_and_refused_on_both_transports(kept: Kept) -> None:
    assert kept.traffic.statuses.keys() >= {200, 400, 401, 404, 415, 422}
    assert kept.traffic.codes.keys() >= {"OK", "INVALID_ARGUMENT", "UNAUTHENTICATED"}
    assert kept.traffic.statuses[200] > 100
    assert kept.traffic.codes["OK"] > 50


def test_no_identifier_is_kept_anywhere(kept: Kept) -> None:
    sought = needles()

    found = search(kept.places, sought)

    assert not {(place, sought[what], what) for place, what in found}


def test_the_same_search_finds_what_is_registered(kept: Kept) -> None:
    found = {place for place, _ in search(kept.places, [REGISTERED.encode()])}

    assert found >= {
        "segment telemetry",
        "segment control",
        "sqlite log.sqlite.records",
        "table hf_store.metric_window",
        "table hf.verdicts",
        "git gitops.git",
        "slack",
    }


def test_the_same_search_finds_what_the_processes_log(kept: Kept) -> None:
    found = {place for place, _ in search(kept.places, [kept.commit.encode()])}

    assert found >= {"file node/processes.log", "git gitops.git", "table hf_store.action"}
