"""The product scaled out on one machine: brokers, a store, doors and workers, each a process.

Every part keeps its ports, its name and its folder over restarts, as a supervisor would have it.
"""

import json
import selectors
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from prometheus_client.parser import text_string_to_metric_families

from bench.broker import Cluster, free_ports
from bench.chaos_node import start_store
from bench.processes import cpu_seconds
from holdfast.clock import now_ms
from holdfast.config import Settings, environment_of, load
from holdfast.example_repo import make_repository
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from ingest.keys import KeyFile
from store.client import Client, StoreSettings, connect
from store.process import StoreProcess
from streams.log.kafka import KafkaLog

_START_S: Final = 60.0
_STOP_S: Final = 15.0
STAGES: Final = ("summarise", "decide", "act")


@dataclass(slots=True)
class Part:
    """One process of the product: a door or a worker."""

    name: str
    command: Sequence[str]
    settings: Settings
    errors: IO[bytes]
    popen: subprocess.Popen[bytes] | None = None
    said: Mapping[str, object] = field(default_factory=dict)

    def launch(self) -> None:
        """Start it, without waiting."""
        self.close()
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "holdfast", *self.command],
            env=environment_of(self.settings),
            cwd=Path(__file__).resolve().parents[1],
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )

    def wait_ready(self) -> None:
        """Until it has said that it works. Raises RuntimeError if it ended instead."""
        popen = self.running()
        assert popen.stdout is not None, "opened with a pipe"  # noqa: S101
        with selectors.DefaultSelector() as selector:
            selector.register(popen.stdout, selectors.EVENT_READ)
            line = popen.stdout.readline() if selector.select(_START_S) else b""
        if not line:
            raise RuntimeError(f"{self.name} was not ready; its log says why")
        self.said = json.loads(line)

    def running(self) -> subprocess.Popen[bytes]:
        """The process. Raises RuntimeError before it has been launched."""
        if self.popen is None:
            raise RuntimeError(f"{self.name} has not been started")
        return self.popen

    def metrics(self) -> dict[str, list[float]]:
        """What it says of itself: values by name, one for each label; {} while it does not."""
        url = f"http://127.0.0.1:{self.settings.metrics_port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        told: dict[str, list[float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                told.setdefault(sample.name, []).append(sample.value)
        return told

    @property
    def has_ended(self) -> bool:
        """Whether it was started and is gone."""
        return self.popen is not None and self.popen.poll() is not None

    def stop(self) -> None:
        """SIGTERM, then wait; killed if that takes too long."""
        if self.popen is not None and self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        self.close()

    def close(self) -> None:
        """Close the pipe of a process that has ended."""
        if self.popen is not None and self.popen.stdout:
            self.popen.stdout.close()
        self.popen = None


@dataclass(slots=True)
class ScaleOut:
    """All parts. `parts` by name: ``ingest-0``, ``summarise-0``, ``decide-0``, ``act-0`` ..."""

    root: Path
    gitops: Path
    brokers: Cluster
    store: StoreProcess
    common: Settings
    errors: IO[bytes]
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def folder(self) -> Folder:
        """What the doors share (API keys, signing key), with the store's passwords."""
        return Folder(self.root / "doors")

    def door_port(self, number: int = 0) -> int:
        """Where uploads go over HTTP."""
        return self.parts[f"ingest-{number}"].settings.http_port

    def key(self, app_id: str) -> str:
        """A new API key, good at every door."""
        return KeyFile(self.folder.keys, now_ms=now_ms).create(app_id)

    def client(self) -> Client:
        """A connection to the store that may read everything."""
        password = self.folder.store_passwords()["writer"]
        return connect(StoreSettings(port=self.store.port, user="holdfast", password=password))

    def ends(self) -> list[int]:
        """By partition: the offset that the log's next record will get."""
        log = KafkaLog(kafka_settings(self.common), client_id="bench")
        try:
            return [log.end(partition) for partition in range(log.partitions)]
        finally:
            log.close()

    def add_door(self, number: int, **settings: object) -> Part:
        """Another ingest process; it shares keys with the others. Not started yet."""
        http, grpc = free_ports(2)
        own = {"writer": f"ingest-{number}", "http_port": http, "grpc_port": grpc, **settings}
        return self._add(f"ingest-{number}", ["ingest"], dir=self.folder.root, **own)

    def add_worker(self, stage: str, number: int, **settings: object) -> Part:
        """Another worker with a name and a folder of its own. Not started yet."""
        name = f"{stage}-{number}"
        (port,) = free_ports(1)
        own = {"dir": self.root / name, "worker_id": name, "metrics_port": port, **settings}
        return self._add(name, ["worker", "--stage", stage], **own)

    def start(self, *names: str) -> None:
        """Start these parts, or all that do not run, and wait until they are ready."""
        wanted = [self.parts[name] for name in names or self.parts]
        started = [part for part in wanted if part.popen is None or part.has_ended]
        for part in started:
            part.launch()
        for part in started:
            part.wait_ready()

    def revive(self) -> bool:
        """Start whatever has ended, brokers and store included; True if something had."""
        ended = [name for name, part in self.parts.items() if part.has_ended]
        brokers = [b for b in self.brokers.brokers if b.popen is None or b.popen.poll() is not None]
        for broker in brokers:
            broker.wait_ended()
            broker.launch()
        is_store_gone = self.store.popen.poll() is not None
        if is_store_gone:
            self.store.stop()  # closes its pipes
            self.store = start_store(self.folder, self.store.port, self.errors)
        for broker in brokers:
            broker.wait_listening()
        if ended:
            self.start(*ended)
        return bool(ended or brokers or is_store_gone)

    def cpu_seconds(self) -> dict[str, float]:
        """What each process has spent so far, the brokers and the store included."""
        pids = {name: part.running().pid for name, part in self.parts.items()}
        pids["store"] = self.store.popen.pid
        for broker in self.brokers.brokers:
            if broker.popen is not None:
                pids[f"broker-{broker.node}"] = broker.popen.pid
        return {name: cpu_seconds(pid) for name, pid in pids.items()}

    def stop(self, *names: str) -> None:
        """Stop these parts; without names all of them, doors first, then store and brokers."""
        for name in names or self.parts:
            self.parts[name].stop()
        if not names:
            self.store.stop()
            self.brokers.stop()

    def _add(self, name: str, command: Sequence[str], **own: object) -> Part:
        Folder(Path(str(own["dir"]))).create()
        settings = load(**{**self.common.model_dump(), **own})
        self.parts[name] = Part(name, command, settings, self.errors)
        return self.parts[name]


@contextmanager
def scaled_out(
    root: Path,
    files: Mapping[str, str],
    *,
    doors: int = 1,
    workers: Mapping[str, int] | None = None,
    brokers: int = 1,
    **settings: object,
) -> Iterator[ScaleOut]:
    """Running over a new GitOps repository of these files, until the block ends.

    `workers` by stage, one each by default; `settings` go to every part.
    """
    gitops = root / "gitops.git"
    make_repository(gitops, files)
    folder = Folder(root / "doors")
    folder.create()
    with (root / "parts.log").open("ab") as errors, Cluster(root / "kafka", brokers) as cluster:
        store = start_store(folder, 0, errors)
        replicas = {"kafka_replication": 3, "kafka_min_insync": 2} if brokers > 1 else {}
        common = load(
            **{
                "gitops_url": str(gitops),
                "kafka_bootstrap": cluster.bootstrap,
                "store_url": f"http://127.0.0.1:{store.port}",
                "store_user": "holdfast",
                "store_password": folder.store_passwords()["writer"],
                **replicas,
                **settings,
            }
        )
        made = ScaleOut(root, gitops, cluster, store, common, errors)
        try:
            for number in range(doors):
                made.add_door(number)
            for stage in STAGES:
                for number in range((workers or {}).get(stage, 1)):
                    made.add_worker(stage, number)
            made.start()
            yield made
        finally:
            made.stop()
