"""Appends to a topic: all of a group durable, or an error. Makes a new producer after a failure."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.kafka.broker import KafkaSettings, lost_connection, producer


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to be written."""

    partition: int
    value: bytes | None  # None deletes the key of a compacted topic
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Appender:
    """Lives in one event loop. Connects at the first append, and anew after each failure."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._settings = settings
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def append(self, topic: str, records: Iterable[Outgoing]) -> list[int]:
        """The offsets, once every record is acknowledged. In order within each partition.

        Raises KafkaError, or CancelledError when the caller's time is up. Then some of the
        records may be durable; what has not been sent yet will not be.
        """
        sender = await self._started()
        waiting: list[asyncio.Future[Any]] = []
        try:
            with lost_connection():
                for r in records:
                    sent = await sender.send(
                        topic,
                        r.value,
                        key=r.key,
                        partition=r.partition,
                        headers=list(r.headers),
                    )
                    sent.add_done_callback(_look_at)  # all may fail, the first is reported
                    waiting.append(sent)
                return [done.offset for done in await asyncio.gather(*waiting)]
        except (KafkaError, asyncio.CancelledError) as error:
            error.add_note(f"topic {topic}")  # a broker's refusal names none
            self._abandon(sender)
            raise

    async def close(self) -> None:
        """Disconnect. What is on its way may still arrive."""
        if self._producer is not None:
            self._abandon(self._producer)
        await asyncio.gather(*self._leaving)

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                made = producer(self._settings, self._client_id)
                try:
                    with lost_connection():
                        await made.start()
                except BaseException:
                    await made.stop()
                    raise
                self._producer = made
            return self._producer

    def _abandon(self, sender: AIOKafkaProducer) -> None:
        """An idempotent producer retries for ever, and after a refused batch never works again."""
        is_current = sender is self._producer
        if not is_current:  # another append has done it
            return
        self._producer = None
        # no public way says "give up"; `stop` alone would wait until all has been sent
        unsent = sender._message_accumulator  # noqa: SLF001
        unsent.fail_all(KafkaError("given up"))
        for batch in [*unsent._pending_batches, *chain(*unsent._batches.values())]:  # noqa: SLF001
            batch._drain_waiter.add_done_callback(_look_at)  # noqa: SLF001
        leaving = asyncio.create_task(_leave(sender))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


async def _leave(sender: AIOKafkaProducer) -> None:
    try:
        await sender.stop()
    except Exception:  # noqa: BLE001  # a request under way trips over its batch that was given up
        await sender.client.close()  # what `stop` has not come to: connections, a task


def _look_at(done: "asyncio.Future[Any]") -> None:
    """Without a look at its error, asyncio would log one for each future."""
    if not done.cancelled():
        done.exception()
