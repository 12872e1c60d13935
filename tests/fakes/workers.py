"""Workers over a real broker, as processes of the product, and what they have said."""

import asyncio
import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from analytics.types import Verdict
from bench.broker import free_ports
from holdfast.config import Settings, load
from holdfast.folder import Folder
from holdfast.kafka_settings import kafka_settings
from holdfast.worker_clocks import CLOCKS, packed
from store.client import Client
from streams.clocks import Clocks
from streams.kafka.compacted import StateTopic
from streams.kafka.partition_reader import PartitionReader
from streams.kafka.stage_topics import read_range
from streams.kafka.topics import ACT_STATE, VERDICTS, ensure_topics
from streams.log.kafka import KafkaLog
from tests.fakes.node_world import until
from tests.fakes.worker_process import Part
from tests.integration.store_fixtures import WRITER_PASSWORD, StoreEndpoint

TABLES: Final = ("metric_window", "verdict", "cost_line", "ingest_window")
"""What the decide stage writes."""
Said = dict[str, list[str]]


class Workers:
    """Real worker processes on topics of their own."""

    def __init__(self, root: Path, settings: Settings, clocks: Clocks) -> None:
        self._root, self._common = root, settings
        self._errors = (root / "workers.log").open("ab")
        self.kafka = kafka_settings(settings)
        asyncio.run(self._prepared(clocks))
        self.log = KafkaLog(self.kafka, client_id="recorded")
        self.parts: dict[str, Part] = {}

    async def _prepared(self, clocks: Clocks) -> None:
        """The topics, and the clocks that the act stage would have pinned."""
        await ensure_topics(self.kafka)
        state = StateTopic(self.kafka, ACT_STATE, writer="test")
        await state.write({CLOCKS: packed(clocks)}, position=0)
        await state.close()

    def start(self, *names: str) -> None:
        for name in names:
            folder = Folder(self._root / name)
            folder.create()
            (port,) = free_ports(1)
            own = {"dir": folder.root, "worker_id": name, "metrics_port": port}
            settings = self._common.model_copy(update=own)
            stage = name.partition("-")[0]
            self.parts[name] = Part(name, ["worker", "--stage", stage], settings, self._errors)
            self.parts[name].launch()
        for name in names:
            self.parts[name].wait_ready()

    def kill(self, name: str) -> None:
        popen = self.parts.pop(name).running()
        os.kill(popen.pid, signal.SIGKILL)
        popen.wait()
        assert popen.stdout is not None
        popen.stdout.close()

    def stop(self, name: str) -> float:
        """SIGTERM; the seconds until it was gone."""
        part, began = self.parts.pop(name), time.monotonic()
        popen = part.running()
        part.stop()
        assert popen.returncode == 0
        return time.monotonic() - began

    def told(self, name: str, metric: str) -> dict[str, float]:
        """What a worker tells of one of its metrics, by partition."""
        url = f"http://127.0.0.1:{self.parts[name].settings.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {
                sample.labels["partition"]: sample.value
                for family in families
                for sample in family.samples
                if sample.name == metric
            }

    def close(self) -> None:
        for name in list(self.parts):
            assert self.stop(name) < 30
        self.log.close()
        self._errors.close()

    def records(self, topic: str) -> list[bytes]:
        async def read() -> list[bytes]:
            reader = PartitionReader(self.kafka, self.kafka.topic(topic), 0)
            await reader.start()
            end = await reader.end()
            await reader.close()
            return [value async for _, value in read_range(self.kafka, topic, 0, 0, end)]

        return asyncio.run(read())

    def verdicts(self) -> list[Verdict]:
        """What decide has handed on, each once, in order."""
        said = (msgspec.msgpack.decode(b, type=Verdict) for b in self.records(VERDICTS))
        return list({verdict.verdict_id: verdict for verdict in said}.values())


def worker_settings(
    root: Path, bootstrap: str, prefix: str, store: StoreEndpoint, **others: object
) -> Settings:
    """Of workers on a broker and a store of the tests."""
    return load(
        dir=root,
        kafka_bootstrap=bootstrap,
        kafka_prefix=prefix,
        store_url=f"http://127.0.0.1:{store.port}",
        store_password=WRITER_PASSWORD,
        **others,
    )


def rows_of(client: Client) -> Said:
    """Every row as text, in an order of its own: NaN is not equal to itself."""
    queries = {table: f"SELECT * FROM hf_store.{table} FINAL" for table in TABLES}  # noqa: S608
    return {
        table: sorted(repr(row) for row in client.rows(query)) for table, query in queries.items()
    }


def until_as_many(client: Client, expected: Said) -> None:
    """Wait until each table has as many rows; the inserts of a window end in any order."""
    counts = ", ".join(f"(SELECT count() FROM hf_store.{table} FINAL)" for table in TABLES)  # noqa: S608
    wanted = tuple(len(expected[table]) for table in TABLES)
    until(lambda: tuple(client.rows(f"SELECT {counts}")[0]) == wanted, f"{wanted} rows")
