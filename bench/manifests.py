"""Manifests that satisfy their schemas, through reading, the log, watching, drift and spend.

``holdfast bench manifests``: whatever they say, the answer is mistakes or a state that the stages
work under. Nothing else may be raised: an exception here would end a node.
"""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from actions.desired_files import BrokenManifestsError
from analytics.types import Outcome
from bench.manifest_maker import Made, Maker
from bench.report import Report, Result
from holdfast.desired_state import read_state
from streams.local_worker import replay
from streams.log.base import Append
from streams.log.memory import MemoryLog
from wire.context import Context
from wire.desired import Desired, Release, to_json
from wire.segment import Kind, Segment, encode
from wire.times import DAY_MS, HOUR_MS, MINUTE_MS

MANIFESTS: Final = 20_000
START_MS: Final = 1_790_000_000_000 // DAY_MS * DAY_MS
_UPLOADS: Final = 8
_ROWS: Final = 4


@dataclass(slots=True)
class Outcomes:
    """What became of the manifests. `raised` holds the first lines of each exception."""

    manifests: int = 0
    repositories: int = 0
    taken: int = 0
    watched: int = 0
    windows: int = 0
    raised: Counter[str] = field(default_factory=Counter)


def through(manifests: int, *, seed: int) -> Outcomes:
    """Make repositories until they hold so many manifests, and put each on the whole road."""
    maker, outcomes = Maker(np.random.default_rng(seed)), Outcomes()
    while outcomes.manifests < manifests:
        made = maker.repository()
        outcomes.manifests += made.manifests
        outcomes.repositories += 1
        try:
            _one(made, outcomes)
        except Exception as error:  # noqa: BLE001 - this is what is counted
            outcomes.raised[_place(error)] += 1
    return outcomes


def _one(made: Made, outcomes: Outcomes) -> None:
    try:
        desired = read_state(made.files, commit="c" * 40)
    except BrokenManifestsError:
        return
    outcomes.taken += 1
    outcomes.watched += sum(r.rollout is not None for r in desired.releases)
    desired = replace(desired, effective_ms=START_MS)
    log = MemoryLog(1)
    for append in _appends(desired):
        log.append([append])
    policy = desired.policy
    decided = replay(
        log.read(0, 0, bytes_max=1 << 30),
        partitions=1,
        window_ms=policy.window_ms,
        horizon_ms=policy.accepted_age_ms,
    )
    outcomes.windows += len(decided)
    errors = [v for d in decided for v in d.verdicts if v.outcome is Outcome.ERROR]
    if errors:
        raise RuntimeError(f"read, but then ignored: {errors[0].arithmetic.reason}")


def _appends(desired: Desired) -> Iterator[Append]:
    """The control record, then uploads of every release in windows, drift windows and hours."""
    rng = np.random.default_rng(1)
    policy = desired.policy
    control = Segment(Kind.CONTROL, START_MS, "w0", control=to_json(desired))
    yield Append(0, encode(control), START_MS)
    steps = (0, policy.window_ms, policy.drift_window_ms, policy.drift_window_ms, HOUR_MS, DAY_MS)
    for at_ms in (START_MS + np.cumsum(steps)).tolist():
        for release in desired.releases:
            for context in _contexts(release, desired):
                segment = _uploads(rng, at_ms, context, max(release.class_groups, 1))
                ids = segment.uploads["batch_id"].tobytes()
                yield Append(0, encode(segment), at_ms, ids)
    end_ms = int(START_MS + sum(steps)) + 2 * policy.window_ms
    yield Append(0, encode(Segment(Kind.TICK, end_ms, "w0")), end_ms)


def _contexts(release: Release, desired: Desired) -> Iterator[Context]:
    rollout = release.rollout
    arms = ("candidate", "control") if rollout is not None and rollout.share > 0 else ("",)
    for arm in arms:
        is_tried = rollout is not None and arm
        candidate = rollout.candidate.version if rollout is not None else ""
        yield Context(
            app_id=release.app_id,
            app_version=desired.policy.app_versions[release.app_id][0],
            platform="android",
            os_major=15,
            device_tier="mid",
            region=desired.policy.regions[0],
            network="cellular",
            model_id=release.model_id,
            model_version=candidate if arm == "candidate" else release.stable.version,
            runtime="tflite",
            placement="cloud",
            sdk_version=desired.policy.sdk_versions[0],
            rollout_id=rollout.rollout_id if rollout is not None and is_tried else "",
            step=rollout.step if rollout is not None and is_tried else 0,
            arm=arm,
        )


def _uploads(rng: np.random.Generator, at_ms: int, context: Context, classes: int) -> Segment:
    total = _UPLOADS * _ROWS
    n = np.full(_UPLOADS, _ROWS, "<i4")
    bet = np.zeros((_UPLOADS, _ROWS), "u1")
    bet[:, -1] = 1
    ones = np.ones(_UPLOADS, "u1")
    return Segment(
        kind=Kind.TELEMETRY,
        arrived_ms=at_ms,
        writer="w0",
        contexts=[context],
        uploads={
            "batch_id": np.frombuffer(rng.bytes(16 * _UPLOADS), "V16"),
            "n": n,
            "received": n,
            "context": np.zeros(_UPLOADS, "<i4"),
            "enrolled": ones,
            "enrolled_ms": np.full(_UPLOADS, at_ms, "<i8"),
        },
        rows={
            "event_minute": np.full(total, at_ms // MINUTE_MS, "<i4"),
            "unit_bet": bet.ravel(),
            "latency_ms": rng.lognormal(3, 0.5, total).astype("<f4"),
            "prediction_class": rng.integers(0, min(classes, 1000), total).astype("<u4"),
            "bytes_received": rng.integers(0, 999, total).astype("<u4"),
        },
        unit_days={
            "upload": np.arange(_UPLOADS, dtype="<i4"),
            "day": np.zeros(_UPLOADS, "<i4"),
            "errored": (rng.random(_UPLOADS) < 0.1).astype("u1"),
            "crashed": ones,
            "energy_mj": rng.lognormal(5, 0.5, _UPLOADS).astype("<f4"),
            "data_bytes": rng.lognormal(9, 0.5, _UPLOADS).astype("<f4"),
        },
        tallies={"rows:received": total, "uploads:received": _UPLOADS},
    )


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}:{frame.lineno}: {error}"[:200]


def main() -> int:
    """Print the figures; 0 if nothing was raised."""
    options = argparse.ArgumentParser(prog="holdfast bench manifests", description=__doc__)
    options.add_argument("--json", action="store_true", help="figures as one line of JSON")
    options.add_argument("--fast", action="store_true", help="a tenth of the manifests")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    count = MANIFESTS // 10 if given.fast else MANIFESTS
    found = through(count, seed=given.seed)
    for place, times in found.raised.most_common(10):
        sys.stderr.write(f"{times} x {place}\n")
    results = [
        Result("S1", "schema-valid manifests", found.manifests, "1", (">=", count)),
        Result("S1", "repositories", found.repositories, "1"),
        Result("S1", "states taken", found.taken, "1", (">=", 0.2 * found.repositories)),
        Result("S1", "rollouts watched", found.watched, "1"),
        Result("S1", "windows decided under them", found.windows, "1"),
        Result("S1", "raised", sum(found.raised.values()), "1", ("<=", 0)),
    ]
    return Report("manifests", results).give(as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
