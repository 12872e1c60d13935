"""Uploads at a steady rate for as long as is wanted: `python -m bench.paced`.

A pool of uploads is made once; each time one is sent it gets an id and a moment of its own, so a
long run costs no memory and little time. Bodies go as they are: compressing is the phones' work.
"""

import asyncio
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import uvloop

from bench.uploads import APP, Order, make_uploads
from holdfast.clock import now_ms
from sdk_stub.blocks import write_heads
from sdk_stub.fleet import Outgoing
from sdk_stub.sender import Sender

_STEP_S: Final = 0.01
_STEP_UPLOADS_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Pace:
    """What the process is to do: `rate` uploads a second until it is told to stop."""

    base_url: str
    key: str
    rate: float
    rows: int = 100
    pool: int = 2_000
    seed: int = 2  # not that of other uploads of the same run: equal ids are counted once
    connections: int = 64


@dataclass(frozen=True, slots=True)
class Paced:
    """What came of it. `come_back` answers were 503; `waiting_max` uploads waited for an answer."""

    uploads: int
    rows_acknowledged: int
    rows_refused: int
    refused: int
    retries: int
    come_back: int
    waiting_max: int
    seconds: float


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
    while not told.is_set() or sender.pending:
        if not told.is_set():
            due = min(int((time.monotonic() - began_s) * pace.rate) - made, _STEP_UPLOADS_MAX)
            ids = rng.integers(0, 256, (max(due, 0), 16), dtype=np.uint8)
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
