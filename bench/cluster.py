"""The scaled-out product on this machine, as its processes: brokers, store, doors, workers."""

import http.client
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from bench.broker import Cluster, Detour, free_ports
from bench.chaos_node import start_store
from bench.fault_proxy import FaultProxy
from bench.processes import cpu_seconds, launched
from holdfast.clock import now_ms
from holdfast.config import Settings, load
from holdfast.example_repo import make_repository
from holdfast.folder import Folder, write_private
from holdfast.kafka_settings import kafka_settings
from ingest.keys import KeyFile
from store.client import Client, StoreSettings, connect
from store.process import StoreProcess
from streams.log.kafka import KafkaLog

_OK: Final = 200
_ANSWER_S: Final = 2.0
_TAKEN: Final = {
    "summarise": "holdfast_segments_taken_total",
    "decide": "holdfast_markers_taken_total",
}
_DECIDED: Final = "holdfast_windows_decided_until_ms"
_STOP_S: Final = 15.0
_AHEAD_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of each part there are."""

    brokers: int = 1
    doors: int = 2
    summarise: int = 2
    decide: int = 1
    partitions: int = 4

    def parts(self) -> list[str]:
        """The names of all parts but the brokers and the store."""
        counts = {"ingest": self.doors, "summarise": self.summarise, "decide": self.decide}
        return [f"{n}-{i}" for n, count in counts.items() for i in range(count)] + ["act-0"]


@dataclass(slots=True)
class Part:
    """One process of ours: a door or a worker. `port` answers HTTP: uploads, or metrics."""

    name: str
    settings: Settings
    port: int
    output: IO[bytes]
    popen: subprocess.Popen[bytes] | None = None

    @property
    def stage(self) -> str:
        """What it does: ingest, summarise, decide or act."""
        return self.name.partition("-")[0]

    def start(self) -> None:
        """Start it, without waiting for it."""
        what = ["ingest"] if self.stage == "ingest" else ["worker", "--stage", self.stage]
        self.popen = launched(what, self.settings, output=self.output, errors=self.output)

    def has_taken(self) -> bool:
        """Whether this life takes uploads, or has taken a record; `act` sees few, and answers."""
        if self.stage in _TAKEN:
            return self.measure(_TAKEN[self.stage]) > 0
        return self._get("/readyz" if self.stage == "ingest" else "/metrics") is not None

    def measure(self, name: str) -> float:
        """The largest value that the worker tells of one of its metrics; 0 if it tells none."""
        lines = (self._get("/metrics") or "").splitlines()
        values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
        return max(values, default=0.0)

    def _get(self, path: str) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == _OK else None


@dataclass(slots=True)
class ScaledOut:
    """All parts, each of which may be killed; `bench.faults.World`."""

    folder: Folder
    gitops: Path
    settings: Settings
    brokers: Cluster
    store: StoreProcess
    parts: dict[str, Part]
    proxies: dict[str, FaultProxy]
    output: IO[bytes]
    refusals: Callable[[], int] = lambda: 0
    gave_up: Counter[str] = field(default_factory=Counter)  # parts that ended by themselves

    def key(self, app_id: str) -> str:
        """A new API key."""
        return KeyFile(self.folder.keys, now_ms=now_ms).create(app_id)

    def doors(self) -> tuple[int, ...]:
        """Where phones send: the proxies before the doors."""
        names = sorted(name for name in self.proxies if name.startswith("ingest"))
        return tuple(self.proxies[name].port for name in names)

    def popen(self, part: str) -> subprocess.Popen[bytes]:
        """The process of a part; brokers are ``broker-0`` and so on."""
        if part == "store":
            return self.store.popen
        if part.startswith("broker"):
            found = self.brokers.brokers[int(part.rpartition("-")[2])].popen
        else:
            found = self.parts[part].popen
        assert found is not None, "it has been started"  # noqa: S101
        return found

    def add(self, name: str, **changed: object) -> Part:
        """Start one more part, or the same name with other settings."""
        port = self.parts[name].port if name in self.parts else free_ports(1)[0]
        part = _part(name, self.settings, port, self.output, **changed)
        self.parts[name] = part
        part.start()
        return part

    def restart(self, name: str, **changed: object) -> None:
        """SIGTERM, and start it again on its port with other settings; its proxy finds it."""
        popen = self.popen(name)
        popen.terminate()
        popen.wait(_STOP_S)
        self.add(name, **changed)

    def remove(self, name: str) -> int:
        """SIGTERM, and wait; the exit code. It is not started again."""
        popen = self.popen(name)
        del self.parts[name]
        popen.terminate()
        return popen.wait(_STOP_S)

    def revive(self) -> bool:
        """Start what has ended; True if something had. Brokers and the store are waited for."""
        ended = False
        for broker in self.brokers.brokers:
            if broker.popen is None or broker.popen.poll() is not None:
                broker.launch()
                broker.wait_listening()
                ended = True
        if self.store.popen.poll() is not None:
            self.store.stop()  # closes its pipes
            self.store = start_store(self.folder, self.store.port, self.output)
            ended = True
        for part in self.parts.values():
            if part.popen is None or part.popen.poll() is not None:
                self.gave_up[part.name] += part.popen is not None and part.popen.returncode > 0
                part.start()
                ended = True
        return ended

    def mark(self) -> Sequence[int]:
        """The moment. All clocks that count are of this machine."""
        return [now_ms()]

    def is_past(self, mark: Sequence[int]) -> bool:
        """Whether windows that ended after the moment are decided, and stored with their state."""
        deciders = [part for part in self.parts.values() if part.stage == "decide"]
        decided_ms = max(part.measure(_DECIDED) for part in deciders)
        # beyond now: the workers believe a clock that is wrong, and nothing more would close
        return mark[0] < decided_ms <= now_ms() + _AHEAD_MS

    def has_taken(self, part: str, mark: Sequence[int]) -> bool:
        """Whether this part's newest life has finished its first segment."""
        if part in self.parts:
            return self.parts[part].has_taken()
        return self.is_past(mark)

    def refused(self) -> int:
        """How often uploads were answered with 503 so far."""
        return self.refusals()

    def set_clock(self, offset_ms: int) -> None:
        """Restart the doors with clocks that are wrong by so much."""
        for name in [name for name, part in self.parts.items() if part.stage == "ingest"]:
            self.restart(name, clock_offset_ms=offset_ms)

    def named(self, code: str) -> int:
        """How often the parts have said this code in their logs."""
        return (self.folder.root.parent / "parts.log").read_text(errors="replace").count(code)

    def fill_disk(self) -> None:
        """Brokers keep the log; what a full disk means to them is for their operators."""
        raise NotImplementedError

    def free_disk(self) -> None:
        """See `fill_disk`."""
        raise NotImplementedError

    def ends(self) -> list[int]:
        """By partition: the offset that the log's next record will get."""
        log = KafkaLog(kafka_settings(self.settings), client_id="bench")
        try:
            return [log.end(partition) for partition in range(log.partitions)]
        finally:
            log.close()

    def topic_bytes(self, name: str) -> int:
        """What a topic takes of the first broker's disk."""
        folders = (self.brokers.brokers[0].folder / "data").glob(
            f"{kafka_settings(self.settings).topic(name)}-*"
        )
        return sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))

    def cpu_seconds(self) -> dict[str, float]:
        """What each process has spent so far, the brokers and the store included."""
        brokers = [f"broker-{i}" for i in range(len(self.brokers.brokers))]
        names = [*self.parts, *brokers, "store"]
        return {name: cpu_seconds(self.popen(name).pid) for name in names}

    def client(self) -> Client:
        """A connection to the store itself, past the proxy."""
        password = self.folder.store_passwords()["writer"]
        return connect(StoreSettings(port=self.store.port, user="holdfast", password=password))

    def stop_parts(self) -> int:
        """SIGTERM to workers and doors; how many did not end cleanly in time."""
        processes = [part.popen for part in self.parts.values() if part.popen is not None]
        running = [popen for popen in processes if popen.poll() is None]  # others were killed
        for popen in running:
            popen.terminate()
        unclean = 0
        for popen in running:
            try:
                unclean += popen.wait(_STOP_S) != 0
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
                unclean += 1
        return unclean


@contextmanager
def scaled_out(
    root: Path,
    files: Mapping[str, str],
    shape: Shape,
    *,
    tick_s: float,
    gitops_poll_s: float = 0.5,
    has_broker_proxies: bool = False,
) -> Iterator[ScaledOut]:
    """Running, with a proxy before each door and one before the store, until the block ends.

    `has_broker_proxies`: our parts reach each broker through one, too.
    """
    folder, gitops = Folder(root / "node"), root / "gitops.git"
    folder.create()
    make_repository(gitops, files)
    write_private(folder.settings, json.dumps({"gitops_url": str(gitops)}))
    detours, proxies = _detours(shape.brokers if has_broker_proxies else 0)
    brokers = Cluster(root / "kafka", shape.brokers, detours)
    with _stopped_at_last(proxies), (root / "parts.log").open("ab") as output, brokers:
        store = start_store(folder, 0, output)
        proxies["store"] = FaultProxy(store.port)
        settings = load(
            dir=folder.root,
            store_url=f"http://127.0.0.1:{proxies['store'].start()}",
            store_password=folder.store_passwords()["writer"],
            gitops_url=str(gitops),
            gitops_poll_s=gitops_poll_s,
            tick_s=tick_s,
            partitions=shape.partitions,
            kafka_bootstrap=",".join(f"127.0.0.1:{d.through}" for d in detours)
            or brokers.bootstrap,
            kafka_replication=min(shape.brokers, 3),
            kafka_min_insync=2 if shape.brokers >= 3 else 1,
        )
        world = ScaledOut(folder, gitops, settings, brokers, store, {}, proxies, output)
        try:
            for name in shape.parts():
                part = world.add(name)
                if part.stage == "ingest":
                    proxies[name] = FaultProxy(part.port)
                    proxies[name].start()
            yield world
        finally:
            world.stop_parts()
            world.store.stop()


@contextmanager
def _stopped_at_last(proxies: Mapping[str, FaultProxy]) -> Iterator[None]:
    """Also if nothing else could be started."""
    try:
        yield
    finally:
        for proxy in proxies.values():
            proxy.stop()


def _detours(brokers: int) -> tuple[list[Detour], dict[str, FaultProxy]]:
    """A proxy before each of so many brokers, and the address that leads through it."""
    ports = free_ports(brokers)
    proxies = {f"broker-{i}": FaultProxy(port) for i, port in enumerate(ports)}
    detours = [Detour(port, proxies[f"broker-{i}"].start()) for i, port in enumerate(ports)]
    return detours, proxies


def _part(name: str, settings: Settings, port: int, output: IO[bytes], **changed: object) -> Part:
    ports: dict[str, object] = (
        {"http_port": port, "grpc_port": 0, "writer": name}
        if name.startswith("ingest")
        else {"metrics_port": port, "worker_id": name}
    )
    return Part(name, settings.model_copy(update={**ports, **changed}), port, output)
