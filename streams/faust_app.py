"""A stage as a Faust worker: Faust finds the partitions and brings the records; no more.

Where a stage stands is kept by the stage itself, durable with what it belongs to. The offsets that
Faust commits only save work after a restart. They may run ahead: Faust acknowledges messages of
an older assignment that it skips, and fills holes at the head of what was acknowledged. So a stage
reads records that it was not given from the log, and skips those that it was given twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import faust
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.types import TP, EventT, StreamT

from streams.kafka.broker import KafkaSettings
from streams.kafka.security import SASL, Security
from streams.ports import Meter
from wire.errors import PermanentError

SESSION_S: Final = 10.0
"""A worker that is silent for this long loses its partitions to another. A restarted one does not
wait for it: it comes back under its own name and gets its partitions back."""
_HEARTBEAT_S: Final = 2.0  # four may be lost
_REBALANCE_S: Final = 30.0  # a worker in the middle of a long step may take this long to rejoin
_POLL_S: Final = 3_600.0  # a store that is away holds decide back: that is no reason to rejoin
_REQUEST_S: Final = 20.0  # Faust wants it above the session; a half-open connection ends with it
_COMMIT_S: Final = 1.0
_FETCH_BYTES: Final = 1 << 20  # per partition; the broker still hands out one larger record
_POLL_RECORDS: Final = 64
_BUFFERED_RECORDS: Final = 16  # of up to 8 MiB each
_STOP_S: Final = 8.0
_LOOK_S: Final = 0.1


class Stage(Protocol):
    """What the records of one topic are brought to. Called from one task, in one event loop."""

    topic: str

    async def assigned(self, partitions: set[int]) -> None:
        """These partitions are ours from now on, and no others."""

    async def take(self, partition: int, offset: int, value: bytes, ack: Callable[[], Any]) -> None:
        """Take one record; call `ack` once it is finished, in the order of offsets."""

    def check(self) -> None:
        """Raise what ended a task of the stage's own, if anything did."""

    async def close(self) -> None:
        """Finish what can be finished within seconds; what cannot is repeated after a restart."""


@dataclass(frozen=True, slots=True)
class FaustSettings:
    """`worker_id` is stable over restarts and unique in its stage. `folder` holds nothing to keep.

    A `processing_guarantee` other than ``at_least_once`` is a PermanentError
    ``exactly_once_refused``.
    """

    worker_id: str
    folder: Path
    processing_guarantee: str = "at_least_once"
    session_s: float = SESSION_S

    def __post_init__(self) -> None:
        if self.processing_guarantee != "at_least_once":
            raise PermanentError(
                "exactly_once_refused",
                f"{self.processing_guarantee}: transactions would cover the topics but neither the"
                " store nor Git, and cost a commit per window; here doing a thing twice is doing it"
                " once",
                field="processing_guarantee",
                accepted="at_least_once",
            )


def make_app(
    name: str, stage: Stage, kafka: KafkaSettings, settings: FaustSettings, meter: Meter
) -> "Running":
    """The Faust app of one stage. Must be made inside the event loop that it runs in."""
    app = faust.App(
        f"{kafka.prefix}.{name}",
        broker=[f"kafka://{address.strip()}" for address in kafka.bootstrap.split(",")],
        broker_credentials=_credentials(kafka.security),
        datadir=settings.folder,
        store="memory://",
        TableManager=_NoTables,
        web_enabled=False,
        autodiscover=False,
        processing_guarantee="at_least_once",
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,  # `ensure_topics` has made and checked them
        topic_disable_leader=True,
        consumer_group_instance_id=settings.worker_id,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=_FETCH_BYTES,
        broker_session_timeout=settings.session_s,
        broker_heartbeat_interval=_HEARTBEAT_S,
        broker_rebalance_timeout=_REBALANCE_S,
        broker_max_poll_interval=_POLL_S,
        broker_request_timeout=_REQUEST_S,
        broker_max_poll_records=_POLL_RECORDS,
        broker_commit_interval=_COMMIT_S,
        stream_buffer_maxsize=_BUFFERED_RECORDS,
        stream_wait_empty=False,  # kept records are redelivered: nobody waits for their end
        stream_recovery_delay=0.0,
    )
    return Running(app, stage, kafka, meter)


def _credentials(security: Security) -> faust.SASLCredentials | faust.SSLCredentials | None:
    if security.protocol in SASL:
        return faust.SASLCredentials(
            username=security.user,
            password=security.password,
            ssl_context=security.context,
            mechanism=security.mechanism,
        )
    return faust.SSLCredentials(security.context) if security.context is not None else None


class _NoTables(TableManager):
    """We have none, so nobody needs Faust's second of waiting for them to be declared."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class Running:
    """One worker's life."""

    def __init__(self, app: faust.App, stage: Stage, kafka: KafkaSettings, meter: Meter) -> None:
        self._app, self._stage, self._meter = app, stage, meter
        self._name = kafka.topic(stage.topic)
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._ready = asyncio.Event()
        self.partitions: set[int] = set()
        topic = app.topic(self._name, key_serializer="raw", value_serializer="raw")
        app.agent(topic, name=f"holdfast.{stage.topic}")(self._follow)
        app.on_partitions_assigned.connect(self._assigned, weak=False)
        app.on_rebalance_complete.connect(self._complete, weak=False)

    async def run(self, stop: asyncio.Event, ready: Callable[[set[int]], None]) -> None:
        """Work until `stop`; `ready` is told the partitions when the first ones are there, or none.

        Raises what a stage raised, and RuntimeError if Faust gave up.
        """
        starting = asyncio.create_task(self._app.start())
        told = False
        try:
            while not stop.is_set() and not self._failure.done():
                failed = starting.exception() if starting.done() else None
                if self._app.crashed or failed:
                    raise RuntimeError("the broker's client has given up") from (
                        self._app.crash_reason or failed
                    )
                self._stage.check()
                if self._ready.is_set() and not told:
                    told = True
                    ready(self.partitions)
                await asyncio.wait([self._failure], timeout=_LOOK_S)
            if self._failure.done():
                raise self._failure.result()
        finally:
            await self._end(starting)

    async def _end(self, starting: "asyncio.Task[Any]") -> None:
        await self._stage.close()
        starting.cancel()
        stopping = asyncio.create_task(self._app.stop())
        await asyncio.wait([stopping], timeout=_STOP_S)  # then the process ends anyhow

    async def _follow(self, stream: StreamT[bytes]) -> None:
        """Bring one record after the other; the first failure ends the worker."""
        try:
            assert isinstance(stream, Stream)  # noqa: S101  # the type that has `noack`
            async for event in stream.noack().events():
                await self._bring(event)
        except Exception as error:  # noqa: BLE001  # whatever it is, the worker must not go on
            if not self._failure.done():
                self._failure.set_result(error)
            await asyncio.Event().wait()  # Faust would start us again, after the failed record

    async def _bring(self, event: EventT[bytes]) -> None:
        message = event.message
        value: bytes = message.value or b""
        # the stage keeps `ack` until its window is durable; the payload must not stay with it
        event.value = message.value = None
        highwater = self._app.consumer.highwater(message.tp)
        if highwater is not None:
            lag = max(0, highwater - message.offset - 1)
            self._meter.gauge("segments_waiting", lag, str(message.partition))
        await self._stage.take(message.partition, message.offset, value, event.ack)
        if message.partition not in self.partitions:  # it was given away meanwhile
            self._forget(message.partition)

    async def _assigned(self, _: Any, /, *given: Any, signal: Any = None, **__: Any) -> None:  # noqa: ANN401  # Faust's signal
        assigned: set[TP] = given[0]
        before = self.partitions
        self.partitions = {tp.partition for tp in assigned if tp.topic == self._name}
        for lost in before - self.partitions:
            self._forget(lost)
        await self._stage.assigned(self.partitions)

    def _forget(self, lost: int) -> None:
        """Another worker tells of it now; without any partition we have nothing to tell."""
        self._meter.forget(str(lost))
        if not self.partitions:
            self._meter.forget("")

    async def _complete(self, *_: Any, **__: Any) -> None:  # noqa: ANN401  # Faust's signal
        self._ready.set()
