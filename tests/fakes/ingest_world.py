"""A running ingest on free loopback ports, and uploads for it."""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import uvloop

from ingest.anonymise import kept_batch_ids
from ingest.issue import IssueFolder
from ingest.keys import KeyFile
from ingest.online_key import OnlineKeys
from ingest.ports import Log, LogEntry
from ingest.receive import Receiver, ReceiveSettings
from ingest.releases import ReleaseConfigs
from ingest.serve import Ports, ServeSettings, serve
from ingest.signing import load_or_make
from streams.log.memory import MemoryLog
from wire.desired import Desired, Policy, Release, Rollout, Version
from wire.errors import TransientError
from wire.packed import unpack
from wire.pb import telemetry_pb2
from wire.segment import Segment, decode
from wire.times import DAY_MS, HOUR_MS

APP = "keyboard"


def clock_ms() -> int:
    """The real time."""
    return int(time.time() * 1000)


def digest(letter: str) -> str:
    """A made-up artefact digest."""
    return "sha256:" + letter * 64


def desired(*, share: float = 0.1, hold_until_ms: int = 0, class_groups: int = 20) -> Desired:
    """Two apps; one of them has a rollout."""
    policy = Policy(
        alpha=1e-4,
        alpha_margin=0.05,
        window_ms=60_000,
        accepted_age_ms=7 * DAY_MS,
        observation_ms=DAY_MS,
        cohort_ms=HOUR_MS,
        silence_grace_ms=DAY_MS,
        drift_window_ms=900_000,
        regions=("DE", "FR"),
        app_versions={APP: ("1.0.0",), "camera": ("9.0.0",)},
        sdk_versions=("0.1.0",),
        guardrails=(),
    )
    rollout = Rollout(
        "next-word-2", 1, Version("2.0", digest("b")), 3, share, "salt", "plain", hold_until_ms
    )
    words = Release(
        name="next-word",
        path="models/next-word.yaml",
        app_id=APP,
        model_id="next-word",
        owner="o",
        cost_center="c",
        project="p",
        stable=Version("1.0", digest("a")),
        rollout=rollout,
        known_versions=("0.9",),
        class_groups=class_groups,
    )
    scene = Release("scene", "s.yaml", "camera", "scene", "o", "c", "p", Version("5", digest("c")))
    return Desired("commit", (words, scene), policy)


@dataclass
class Declared:
    """A desired state that a test may change."""

    state: Desired | None = field(default_factory=desired)

    def current(self) -> Desired | None:
        return self.state


def upload(
    n: int = 3, *, now_ms: int | None = None, rollout: bool = True
) -> telemetry_pb2.UploadRequest:
    """A good upload with every column."""
    made = telemetry_pb2.UploadRequest(
        batch_id=uuid.uuid4().bytes, created_ms=(now_ms or clock_ms()) - 1_000, n=n
    )
    made.context.CopyFrom(
        telemetry_pb2.Context(
            app_id=APP,
            app_version="1.0.0",
            platform=telemetry_pb2.ANDROID,
            os_major=14,
            device_tier=telemetry_pb2.MID,
            region="DE",
            network=telemetry_pb2.WIFI,
            model_id="next-word",
            model_version="1.0",
            runtime=telemetry_pb2.TFLITE,
            placement=telemetry_pb2.DEVICE,
            sdk_version="0.1.0",
        )
    )
    if rollout:
        made.context.rollout_id, made.context.step = "next-word-2", 3
        made.context.arm = telemetry_pb2.CONTROL
        made.enrolled_ms = made.created_ms - 90 * 60_000
    made.event_offset_ms.extend(range(0, 10 * n, 10))
    made.unit_bet.extend([1 if rollout and i == 0 else 0 for i in range(n)])
    for column in ("latency_ms", "energy_mj"):
        getattr(made, column).extend(float(i + 1) for i in range(n))
    for column in ("bytes_sent", "bytes_received", "memory_peak_kb"):
        getattr(made, column).extend(range(n))
    made.prediction_class.extend(i % 20 for i in range(n))
    made.confidence.extend([0.5] * n)
    made.error_code.extend([0] * n)
    return made


def changed(change: Callable[[telemetry_pb2.UploadRequest], object]) -> bytes:
    """A good upload with one change, as it is sent."""
    made = upload()
    change(made)
    return made.SerializeToString()


def kept_id(sent: telemetry_pb2.UploadRequest) -> bytes:
    """What the log holds of this upload's batch id."""
    return kept_batch_ids([sent.batch_id], np.array([sent.created_ms])).tobytes()


class StallingLog(MemoryLog):
    """A log whose appends wait at a gate, or are refused."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.gate = threading.Event()
        self.gate.set()
        self.refusal: TransientError | None = None

    def append(self, records: Sequence[LogEntry]) -> list[int]:  # type: ignore[override]
        self.gate.wait(60)
        if self.refusal is not None:
            raise self.refusal
        return super().append(records)


@dataclass
class Running:
    """A server in a thread of its own."""

    http: str
    grpc: str
    health: str
    key: str
    keys: KeyFile
    receiver: Receiver
    declared: Declared
    stop: Callable[[], object]
    call_soon: Callable[[Callable[[], None]], object]  # in the event loop


def receiver_of(log: Log, declared: Declared, settings: ReceiveSettings | None) -> Receiver:
    """The one path of uploads over this log."""
    return Receiver(
        log=log,
        desired=declared,
        now_ms=clock_ms,
        rng=np.random.default_rng(7),
        settings=settings or ReceiveSettings(),
    )


@contextmanager
def running(
    folder: Path,
    log: Log,
    *,
    receive: ReceiveSettings | None = None,
    settings: ServeSettings | None = None,
    declared: Declared | None = None,
) -> Iterator[Running]:
    """Serve `log` until the block ends, then drain."""
    declared = declared or Declared()
    keys = KeyFile(folder / "keys.json", now_ms=clock_ms)
    key = keys.create(APP)
    is_up, made = threading.Event(), list[tuple[Ports, asyncio.AbstractEventLoop, asyncio.Event]]()
    failed: list[BaseException] = []
    receiver = receiver_of(log, declared, receive)

    async def main() -> None:
        stop = asyncio.Event()

        def ready(ports: Ports) -> None:
            made.append((ports, asyncio.get_running_loop(), stop))
            is_up.set()

        online = OnlineKeys(folder / "tuf")
        online.begin(clock_ms())
        issues = IssueFolder(folder / "tuf" / "apps")
        releases = ReleaseConfigs(load_or_make(folder / "signing.pem"), issues, online)
        chosen = settings or ServeSettings(http_port=0, grpc_port=0, unready_s=0.05)
        await serve(receiver, keys=keys, releases=releases, settings=chosen, ready=ready, stop=stop)

    def run() -> None:
        try:
            uvloop.run(main())
        except BaseException as error:  # noqa: BLE001  # shown by the test's own thread
            failed.append(error)
            is_up.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert is_up.wait(60)
    if failed:
        raise failed[0]
    ports, loop, stop = made[0]
    host = "127.0.0.1"
    http, health = (f"http://{host}:{port}" for port in (ports.http, ports.health))
    grpc = f"{host}:{ports.grpc}"
    ask_to_stop = partial(loop.call_soon_threadsafe, stop.set)
    try:
        soon = loop.call_soon_threadsafe
        yield Running(http, grpc, health, key, keys, receiver, declared, ask_to_stop, soon)
    finally:
        if thread.is_alive():
            ask_to_stop()
        thread.join(60)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def segments(log: Log) -> list[Segment]:
    """Everything that lies in a log."""
    assert isinstance(log, MemoryLog)
    return [
        decode(record.payload)
        for partition in range(log.partitions)
        for record in log.read(partition, log.start(partition), bytes_max=1 << 40)
    ]


def tallied(log: Log) -> dict[str, int]:
    """The sum of all tallies in a log."""
    total: dict[str, int] = {}
    for segment in segments(log):
        for name, count in segment.tallies.items():
            total[name] = total.get(name, 0) + count
    return total


def bytes_of(log: Log) -> bytes:
    """Every payload, for a search of what must not be there."""
    assert isinstance(log, MemoryLog)
    return b"".join(
        unpack(record.payload)
        for partition in range(log.partitions)
        for record in log.read(partition, log.start(partition), bytes_max=1 << 40)
    )
