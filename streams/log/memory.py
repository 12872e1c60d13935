"""The log in memory: for tests and for replays that need no durability."""

import threading
from collections.abc import Iterator, Sequence

from streams.log.base import Entry, Record, check_entries, trimmed


class MemoryLog:
    """A `Log` that dies with its process."""

    def __init__(self, partitions: int = 1) -> None:
        self._lock = threading.Lock()
        self._payloads: list[list[bytes]] = [[] for _ in range(partitions)]
        self._starts = [0] * partitions
        self._batch_ids: list[dict[int, tuple[int, bytes]]] = [{} for _ in range(partitions)]
        self._pins: dict[str, str] = {}
        self._closed = False

    @property
    def partitions(self) -> int:
        return len(self._payloads)

    def append(self, records: Sequence[Entry]) -> list[int]:
        check_entries(records, self.partitions)
        with self._lock:
            self._refuse_when_closed()
            offsets = []
            for record in records:
                partition = record.partition
                offset = self._starts[partition] + len(self._payloads[partition])
                self._payloads[partition].append(record.payload)
                if record.batch_ids:
                    self._batch_ids[partition][offset] = (record.arrived_ms, record.batch_ids)
                offsets.append(offset)
            return offsets

    def read(self, partition: int, offset: int, *, bytes_max: int) -> list[Record]:
        with self._lock:
            self._refuse_when_closed()
            start = self._starts[partition]
            if offset < start:
                raise trimmed(partition, offset, start)
            found: list[Record] = []
            size = 0
            payloads = self._payloads[partition]
            for at in range(offset - start, len(payloads)):
                size += len(payloads[at])
                if found and size > bytes_max:
                    break
                found.append(Record(partition, start + at, payloads[at]))
            return found

    def start(self, partition: int) -> int:
        with self._lock:
            self._refuse_when_closed()
            return self._starts[partition]

    def end(self, partition: int) -> int:
        with self._lock:
            self._refuse_when_closed()
            return self._starts[partition] + len(self._payloads[partition])

    def trim(self, partition: int, *, before: int) -> None:
        with self._lock:
            self._refuse_when_closed()
            forgotten = min(before - self._starts[partition], len(self._payloads[partition]))
            if forgotten > 0:
                del self._payloads[partition][:forgotten]
                self._starts[partition] += forgotten

    def batch_ids(
        self, partition: int, *, before: int, since_ms: int
    ) -> Iterator[tuple[int, bytes]]:
        with self._lock:
            self._refuse_when_closed()
            kept = list(self._batch_ids[partition].items())
        return (
            (arrived_ms, ids)
            for offset, (arrived_ms, ids) in kept
            if offset < before and arrived_ms >= since_ms
        )

    def drop_batch_ids(self, partition: int, offsets: Sequence[int]) -> None:
        with self._lock:
            self._refuse_when_closed()
            for offset in offsets:
                self._batch_ids[partition].pop(offset, None)

    def forget_batch_ids(self, *, before_ms: int) -> None:
        with self._lock:
            self._refuse_when_closed()
            for partition, start in enumerate(self._starts):
                self._batch_ids[partition] = {
                    offset: (arrived_ms, ids)
                    for offset, (arrived_ms, ids) in self._batch_ids[partition].items()
                    if offset >= start or arrived_ms >= before_ms
                }

    def pin(self, name: str, value: str) -> str:
        with self._lock:
            self._refuse_when_closed()
            return self._pins.setdefault(name, value)

    def pinned(self, name: str) -> str | None:
        with self._lock:
            self._refuse_when_closed()
            return self._pins.get(name)

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ValueError("the log is closed")
