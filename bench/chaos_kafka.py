"""Replaying what the broker holds, and comparing it with what the workers decided."""

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec

from bench.cluster import ScaledOut
from bench.replayed import Comparison
from holdfast.kafka_settings import kafka_settings
from streams.decide import Decider
from streams.kafka.broker import KafkaSettings
from streams.kafka.compacted import StateTopic
from streams.kafka.topics import DECIDE_STATE
from streams.log.base import Record
from streams.log.kafka import KafkaLog
from streams.partial import Closed
from streams.snapshot import decider_parts
from streams.summarise import Summariser

_READ_BYTES: Final = 8 << 20
_POSITION: Final = "windows"  # the part of decide's state that says how far it is


def compare_kafka(world: ScaledOut, *, window_ms: int, horizon_ms: int) -> Comparison:
    """Replay `telemetry` without a fault; compare the state where decide stopped, and verdicts.

    Rows come before the state, so the store may hold a window more than the state knows of: the
    replay goes on to the end for those.
    """
    kafka = kafka_settings(world.settings)
    parts = asyncio.run(_decide_state(kafka))
    position = msgspec.msgpack.decode(parts.pop(_POSITION))
    decided: dict[int, int] = position[1]
    decider = Decider(kafka.partitions, window_ms)
    log = KafkaLog(kafka, client_id="holdfast-replay")
    due: set[str] = set()
    later: list[Closed] = []
    try:
        for partition in range(kafka.partitions):
            for marker in _markers(log, partition, window_ms=window_ms, horizon_ms=horizon_ms):
                if marker.partial.start_ms > decided[partition]:
                    later.append(marker)
                else:
                    due |= _verdict_ids(decider, marker)
    finally:
        log.close()
    is_equal = decider_parts(decider) == parts
    possible = due.union(*(_verdict_ids(decider, marker) for marker in later))
    store = world.client()
    rows = store.rows("SELECT verdict_id FROM hf_store.verdict FINAL")
    store.close()
    stored = {str(verdict_id) for (verdict_id,) in rows}
    return Comparison(is_equal, len(stored), len(due - stored) + len(stored - possible))


def _verdict_ids(decider: Decider, marker: Closed) -> set[str]:
    return {v.verdict_id for window in decider.step([marker]) for v in window.verdicts}


def _markers(log: KafkaLog, partition: int, *, window_ms: int, horizon_ms: int) -> Iterator[Closed]:
    summariser = Summariser(partition, window_ms=window_ms, horizon_ms=horizon_ms)
    for record in _records(log, partition):
        yield from summariser.step([record])


def _records(log: KafkaLog, partition: int) -> Iterator[Record]:
    offset, end = log.start(partition), log.end(partition)
    while offset < end:
        records = log.read(partition, offset, bytes_max=_READ_BYTES)
        if not records:
            return
        yield from records
        offset = records[-1].offset + 1


async def _decide_state(kafka: KafkaSettings) -> dict[str, bytes]:
    topic = StateTopic(kafka, DECIDE_STATE, writer="bench")
    try:
        saved = await topic.read()
    finally:
        await topic.close()
    if saved is None:
        raise RuntimeError("the workers have decided nothing")
    return saved.parts
