"""A worker's own metrics in Prometheus' format. Made only when a port is set."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from streams.ports import Measured

_COUNTERS: Final[Mapping[Measured, tuple[str, str]]] = {
    "segments_taken": ("holdfast_segments_taken", "records of telemetry taken"),
    "dead_letters": ("holdfast_segments_buried", "records that could not be read"),
    "markers_taken": ("holdfast_markers_taken", "closing markers taken by decide"),
    "windows_decided": ("holdfast_windows_decided", "windows whose rows are stored"),
    "verdicts_taken": ("holdfast_verdicts_taken", "verdicts taken on by act"),
}
_GAUGES: Final[Mapping[Measured, tuple[str, str]]] = {
    "segments_waiting": ("holdfast_segments_waiting", "records behind the end of the partition"),
    "dead_letters_waiting": (
        "holdfast_dead_letters_waiting",
        "records that could not be read and were not replayed",
    ),
    "partition_stopped": ("holdfast_partition_stopped", "1 while too many dead letters wait"),
    "markers_waiting": ("holdfast_markers_waiting", "markers that wait for another partition's"),
    "closed_until_ms": ("holdfast_partition_closed_until_ms", "end of the last closed window"),
    "decided_until_ms": ("holdfast_windows_decided_until_ms", "end of the last decided window"),
}
_FLUSH: Final = ("holdfast_flush_seconds", "rows, verdicts and state durable")


class Metrics:
    """Satisfies `streams.ports.Meter`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {
            name: Counter(*said, ["partition"], registry=self.registry)
            for name, said in _COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(*said, ["partition"], registry=self.registry)
            for name, said in _GAUGES.items()
        }
        self._durations: Mapping[Measured, Histogram] = {
            "flush_seconds": Histogram(*_FLUSH, registry=self.registry)
        }

    def count(self, name: Measured, amount: int = 1, partition: str = "") -> None:
        self._counters[name].labels(partition).inc(amount)

    def gauge(self, name: Measured, value: float, partition: str = "") -> None:
        self._gauges[name].labels(partition).set(value)

    def observe(self, name: Measured, seconds: float) -> None:
        self._durations[name].observe(seconds)

    def forget(self, partition: str) -> None:
        for gauge in self._gauges.values():
            gauge.remove(partition)

    def serve(self, host: str, port: int) -> None:
        """Answer ``GET /metrics`` from a thread of its own."""
        start_http_server(port, host, registry=self.registry)
