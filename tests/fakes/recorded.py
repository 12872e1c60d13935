"""What a node that has ended was given, in order: for another runner to be given the same."""

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.folder import Folder
from streams.clocks import Clocks
from streams.log.base import Append, Log
from streams.log.sqlite import SqliteLog
from streams.state import StateStore
from wire.desired import from_json
from wire.segment import Kind, decode

_READ_BYTES = 8 << 20
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Recording:
    """All records up to those that closed the last decided window, as they arrived."""

    records: list[Append]
    partitions: int
    clocks: Clocks

    def give(self, log: Log) -> None:
        """Append everything, with the bytes, times and partitions of the recording."""
        for first in range(0, len(self.records), _AT_ONCE):
            log.append(self.records[first : first + _AT_ONCE])


def recording_of(folder: Folder) -> Recording:
    """Of a node that has ended. Raises StopIteration if it never had a desired state."""
    state = StateStore(folder.state)
    snapshot = state.load()
    state.close()
    assert snapshot is not None, "the node has decided nothing"
    partitions = len(snapshot.positions)
    log = SqliteLog(folder.log, partitions=partitions, now_ms=lambda: 0, read_only=True)
    ends = {partition: at.offset for partition, at in snapshot.positions.items()}
    records = [record for p in ends for record in _until(log, p, ends[p])]
    log.close()
    segments = (decode(record.payload) for record in records)
    control = next(s.control for s in segments if s.kind is Kind.CONTROL)
    policy = from_json(control).policy
    return Recording(records, partitions, Clocks(policy.window_ms, policy.accepted_age_ms))


def _until(log: Log, partition: int, last: int) -> Iterator[Append]:
    offset = 0
    while offset <= last:
        found = log.read(partition, offset, bytes_max=_READ_BYTES)
        for record in found:
            if record.offset <= last:
                yield Append(partition, record.payload, decode(record.payload).arrived_ms)
        offset = found[-1].offset + 1
