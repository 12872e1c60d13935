"""Is what a node decided what its log says? Replays a stopped node's log, compares the bits."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from holdfast.folder import Folder
from store.client import StoreSettings, connect
from store.process import start
from streams.decide import Decider, Position
from streams.log.base import Log, Record
from streams.log.sqlite import SqliteLog
from streams.snapshot import decider_parts
from streams.state import StateStore
from streams.summarise import Summariser

_READ_BYTES: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Comparison:
    """`differing` verdict ids are in one of the two and not in the other."""

    is_state_equal: bool
    verdicts: int
    differing: int


def compare(folder: Folder, *, partitions: int, window_ms: int, horizon_ms: int) -> Comparison:
    """Replay up to the window at which the node stopped; the node must have ended."""
    state = StateStore(folder.state)
    snapshot = state.load()
    state.close()
    if snapshot is None:
        raise RuntimeError("the node has decided nothing")
    log = SqliteLog(folder.log, partitions=partitions, now_ms=lambda: 0, read_only=True)
    decider = Decider(partitions, window_ms)
    replayed: set[str] = set()
    for partition in range(partitions):
        summariser = Summariser(partition, window_ms=window_ms, horizon_ms=horizon_ms)
        for record in _until(log, partition, snapshot.positions[partition]):
            for decided in decider.step(summariser.step([record])):
                replayed |= {verdict.verdict_id for verdict in decided.verdicts}
    log.close()
    stored = _stored_verdicts(folder)
    return Comparison(decider_parts(decider) == snapshot.parts, len(stored), len(stored ^ replayed))


def _until(log: Log, partition: int, position: Position) -> Iterator[Record]:
    """From the beginning to the record that closed the last decided window, with it."""
    offset = 0
    while offset <= position.offset:
        records = log.read(partition, offset, bytes_max=_READ_BYTES)
        if not records:
            raise RuntimeError(f"the log of partition {partition} ends before its position")
        yield from (r for r in records if r.offset <= position.offset)
        offset = records[-1].offset + 1


def _stored_verdicts(folder: Folder) -> set[str]:
    store = start(folder.store, folder.store_credentials)
    try:
        password = folder.store_passwords()["writer"]
        client = connect(StoreSettings(port=store.port, user="holdfast", password=password))
        rows = client.rows("SELECT verdict_id FROM hf_store.verdict FINAL")
        client.close()
        return {str(verdict_id) for (verdict_id,) in rows}
    finally:
        store.stop()
