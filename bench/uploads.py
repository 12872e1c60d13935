"""Uploads made beforehand and sent by a process of its own: `python -m bench.uploads`.

The traffic of the acceptance line: 100 events per upload, every column, 125 contexts (release,
cohort, arm) times 8 metrics = 1,000 series, up to 1,000 class labels, 5 % of uploads told hours
late, a bet in every fifth. Bodies are compressed before the clock starts; what sending costs is
not counted, as it is the phones'.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from itertools import product
from typing import Final

import msgspec
import numpy as np
import uvloop

from holdfast.manifests import Clocks, Model, policy_text, repository_files
from sdk_stub.blocks import write_columns, write_heads, write_nested
from sdk_stub.fleet import Outgoing
from sdk_stub.population import Column
from sdk_stub.sender import Sender
from wire.pb import telemetry_pb2 as pb

APP: Final = "camera"
REGIONS: Final = ("US", "IN", "BR", "DE", "FR")
CONTEXTS: Final = 125
_CONTEXTS_OF_A_REGION: Final = 25
CLASSES: Final = 1_000
METRICS: Final = 8
_LATE_SHARE: Final = 0.05
_LATE_MS: Final = (2 * 3_600_000, 6 * 3_600_000)
_BET_EVERY: Final = 5
_MODEL: Final = Model(APP, "scene-labels", "3.1.0", "3.2.0", 0.25, class_groups=CLASSES)
_ROLLOUT: Final = f"{_MODEL.model_id}-{_MODEL.candidate}"
_BLOCK: Final = 500
_PAUSE_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Order:
    """What the sending process is to do."""

    base_url: str
    key: str
    uploads: int
    rows: int = 100
    seed: int = 1
    connections: int = 256
    gzip: bool = True
    spread_ms: int = 600_000  # events of an upload lie in the time before it
    contexts: int = CONTEXTS  # times 8 metrics: the series
    app: str = APP


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of it."""

    acknowledged: int
    rows_acknowledged: int
    rows_refused: int
    refused: int
    retries: int
    seconds: float


def regions_of(contexts: int) -> tuple[str, ...]:
    """As many regions as that many contexts need; the first five are countries."""
    more = range(len(REGIONS), -(-contexts // _CONTEXTS_OF_A_REGION))
    return (*REGIONS, *(f"R{number}" for number in more))


def repository(
    window_ms: int, contexts: int = CONTEXTS, apps: tuple[str, ...] = (APP,)
) -> dict[str, str]:
    """Manifests under which all of these uploads are accepted."""
    clocks = Clocks(window_ms=window_ms, drift_window_ms=max(900_000, window_ms))
    policy = policy_text(clocks, regions=regions_of(contexts), apps=apps, dry_run=True)
    return repository_files((_MODEL,), policy)


def contexts(count: int, app: str = APP) -> list[bytes]:
    """The first contexts, serialised: 6 cohorts of each region in both arms and outside (two
    versions), and one of other phones.
    """
    regions = regions_of(count)
    cohorts = list(product(("ANDROID", "IOS"), ("LOW", "MID", "HIGH"), regions))
    roles = (
        ("CANDIDATE", _MODEL.candidate),
        ("CONTROL", _MODEL.stable),
        ("ARM_UNSPECIFIED", _MODEL.stable),
        ("ARM_UNSPECIFIED", _MODEL.candidate),  # they left the rollout
    )
    every = list(product(cohorts, roles))
    every += [(("OTHER_PLATFORM", "MID", region), roles[2]) for region in regions]
    return [_context(app, cohort, role) for cohort, role in every[:count]]


def _context(app: str, cohort: tuple[str, str, str], role: tuple[str, str]) -> bytes:
    (platform, tier, region), (arm, version) = cohort, role
    context = pb.Context(
        app_id=app,
        app_version="1.0.0",
        platform=platform,
        os_major=15,
        device_tier=tier,
        region=region,
        network="WIFI",
        model_id=_MODEL.model_id,
        model_version=version,
        runtime="TFLITE",
        placement="DEVICE",
        sdk_version="0.1.0",
        arm=arm,
    )
    if arm != "ARM_UNSPECIFIED":
        context.rollout_id, context.step = _ROLLOUT, 1
    return write_nested("context", context.SerializeToString())


def make_uploads(order: Order, *, now_ms: int, rng: np.random.Generator) -> list[Outgoing]:
    """All of them, each with an id of its own."""
    known, made = contexts(order.contexts, order.app), 0
    uploads: list[Outgoing] = []
    while made < order.uploads:
        count = min(_BLOCK, order.uploads - made)
        late = rng.random(count) < _LATE_SHARE
        created = now_ms - np.where(late, rng.integers(*_LATE_MS, count), 0)
        numbers = np.arange(made, made + count)
        bets = numbers % _BET_EVERY == 0
        enrolled = pb.UploadRequest(enrolled_ms=now_ms - now_ms % 3_600_000).SerializeToString()
        heads = write_heads(rng.integers(0, 256, (count, 16), dtype=np.uint8), created, order.rows)
        blocks = write_columns(_columns(count, order, bets, rng))
        for number, head, block in zip(numbers.tolist(), heads, blocks, strict=True):
            said = enrolled if number % _BET_EVERY == 0 else b""
            body = head + known[number % len(known)] + said + block
            uploads.append(Outgoing(order.app, body, order.rows))
        made += count
    return uploads


def _columns(
    count: int, order: Order, bets: np.ndarray, rng: np.random.Generator
) -> dict[str, Column]:
    shape = (count, order.rows)
    latency = np.exp(0.4 * rng.standard_normal(shape, "f4") + np.float32(3.3))
    bet = np.zeros(shape, "u4")
    bet[:, order.rows // 2] = bets
    offset = -np.sort(-rng.integers(0, order.spread_ms, shape), axis=1)
    return {
        "latency_ms": latency.astype("f4"),
        "energy_mj": rng.standard_gamma(6.0, shape, "f4") * np.float32(10.0),
        "bytes_sent": rng.integers(200, 4_000, shape).astype("u4"),
        "bytes_received": rng.integers(1_000, 20_000, shape).astype("u4"),
        "memory_peak_kb": rng.integers(80_000, 160_000, shape).astype("u4"),
        "prediction_class": np.minimum(rng.zipf(1.3, shape) - 1, CLASSES - 1).astype("u4"),
        "confidence": rng.random(shape, "f4"),
        "error_code": (rng.random(shape) < 0.01).astype("u4"),
        "event_offset_ms": offset.astype("u4"),
        "unit_bet": bet,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _send(order: Order) -> Sent:
    make_rng, retry_rng = np.random.default_rng(order.seed).spawn(2)
    sender = Sender(
        order.base_url,
        {APP: order.key},
        now_ms=_now_ms,
        rng=retry_rng,
        connections=order.connections,
        gzip=order.gzip,
    )
    for upload in make_uploads(order, now_ms=_now_ms(), rng=make_rng):
        sender.put(upload)  # compresses
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began_s = time.monotonic()
    sender.start()
    while sender.pending:
        sender.pump()
        await asyncio.sleep(_PAUSE_S)
    seconds = time.monotonic() - began_s
    await sender.stop()
    counts = sender.counts
    return Sent(
        counts.acknowledged,
        counts.rows_acknowledged,
        counts.rows_refused,
        counts.refused,
        counts.retries,
        seconds,
    )


def main() -> None:
    """Read an order, say ``ready``, send at the next line, say what came of it."""
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    sent = uvloop.run(_send(order))
    print(msgspec.json.encode(sent).decode(), flush=True)


if __name__ == "__main__":
    main()
