"""One stage in one process: ``holdfast worker --stage ...``. Joins the rooms for it.

Imports what its stage needs and no more: a worker that was killed is back within seconds.
"""

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypeVar

from holdfast import garbage
from holdfast.clock import now_ms
from holdfast.config import Settings
from holdfast.kafka_settings import kafka_settings
from holdfast.worker_clocks import clocks_of
from streams.clocks import Clocks
from streams.faust_app import FaustSettings, Stage, make_app
from streams.kafka.broker import KafkaSettings
from streams.kafka.stage_topics import StateKafka, SummariseKafka
from streams.kafka.topic_watch import follow_topics
from streams.kafka.topics import ACT_STATE, DECIDE_STATE, VERDICTS, WINDOWS, ensure_topics
from streams.ports import Meter
from wire.errors import PermanentError, TransientError

_log = logging.getLogger("holdfast.worker")
STAGES: Final = ("summarise", "decide", "act")
_AWAY_S: Final = 0.5
_T = TypeVar("_T")


class Worker:
    """One life of one stage."""

    def __init__(self, name: str, settings: Settings, meter: Meter) -> None:
        if name not in STAGES:
            raise PermanentError(
                "stage_unknown",
                f"there is no stage {name!r}",
                field="--stage",
                accepted=", ".join(STAGES),
            )
        self._name, self._settings, self._meter = name, settings, meter
        self._kafka: KafkaSettings = kafka_settings(settings)
        self._folder = settings.dir / "workers" / settings.worker_id
        self._faust = FaustSettings(
            settings.worker_id, self._folder / "faust", settings.processing_guarantee
        )
        self.stop = asyncio.Event()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        # no two lives write to the same keys of a state topic
        self._life = f"{settings.worker_id}-{secrets.token_hex(4)}"

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            identity = await self._until_there(lambda: ensure_topics(self._kafka))
            stage = await self._stage()
            if stage is None or identity is None:
                return
            # another log, another group: of offsets and members of the old one nothing holds
            incarnation = identity.incarnation(stage.topic)
            group = f"{self._name}-{incarnation}" if incarnation else self._name
            running = make_app(group, stage, self._kafka, self._faust, self._meter)
            garbage.as_usual()
            await self._while_topics_are_ours(running.run(self.stop, self._announce))
        finally:
            await asyncio.gather(*(close() for close in self._closers), return_exceptions=True)

    async def _while_topics_are_ours(self, work: Coroutine[None, None, None]) -> None:
        """Raises what either raises: a topic made anew ends a worker that gets no record, too."""
        working = asyncio.create_task(work)
        following = asyncio.create_task(follow_topics(self._kafka))
        try:
            await asyncio.wait([working, following], return_when=asyncio.FIRST_COMPLETED)
            if following.done() and not working.done():
                self.stop.set()
            await working
            if following.done():
                following.result()
        finally:
            following.cancel()

    def _announce(self, partitions: set[int]) -> None:
        said = {
            "ready": True,
            "stage": self._name,
            "worker_id": self._settings.worker_id,
            "partitions": sorted(partitions),
            "metrics_port": self._settings.metrics_port,
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()

    async def _stage(self) -> Stage | None:
        if self._name == "act":
            return self._act()
        clocks = await self._clocks()
        if clocks is None:
            return None
        if self._name == "decide":
            return self._decide(clocks)
        clocks = await self._remembering(clocks)
        return self._summarise(clocks) if clocks is not None else None

    def _summarise(self, clocks: Clocks) -> Stage:
        from streams.faust_summarise import Summarising
        from streams.letter_limit import LetterLimit

        dedup = self._folder / "dedup"
        dedup.mkdir(exist_ok=True)
        topics = SummariseKafka(self._kafka, horizon_ms=clocks.horizon_ms, dedup_folder=dedup)
        self._closers.append(topics.close)
        limit = LetterLimit(topics, self._meter, self._settings.dead_letters_max)
        return Summarising(topics, clocks, self._meter, limit)

    def _decide(self, clocks: Clocks) -> Stage:
        from holdfast.folder import Folder
        from holdfast.outside import open_writer
        from streams.faust_decide import Deciding

        folder = Folder(self._settings.dir)
        stage = Deciding(
            self._state(WINDOWS, DECIDE_STATE),
            lambda: open_writer(self._settings, folder, now_ms()),
            self._kafka.partitions,
            clocks,
            self._meter,
            now_ms,
        )
        stage.prepare()
        return stage

    def _act(self) -> Stage:
        from holdfast.worker_act import make_actor
        from streams.faust_act import Acting

        actor, close = make_actor(self._settings, self._kafka, self._folder)
        self._closers.append(close)
        return Acting(self._state(VERDICTS, ACT_STATE), actor, self._meter)

    def _state(self, topic: str, state_topic: str) -> StateKafka:
        topics = StateKafka(self._kafka, topic, state_topic, writer=self._life)
        self._closers.append(topics.close)
        return topics

    async def _clocks(self) -> Clocks | None:
        """What act has pinned; waits for the first desired state."""
        said = False
        while not self.stop.is_set():
            clocks = await self._until_there(lambda: clocks_of(self._kafka))
            if clocks is not None:
                return clocks
            if not said:
                _log.warning("no_desired_state_yet", extra={"waits_for": "the act stage"})
                said = True
            await self._pause()
        return None

    async def _remembering(self, pinned: Clocks) -> Clocks | None:
        from holdfast.seen_retention import remembering

        return await self._until_there(lambda: remembering(self._kafka, pinned))

    async def _until_there(self, attempt: Callable[[], Awaitable[_T]]) -> _T | None:
        while not self.stop.is_set():
            try:
                return await attempt()
            except TransientError as error:
                _log.warning("away", extra={"code": error.code, "detail": error.detail})
                await self._pause()
        return None

    async def _pause(self) -> None:
        waiting = asyncio.create_task(self.stop.wait())
        await asyncio.wait([waiting], timeout=_AWAY_S)
        waiting.cancel()
