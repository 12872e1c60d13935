"""The one path of an upload: admit, decode, check, anonymise, append, receipt.

Uploads of all transports wait at one door. A single committer takes all that waits, and while it
writes that commit group the next one gathers, so groups grow with the load and nobody waits for a
timer. A receipt is given after the append, and an append is durable.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from ingest.admission import Admission
from ingest.batch_key import NO_KEY, BatchKey
from ingest.commit import Committer, Sent
from ingest.ports import DesiredSource, Log
from ingest.receipt import Outcome
from ingest.tallies import Tallies, add, merge
from wire.decode import Encoding
from wire.errors import TransientError

_log = logging.getLogger("holdfast.ingest")
Answer = Callable[[Outcome | TransientError], None]
"""Told, in the loop, what came of an upload."""


@dataclass(frozen=True, slots=True)
class ReceiveSettings:
    """Limits at the door. `writer` names this ingest worker in the log."""

    writer: str = "ingest-0"
    batch_key: BatchKey = NO_KEY
    waiting_bytes_max: int = 64 * 1024 * 1024
    waiting_uploads_max: int = 4096
    group_uploads_max: int = 512
    group_bytes_per_partition: int = 256 * 1024


class Receiver:
    """Give it uploads with `receive`; it needs `run` to be going in the same loop."""

    def __init__(
        self,
        *,
        log: Log,
        desired: DesiredSource,
        now_ms: Callable[[], int],
        rng: np.random.Generator,
        settings: ReceiveSettings,
    ) -> None:
        self.admission = Admission(settings.waiting_bytes_max, settings.waiting_uploads_max, rng)
        self.desired = desired
        self.now_ms = now_ms
        self.committer = Committer(
            log=log,
            desired=desired,
            now_ms=now_ms,
            writer=settings.writer,
            batch_key=settings.batch_key,
        )
        self._settings = settings
        self._group_bytes = settings.group_bytes_per_partition * log.partitions
        self._waiting: deque[tuple[Sent, Answer]] = deque()
        self._arrival = asyncio.Event()
        self._early: Tallies = {}
        self._tick_due = False
        self._draining = False
        self._stopping = False

    async def receive(self, encoding: Encoding, body: bytes, app_id: str) -> Outcome:
        """Wait until the upload is durable, or refused. Raises TransientError: come back."""
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.offer(Sent(encoding, body, app_id), partial(_settle, answered))
        try:
            return await answered
        finally:
            del answered  # an error in it would hold this frame, and this frame it

    def offer(self, sent: Sent, answer: Answer) -> None:
        """The same, for callers without a task. Raises TransientError if it cannot wait here."""
        if self._stopping:
            raise self.admission.come_back("draining", "the server is going away")
        self.admission.take(len(sent.body), sent.app_id)
        self._waiting.append((sent, answer))
        self._arrival.set()

    def count_refused(self, code: str) -> None:
        """An upload that a transport refused before it could be decoded."""
        for name in ("uploads:received", f"uploads:rejected:{code}"):
            add(self._early, name)

    def tick(self) -> None:
        """Let log time go on: a tick to every partition with the next commit."""
        self._tick_due = True
        self._arrival.set()

    def why_not_ready(self) -> str:
        """Why no upload can be taken now; empty if one can."""
        if self._draining:
            return "draining"
        if self.committer.is_log_failing:
            return "log_unavailable"
        return "" if self.desired.current() else "desired_state_missing"

    def totals(self) -> Tallies:
        """Everything counted since the start, by the names of `ingest.tallies`."""
        totals = dict(self.committer.totals)
        merge(totals, dict(self._early))  # other threads ask too
        return totals

    async def run(self) -> None:
        """Commit group after group until `stop`; what waits then is still written."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "ingest-commit")
        try:
            while not self._stopping or self._waiting or self._tick_due:
                if not (self._waiting or self._tick_due):
                    self._arrival.clear()
                    await self._arrival.wait()
                group, with_tick = self._next_group(), self._tick_due
                early, self._early = self._early, {}
                self._tick_due = False
                outcomes = await loop.run_in_executor(
                    thread, self._commit, [sent for sent, _ in group], early, with_tick
                )
                self._answer(group, outcomes)
        finally:
            # cancelled in an append that hangs: the loop must not wait for it, nor its answers
            thread.shutdown(wait=False, cancel_futures=True)

    def announce_drain(self) -> None:
        """Be unready from now on, and still take what comes."""
        self._draining = True

    def stop(self) -> None:
        """Take no more; `run` ends when all that waits has been written."""
        self._draining = self._stopping = True
        self.tick()  # pending tallies go out with it

    def _commit(
        self, group: list[Sent], early: Tallies, with_tick: bool
    ) -> list[Outcome] | TransientError:
        return self.committer.commit(group, early=early, with_tick=with_tick)

    def _next_group(self) -> list[tuple[Sent, Answer]]:
        room = self._group_bytes
        group: list[tuple[Sent, Answer]] = []
        waiting = self._waiting
        while waiting and len(group) < self._settings.group_uploads_max:
            room -= len(waiting[0][0].body)
            if group and room < 0:
                break
            group.append(waiting.popleft())
        return group

    def _answer(
        self, group: list[tuple[Sent, Answer]], outcomes: list[Outcome] | TransientError
    ) -> None:
        for i, (sent, answer) in enumerate(group):
            self.admission.give_back(len(sent.body), sent.app_id)
            try:
                if isinstance(outcomes, TransientError):
                    answer(self.admission.come_back(outcomes.code, outcomes.detail))
                else:
                    answer(outcomes[i])
            except Exception:  # noqa: BLE001  # one client's connection must not cost its neighbours
                _log.exception("answer_failed")


def _settle(answered: asyncio.Future[Outcome], outcome: Outcome | TransientError) -> None:
    if answered.done():
        return  # the client hung up; its rows count all the same
    if isinstance(outcome, TransientError):
        answered.set_exception(outcome)
    else:
        answered.set_result(outcome)
