"""The port of the durable log. Backends satisfy it structurally and pass one contract suite."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from wire.errors import PermanentError

BATCH_ID_BYTES: Final = 16


class Entry(Protocol):
    """One record to be written: a segment's bytes and the batch ids that it holds.

    A Protocol, so that a sibling room can write to the log without importing this one.
    `batch_ids` is 16 bytes per upload, concatenated; kept for the dedup horizon even after the
    payload has been trimmed.
    """

    @property
    def partition(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def arrived_ms(self) -> int: ...
    @property
    def batch_ids(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Append:
    """The plain `Entry`."""

    partition: int
    payload: bytes
    arrived_ms: int
    batch_ids: bytes = b""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log. Offsets count from 0 in each partition, without gaps."""

    partition: int
    offset: int
    payload: bytes


class Log(Protocol):
    """An append-only, partitioned record log. All methods may be called from any thread."""

    @property
    def partitions(self) -> int:
        """Fixed when the log is made; opening it with another number is a PermanentError."""

    def append(self, records: Sequence[Entry]) -> list[int]:
        """Write all records durably; their offsets. One call is one group commit.

        Raises TransientError: ``log_full`` while the disk's reserve is touched, ``kafka_away``
        and others. Then a log of one file has written nothing; a log of several brokers may have
        written some. Append the same uploads again: what was written is dropped by its batch id.
        """

    def read(self, partition: int, offset: int, *, bytes_max: int) -> list[Record]:
        """Records from `offset` on, at least one if there is any, in order; [] at the end.

        Raises PermanentError ``log_trimmed`` if `offset` lies before the start.
        """

    def start(self, partition: int) -> int:
        """Offset of the oldest record still held."""

    def end(self, partition: int) -> int:
        """Offset that the next record will get."""

    def trim(self, partition: int, *, before: int) -> None:
        """Forget payloads before this offset."""

    def close(self) -> None:
        """Release files and connections. A closed log refuses everything."""


class BatchIds(Protocol):
    """The ids of uploads in the log, which outlive their payloads."""

    def batch_ids(
        self, partition: int, *, before: int, since_ms: int
    ) -> Iterator[tuple[int, bytes]]:
        """(arrived_ms, ids) of records with offset < `before` and arrived_ms >= `since_ms`."""

    def drop_batch_ids(self, partition: int, offsets: Sequence[int]) -> None:
        """Drop the ids of records that could not be read: no upload of them was counted."""

    def forget_batch_ids(self, *, before_ms: int) -> None:
        """Drop the batch ids of trimmed records that arrived before this."""


class Pins(Protocol):
    """What is said once in a log's life: its own id, and what its records may only be read with."""

    def pin(self, name: str, value: str) -> str:
        """Say it for good, unless it was said; what stands."""

    def pinned(self, name: str) -> str | None:
        """What was said."""


class EmbeddedLog(Log, BatchIds, Pins, Protocol):
    """All in one file."""


def check_entries(records: Sequence[Entry], partitions: int) -> None:
    """Refuse a programmer's mistake before anything is written."""
    for record in records:
        if not 0 <= record.partition < partitions:
            raise ValueError(f"partition {record.partition} of {partitions}")
        if len(record.batch_ids) % BATCH_ID_BYTES:
            raise ValueError("batch_ids must be 16 bytes each")


def trimmed(log: int | str, offset: int, start: int) -> PermanentError:
    """The error of a reader that came too late; `log` is a partition, or what people call it."""
    where = log if isinstance(log, str) else f"partition {log}"
    return PermanentError(
        "log_trimmed",
        f"{where} starts at {start}, not {offset}",
        field="offset",
        accepted=f">= {start}",
    )


def other_partitions(stands: int, wanted: int) -> PermanentError:
    """The error of opening a log with another partition count than it was made with."""
    return PermanentError(
        "log_partitions_fixed",
        f"the log was made with {stands} partitions, not {wanted}; changing it is a migration",
        field="partitions",
        accepted=str(stands),
    )
