"""Uploads at a steady rate for as long as is wanted: `python -m bench.paced`.

A pool of uploads is made once; each time one is sent it gets an id and a moment of its own, so a
long run costs no memory and little time. Bodies go as they are: compressing is the phones' work.
On a machine that gets slower meanwhile, a share of its capacity is fewer uploads.
"""

import asyncio
import statistics
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import uvloop

from bench.speed import loop_s
from bench.uploads import APP, Order, make_uploads
from holdfast.clock import now_ms
from sdk_stub.blocks import write_heads
from sdk_stub.fleet import Outgoing
from sdk_stub.sender import Sender

_STEP_S: Final = 0.01
_STEP_UPLOADS_MAX: Final = 2_000
_SPEED_EVERY_S: Final = 1.0
_SPEEDS: Final = 15  # of which the median counts: one bad moment is no slower machine


@dataclass(frozen=True, slots=True)
class Pace:
    """What the process is to do: `rate` uploads a second until it is told to stop.

    Fewer in proportion while the machine is slower than `loop_s` says (`bench.speed`), unless that
    is 0. At most `waiting` wait for an answer, 0: any number.
    """

    base_url: str
    key: str
    rate: float
    loop_s: float
    rows: int = 100
    pool: int = 2_000
    seed: int = 2  # not that of other uploads of the same run: equal ids are counted once
    connections: int = 64
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of it. `come_back` answers were 503; `waiting_max` uploads waited for an answer.

    `slowest` is the least share of the rate, in (0, 1], that the machine's speed allowed.
    """

    uploads: int
    rows_acknowledged: int
    rows_refused: int
    refused: int
    retries: int
    come_back: int
    waiting_max: int
    seconds: float
    slowest: float


class _Due:
    """How many uploads are due, at a rate that follows the machine's speed down and up again."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._at_s = self._looked_s = time.monotonic()
        self._owed = 0.0
        self._loops_s: deque[float] = deque([pace.loop_s], maxlen=_SPEEDS)
        self._share = self.slowest = 1.0

    def take(self, pending: int) -> int:
        """Those that are due now while so many wait; the rest of a burst is due the next time."""
        now_s = time.monotonic()
        if self._pace.loop_s and now_s - self._looked_s >= _SPEED_EVERY_S:
            self._looked_s = now_s
            self._loops_s.append(loop_s())
            self._share = min(1.0, self._pace.loop_s / statistics.median(self._loops_s))
            self.slowest = min(self.slowest, self._share)
        self._owed += (now_s - self._at_s) * self._pace.rate * self._share
        self._at_s = now_s
        due = min(int(self._owed), _STEP_UPLOADS_MAX)
        if self._pace.waiting:
            due = min(due, max(self._pace.waiting - pending, 0))
        self._owed -= due
        return due


def _tails(pace: Pace, rng: np.random.Generator) -> list[bytes]:
    """The pool without ids and moments."""
    order = Order("", "", pace.pool, pace.rows, seed=pace.seed)
    head = write_heads(np.zeros((1, 16), np.uint8), np.zeros(1, np.int64), pace.rows)[0]
    return [u.body[len(head) :] for u in make_uploads(order, now_ms=now_ms(), rng=rng)]


async def _send(pace: Pace, told: threading.Event) -> Paced:
    rng, retry_rng = np.random.default_rng(pace.seed).spawn(2)
    tails = _tails(pace, rng)
    sender = Sender(
        pace.base_url,
        {APP: pace.key},
        now_ms=now_ms,
        rng=retry_rng,
        connections=pace.connections,
        gzip=False,
    )
    sender.start()
    print("ready", flush=True)
    began_s, made, waiting_max = time.monotonic(), 0, 0
    due = _Due(pace)
    while not told.is_set() or sender.pending:
        if not told.is_set():
            ids = rng.integers(0, 256, (due.take(sender.pending), 16), dtype=np.uint8)
            created = np.full(len(ids), now_ms(), np.int64)
            for head in write_heads(ids, created, pace.rows):
                sender.put(Outgoing(APP, head + tails[made % len(tails)], pace.rows))
                made += 1
            waiting_max = max(waiting_max, sender.pending)
        sender.pump()
        await asyncio.sleep(_STEP_S)
    await sender.stop()
    counts = sender.counts
    return Paced(
        made,
        counts.rows_acknowledged,
        counts.rows_refused,
        counts.refused,
        counts.retries,
        counts.retried_statuses.get(503, 0),
        waiting_max,
        time.monotonic() - began_s,
        due.slowest,
    )


def main() -> None:
    """Read a pace, send until the next line or the end of the input, say what came of it."""
    pace = msgspec.json.decode(sys.stdin.readline(), type=Pace)
    told = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        told.set()

    threading.Thread(target=listen, daemon=True).start()
    print(msgspec.json.encode(uvloop.run(_send(pace, told))).decode(), flush=True)


if __name__ == "__main__":
    main()
