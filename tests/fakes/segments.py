"""Segments as ingest would write them, small and seeded."""

from collections.abc import Iterator

import numpy as np

from streams.log.base import Append
from wire.context import Context
from wire.desired import (
    Desired,
    Guardrail,
    Policy,
    Prices,
    Release,
    Rollout,
    Version,
    to_json,
)
from wire.segment import Kind, Segment, encode

START_MS = 1_790_000_000_000
WINDOW_MS = 1000
STABLE, CANDIDATE = "1.4.0", "1.5.0"


def desired(*, share: float = 0.3, effective_ms: int = START_MS, commit: str = "c1") -> Desired:
    guardrails = tuple(
        Guardrail(metric, 1.0, 0.05)
        for metric in ("inference.latency", "unit.error", "unit.silence", "unit.energy")
    )
    policy = Policy(
        alpha=1e-4,
        alpha_margin=0.05,
        window_ms=WINDOW_MS,
        accepted_age_ms=86_400_000,
        observation_ms=1000,
        cohort_ms=500,
        silence_grace_ms=500,
        drift_window_ms=10_000,
        regions=("DE", "US"),
        app_versions={"keyboard": ("7.1.0",)},
        sdk_versions=("0.1.0",),
        guardrails=guardrails,
    )
    release = Release(
        name="keyboard-next-word",
        path="releases/next-word.yaml",
        app_id="keyboard",
        model_id="next-word",
        owner="team@example.org",
        cost_center="C1",
        project="keyboard",
        stable=Version(STABLE, "sha256:" + "a" * 64),
        rollout=Rollout("r1", 1, Version(CANDIDATE, "sha256:" + "b" * 64), 1, share, "salt"),
    )
    prices = (Prices(0, "EUR", 150, 3_000_000, 50_000, 300_000),)
    return Desired(commit, (release,), policy, prices, effective_ms)


def context(arm: str, region: str = "DE") -> Context:
    return Context(
        app_id="keyboard",
        app_version="7.1.0",
        platform="android",
        os_major=15,
        device_tier="mid",
        region=region,
        network="cellular",
        model_id="next-word",
        model_version=CANDIDATE if arm == "candidate" else STABLE,
        runtime="tflite",
        placement="cloud",
        sdk_version="0.1.0",
        rollout_id="r1",
        step=1,
        arm=arm,
    )


def telemetry(
    rng: np.random.Generator,
    arrived_ms: int,
    *,
    uploads: int = 20,
    rows: int = 5,
    slower: float = 1.0,
    writer: str = "w0",
) -> Segment:
    """Each upload is one phone that enrols and bets at once; the candidate is `slower`."""
    arms = rng.integers(0, 2, uploads)
    regions = rng.integers(0, 2, uploads)
    contexts = [context(arm, region) for arm in ("candidate", "control") for region in ("DE", "US")]
    n = np.full(uploads, rows, "<i4")
    latency = rng.lognormal(3, 0.5, uploads * rows) * np.repeat(
        np.where(arms == 0, slower, 1), rows
    )
    bet = np.zeros((uploads, rows), "u1")
    bet[:, -1] = 1
    total = uploads * rows
    return Segment(
        kind=Kind.TELEMETRY,
        arrived_ms=arrived_ms,
        writer=writer,
        contexts=contexts,
        uploads={
            "batch_id": np.frombuffer(rng.bytes(16 * uploads), "V16"),
            "n": n,
            "received": n,
            "context": (arms * 2 + regions).astype("<i4"),
            "enrolled": np.ones(uploads, "u1"),
            "enrolled_ms": np.full(uploads, arrived_ms // 500 * 500, "<i8"),
        },
        rows={
            "event_minute": np.full(total, arrived_ms // 60_000, "<i4")
            - rng.choice([0, 0, 0, 1, 200], total).astype("<i4"),
            "unit_bet": bet.ravel(),
            "latency_ms": latency.astype("<f4"),
            "energy_mj": rng.lognormal(5, 0.5, total).astype("<f4"),
            "bytes_sent": rng.integers(0, 999, total).astype("<u4"),
        },
        unit_days={
            "upload": np.arange(uploads, dtype="<i4"),
            "day": np.zeros(uploads, "<i4"),
            "errored": (rng.random(uploads) < 0.1).astype("u1"),
            "crashed": np.zeros(uploads, "u1"),
            "energy_mj": rng.lognormal(5, 0.5, uploads).astype("<f4"),
            "data_bytes": rng.lognormal(9, 0.5, uploads).astype("<f4"),
        },
        tallies={"rows:received": total, "uploads:received": uploads},
    )


def appends(
    rng: np.random.Generator,
    *,
    partitions: int,
    seconds: int,
    slower: float = 1.0,
    repeat_share: float = 0.0,
) -> Iterator[Append]:
    """A run: the control record, then per second and partition a few segments and a tick."""
    first = Segment(Kind.CONTROL, START_MS, "w0", control=to_json(desired()))
    yield Append(0, encode(first), START_MS)
    for second in range(seconds):
        for partition in range(partitions):
            for at in (100, 600):
                arrived_ms = START_MS + second * 1000 + at
                segment = telemetry(rng, arrived_ms, slower=slower)
                ids = segment.uploads["batch_id"].tobytes()
                append = Append(partition, encode(segment), arrived_ms, ids)
                yield append
                if rng.random() < repeat_share:
                    yield append
            tick_ms = START_MS + second * 1000 + 999
            yield Append(partition, encode(Segment(Kind.TICK, tick_ms, "w0")), tick_ms)
